"""The heatmaps of SimpleBaseline and HRNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from sshpe_lib.codec.gaussian import bells
from sshpe_lib.codec.peaks import highest_pixels
from sshpe_lib.codec.shapes import check_heatmaps, check_points, set_sizes
from sshpe_lib.errors import SSHPEError
from sshpe_lib.geometry import flip_heatmaps, stride
from sshpe_lib.losses import heatmap_mse
from sshpe_lib.transfer import constant


@dataclass(frozen=True)
class MSRAHeatmap:
    """The Gaussian heatmaps of SimpleBaseline and HRNet: centred on whole pixels, decoded by a quarter shift.

    input_size, heatmap_size: (width, height) of the crop and of a heatmap; sigma: standard deviation in
    heatmap pixels. A heatmap pixel (i, j) stands for the crop pixel (stride_x i, stride_y j).

    Raises:
        SSHPEError: a size below 1 or a sigma that is not positive.
    """

    input_size: tuple[int, int] = (192, 256)
    heatmap_size: tuple[int, int] = (48, 64)
    sigma: float = 2.0

    def __post_init__(self) -> None:
        set_sizes(self, input_size=self.input_size, heatmap_size=self.heatmap_size)
        if min(*self.input_size, *self.heatmap_size) < 1:
            raise SSHPEError(
                f"MSRAHeatmap has an input_size of {self.input_size} and a heatmap_size of {self.heatmap_size}; give "
                "sizes of 1 pixel at least"
            )
        if not self.sigma > 0:
            raise SSHPEError(f"MSRAHeatmap needs a positive sigma; got {self.sigma}")

    @property
    def stride(self) -> tuple[float, float]:
        """Crop pixels per heatmap pixel, along x and y: the ratio of sizes."""
        return stride(self.input_size, self.heatmap_size)

    @property
    def unbiased(self) -> bool:
        """False: crops are those of `geometry.crop_matrix`, and a mirrored answer is a pixel off."""
        return False

    def channels(self, keypoints: int) -> int:
        """Channels of a network's answer for so many keypoints: one each."""
        return keypoints

    def scaled(self, scale: float) -> MSRAHeatmap:
        """The same codec with Gaussians so many times as wide, for targets from coarse to fine."""
        return replace(self, sigma=scale * self.sigma)

    def encode(self, points: torch.Tensor, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw every joint as a Gaussian of peak 1, cut off at 3 sigma.

        points: (B, K, 2) crop px; visible: (B, K), a joint counts where it is > 0. Returns heatmaps (B, K, H, W),
        channels last in memory, and weights (B, K), 0 or 1: a joint that does not count, or whose window lies outside
        the map, has an empty heatmap and weight 0. Both have the points' device and, if float32 or float64, dtype. A
        visible joint at NaN gives a NaN heatmap rather than a silent zero. Source: `generate_target` of HRNet.

        Raises:
            SSHPEError: other shapes.
        """
        check_points(points, visible)
        points = points.to(torch.promote_types(points.dtype, torch.float32))
        # Truncation, not floor: just left of the frame, (-1.5, -0.5] strides, still rounds to pixel 0.
        centers = (points / constant(self.stride, points.device, points.dtype) + 0.5).trunc()
        return bells(centers, centers, visible, self.heatmap_size, self.sigma)

    def decode(self, heatmaps: torch.Tensor, refine: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Read each heatmap's highest pixel, moved a quarter pixel towards its higher neighbour.

        heatmaps: (B, K, H, W). `refine=False` leaves the quarter shift out. Returns points (B, K, 2) in crop
        px and scores (B, K), the heights; where no height is above 0 the point is (0, 0). Half-precision
        heatmaps give float32. Source: `get_final_preds` of HRNet.

        Raises:
            SSHPEError: the heatmaps are not of `heatmap_size`.
        """
        check_heatmaps(heatmaps, self.heatmap_size)
        heatmaps = heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32))
        pixels, scores = highest_pixels(heatmaps)
        if refine:
            pixels = pixels + _quarter_shift(heatmaps, pixels)
        return torch.stack([pixels[..., axis] * self.stride[axis] for axis in (0, 1)], dim=-1), scores

    def flip(self, heatmaps: torch.Tensor, flip_order: Sequence[int]) -> torch.Tensor:
        """Mirror heatmaps (B, K, H, W) left to right, and exchange left and right joints."""
        return flip_heatmaps(heatmaps, flip_order)

    def loss(
        self,
        predicted: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor | None = None,
        hard: int | None = None,
    ) -> torch.Tensor:
        """`losses.heatmap_mse` of (B, K, H, W) heatmaps with weights (B, K), of the `hard` worst keypoints if given."""
        return heatmap_mse(predicted, target, weight, hard)


def _quarter_shift(heatmaps: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """A quarter pixel towards the higher neighbour along x and y; none within two pixels of the low border.

    The lopsided interior, 1 < x < W - 1, is the reference's.
    """
    height, width = heatmaps.shape[-2:]
    x, y = pixels.long().unbind(-1)
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    index = torch.where(inside, y * width + x, width + 1)[..., None]
    steps = constant((1, -1, width, -width), heatmaps.device)
    right, left, below, above = heatmaps.flatten(2).gather(2, index + steps).unbind(-1)
    return torch.stack([right - left, below - above], dim=-1).sign() * (0.25 * inside[..., None])
