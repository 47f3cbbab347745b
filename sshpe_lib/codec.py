"""Keypoints to heatmaps and back, batched on the points' or heatmaps' device.

A codec is a small frozen value: the sizes of crop and heatmap, and the shape of a target. `encode` makes
training targets, `decode` reads a network's heatmaps; both speak crop pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class MSRAHeatmap:
    """The Gaussian heatmaps of SimpleBaseline and HRNet: centred on whole pixels, decoded by a quarter shift.

    input_size, heatmap_size: (width, height) of the crop and of a heatmap; sigma: standard deviation in
    heatmap pixels. A heatmap pixel (i, j) stands for the crop pixel (stride_x i, stride_y j).
    """

    input_size: tuple[int, int] = (192, 256)
    heatmap_size: tuple[int, int] = (48, 64)
    sigma: float = 2.0

    @property
    def stride(self) -> tuple[float, float]:
        """Crop pixels per heatmap pixel, along x and y."""
        return self.input_size[0] / self.heatmap_size[0], self.input_size[1] / self.heatmap_size[1]

    def encode(self, points: torch.Tensor, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw every joint as a Gaussian of peak 1, cut off at 3 sigma.

        points: (B, K, 2) crop px; visible: (B, K), a joint counts where it is > 0. Returns heatmaps (B, K, H,
        W) and weights (B, K), 0 or 1: a joint that does not count, or whose window lies outside the map, has
        an empty heatmap and weight 0. Both have the points' device and, if float32 or float64, dtype. A
        visible joint at NaN gives a NaN heatmap rather than a silent zero. Source: `generate_target` of
        HRNet.
        """
        points = points.to(torch.promote_types(points.dtype, torch.float32))
        radius = int(3 * self.sigma)
        # Truncation, not floor: just left of the frame, (-1.5, -0.5] strides, still rounds to pixel 0.
        centers = [(points[..., axis] / self.stride[axis] + 0.5).trunc() for axis in (0, 1)]
        present = visible > 0
        for center, length in zip(centers, self.heatmap_size, strict=True):
            present = present & ~((center - radius >= length) | (center + radius + 1 < 0))
        along_x, along_y = (
            _bell(center, present, length, radius, self.sigma)
            for center, length in zip(centers, self.heatmap_size, strict=True)
        )
        return along_y[..., :, None] * along_x[..., None, :], present.to(points.dtype)

    def decode(self, heatmaps: torch.Tensor, refine: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Read each heatmap's highest pixel, moved a quarter pixel towards its higher neighbour.

        heatmaps: (B, K, H, W). `refine=False` leaves the quarter shift out. Returns points (B, K, 2) in crop
        px and scores (B, K), the heights; where no height is above 0 the point is (0, 0). Half-precision
        heatmaps give float32. Source: `get_final_preds` of HRNet.
        """
        heatmaps = heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32))
        pixels, scores = highest_pixels(heatmaps)
        if refine:
            pixels = pixels + _quarter_shift(heatmaps, pixels)
        return torch.stack([pixels[..., axis] * self.stride[axis] for axis in (0, 1)], dim=-1), scores


def highest_pixels(heatmaps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first highest pixel of each heatmap, in rows from the top.

    heatmaps: (B, K, H, W). Returns pixels (B, K, 2), (x, y) in heatmap px of the heatmaps' dtype, and heights
    (B, K). The pixel is (0, 0) where the height is not above 0.
    """
    batch, joints, height, width = heatmaps.shape
    # `max` with an index reads single numbers, `amax` reads vectors: find the best of 32 pieces, then look
    # into it. Both take the first of equal maxima, and let a NaN win.
    count = math.gcd(height * width, 32)
    pieces = heatmaps.reshape(batch * joints, count, height * width // count)
    heights, piece = pieces.amax(dim=-1).max(dim=-1)
    best = pieces[torch.arange(len(pieces), device=heatmaps.device), piece]
    index = (piece * pieces.shape[-1] + best.argmax(dim=-1)).view(batch, joints)
    heights = heights.view(batch, joints)
    pixels = torch.stack([index % width, index.div(width, rounding_mode="floor")], dim=-1)
    return pixels.to(heatmaps.dtype) * (heights > 0)[..., None], heights


def _quarter_shift(heatmaps: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """A quarter pixel towards the higher neighbour along x and y; none within two pixels of the low border.

    The lopsided interior, 1 < x < W - 1, is the reference's.
    """
    height, width = heatmaps.shape[-2:]
    x, y = pixels.long().unbind(-1)
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    index = torch.where(inside, y * width + x, width + 1)[..., None]
    steps = torch.tensor([1, -1, width, -width], device=heatmaps.device)
    right, left, below, above = heatmaps.flatten(2).gather(2, index + steps).unbind(-1)
    return torch.stack([right - left, below - above], dim=-1).sign() * (0.25 * inside[..., None])


def _bell(
    center: torch.Tensor, present: torch.Tensor, length: int, radius: int, sigma: float
) -> torch.Tensor:
    """A Gaussian along one axis, (B, K, length): 0 beyond `radius`, and all 0 where a joint is not present.

    A Gaussian is the product of its two axes, so 17 maps of 64 x 48 cost 17 x (64 + 48) exponentials.
    """
    distance = torch.arange(length, device=center.device, dtype=center.dtype) - center[..., None]
    outside = (distance.abs() > radius) | ~present[..., None]
    return torch.exp(-(distance**2) / (2 * sigma**2)).masked_fill(outside, 0)
