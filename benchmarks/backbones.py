"""The networks of AID: parameters, multiply-accumulates, and images per second, beside the published figures.

    python benchmarks/backbones.py [--batch 8] [--threads 2] [--seconds 0.6]

At 256x192 with 17 keypoints and float32. A step is a forward and a backward pass, of all units of an RSN. The best
run of each counts. GMAC: multiply-accumulates of convolutions, transposed ones at their input's size, of every unit
of an RSN. The published GFLOPs count multiply-accumulates too, in units of 2^30, and a transposed convolution at its
output's size, four times as much: Xiao et al. (2018), Sun et al. (2019), Huang et al. (2020, UDP), Cai et al. (2020).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn

from sshpe_lib.models.cost import count_macs, count_parameters
from sshpe_lib.models.hrnet import HRNet
from sshpe_lib.models.resnet import SimpleBaseline
from sshpe_lib.models.rsn import RSN

SIZE = (256, 192)  # H, W
# name: (how to build, published parameters in millions, published GFLOPs)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], float | None, float | None]] = {
    "SimpleBaseline R18": (lambda: SimpleBaseline(18), None, None),
    "SimpleBaseline R50": (lambda: SimpleBaseline(50), 34.0, 8.9),
    "SimpleBaseline R101": (lambda: SimpleBaseline(101), 53.0, 12.4),
    "SimpleBaseline R152": (lambda: SimpleBaseline(152), 68.6, 15.7),
    "HRNet-W32": (lambda: HRNet(32), 28.5, 7.1),
    "HRNet-W32, UDP's": (lambda: HRNet(32, 51, wide_fuse=True), 28.7, 7.16),
    "HRNet-W48": (lambda: HRNet(48), 63.6, 14.6),
    "HRNet-W48, UDP's": (lambda: HRNet(48, 51, wide_fuse=True), 63.8, 14.7),
    "HRNet-W48plus": (lambda: HRNet(48, modules=(2, 8, 6)), None, None),
    "RSN-18": (lambda: EveryUnit(RSN(depth=18)), None, 2.5),
    "2xRSN-18": (lambda: EveryUnit(RSN(depth=18, stages=2)), None, None),
    "RSN-18, UDP's": (lambda: EveryUnit(RSN(depth=18, variant="udp", prm=True)), None, None),
    "RSN-50": (lambda: EveryUnit(RSN(depth=50)), None, 6.4),
    "RSN-50, expansion 4": (lambda: EveryUnit(RSN(depth=50, expansion=4)), None, 6.4),
    "2xRSN-50": (lambda: EveryUnit(RSN(depth=50, stages=2)), None, 13.9),
    "2xRSN-50, expansion 4": (lambda: EveryUnit(RSN(depth=50, stages=2, expansion=4)), None, 13.9),
}


class EveryUnit(nn.Module):
    """An RSN that answers with the sum of its units, so that none goes unread."""

    def __init__(self, network: RSN) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack(self.network(images, every_unit=True)).sum(0)


def fastest(run: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest run, after one that is not counted; one at least."""
    run()
    best, until = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < until:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def speeds(network: nn.Module, batch: int, seconds: float) -> tuple[float, float]:
    """Images per second, forward and in a training step."""
    images = torch.randn(batch, 3, *SIZE).to(memory_format=torch.channels_last)
    network = network.to(memory_format=torch.channels_last).eval()

    @torch.no_grad()
    def forward() -> None:
        network(images)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        network(images).square().mean().backward()

    ahead = fastest(forward, seconds)
    network.train()
    return batch / ahead, batch / fastest(step, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.6)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"batch {options.batch}, {options.threads} thread(s)")
    print(
        "| network | parameters, M | published | GMAC | published GFLOPs | forward, images/s | step, images/s |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, (build, parameters, flops) in NETWORKS.items():
        network = build()
        found, macs = count_parameters(network) / 1e6, count_macs(network, SIZE) / 1e9
        forward, step = speeds(network, options.batch, options.seconds)
        said = [str(value) if value else "–" for value in (parameters, flops)]
        print(
            f"| {name} | {found:.1f} | {said[0]} | {macs:.2f} | {said[1]} | {forward:.1f} | {step:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
