"""Gaussians as training targets, and the Gaussian blur before a heatmap is read."""

from __future__ import annotations

import cv2
import torch


def bells(
    means: torch.Tensor, centers: torch.Tensor, visible: torch.Tensor, size: tuple[int, int], sigma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw Gaussians of peak 1 at `means`, cut off beyond 3 sigma of the whole pixels `centers`.

    means, centers: (B, K, 2) heatmap px; visible: (B, K), drawn where > 0; size: (width, height). Returns
    heatmaps (B, K, H, W) and weights (B, K), 0 where nothing is drawn or the window lies outside the map.
    Source: `generate_target` of HRNet, whose window may miss the map by one pixel and keep its weight.
    """
    radius = int(3 * sigma)
    present = visible > 0
    for axis, length in enumerate(size):
        center = centers[..., axis]
        present = present & ~((center - radius >= length) | (center + radius + 1 < 0))
    along_x, along_y = (
        _bell(means[..., axis], centers[..., axis], present, length, radius, sigma)
        for axis, length in enumerate(size)
    )
    return along_y[..., :, None] * along_x[..., None, :], present.to(means.dtype)


def _bell(
    mean: torch.Tensor, center: torch.Tensor, present: torch.Tensor, length: int, radius: int, sigma: float
) -> torch.Tensor:
    """A Gaussian along one axis, (B, K, length): 0 beyond `radius`, and all 0 where a joint is not present.

    A Gaussian is the product of its two axes, so 17 maps of 64 x 48 cost 17 x (64 + 48) exponentials.
    """
    pixels = torch.arange(length, device=mean.device, dtype=mean.dtype)
    outside = ((pixels - center[..., None]).abs() > radius) | ~present[..., None]
    return torch.exp(-((pixels - mean[..., None]) ** 2) / (2 * sigma**2)).masked_fill(outside, 0)


def kernel_weights(kernel: int, like: torch.Tensor) -> torch.Tensor:
    """OpenCV's Gaussian of an odd `kernel` size with no sigma given, (kernel,), in the dtype and device of `like`.

    Up to 7 taps it is a table of binary fractions, beyond it sigma = 0.3 ((kernel - 1) / 2 - 1) + 0.8.
    """
    return torch.from_numpy(cv2.getGaussianKernel(kernel, 0)[:, 0]).to(like)


def reflect(index: torch.Tensor, length: int) -> torch.Tensor:
    """Whole numbers outside 0 .. length - 1, mirrored at the first and the last pixel (OpenCV's default border)."""
    period = max(2 * (length - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index) if length > 1 else torch.zeros_like(index)


def blur(heatmaps: torch.Tensor, kernel: int) -> torch.Tensor:
    """Gaussian blur of every map as OpenCV's `GaussianBlur(map, (kernel, kernel), 0)`.

    heatmaps: (B, K, H, W), float32 at least. Two products with band matrices, one an axis: at these sizes
    several times faster on a CPU than convolutions of single channels or sums of shifted maps.
    """
    height, width = heatmaps.shape[-2:]
    along_x, along_y = _band(width, kernel, heatmaps), _band(height, kernel, heatmaps)
    return torch.matmul(along_y, torch.matmul(heatmaps, along_x.mT))


def _band(length: int, kernel: int, like: torch.Tensor) -> torch.Tensor:
    """The matrix (length, length) that blurs a column of pixels."""
    pixels = torch.arange(length, device=like.device)
    taps = torch.arange(kernel, device=like.device) - kernel // 2
    weights = kernel_weights(kernel, like).expand(length, kernel)
    matrix = torch.zeros(length, length, device=like.device, dtype=like.dtype)
    return matrix.scatter_add_(1, reflect(pixels[:, None] + taps, length), weights)
