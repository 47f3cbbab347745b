"""DARK: the sub-pixel peak of a heatmap, by one Newton step on its logarithm."""

from __future__ import annotations

import torch

from sshpe_lib.codec.gaussian import blur, blur_around

FLOOR, CEILING = 0.001, 50.0  # of heights, before their logarithm


def dark_refine(
    pixels: torch.Tensor, heatmaps: torch.Tensor, kernel: int = 7, rescale: bool = False
) -> torch.Tensor:
    """Move pixels to the maxima of the quadratics that fit the logarithms of the blurred heatmaps there.

    pixels: (P, K, 2), (x, y) in heatmap px, read at the whole pixel below; heatmaps: (P, K, H, W), or (1, K, H,
    W) for P people of one image; kernel: odd size of the blur. `rescale` stretches a blurred map from its own
    minimum and maximum to 0 and the height before the blur, as UDP's code does; without it, as in its later
    code for MMPose. Returns (P, K, 2). The step is -H^-1 g of central differences and is not limited; it is 0
    where H is singular. Source: Eq. 9 of DARK (Zhang et al. 2020), `post` of UDP.
    """
    base = pixels.long()
    heights = _on_the_map(
        blur_around(heatmaps[:, :, None], base, kernel, 1)[:, :, 0], base, heatmaps.shape[-2:]
    )
    if rescale:
        blurred = blur(heatmaps, kernel)
        low, high = blurred.amin((2, 3)), blurred.amax((2, 3))
        # A flat map has nothing to stretch, and no peak.
        scale = heatmaps.amax((2, 3)) / (high - low).clamp_min(torch.finfo(blurred.dtype).tiny)
        heights = (heights - low[..., None]) * scale[..., None]
    return pixels - _newton_step(heights.clamp(FLOOR, CEILING).log())


def _on_the_map(heights: torch.Tensor, pixels: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """3 x 3 heights around whole pixels, (P, K, 9), with those beyond the border replaced by those on it."""
    around = torch.arange(-1, 2, device=heights.device)
    height, width = size
    column = (pixels[..., 0, None] + around).clamp(0, width - 1) - pixels[..., 0, None] + 1
    row = (pixels[..., 1, None] + around).clamp(0, height - 1) - pixels[..., 1, None] + 1
    return heights.gather(2, (row[..., :, None] * 3 + column[..., None, :]).flatten(2))


def _newton_step(heights: torch.Tensor) -> torch.Tensor:
    """H^-1 g of (P, K, 9) heights, (P, K, 2).

    The mixed derivative uses the two corners of the main diagonal only, as the reference does.
    """
    corner, above, _, left, middle, right, _, below, opposite = heights.unbind(-1)
    dx, dy = (right - left) / 2, (below - above) / 2
    dxx, dyy = right - 2 * middle + left, below - 2 * middle + above
    dxy = (opposite - right - below + 2 * middle - left - above + corner) / 2
    determinant = dxx * dyy - dxy * dxy
    step = torch.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], dim=-1) / determinant[..., None]
    return step.masked_fill((determinant == 0)[..., None], 0)
