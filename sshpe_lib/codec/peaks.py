"""The highest pixel of a heatmap, as it is or blurred."""

from __future__ import annotations

import torch

from sshpe_lib.codec.gaussian import blur, blur_matrix, product, reflect
from sshpe_lib.modes import is_traced

ROUNDING = 1e-5  # of a height, relative: rows that differ by less may change places in float32


def highest_pixels(heatmaps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first highest pixel of each heatmap, in rows from the top.

    heatmaps: (B, K, H, W). Returns pixels (B, K, 2), (x, y) in heatmap px of the heatmaps' dtype, and heights
    (B, K). The pixel is (0, 0) where the height is not above 0.
    """
    width, flat = heatmaps.shape[-1], heatmaps.flatten(2)
    index = first_highest(flat)
    heights = flat.gather(2, index[..., None])[..., 0]
    pixels = torch.stack([index % width, index.div(width, rounding_mode="floor")], dim=-1)
    return pixels.to(heatmaps.dtype) * (heights > 0)[..., None], heights


def first_highest(flat: torch.Tensor) -> torch.Tensor:
    """The place of the first highest of numbers in a row, (B, K) long.

    flat: (B, K, N), floating point. A NaN counts as the highest.
    """
    if flat.device.type != "cpu" or is_traced():
        return flat.argmax(-1)
    # PyTorch's `argmax` on a CPU reads single numbers, NumPy's reads vectors.
    numbers = flat.detach().to(torch.promote_types(flat.dtype, torch.float32)).numpy()
    return torch.from_numpy(numbers.argmax(-1))


def highest_blurred_pixels(maps: torch.Tensor, kernel: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`highest_pixels` of `gaussian.blur` of the maps, of which little is blurred.

    maps: (B, K, C, H, W), of whose C channels the first is read; kernel: odd size of the blur. A blurred row is
    nowhere higher than the blur of its rows' maxima. Most maps have one peak, and rows far from it that cannot
    reach its height: only the rows around it are blurred. Where others could, all of the map is.
    """
    batch, joints, channels, height, width = maps.shape
    around = (kernel + 1) // 4
    if height <= 2 * around or is_traced():  # a traced graph does not choose by the maps
        return highest_pixels(blur(maps[:, :, 0], kernel))
    limits = _row_limits(maps[:, :, 0], kernel)
    middle = limits.argmax(dim=-1, keepdim=True).clamp(around, height - 1 - around)
    reach = kernel // 2 + around
    first = torch.arange(batch * joints, device=maps.device).view(batch, joints, 1) * (channels * height)
    read = first + reflect(middle + torch.arange(-reach, reach + 1, device=maps.device), height)
    strips = maps.reshape(-1, width).index_select(0, read.flatten()).view(batch, joints, 2 * reach + 1, width)
    along_y = blur_matrix(2 * around + 1, kernel, maps, padded=True)
    strips = product(product(along_y, strips), blur_matrix(width, kernel, maps).mT)
    pixels, heights = highest_pixels(strips)
    pixels[..., 1] += (middle[..., 0] - around) * (heights > 0)

    inside = (torch.arange(height, device=maps.device) - middle).abs() <= around
    unsure = ~(limits.masked_fill(inside, 0).amax(dim=-1) < heights * (1 - ROUNDING))
    if unsure.any():
        blurred = blur(maps[:, :, 0][unsure][None], kernel)
        pixels[unsure], heights[unsure] = (found[0] for found in highest_pixels(blurred))
    return pixels, heights


def _row_limits(heatmaps: torch.Tensor, kernel: int) -> torch.Tensor:
    """What no pixel of a blurred row exceeds, (B, K, H)."""
    height = heatmaps.shape[2]
    tall = 2 - height % 2  # rows in pairs: a maximum of many numbers that lie in a row is five times as fast
    tops = heatmaps.unflatten(2, (-1, tall)).flatten(3).amax(dim=-1).clamp_min(0)
    along_y = blur_matrix(height, kernel, heatmaps).unflatten(1, (-1, tall)).sum(dim=-1)
    return product(tops, along_y.mT)
