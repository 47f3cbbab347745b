"""GridMask: squares at regular intervals, turned and shifted at random (Chen et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sshpe_lib.augment import boxes
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.dropping.operation import Dropping, Fill, at_most, both
from sshpe_lib.augment.limits import check_limits
from sshpe_lib.errors import SSHPEError
from sshpe_lib.transfer import up_to


@dataclass(frozen=True)
class GridMask(Dropping):
    """Two sets of parallel bars at right angles; the squares that they leave free are dropped.

    spacing: of the bars, the least and the largest, in widths of the image; drawn in whole pixels. By default
    that of ImageNet, 96 to 224 pixels of 224. ratio: the bar's share of the spacing, so (1 - ratio)^2 of the
    pixels are dropped. rotate: degrees, the mesh is turned by 0 to this. invert: the mode 1 of the official
    code; without it the bars are dropped and the squares stay.
    """

    fill: Fill = "mean"
    spacing: tuple[float, float] = (96 / 224, 1.0)
    ratio: float = 0.6
    rotate: float = 360.0
    invert: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limits("spacing", tuple(self.spacing), 1e-3)
        check_limits("ratio", (self.ratio,), 0, 1)
        check_limits("rotate", (self.rotate,), 0, 360)

    def _numbers(self, batch: int, width: int, height: int, draw: Draw) -> tuple[Tensor, ...]:
        """Spacing and width of the bars, (B,), their phase, (B, 2), and their turn, (B, 2, 2)."""
        first, last = (int(limit * width + 0.5) for limit in self.spacing)
        if first < 1:
            raise SSHPEError(f"spacing is {self.spacing}, less than a pixel of {width}; give larger ones")
        uniform = draw.rand(batch, 4)
        # Like `randint`, without its end, unless that leaves nothing to draw.
        spacing = first + boxes.integers(uniform[:, 0], max(last - first, 1))
        # The phase is uniform, so it is all one what point the mesh is turned about.
        phase = uniform[:, 1:3] * spacing[:, None]
        return spacing, bar(spacing, self.ratio), phase, rotations(uniform[:, 3] * self.rotate)

    def _dropped(self, numbers: Sequence[Tensor], width: int, height: int) -> Tensor:
        spacing, wide, phase, turn = numbers
        bars = mesh(spacing, wide, phase, turn, width, height)
        return ~bars if self.invert else bars


def bar(spacing: Tensor, ratio: float) -> Tensor:
    """The width of a bar: `ratio` of the spacing, rounded up to whole pixels."""
    # In float32, 0.6 of 100 would be more than 60.
    return (spacing.double() * ratio).ceil().long()


def rotations(degrees: Tensor) -> Tensor:
    """[[cos, -sin], [sin, cos]], (B, 2, 2)."""
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, sin, cos], dim=-1).view(-1, 2, 2)


def mesh(spacing: Tensor, bar: Tensor, phase: Tensor, turn: Tensor, width: int, height: int) -> Tensor:
    """The pixels that lie on a bar, (B, H, W) bool.

    A pixel's place in the mesh is turn (x, y) + phase; it is on a bar where either coordinate modulo `spacing`
    is less than `bar`. spacing, bar: (B,) whole pixels; phase: (B, 2); turn: (B, 2, 2), both floating point.
    """
    x = up_to(width, turn.device, turn.dtype)
    y = up_to(height, turn.device, turn.dtype)
    spacing, bar = (length.to(turn.dtype)[:, None, None] for length in (spacing, bar))
    free = []
    for axis in range(2):
        along = turn[:, axis, 0, None] * x + phase[:, axis, None]
        place = along[:, None, :] + (turn[:, axis, 1, None] * y)[:, :, None]
        # `remainder` takes twice the time.
        place -= (place / spacing).floor_().mul_(spacing)
        free.append(at_most(bar, place))
    return ~both(*free)
