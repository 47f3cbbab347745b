"""The supervised baseline: labelled data only."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sshpe_lib.losses import averaged
from sshpe_lib.methods.step import CrowdLabeled, Labeled, Losses, Supervised


def train_step(
    students: Sequence[nn.Module], labeled: Labeled | CrowdLabeled, teaching: Supervised
) -> Losses:
    """The labelled term of Eq. 1 of Pose-MUM, averaged over the networks that learn (two for Dual)."""
    each = [teaching.loss(teaching.answer(student, labeled.image), labeled) for student in students]
    supervised = averaged(each)
    return Losses(supervised, supervised)
