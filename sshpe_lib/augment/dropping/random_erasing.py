"""Random Erasing: a rectangle of random area, aspect and place (Zhong et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.dropping.operation import Dropping, Fill, both
from sshpe_lib.augment.limits import check_limits
from sshpe_lib.transfer import up_to

TRIES = 100


@dataclass(frozen=True)
class RandomErasing(Dropping):
    """One rectangle that is smaller than the image both ways, its place uniform over where it fits.

    area: the least and the largest share of the image; aspect: of height to width. Both are drawn uniformly,
    again until the rectangle fits; after 100 tries the image stays whole.
    """

    probability: float = 0.5
    fill: Fill = "mean"
    area: tuple[float, float] = (0.02, 0.4)
    aspect: tuple[float, float] = (0.3, 1 / 0.3)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limits("area", tuple(self.area), 0, 1)
        check_limits("aspect", tuple(self.aspect), 1e-3)

    def _numbers(self, batch: int, width: int, height: int, draw: Draw) -> tuple[Tensor, ...]:
        """Upper left corners and sizes of the rectangles, (B, 2) each."""
        # All the tries at once: the first that fits is distributed as in a loop that ends there.
        tries = draw.rand(batch, TRIES, 2)
        area, aspect = (
            low + (high - low) * tries[..., axis] for axis, (low, high) in enumerate((self.area, self.aspect))
        )
        size = first_fit(sizes(area, aspect, width, height), width, height)
        place = draw.rand(batch, 2)
        room = torch.stack([width - size[:, 0], height - size[:, 1]], dim=-1)
        return (place * (room + 1)).long(), size

    def _dropped(self, numbers: Sequence[Tensor], width: int, height: int) -> Tensor:
        corners, size = numbers
        return rectangles(corners, size, width, height)


def sizes(area: Tensor, aspect: Tensor, width: int, height: int) -> Tensor:
    """Width and height in whole pixels, (..., 2), of rectangles with a share of the image and h / w = aspect."""
    pixels = area * (width * height)
    return torch.stack([(pixels / aspect).sqrt(), (pixels * aspect).sqrt()], dim=-1).round().long()


def first_fit(sizes: Tensor, width: int, height: int) -> Tensor:
    """The first of N sizes, (B, N, 2), that is smaller than the image both ways: (B, 2), or 0 where none is."""
    fits = (sizes[..., 0] < width) & (sizes[..., 1] < height)
    first = fits.int().argmax(1)  # of equal values, the first
    return sizes[up_to(len(sizes), sizes.device), first] * fits.any(1, keepdim=True)


def rectangles(corners: Tensor, sizes: Tensor, width: int, height: int) -> Tensor:
    """The pixels of one rectangle per image, (B, H, W) bool; corners (upper left), sizes: (B, 2) long, (x, y)."""
    spans = []
    for axis, length in enumerate((width, height)):
        pixel, first = up_to(length, corners.device), corners[:, axis, None]
        spans.append((pixel >= first) & (pixel < first + sizes[:, axis, None]))
    return both(spans[1][:, :, None], spans[0][:, None, :])
