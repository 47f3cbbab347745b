"""How many kernels each augmentation, and a step besides its passes, have a GPU run, counted without one.

    python benchmarks/launches.py

The operations run on tensors without memory. What PyTorch is asked to do with them is counted, but for views, which are
no work, and for the numbers that are sent there; a sort counts once and is several kernels. A GPU takes some
microseconds for each, however small. For MUM and Pose-MUM (every site mixed, its dearest case) the way through four
stages and back is counted too.

A step's passes are those of benchmarks/step.py, which a GPU runs as CUDA graphs. What it does besides stands in two
columns: what runs on the stream that brings the batches, during earlier steps, and what runs between the passes. Adam's
own few kernels are in neither.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from step import METHODS, experiment, stepping
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sshpe_lib import trainer as trainers
from sshpe_lib.augment import dropping
from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.cut_occlude import CutOcclude
from sshpe_lib.augment.cutout import Cutout
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.augment.rand_augment import RandAugment
from sshpe_lib.augment.view import Operation, View
from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.machine import Machine
from sshpe_lib.plan.measure import noise_batch
from sshpe_lib.trainer import Trainer

STAGES = {"layer1": (64, 64, 48), "layer2": (128, 32, 24), "layer3": (256, 16, 12), "layer4": (512, 8, 6)}
OPERATIONS: dict[str, Operation] = {
    "affine": HardAffine(),
    "RandAugment": RandAugment(),
    "joint cutout": JointCutout(),
    "cutout": Cutout(),
    "cut occlude": CutOcclude(),
    "MUM": PoseMUM(),
    "Pose-MUM": PoseMUM(sites=("layer1", "layer2", "layer3"), probability=1.0),
    "random erasing": dropping.RandomErasing(probability=1.0),
    "information cutout": dropping.InformationCutout(),
    "hide-and-seek": dropping.HideAndSeek(),
    "grid mask": dropping.GridMask(),
}
# No kernel runs for these.
NO_WORK = {"empty", "empty_like", "new_empty", "detach", "lift_fresh", "_unsafe_view"}


class Kernels(TorchDispatchMode):
    """Counts what has a tensor without memory to read or to write."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        made = operation(*arguments, **named or {})
        leaves = [
            leaf
            for leaf in tree_leaves((arguments, named, made))
            if isinstance(leaf, Tensor) and leaf.is_meta
        ]
        name = operation.overloadpacket.__name__
        sent = name == "_to_copy" and not arguments[0].is_meta
        self.count += bool(leaves) and not (operation.is_view or name in NO_WORK or sent)
        return made


def batch_of(*shape: int) -> Tensor:
    """32 maps without memory, channels last."""
    return torch.empty(32, *shape, device="meta").contiguous(memory_format=torch.channels_last)


def through_the_network(view: View) -> None:
    """Forwards through the stages and back."""
    for stage, shape in STAGES.items():
        features = batch_of(*shape).requires_grad_()
        moved = view.after_stage(stage, features)
        if moved is not features:
            moved.backward(features)


def augment(operation: Operation, image: Tensor, heatmaps: Tensor) -> None:
    """One augmentation, and what it does in the network."""
    draw = Draw(torch.Generator().manual_seed(0), device="meta")
    view, _ = operation(View(image), heatmaps, draw)
    if view.after_stage is not None:
        through_the_network(view)


def take_passes(trainer: Trainer, seen: list[Tensor]) -> None:
    """The student's on labelled and unlabelled images and back, and the teacher's."""
    trainer.optimizer.zero_grad(set_to_none=True)
    if trainer.teacher is not None:
        trainer.teacher.predict(seen[1])
    found = [trainer.network(images) for images in seen]
    torch.autograd.backward(found, [one.detach() for one in found])


def take_step(trainer: Trainer, batch: TrainBatch) -> None:
    """All of it, but for Adam's own kernels."""
    trainer.optimizer.zero_grad(set_to_none=True)
    losses = trainer._forward(trainer._prepared(batch))
    losses.total.backward()
    if trainer.teacher is not None:
        trainer.teacher.update(trainer.network)


def count(call: Callable[..., object], *given: object) -> int:
    """The kernels of a call."""
    with Kernels() as kernels:
        call(*given)
    return kernels.count


def besides(method: str, folder: Path) -> tuple[int, int]:
    """Kernels of a step that run with the batches, and between the passes of a ResNet-18."""
    made = experiment(method, "resnet18", 32, {})
    trainer = stepping(made, Machine(accelerator="cpu", progress=False), folder)
    for network in trainer.all_networks:
        network.to("meta")
    trainer._feed.device = torch.device("meta")
    batch = noise_batch(made).to("meta")
    seen = [normalize(one.image) for one in batch if one is not None]
    take_step(trainer, batch)  # gathers the teacher's tensors
    prepared = count(trainer._prepared, batch)
    return prepared, count(take_step, trainer, batch) - prepared - count(take_passes, trainer, seen)


def main() -> None:
    print("32 crops of 192x256 with 17 heatmaps of 48x64")
    print(f"{'':24}{'kernels':>10}")
    image, heatmaps = batch_of(3, 256, 192), batch_of(17, 64, 48)
    for name, operation in OPERATIONS.items():
        print(f"{name:24}{count(augment, operation, image, heatmaps):10}")
    print(f"\n{'a step besides its passes':32}{'with the batches':>18}{'between the passes':>20}")

    def without_memory(generator: torch.Generator, rank: int, world: int, device: torch.device) -> Draw:
        return Draw(generator, rank, world, torch.device("meta"))

    with mock.patch.object(trainers, "Draw", without_memory), tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            prepared, between = besides(method, Path(folder))
            print(f"{method:32}{prepared:18}{between:20}")


if __name__ == "__main__":
    main()
