"""How long a batch takes from a loader process into the training process, beside the usual way and a plain copy.

    python benchmarks/sending.py [--repeats 20]

A batch is 32 labelled and 32 unlabelled crops of 192x256. The loader process has it at hand and sends it again and
again: the usual way tensor by tensor, each in fresh shared memory, ours in memory that goes round. What counts is how
long until the next batch is there, and how much CPU time it takes of the training process, which has its GPU to see to;
each a mean of 20 batches, the ways taking turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
from step import experiment
from timing import NOT_COUNTED, timing
from torch.utils.data import DataLoader, Dataset

from sshpe_lib.data import loaders
from sshpe_lib.plan.measure import noise_batch

BATCH, TOGETHER = 32, 20


class AtHand(Dataset):
    """One batch, whatever the step, in tensors of its own, as a loader process makes it."""

    steps, burn_in = 10**9, 0

    def __init__(self) -> None:
        self.batch = noise_batch(experiment("Pose-MUM+", "resnet18", BATCH, {}))

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> loaders.TrainBatch:
        crops = (type(part)(*(tensor.clone() for tensor in part)) for part in self.batch)
        return loaders.TrainBatch(*crops)

    loader = loaders.Batches.loader


def copies(batch: loaders.TrainBatch) -> Iterator[list[torch.Tensor]]:
    """Plain copies, into memory that is there."""
    tensors = [tensor for part in batch for tensor in part]
    here = [torch.empty_like(tensor) for tensor in tensors]
    while True:
        for mine, theirs in zip(here, tensors, strict=True):
            mine.copy_(theirs)
        yield here


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ways = {
        "tensor by tensor": iter(DataLoader(AtHand(), batch_size=None, num_workers=1)),
        "ours": iter(AtHand().loader(0, workers=1)),
        "a plain copy, in this process": copies(AtHand().batch),
    }
    taken = {name: np.empty((options.repeats + NOT_COUNTED, 2)) for name in ways}
    for turn in range(options.repeats + NOT_COUNTED):
        for name, batches in ways.items():
            start = np.array([time.perf_counter(), time.process_time()])
            for _ in range(TOGETHER):
                next(batches)
            end = np.array([time.perf_counter(), time.process_time()])
            taken[name][turn] = 1e3 * (end - start) / TOGETHER
    print(f"{BATCH} + {BATCH} crops of 192x256, one loader process; ms a batch, median (quartiles)")
    print(f"{'':32}{'until it is there':>26}{'CPU of the trainer':>26}")
    for name, times in taken.items():
        wall, cpu = (timing(column) for column in times[NOT_COUNTED:].T)
        print(f"{name:32}{wall!s:>26}{cpu!s:>26}")


if __name__ == "__main__":
    main()
