"""One EMAN update: fused over lists gathered once, beside a Python loop over the state dict.

    python benchmarks/eman.py [--threads 1] [--repeats 20]

The loop is what most released code does: walk both state dicts, build the average of each tensor from temporaries,
copy it into the teacher. Both take turns in one process on the same student, and must end as equal teachers. The copy
is of the student's tensors into as many others.
"""

from __future__ import annotations

import argparse
import copy
from functools import partial

import torch
from timing import DEVICE, compare, heading
from torch import nn

from sshpe_lib.models.resnet import build
from sshpe_lib.teacher import EMAN

DECAY = 0.6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depths", type=int, nargs="+", default=[18, 101])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    heading(f"SimpleBaseline on {DEVICE}, {options.threads} thread(s)", options.repeats)
    for depth in options.depths:
        student = build(depth, seed=0).to(DEVICE)
        teacher, looped = EMAN(student, decay=DECAY), copy.deepcopy(student)
        move(student)
        tensors = list(student.state_dict().values())
        others = [torch.empty_like(tensor) for tensor in tensors]
        compare(
            f"ResNet-{depth}, {len(tensors)} tensors",
            partial(loop_update, looped, student, DECAY),
            partial(teacher.update, student),
            partial(torch._foreach_copy_, others, tensors),
            options.repeats,
        )
        torch.testing.assert_close(teacher.network.state_dict(), looped.state_dict())


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


if __name__ == "__main__":
    main()
