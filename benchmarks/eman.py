"""One EMAN update: fused over lists gathered once, beside a Python loop over the state dict.

    python benchmarks/eman.py --threads 2 --repeats 20

The loop is what most released code does: walk both state dicts, build the average of each tensor from
temporaries, copy it into the teacher. Both take turns in one process on the same student, and the best update
of each counts; the last column is the largest difference between the two teachers afterwards.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from sshpe_lib.models.resnet import build
from sshpe_lib.teacher import EMAN

DECAY = 0.6


def main() -> None:
    """Print one table row per depth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[18, 101])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"EMAN update of SimpleBaseline, {device}, threads {arguments.threads}, best of {arguments.repeats}"
    )
    print("| network | tensors | loop [ms] | fused [ms] | loop / fused | largest difference |")
    print("|---|---|---|---|---|---|")
    for depth in arguments.depths:
        student = build(depth, seed=0).to(device)
        teacher, looped = EMAN(student, decay=DECAY), copy.deepcopy(student)
        move(student)
        updates = [partial(loop_update, looped, student, DECAY), partial(teacher.update, student)]
        loop, fused = best_of_turns(updates, arguments.repeats)
        theirs = looped.state_dict()
        largest = max((t - theirs[n]).abs().max().item() for n, t in teacher.network.state_dict().items())
        cells = [f"{len(theirs)}", f"{loop * 1e3:.2f}", f"{fused * 1e3:.2f}", f"{loop / fused:.1f}"]
        print(f"| R{depth} | {' | '.join(cells)} | {largest:.1e} |", flush=True)


@torch.no_grad()
def loop_update(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """The slow form."""
    ours, theirs = teacher.state_dict(), student.state_dict()
    for name, value in ours.items():
        if name.endswith("num_batches_tracked"):
            value.copy_(theirs[name])
        else:
            value.copy_(value * decay + theirs[name] * (1.0 - decay))


@torch.no_grad()
def move(student: nn.Module) -> None:
    """Make the student differ from the teachers."""
    for tensor in student.state_dict().values():
        tensor += 1


def best_of_turns(calls: list[Callable[[], None]], repeats: int) -> list[float]:
    """Shortest run of each call in seconds; the calls take turns, the first turn is not counted."""
    best = [float("inf")] * len(calls)
    for turn in range(repeats + 1):
        for index, call in enumerate(calls):
            wait()
            start = time.perf_counter()
            call()
            wait()
            if turn:
                best[index] = min(best[index], time.perf_counter() - start)
    return best


def wait() -> None:
    """Let the accelerator finish, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
