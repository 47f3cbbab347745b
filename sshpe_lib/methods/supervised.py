"""The supervised baseline: labelled data only."""

from __future__ import annotations

from torch import nn

from sshpe_lib.losses import heatmap_mse
from sshpe_lib.methods.step import Labeled, Losses


def train_step(student: nn.Module, labeled: Labeled) -> Losses:
    """The labelled term of Eq. 1 of Pose-MUM."""
    supervised = heatmap_mse(student(labeled.image), labeled.target, labeled.weight)
    return Losses(supervised, supervised)
