"""Gaussians as training targets, and the Gaussian blur before a heatmap is read."""

from __future__ import annotations

import cv2
import torch

from sshpe_lib.modes import is_traced, without_autocast
from sshpe_lib.transfer import constant, up_to


def bells(
    means: torch.Tensor, centers: torch.Tensor, visible: torch.Tensor, size: tuple[int, int], sigma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw Gaussians of peak 1 at `means`, cut off beyond 3 sigma of the whole pixels `centers`.

    means, centers: (B, K, 2) heatmap px; visible: (B, K), drawn where > 0; size: (width, height). Returns
    heatmaps (B, K, H, W), channels last in memory, and weights (B, K), 0 where nothing is drawn or the window lies
    outside the map.
    Source: `generate_target` of HRNet, whose window may miss the map by one pixel and keep its weight.
    """
    # Both axes at once, x and then y: the numbers are few, and a GPU takes as long for a kernel of any of them. A
    # Gaussian is the product of its two axes, so 17 maps of 64 x 48 cost 17 x (64 + 48) exponentials.
    radius = int(3 * sigma)
    present = (visible > 0) & ~_beyond(centers, size, radius)
    # What is not there is infinitely far from every pixel.
    absent = ~present[..., None]
    from_center = _away(centers.masked_fill(absent, torch.inf), size)
    from_mean = from_center if means is centers else _away(means.masked_fill(absent, torch.inf), size)
    cut_off = _cut_off_on_cpu if means.device.type == "cpu" else _cut_off
    along_x, along_y = cut_off(from_mean, from_center, radius, sigma).split(size, dim=1)
    # Channels last, as networks answer: to turn whole maps round takes longer than to draw them.
    maps = along_y[:, :, None] * along_x[:, None]
    return maps.permute(0, 3, 1, 2), present.to(means.dtype)


def _away(points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """How far the pixels of x and then of y are from each point, (B, W + H, K)."""
    pixels = torch.cat([up_to(length, points.device, points.dtype) for length in size])[:, None]
    return pixels - _spread(points, size)


def _cut_off(from_mean: torch.Tensor, from_center: torch.Tensor, radius: int, sigma: float) -> torch.Tensor:
    """Gaussians at such distances from their means, 0 farther than the radius from their centres."""
    # Filled before `exp`, which takes three times as long where its results are subnormal.
    exponent = from_mean.square().div_(-2 * sigma**2)
    return exponent.masked_fill_(from_center.abs() > radius, -torch.inf).exp_()


def _cut_off_on_cpu(
    from_mean: torch.Tensor, from_center: torch.Tensor, radius: int, sigma: float
) -> torch.Tensor:
    """`_cut_off` to the last bit, without what a CPU is slow with: masks, and exponentials of infinity."""
    # Distances of whole pixels: 1 up to the radius, 0 beyond.
    inside = from_center.abs().neg_().add_(radius + 1).clamp_(0, 1)
    # Inside, no mean is so far away.
    near = from_mean.clamp(-radius - 2, radius + 2)
    return near.square_().div_(-2 * sigma**2).exp_().mul_(inside)


def _beyond(centers: torch.Tensor, size: tuple[int, int], radius: int) -> torch.Tensor:
    """Whether a window misses the map, (B, K)."""
    lengths = constant(size, centers.device, centers.dtype)
    beyond = (centers - radius >= lengths) | (centers < -radius - 1)
    return beyond[..., 0] | beyond[..., 1]  # a CPU takes several times as long for `any` of two


def _spread(points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The x of points (B, K, 2) for every pixel of a row, then the y for every one of a column, (B, W + H, K)."""
    return torch.cat(
        [points[:, None, :, axis].expand(-1, length, -1) for axis, length in enumerate(size)], dim=1
    )


def kernel_weights(kernel: int, like: torch.Tensor) -> torch.Tensor:
    """OpenCV's Gaussian of an odd `kernel` size with no sigma given, (kernel,), in the dtype and device of `like`.

    In OpenCV 5 it is a table of binary fractions up to 9 taps, beyond them sigma = 0.3 ((kernel - 1) / 2 - 1) + 0.8.
    """
    return constant(tuple(cv2.getGaussianKernel(kernel, 0)[:, 0].tolist()), like.device, like.dtype)


def reflect(index: torch.Tensor, length: int) -> torch.Tensor:
    """Whole numbers outside 0 .. length - 1, mirrored at the first and the last pixel (OpenCV's default border)."""
    period = max(2 * (length - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index) if length > 1 else torch.zeros_like(index)


def blur(heatmaps: torch.Tensor, kernel: int) -> torch.Tensor:
    """Gaussian blur of every map as OpenCV's `GaussianBlur(map, (kernel, kernel), 0)`.

    heatmaps: (B, K, H, W), float32 at least. On a CPU it is OpenCV's own.
    """
    if heatmaps.device.type == "cpu" and not (is_traced() or heatmaps.requires_grad):
        blurred = torch.empty(heatmaps.shape, dtype=heatmaps.dtype)
        for one, target in zip(
            heatmaps.contiguous().flatten(0, 1).numpy(), blurred.flatten(0, 1).numpy(), strict=True
        ):
            cv2.GaussianBlur(one, (kernel, kernel), 0, dst=target)
        return blurred
    return blur_by_matrices(heatmaps, kernel)


def blur_by_matrices(heatmaps: torch.Tensor, kernel: int) -> torch.Tensor:
    """`blur` for any device, for a graph that is traced, and with a gradient.

    Two products with band matrices, one an axis: at these sizes several times faster than convolutions of single
    channels or sums of shifted maps.
    """
    height, width = heatmaps.shape[-2:]
    along_x, along_y = blur_matrix(width, kernel, heatmaps), blur_matrix(height, kernel, heatmaps)
    return product(along_y, product(heatmaps, along_x.mT))


def product(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """`torch.matmul` in the tensors' own precision: in bfloat16 the peaks of a blurred map are elsewhere."""
    with without_autocast(first.device):
        return torch.matmul(first, second)


def blur_around(
    maps: torch.Tensor, pixels: torch.Tensor, kernel: int, around: int = 0, skip: int = 0
) -> torch.Tensor:
    """What blurred maps hold at whole pixels and up to `around` pixels from them; nothing else is read or blurred.

    maps: (P, K, C, H, W), or (1, K, C, H, W) for P people of one image; pixels: (P, K, 2), whole, (x, y); skip: so
    many first channels are left out. Returns (P, K, C - skip, (2 around + 1)^2), in rows. What lies outside the
    map has the values of mirrored pixels.
    """
    groups, joints, channels, height, width = maps.shape
    reach = kernel // 2 + around
    taps = torch.arange(-reach, reach + 1, device=maps.device)
    x, y = (reflect(pixels[..., axis, None].long() + taps, n) for axis, n in enumerate((width, height)))
    first = torch.arange(groups * joints * channels, device=maps.device) * (height * width)
    within = (y[..., :, None] * width + x[..., None, :]).flatten(2)
    first = first.view(groups, joints, channels, 1)[:, :, skip:]
    places = first + within[:, :, None]
    # To index with [places] takes three times as long.
    patches = maps.reshape(-1).index_select(0, places.flatten()).view(places.shape)
    matrix = blur_matrix(2 * around + 1, kernel, maps, padded=True)
    return product(patches, torch.kron(matrix, matrix).mT)


def blur_matrix(length: int, kernel: int, like: torch.Tensor, padded: bool = False) -> torch.Tensor:
    """The matrix (length, length) that blurs a column of pixels, in the dtype and device of `like`.

    padded: (length, length + kernel - 1), for a column that holds the pixels beyond its ends itself.
    """
    pixels = torch.arange(length, device=like.device)
    taps = torch.arange(kernel, device=like.device) - kernel // 2
    weights = kernel_weights(kernel, like).expand(length, kernel)
    wide = length + kernel - 1 if padded else length
    index = pixels[:, None] + taps + kernel // 2 if padded else reflect(pixels[:, None] + taps, length)
    return torch.zeros(length, wide, device=like.device, dtype=like.dtype).scatter_add_(1, index, weights)
