"""What each strong augmentation costs, beside the reference implementations and as a share of a training step.

    python benchmarks/augmentations.py [--repeats 15] [--steps 2] [--threads 1] [--batch 32] [--precision bfloat16]

Every operation augments a batch of 256x192 crops with its 17 teacher heatmaps, and draws its random numbers. MUM and
Pose-MUM (every site mixed, its dearest case) also move the feature maps that ResNet-18 has at its stages, forwards
and backwards. The step is the bare passes that no semi-supervised step can do without: the student forwards and
backwards on the labelled and on the unlabelled batch, the teacher forwards on the unlabelled one. All times are
process CPU time, the best of the repeats; `--steps 0` leaves the step and the share out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.cut_occlude import CutOcclude
from sshpe_lib.augment.cutout import Cutout
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.rand_augment import RandAugment
from sshpe_lib.augment.view import Operation, View
from sshpe_lib.models import resnet

HEIGHT, WIDTH = 256, 192
FEATURES = {
    "layer1": (64, 64, 48),
    "layer2": (128, 32, 24),
    "layer3": (256, 16, 12),
    "layer4": (512, 8, 6),
}
SITES = ("layer1", "layer2", "layer3")
# Milliseconds of the reference implementations, measured on a like machine: batch 32, float32, 1 thread, CPU time.
# Semi_Human_Pose has 24 heatmaps; for the cut, its argmax and its Joint Cutout are summed. MUM's is the gather of
# mix-unmix, forwards only, summed over the maps that are moved.
REFERENCE = {
    "affine": "48 - 75",
    "joint_cutout": "5.5 - 8.2",
    "mum, forwards": "31",
    "pose_mum, forwards": "81",
}


def batch_of(shape: tuple[int, ...], batch: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random maps, channels last as everywhere in training."""
    maps = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    return maps.to(dtype).contiguous(memory_format=torch.channels_last)


def cutting(batch: int) -> dict[str, Callable[[], object]]:
    """A call for each operation that changes the image alone, or the image and its heatmaps."""
    view, heatmaps = View(batch_of((3, HEIGHT, WIDTH), batch)), batch_of((17, 64, 48), batch).contiguous()
    draw = Draw(torch.Generator().manual_seed(0))
    operations: dict[str, Operation] = {
        "affine": HardAffine(),
        "rand_augment": RandAugment(),
        "joint_cutout": JointCutout(),
        "cutout": Cutout(),
        "cut_occlude": CutOcclude(),
    }
    return {name: lambda op=operation: op(view, heatmaps, draw) for name, operation in operations.items()}


def mixing(batch: int, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """A call for MUM and for Pose-MUM, without and with the way back of the gradient."""
    image = batch_of((3, HEIGHT, WIDTH), batch)
    features = {name: batch_of(shape, batch, dtype) for name, shape in FEATURES.items()}
    draw = Draw(torch.Generator().manual_seed(0))

    def move(mum: PoseMUM, backwards: bool) -> None:
        mix = mum.draw(batch, draw)
        mix.image(image)
        for stage, maps in features.items():
            moved = mix.after_stage(stage, maps.detach().requires_grad_(backwards))
            if backwards and moved.grad_fn is not None:
                moved.backward(maps)

    calls = {}
    for name, mum in (("mum", PoseMUM()), ("pose_mum", PoseMUM(sites=SITES, probability=1.0))):
        calls[f"{name}, forwards"] = lambda mum=mum: move(mum, False)
        calls[f"{name}, both ways"] = lambda mum=mum: move(mum, True)
    return calls


def bare_step(batch: int, dtype: torch.dtype) -> Callable[[], None]:
    """The passes of a semi-supervised ResNet-18 step alone; gradients of the mean of the heatmaps."""
    student, teacher = (resnet.build(18, 17, seed=seed) for seed in (0, 1))
    student.to(memory_format=torch.channels_last).train()
    teacher.to(memory_format=torch.channels_last).eval()
    labeled, unlabeled = (batch_of((3, HEIGHT, WIDTH), batch) for _ in range(2))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            with torch.no_grad():
                teacher(unlabeled)
            loss = student(labeled).mean() + student(unlabeled).mean()
        student.zero_grad(set_to_none=True)
        loss.backward()

    return step


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """The best CPU time of `repeats` calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.precision)
    calls = cutting(options.batch) | mixing(options.batch, dtype)
    costs = {name: milliseconds(call, options.repeats) for name, call in calls.items()}
    print(
        f"{options.batch} crops of {WIDTH}x{HEIGHT}, {options.threads} thread(s), best of {options.repeats}, CPU time"
    )
    step = None
    if options.steps:
        step = milliseconds(bare_step(options.batch, dtype), options.steps)
        print(f"bare passes of a ResNet-18 step, {options.precision}: {step:.0f} ms, best of {options.steps}")
    print(f"{'operation':22} {'ms':>7} {'reference, ms':>14} {'share of step':>14}")
    for name, cost in costs.items():
        share = f"{cost / step:14.2%}" if step else f"{'-':>14}"
        print(f"{name:22} {cost:7.1f} {REFERENCE.get(name, '-'):>14} {share}")


if __name__ == "__main__":
    main()
