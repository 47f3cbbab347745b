"""The unbiased heatmaps of UDP: Gaussians at sub-pixel places, or discs with offsets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from sshpe_lib.codec.dark import dark_refine
from sshpe_lib.codec.gaussian import bells, blur_around
from sshpe_lib.codec.peaks import highest_blurred_pixels, highest_pixels
from sshpe_lib.codec.shapes import check_heatmaps, check_points, set_sizes
from sshpe_lib.errors import SSHPEError
from sshpe_lib.geometry import flip_heatmaps, stride
from sshpe_lib.losses import heatmap_mse, offset_mse
from sshpe_lib.transfer import constant, up_to

RADIUS = 0.0546875  # of a disc, heatmap heights: 3.5 at 64 rows and 5.25 at 96, those of UDPv1


@dataclass(frozen=True)
class UDPHeatmap:
    """The heatmaps of UDP, whose pixels and the crop's share their first and their last centre.

    input_size, heatmap_size: (width, height) of the crop and of a heatmap; sigma: of a Gaussian target, heatmap
    px; radius: of an offset target's disc ("KPD"), heatmap px, None for 7/128 of the height; kernel: odd size of
    the blur before decoding, that of an offset target's heat being 2 kernel + 1; rescale: stretch blurred maps
    before DARK reads them, as UDP's first code does and the authors' later code, that of AID, does not. Heatmap
    pixel (i, j) stands for the crop pixel (stride_x i, stride_y j). An offset target has three channels a joint:
    heat, dx, dy.

    Raises:
        SSHPEError: an unknown target; a size below 2 px, an even kernel, a sigma or radius that is not positive.
    """

    input_size: tuple[int, int] = (192, 256)
    heatmap_size: tuple[int, int] = (48, 64)
    target: Literal["gaussian", "offset"] = "gaussian"
    sigma: float = 2.0
    radius: float | None = None
    kernel: int = 7
    rescale: bool = False

    def __post_init__(self) -> None:
        set_sizes(self, input_size=self.input_size, heatmap_size=self.heatmap_size)
        if self.target not in ("gaussian", "offset"):
            raise SSHPEError(f"UDPHeatmap has no target {self.target!r}; use 'gaussian' or 'offset'")
        if min(*self.input_size, *self.heatmap_size) < 2:
            raise SSHPEError(
                f"UDPHeatmap measures between the first and the last pixel, of {self.input_size} and "
                f"{self.heatmap_size}; give sizes of 2 pixels at least"
            )
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise SSHPEError(
                f"UDPHeatmap blurs with an odd kernel, and not with {self.kernel}; use 7, for one"
            )
        if not (self.sigma > 0 and self.reach > 0):
            raise SSHPEError(
                f"UDPHeatmap needs a positive sigma and radius; got {self.sigma} and {self.radius}"
            )

    @property
    def stride(self) -> tuple[float, float]:
        """Crop pixels per heatmap pixel, along x and y: the ratio of distances from first to last pixel."""
        return stride(self.input_size, self.heatmap_size, unbiased=True)

    @property
    def unbiased(self) -> bool:
        """True: crops are those of `geometry.crop_matrix(..., unbiased=True)`, mirrored answers need no shift."""
        return True

    @property
    def reach(self) -> float:
        """The radius of a disc in heatmap px, whether given or not."""
        return RADIUS * self.heatmap_size[1] if self.radius is None else self.radius

    def channels(self, keypoints: int) -> int:
        """Channels of a network's answer for so many keypoints: one each, or three."""
        return keypoints * (3 if self.target == "offset" else 1)

    def scaled(self, scale: float) -> UDPHeatmap:
        """The same codec with Gaussians or discs so many times as wide, for targets from coarse to fine."""
        return replace(self, sigma=scale * self.sigma, radius=scale * self.reach)

    def encode(self, points: torch.Tensor, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw every joint at its sub-pixel place.

        points: (B, K, 2) crop px; visible: (B, K), a joint counts where it is > 0. Returns heatmaps (B, C, H, W),
        C = K or 3 K, channels last in memory, and weights (B, K), 0 or 1. A Gaussian has peak 1 at its mean and is
        cut off 3 sigma from the nearest pixel; weight 0 where the joint does not count or its window lies outside the
        map. A disc has heat 1 and offsets (mean - pixel) / radius, all else is 0; its weight is 0 only where the joint
        does not count, so an empty map teaches that a joint outside the frame is not seen (as in the reference).
        Dtype, device and NaN as in `MSRAHeatmap`. Source: `generate_target` of UDP.

        Raises:
            SSHPEError: other shapes.
        """
        check_points(points, visible)
        points = points.to(torch.promote_types(points.dtype, torch.float32))
        means = points / constant(self.stride, points.device, points.dtype)
        if self.target == "gaussian":
            return bells(means, (means + 0.5).trunc(), visible, self.heatmap_size, self.sigma)
        return self._discs(means, visible > 0), (visible > 0).to(means.dtype)

    def _discs(self, means: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Heat, dx and dy of every joint, (B, 3 K, H, W), written into the square around its disc only."""
        (batch, joints), (width, height) = means.shape[:2], self.heatmap_size
        square = up_to(int(2 * self.reach) + 1, means.device, means.dtype)
        pixels = (means - self.reach).ceil()[..., None] + square  # (B, K, 2, S), whole, x and y
        away = (means[..., None] - pixels) / self.reach
        sizes = constant(self.heatmap_size, means.device, means.dtype)[:, None]
        inframe, unknown, squares = (pixels >= 0) & (pixels < sizes), away.isnan(), away.square()
        inside = _outer(torch.bitwise_and, inframe) & (_outer(torch.add, squares) <= 1)
        written = (inside | _outer(torch.bitwise_or, unknown)) & present[..., None, None]
        heat = _outer(torch.add, 0 * away) + 1  # NaN where an offset is
        dx, dy = away[:, :, 0, None, :].expand_as(heat), away[:, :, 1, :, None].expand_as(heat)
        disc = torch.stack([heat, dx, dy], dim=2).where(written[:, :, None], 0).flatten(3)
        # What is outside the frame adds its 0 to a pixel on the border; NaN is moved onto it too.
        whole = pixels.nan_to_num(0).clamp_(min=0).minimum(sizes - 1).long()
        # Written channels last, as networks answer: to turn whole maps round takes longer than to draw them.
        channels = up_to(3 * joints, means.device).view(joints, 3, 1)
        index = (whole[:, :, 1, :, None] * width + whole[:, :, 0, None, :]).flatten(2) * (3 * joints)
        maps = disc.new_zeros(batch, height * width * 3 * joints)
        maps.scatter_add_(1, (index[:, :, None] + channels).flatten(1), disc.flatten(1))
        return maps.view(batch, height, width, 3 * joints).permute(0, 3, 1, 2)

    def decode(self, heatmaps: torch.Tensor, refine: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Read the sub-pixel peak of every joint.

        heatmaps: (B, C, H, W), as `encode` makes them. Gaussians: the highest pixel, refined by `dark_refine`; its
        height is the score. Offsets: heat and offsets are blurred, and the heat's highest pixel is moved by the
        offset there; its blurred height is the score. `refine=False` leaves DARK or the offset out. Returns
        points (B, K, 2) in crop px and scores (B, K); where no height is above 0 the point is (0, 0). Half
        precision gives float32. Source: `get_final_preds` of UDP.

        Raises:
            SSHPEError: the heatmaps are not of `heatmap_size`, or offsets do not come in threes.
        """
        check_heatmaps(heatmaps, self.heatmap_size, self.channels(1))
        heatmaps = heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32)).contiguous()
        if self.target == "gaussian":
            pixels, scores = highest_pixels(heatmaps)
            refined = dark_refine(pixels, heatmaps, self.kernel, self.rescale) if refine else pixels
        else:
            maps = heatmaps.unflatten(1, (-1, 3))
            pixels, scores = highest_blurred_pixels(maps, 2 * self.kernel + 1)
            refined = pixels + self.reach * self._offsets(maps, pixels) if refine else pixels
        refined = refined.where((scores > 0)[..., None], 0)
        return torch.stack([refined[..., axis] * self.stride[axis] for axis in (0, 1)], dim=-1), scores

    def _offsets(self, maps: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """The blurred offsets of maps (B, K, 3, H, W) at whole pixels, (B, K, 2), in radii."""
        return blur_around(maps, pixels, self.kernel, skip=1)[..., 0]

    def flip(self, heatmaps: torch.Tensor, flip_order: Sequence[int]) -> torch.Tensor:
        """Mirror heatmaps (B, C, H, W) left to right, and exchange left and right joints; dx change sign."""
        if self.target == "gaussian":
            return flip_heatmaps(heatmaps, flip_order)
        signs = constant((1, -1, 1), heatmaps.device, heatmaps.dtype)[:, None, None]
        return (flip_heatmaps(heatmaps.unflatten(1, (-1, 3)), flip_order) * signs).flatten(1, 2)

    def loss(
        self,
        predicted: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor | None = None,
        hard: int | None = None,
    ) -> torch.Tensor:
        """`losses.heatmap_mse`, or `offset_mse` of discs, of (B, C, H, W) heatmaps; arguments as `MSRAHeatmap.loss`."""
        loss = offset_mse if self.target == "offset" else heatmap_mse
        return loss(predicted, target, weight, hard)


def _outer(join: Callable[..., torch.Tensor], axes: torch.Tensor) -> torch.Tensor:
    """What `join` makes of every pixel's x and y: of (B, K, 2, S), in rows, (B, K, S, S)."""
    return join(axes[:, :, 0, None, :], axes[:, :, 1, :, None])
