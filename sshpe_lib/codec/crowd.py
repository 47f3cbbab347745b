"""Heatmaps that hold every person of an image at once, and where each joint's tag is read."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sshpe_lib.codec.shapes import set_sizes
from sshpe_lib.errors import SSHPEError


@dataclass(frozen=True)
class CrowdHeatmap:
    """The targets of bottom-up networks at one resolution.

    heatmap_size: (width, height); sigma: of a Gaussian, heatmap px; unbiased: its peak stands at the sub-pixel
    place, as in UDP, and not on the whole pixel below it. Source: `HeatmapGenerator` of HigherHRNet, and UDP's.

    Raises:
        SSHPEError: a size below 1 or a sigma that is not positive.
    """

    heatmap_size: tuple[int, int] = (128, 128)
    sigma: float = 2.0
    unbiased: bool = False

    def __post_init__(self) -> None:
        set_sizes(self, heatmap_size=self.heatmap_size)
        if min(self.heatmap_size) < 1 or not self.sigma > 0:
            raise SSHPEError(
                f"heatmaps of {self.heatmap_size} with a sigma of {self.sigma}: give sizes of at least 1 and a "
                "positive sigma"
            )

    def present(self, points: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """(B, P, K) bool: labelled joints whose whole pixel, towards 0, lies in the heatmap."""
        width, height = self.heatmap_size
        x, y = points.trunc().unbind(-1)
        return (visible > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)

    def encode(self, points: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Draw all people; where Gaussians of one joint overlap, the higher one stands.

        points: (B, P, K, 2) heatmap px; visible: (B, P, K), a joint counts where it is > 0. Returns (B, K, H, W),
        channels last in memory, with peaks of 1, cut off 3 sigma + 1 from the whole pixel; people are padded with
        joints that do not count.
        """
        (width, height), reach = self.heatmap_size, int(3 * self.sigma) + 1
        batch, most, joints = points.shape[:3]
        points = points.to(torch.promote_types(points.dtype, torch.float32))
        around = torch.arange(-reach, reach + 1, device=points.device, dtype=points.dtype)
        present = self.present(points, visible)
        # A GPU draws those that are not there too, with nothing: to count the others it would have to be waited for.
        shown = present.flatten()
        drawn = (
            shown.nonzero()[:, 0]
            if shown.device.type == "cpu"
            else torch.arange(len(shown), device=shown.device)
        )
        shown = shown[drawn]
        means = points.reshape(-1, 2)[drawn].where(shown[:, None], 0)
        whole = means.trunc()
        x, y = (whole[:, axis, None] + around for axis in (0, 1))
        peak = means if self.unbiased else whole
        bell_x, bell_y = (
            torch.exp(-((along - peak[:, axis, None]) ** 2) / (2 * self.sigma**2))
            for axis, along in enumerate((x, y))
        )
        inside = ((x >= 0) & (x < width) & shown[:, None])[:, None, :] & ((y >= 0) & (y < height))[:, :, None]
        bells = (bell_y[:, :, None] * bell_x[:, None, :]).masked_fill(~inside, 0)
        pixel = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None, :]
        image, joint = drawn // (most * joints), drawn % joints
        index = (image[:, None, None] * (height * width) + pixel.long()) * joints + joint[:, None, None]
        maps = points.new_zeros(batch * height * width * joints)
        maps.scatter_reduce_(0, index.flatten(), bells.flatten(), reduce="amax")
        return maps.view(batch, height, width, joints).permute(0, 3, 1, 2)

    def tag_index(self, points: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Where each joint's tag is read in flattened tag maps (B, K H W): (B, P, K) int64, -1 for no joint."""
        width, height = self.heatmap_size
        joints = points.shape[2]
        x, y = points.nan_to_num(-1).trunc().long().unbind(-1)
        index = torch.arange(joints, device=points.device) * (height * width) + y * width + x
        return index.where(self.present(points, visible), -1)
