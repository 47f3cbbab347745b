"""The highest pixel of a heatmap."""

from __future__ import annotations

import math

import torch


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
    best = pieces[torch.arange(pieces.shape[0], device=heatmaps.device), piece]
    index = (piece * pieces.shape[-1] + best.argmax(dim=-1)).view(batch, joints)
    heights = heights.view(batch, joints)
    pixels = torch.stack([index % width, index.div(width, rounding_mode="floor")], dim=-1)
    return pixels.to(heatmaps.dtype) * (heights > 0)[..., None], heights
