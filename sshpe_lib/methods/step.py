"""What a method gets and gives back at one training step."""

from __future__ import annotations

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
    """image: (B, 3, H, W) normalised; target: (B, K, h, w) heatmaps; weight: (B, K)."""

    image: Tensor
    target: Tensor
    weight: Tensor


class Losses(NamedTuple):
    """Scalars: `total` is what is minimised, the others are its terms."""

    total: Tensor
    supervised: Tensor
    consistency: Tensor | None = None
