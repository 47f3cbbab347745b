"""The supervised baseline: labelled data only."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sshpe_lib.losses import heatmap_mse
from sshpe_lib.methods.step import Labeled, Losses


def train_step(students: Sequence[nn.Module], labeled: Labeled) -> Losses:
    """The labelled term of Eq. 1 of Pose-MUM, averaged over the networks that learn (two for Dual)."""
    each = [heatmap_mse(student(labeled.image), labeled.target, labeled.weight) for student in students]
    supervised = sum(each) / len(each)
    return Losses(supervised, supervised)
