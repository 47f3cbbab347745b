"""Train a small network in the processes that torchrun started (or in one) and save what each ends with.

Usage: world.py FOLDER NETWORK, NETWORK being "plain" (no batch norm), "whole" (the same on whole images), "baseline",
or "ema" (that with a teacher whose batch norms keep statistics of their own).
"""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.view import Strong
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.codec.crowd import CrowdHeatmap
from sshpe_lib.config import Train
from sshpe_lib.crowd_supervision import CrowdSupervision
from sshpe_lib.data.loaders import Batches
from sshpe_lib.data.scenes import Scenes
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.evaluate.top_down import TopDownEvaluation
from sshpe_lib.machine import Machine
from sshpe_lib.models import resnet
from sshpe_lib.records import Point
from sshpe_lib.supervision import Supervision
from sshpe_lib.teacher import EMA, EMAN
from sshpe_lib.trainer import Trainer
from tests import toy

SIZE = (48, 64)


class Plain(nn.Module):
    """Two convolutions with a named stage between: no statistics of the batch, so shares of it add up exactly."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 8, stride=4, padding=2), nn.Conv2d(8, 17, 3, padding=1)

    def forward(self, images, after_stage=None):
        features = self.first(images).relu()
        if after_stage:
            features = after_stage("layer4", after_stage("layer1", features))
        return self.last(features)


class Whole(nn.Module):
    """The same for whole images: heatmaps and tags at a quarter of the input, heatmaps at half of it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 4, stride=2, padding=1)
        self.coarse, self.fine = nn.Conv2d(8, 34, 3, stride=2, padding=1), nn.Conv2d(8, 17, 3, padding=1)

    def forward(self, images, after_stage=None):
        features = self.first(images).relu()
        if after_stage:
            features = after_stage("stage4", after_stage("layer1", features))
        return [self.coarse(features), self.fine(features)]


def losses_of(curve: list[Point]) -> list[float]:
    """The last point's losses, which are of all processes."""
    return [curve[-1].loss, curve[-1].supervised, curve[-1].consistency]


def parted(begin: Callable[[], Trainer], batches: Batches) -> list[float]:
    """The losses of a run that was stopped after 4 steps and goes on from its checkpoint."""
    first = begin()
    first.students[0].train()
    for step in range(4):
        first.take_step(batches[step])
    if first.fabric.is_global_zero:
        first.folder.mkdir()
    first.save()
    first.fabric.barrier()
    return losses_of(begin().fit())


def whole(folder: Path, fabric) -> None:
    """A bottom-up network and its teacher on whole images."""
    torch.manual_seed(0)
    network = Whole()
    if fabric.is_global_zero:
        toy.instances(folder / "l", 6), toy.instances(folder / "u", 16, seed=1)
    fabric.barrier()
    labeled = Scenes(toy.instances(folder / "l", 6), 64, stream="labeled")
    unlabeled = Scenes(toy.instances(folder / "u", 16, seed=1), 64, stream="unlabeled")
    batches = Batches(
        labeled, unlabeled, batch_size=8, steps=6, burn_in=2, rank=fabric.global_rank, world=fabric.world_size
    )
    teaching = CrowdSupervision(
        [CrowdHeatmap((16, 16), 1.5), CrowdHeatmap((32, 32), 1.5)], 64, push=0.1, pull=0.1
    )
    trainer = Trainer(
        fabric, network, EMAN(network, 0.6), batches, teaching, Train(steps=6, batch_size=8),
        lambda networks: {name: {"AP": 0.0} for name in networks}, key="world", folder=folder / "run",
        strong=Strong([HardAffine(), PoseMUM(tiles=(4, 4), sites=("layer1",), unmix="stage4")]), progress=False,
    )  # fmt: skip
    curve = trainer.fit()
    state = {
        "student": network.state_dict(),
        "teacher": trainer.teacher.network.state_dict(),
        "losses": losses_of(curve),
    }
    torch.save(state, folder / f"rank{fabric.global_rank}.pt")


def main() -> None:
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    fabric = Machine(threads=1).fabric("32-true", folder)
    if kind == "whole":
        return whole(folder, fabric)
    torch.manual_seed(0)
    network = (
        Plain()
        if kind == "plain"
        else resnet.build(18, 17, width=8, deconv_channels=16, output_stride=16, seed=0)
    )
    pool = 16 if kind == "plain" else 9  # which leaves one person for the last batch of an epoch
    if fabric.is_global_zero:
        toy.instances(folder / "l", 6), toy.instances(folder / "u", pool, seed=1)
    fabric.barrier()
    labeled = Crops(toy.instances(folder / "l", 6), SIZE, weak=WeakAffine(), stream="labeled")
    unlabeled = Crops(toy.instances(folder / "u", pool, seed=1), SIZE, weak=WeakAffine(), stream="unlabeled")
    batches = Batches(
        labeled, unlabeled, batch_size=8, steps=6, burn_in=2, rank=fabric.global_rank, world=fabric.world_size
    )
    codec = MSRAHeatmap(SIZE, (12, 16), 1.0)
    evaluation = TopDownEvaluation(
        Crops(unlabeled.instances, SIZE), codec, ground_truth={}, batch_size=3,
        rank=fabric.global_rank, world=fabric.world_size,
        reduce=lambda tensor: fabric.all_reduce(tensor, reduce_op="sum"),
    )  # fmt: skip

    def trainer_of(network: nn.Module, run: str) -> Trainer:
        return Trainer(
            fabric, network, (EMA if kind == "ema" else EMAN)(network, 0.6), batches, Supervision(codec),
            Train(steps=6, batch_size=8), lambda networks: {name: {"AP": 0.0} for name in networks}, key="world",
            folder=folder / run, strong=Strong([HardAffine(), PoseMUM(sites=("layer1",))]), progress=False,
        )  # fmt: skip

    trainer = trainer_of(network, "run")
    begun = copy.deepcopy(network)
    with mock.patch.object(torch.distributed, "barrier", wraps=torch.distributed.barrier) as barrier:
        curve = trainer.fit()
    waits = barrier.call_count
    predicted = torch.from_numpy(evaluation.predict({"teacher": trainer.teacher.network})["teacher"])
    state = {
        "student": network.state_dict(),
        "teacher": trainer.teacher.network.state_dict(),
        "losses": losses_of(curve),
        "waits": waits,
        "predicted": predicted,
    }
    if kind == "plain":
        state["parted"] = parted(lambda: trainer_of(copy.deepcopy(begun), "parted"), batches)
    torch.save(state, folder / f"rank{fabric.global_rank}.pt")


if __name__ == "__main__":
    main()
