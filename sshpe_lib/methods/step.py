"""What a method gets and gives back at one training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn


class Teacher(Protocol):
    """Whoever makes pseudo heatmaps; `network` is what is evaluated, and trained too where it `learns`.

    apart: it shares nothing with the networks that learn, so that their passes may be taken at the same time.
    """

    network: nn.Module
    learns: bool
    apart: bool

    def predict(self, images: Tensor) -> Tensor: ...

    def update(self, student: nn.Module) -> None: ...

    def reset(self, student: nn.Module) -> None: ...

    def state(self) -> dict: ...

    def load(self, state: dict) -> None: ...


class Labeled(NamedTuple):
    """image: (B, 3, H, W) normalised; target: heatmaps (B, C, h, w), one for every output; weight: (B, K)."""

    image: Tensor
    target: tuple[Tensor, ...]
    weight: Tensor


class CrowdLabeled(NamedTuple):
    """image: (B, 3, S, S) normalised; target: heatmaps (B, K, h, w) and masks (B, h, w), one for every output;
    index: (B, P, K), where the tags of people are read."""

    image: Tensor
    target: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    index: Tensor  # type: ignore[assignment]  # hides the method of tuples, which is of no use here


class Prepared(NamedTuple):
    """What a step makes of a batch without a network; unlabeled: (B, 3, H, W) normalised, None if supervised."""

    labeled: Labeled | CrowdLabeled
    unlabeled: Tensor | None


class Supervised(Protocol):
    """What people teach (`Supervision` for crops, `CrowdSupervision` for whole images).

    Labelled ones: the targets of a batch, a student's outputs and their loss. Unlabelled ones: the maps that a
    teacher and a student make of an image, and in what these differ. Any: each kind takes what is its own, and an
    experiment has one kind of everything.
    """

    def label(self, image: Tensor, batch: Any) -> Labeled | CrowdLabeled: ...

    def answer(self, student: nn.Module, image: Tensor) -> Sequence[Tensor]: ...

    def loss(self, outputs: Sequence[Tensor], labeled: Any) -> Tensor: ...

    def maps(self, outputs: Any) -> Tensor: ...

    def consistency(self, found: Tensor, pseudo: Tensor) -> Tensor: ...


class Losses(NamedTuple):
    """Scalars: `total` is what is minimised, the others are its terms."""

    total: Tensor
    supervised: Tensor
    consistency: Tensor | None = None
