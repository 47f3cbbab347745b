"""Cutout at random places: Joint Cutout without the joints, which isolates their role."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sshpe_lib.augment import boxes
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.limits import check_count, check_limits, check_maps
from sshpe_lib.augment.view import View


@dataclass(frozen=True)
class Cutout:
    """Boxes of the mean colour, their centres uniform over the pixels of the crop (DeVries and Taylor 2017).

    holes: boxes per image, which may overlap; half_size: the smallest and the largest half side in pixels of
    a 192x256 crop, drawn independently for width and height, as in `JointCutout`. A box is clipped to the
    crop.

    Raises:
        SSHPEError: less than one hole, half sizes below 1 or the larger first.
    """

    holes: int = 5
    half_size: tuple[int, int] = (10, 19)

    def __post_init__(self) -> None:
        check_count("cutout's holes", self.holes)
        check_limits("cutout's half_size", tuple(self.half_size), 1)

    def __call__(self, view: View, heatmaps: Tensor, draw: Draw) -> tuple[View, Tensor]:
        """image: (B, C, H, W) normalised, left as it is; heatmaps: (B, K, h, w), returned as they are.

        Raises SSHPEError where images are not floating.
        """
        check_maps("cutout's images", view.image)
        batch, _, height, width = view.image.shape
        place = draw.rand(batch, self.holes, 2)
        centers = torch.stack(
            [boxes.integers(place[..., axis], length) for axis, length in enumerate((width, height))], dim=-1
        )
        halves = boxes.half_sizes(draw.rand(batch, self.holes, 2), self.half_size, width)
        largest = boxes.largest_half(self.half_size, width)
        centers, halves = draw.send(centers, halves)
        return replace(view, image=boxes.cut(view.image, centers, halves, largest)), heatmaps
