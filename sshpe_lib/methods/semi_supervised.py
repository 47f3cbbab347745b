"""Teacher and student: one step, whatever the teacher (Single, EMA, EMAN) and the strong augmentation."""

from __future__ import annotations

from torch import Tensor, nn

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.view import Strong
from sshpe_lib.losses import heatmap_mse
from sshpe_lib.methods.step import Labeled, Losses, Teacher


def train_step(
    student: nn.Module,
    teacher: Teacher,
    labeled: Labeled,
    unlabeled: Tensor,
    strong: Strong,
    weight: float,
    draw: Draw,
) -> Losses:
    """Eq. 1 of Pose-MUM; unlabeled: (B, 3, H, W) normalised easy views; weight: lambda_u.

    Labelled and unlabelled images go through the student separately, each with its own batch statistics, as
    in the reference. Every pseudo heatmap counts: there is no threshold.
    """
    supervised = heatmap_mse(student(labeled.image), labeled.target, labeled.weight)
    pseudo = teacher.predict(unlabeled).float()
    view, pseudo = strong(unlabeled, pseudo, draw)
    consistency = heatmap_mse(student(view.image, after_stage=view.after_stage), pseudo)
    return Losses(supervised + weight * consistency, supervised, consistency)
