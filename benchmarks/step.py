"""A semi-supervised training step beside the bare network's passes, in one process, turn by turn.

    python benchmarks/step.py [--repeats 5] [--threads 2] [--precision bf16-mixed] [--batch 32] [--height 256]

The bare passes are what no such step can do without: the student forwards and backwards on the labelled and on the
unlabelled batch, the teacher forwards on the unlabelled batch, in the same precision and memory layout. The step
adds target encoding, normalisation, mixing, the loss, the optimiser and the teacher's update. Its batch is cropped
beforehand, as loader workers do. Process CPU time is shown too: other work on the machine moves it less.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.view import Strong
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.config import Train
from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.data.top_down import CropBatch
from sshpe_lib.machine import Machine
from sshpe_lib.models import resnet
from sshpe_lib.supervision import Supervision
from sshpe_lib.teacher import EMAN
from sshpe_lib.trainer import Trainer


class Fixed:
    """A stand-in for the loader: one batch in memory, again and again."""

    def __init__(self, batch: TrainBatch):
        self.batch, self.steps, self.burn_in = batch, 10**9, 0


def crops(batch: int, size: tuple[int, int]) -> CropBatch:
    """Random crops with 17 visible keypoints."""
    width, height = size
    image = torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    points = torch.rand(batch, 17, 2) * torch.tensor([width - 1.0, height - 1.0])
    return CropBatch(image, points, torch.ones(batch, 17), *torch.zeros(2, batch, 2), torch.arange(batch))


def make_trainer(
    options: argparse.Namespace, size: tuple[int, int], batch: TrainBatch, folder: Path
) -> Trainer:
    fabric = Machine(threads=options.threads, accelerator=options.accelerator).fabric(
        options.precision, folder
    )
    student = resnet.build(18, 17, seed=0).to(fabric.device)
    codec = MSRAHeatmap(size, (size[0] // 4, size[1] // 4), 2.0)
    train = Train(steps=10**9, batch_size=options.batch, precision=options.precision)
    strong = Strong([PoseMUM(sites=("layer1", "layer2", "layer3"))])
    return Trainer(
        fabric, student, EMAN(student, 0.6), Fixed(batch), Supervision(codec), train, lambda networks: {},
        key="benchmark", folder=folder, strong=strong, progress=False,
    )  # fmt: skip


def bare(trainer: Trainer, labeled: torch.Tensor, unlabeled: torch.Tensor) -> None:
    """The passes alone; gradients of the mean of the heatmaps."""
    trainer.optimizer.zero_grad(set_to_none=True)
    with torch.no_grad(), trainer.fabric.autocast():
        trainer.teacher.network.eval()(unlabeled)
    loss = trainer.students[0](labeled).mean() + trainer.students[0](unlabeled).mean()
    trainer.fabric.backward(loss)


def timed(
    calls: dict[str, Callable[[], None]], repeats: int, wait: Callable[[], None]
) -> dict[str, list[float]]:
    """Best wall and CPU seconds of each call over `repeats` turns, after a warm-up turn."""
    best = {name: [float("inf")] * 2 for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            wait()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            if turn:
                best[name] = [min(pair) for pair in zip(best[name], spent, strict=True)]
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--accelerator", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = (options.height * 3 // 4, options.height)
    batch = TrainBatch(crops(options.batch, size), crops(options.batch, size))
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(options, size, batch, Path(folder))
        trainer.students[0].train()
        images = [torch.randn(options.batch, 3, size[1], size[0]).to(trainer.fabric.device) for _ in range(2)]
        images = [image.contiguous(memory_format=torch.channels_last) for image in images]
        wait = torch.cuda.synchronize if trainer.fabric.device.type == "cuda" else lambda: None
        calls = {
            "bare passes": lambda: bare(trainer, *images),
            "whole step": lambda: trainer._update(trainer._forward(batch)),
        }
        best = timed(calls, options.repeats, wait)
    print(f"ResNet-18, {options.batch} + {options.batch} of {size[0]}x{size[1]}, {options.precision}, "
          f"{torch.get_num_threads()} thread(s), {trainer.fabric.device}")  # fmt: skip
    for name, (wall, cpu) in best.items():
        print(f"{name:12} {1e3 * wall:9.1f} ms wall {1e3 * cpu:9.1f} ms CPU")
    ratios = [step / base for step, base in zip(best["whole step"], best["bare passes"], strict=True)]
    print(f"{'ratio':12} {ratios[0]:9.3f}         {ratios[1]:9.3f}")


if __name__ == "__main__":
    main()
