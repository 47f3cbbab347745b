"""Images per second of SimpleBaseline: forward and training step, float32 beside bf16.

    python benchmarks/networks.py --threads 2 --seconds 1

In every row the two precisions take turns in one process, and the best run of each counts, so that other work
on the machine weighs on both. bf16 is autocast with channels_last; a step is forward, backward and Adam.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import torch
from torch import nn

from sshpe_lib.models.resnet import build

SIZES = {(64, 48): 16, (96, 72): 8, (256, 192): 32}  # (H, W): output stride
BATCHES = (8, 32)


def main() -> None:
    """Print one table row per input size and batch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=int, default=64, help="channels of the stem")
    parser.add_argument("--deconv-channels", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each figure (one step at least)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"SimpleBaseline R{arguments.depth}, width {arguments.width}, {device}, {arguments.threads} threads"
    )
    print("| input (stride) | batch | forward float32 | forward bf16 | step float32 | step bf16 |")
    print("|---|---|---|---|---|---|")
    for (height, width), stride in SIZES.items():
        model = build(
            arguments.depth,
            width=arguments.width,
            deconv_channels=arguments.deconv_channels,
            output_stride=stride,
            seed=0,
        ).to(device)
        for batch in BATCHES:
            images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0)).to(
                device
            )
            cells = []
            for make in (forward, training_step):
                pair = [make(model, images, bf16=bf16) for bf16 in (False, True)]
                cells += [f"{batch / seconds:.0f}" for seconds in best_of_turns(pair, arguments.seconds)]
            print(f"| {height}x{width} ({stride}) | {batch} | {' | '.join(cells)} |", flush=True)


def forward(model: nn.Module, images: torch.Tensor, *, bf16: bool) -> Callable[[], None]:
    """A call that runs the network in evaluation mode, without gradients."""
    model, images = in_layout(model.eval(), images, bf16)

    def run() -> None:
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            model(images)

    return run


def training_step(model: nn.Module, images: torch.Tensor, *, bf16: bool) -> Callable[[], None]:
    """A call that runs the network forwards, backwards, and steps Adam."""
    model, images = in_layout(model.train(), images, bf16)
    target = torch.zeros(len(images), 17, images.shape[2] // 4, images.shape[3] // 4, device=images.device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-5)

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            heatmaps = model(images)
        nn.functional.mse_loss(heatmaps.float(), target).backward()
        optimiser.step()

    return run


def in_layout(model: nn.Module, images: torch.Tensor, bf16: bool) -> tuple[nn.Module, torch.Tensor]:
    """A copy of the network, and the images, in the memory layout of the precision."""
    layout = torch.channels_last if bf16 else torch.contiguous_format
    return copy.deepcopy(model).to(memory_format=layout), images.to(memory_format=layout)


def best_of_turns(calls: list[Callable[[], None]], seconds: float) -> list[float]:
    """Shortest run of each call in seconds, the calls taking turns until each has had its time."""
    for call in calls:
        call()  # the first run allocates
    best = [float("inf")] * len(calls)
    until = time.perf_counter() + seconds * len(calls)
    while best[0] == float("inf") or time.perf_counter() < until:
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
