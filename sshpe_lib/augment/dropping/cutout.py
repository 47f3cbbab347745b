"""Cutout (DeVries and Taylor 2017) as information dropping: the ellipse of AID's official code, or the square."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from sshpe_lib.augment import boxes
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.dropping.operation import Dropping, any_of, at_most, both
from sshpe_lib.augment.limits import check_choice, check_count, check_limits
from sshpe_lib.transfer import constant, up_to

Shape = Literal["ellipse", "square"]


@dataclass(frozen=True)
class InformationCutout(Dropping):
    """Holes whose centres are uniform over the image; a hole is clipped to the image.

    shape: "ellipse", both radii drawn from `radius` independently, or "square", `length` wide. radius, length:
    in widths of the image, also where they are measured downwards. holes: per image, which may overlap. By
    default, AID's one ellipse of its top-down training; the square's default is that of CIFAR-10.
    """

    shape: Shape = "ellipse"
    radius: tuple[float, float] = (0.2, 0.4)
    length: float = 0.5
    holes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("shape", self.shape, get_args(Shape))
        check_limits("radius", tuple(self.radius), 1e-3)
        check_limits("length", (self.length,), 0)
        check_count("holes", self.holes)

    def _numbers(self, batch: int, width: int, height: int, draw: Draw) -> tuple[Tensor, ...]:
        """Centres, (B, N, 2), and an ellipse's radii, (B, N, 2)."""
        place = draw.rand(batch, self.holes, 2)
        if self.shape == "square":
            axes = zip(place.unbind(-1), (width, height), strict=True)
            return (torch.stack([boxes.integers(uniform, size) for uniform, size in axes], dim=-1),)
        low, high = self.radius
        radii = (low + (high - low) * draw.rand(batch, self.holes, 2)) * width
        return torch.stack([place[..., 0] * width, place[..., 1] * height], dim=-1), radii

    def _dropped(self, numbers: Sequence[Tensor], width: int, height: int) -> Tensor:
        if self.shape == "square":
            return squares(numbers[0], int(self.length * width + 0.5), width, height)
        return ellipses(numbers[0], numbers[1], width, height)


def ellipses(centers: Tensor, radii: Tensor, width: int, height: int) -> Tensor:
    """The pixels with ((cx - x) / rx)^2 + ((cy - y) / ry)^2 <= 1 for any of N ellipses, (B, H, W) bool.

    centers, radii: (B, N, 2), (x, y) in pixels, floating point.
    """
    across, down = (
        (centers[..., axis, None] - up_to(length, centers.device)) / radii[..., axis, None]
        for axis, length in enumerate((width, height))
    )
    distances = across.square()[..., None, :] + down.square()[..., None]
    return any_of(at_most(distances, constant(1.0, distances.device, distances.dtype)))


def squares(centers: Tensor, length: int, width: int, height: int) -> Tensor:
    """The pixels c - length // 2 to c + length // 2 - 1 of both axes for any of N squares, (B, H, W) bool.

    centers: (B, N, 2) long, (x, y). As in DeVries and Taylor's code, an odd length counts as the even one
    below it.
    """
    rows, cols = boxes.cover(centers, torch.full_like(centers, length // 2), width, height)
    return any_of(both(rows[..., None], cols[..., None, :]))
