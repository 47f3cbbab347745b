"""What a method gets and gives back at one training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn


class Teacher(Protocol):
    """Whoever makes pseudo heatmaps; `network` is what is evaluated, and trained too where it `learns`."""

    network: nn.Module
    learns: bool

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


class Supervised(Protocol):
    """What labelled people teach (`supervision.Supervision`): a student's outputs on them, and the loss of these."""

    def answer(self, student: nn.Module, image: Tensor) -> Sequence[Tensor]: ...

    def loss(self, outputs: Sequence[Tensor], labeled: Labeled) -> Tensor: ...


class Losses(NamedTuple):
    """Scalars: `total` is what is minimised, the others are its terms."""

    total: Tensor
    supervised: Tensor
    consistency: Tensor | None = None
