"""Teacher and student: one step, whatever the teacher (Single, EMA, EMAN, Dual) and the strong augmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.view import Strong, View
from sshpe_lib.losses import added, averaged
from sshpe_lib.methods.step import CrowdLabeled, Labeled, Losses, Supervised, Teacher
from sshpe_lib.models.stages import AfterStage, Features
from sshpe_lib.streams import beside


def train_step(
    pairs: Sequence[tuple[nn.Module, Teacher]],
    labeled: Labeled | CrowdLabeled,
    teaching: Supervised,
    unlabeled: Tensor,
    strong: Strong,
    weight: float,
    draw: Draw,
    joint: bool = False,
) -> Losses:
    """Eq. 1 of Pose-MUM; unlabeled: (B, 3, H, W) normalised easy views; weight: lambda_u.

    teaching: what people teach, `Supervision` or `CrowdSupervision`.

    pairs: the student and its teacher; two of them where two networks teach each other (Dual), whose
    supervised losses are averaged and consistency losses added, as in the reference. Every pseudo heatmap
    counts: there is no threshold.
    joint: labelled and unlabelled images go through the student as one batch, and so share its statistics;
    else separately, each with its own, as in the reference.
    """
    terms = [student_losses(*pair, labeled, teaching, unlabeled, strong, draw, joint) for pair in pairs]
    supervised = averaged([term for term, _ in terms])
    consistency = added(term for _, term in terms)
    return Losses(supervised + weight * consistency, supervised, consistency)


def student_losses(
    student: nn.Module,
    teacher: Teacher,
    labeled: Labeled | CrowdLabeled,
    teaching: Supervised,
    unlabeled: Tensor,
    strong: Strong,
    draw: Draw,
    joint: bool,
) -> tuple[Tensor, Tensor]:
    """Both terms of Eq. 1 for one student: it must find in a hard view what its teacher found in an easy one."""
    asked = _ask(teacher, unlabeled)
    if not joint:
        on_labeled = teaching.answer(student, labeled.image)
    pseudo = teaching.maps(asked()).float()
    view, pseudo = strong(unlabeled, pseudo, draw)
    if joint:
        on_labeled, on_unlabeled = _together(student, labeled.image, view)
    else:
        on_unlabeled = _seen(student, view.image, view.after_stage)
    if view.finish is not None:
        view.finish()
    supervised = teaching.loss(on_labeled, labeled)
    consistency = teaching.consistency(teaching.maps(on_unlabeled), pseudo)
    return supervised, consistency


def _ask(teacher: Teacher, images: Tensor) -> Callable[[], Any]:
    """What the teacher finds in the images, when it is wanted; a GPU begins now, beside the student's labelled pass."""
    predict = partial(teacher.predict, images)
    return beside(predict, images.device) if teacher.apart else predict


def _seen(student: nn.Module, images: Tensor, after_stage: AfterStage | None) -> Any:
    """What a student finds; a network without named stages may learn from views that are not mixed."""
    return student(images) if after_stage is None else student(images, after_stage=after_stage)


def _together(student: nn.Module, labeled: Tensor, view: View) -> tuple[list[Tensor], Tensor | list[Tensor]]:
    """Outputs on labelled images and on the strong view from one forward; only the view is mixed on the way."""
    count = len(labeled)
    after_stage = None if view.after_stage is None else _behind(count, view.after_stage)
    outputs = _seen(student, torch.cat([labeled, view.image]), after_stage)
    if isinstance(outputs, Tensor):
        return [outputs[:count]], outputs[count:]
    return [output[:count] for output in outputs], [output[count:] for output in outputs]


def _behind(count: int, after_stage: AfterStage) -> AfterStage:
    """The same for what stands behind the first `count` images of a batch."""

    def after(name: str, features: Features) -> Features:
        rest = after_stage(name, tree_map(lambda one: one[count:], features))
        return tree_map(lambda one, moved: torch.cat([one[:count], moved]), features, rest)

    return after
