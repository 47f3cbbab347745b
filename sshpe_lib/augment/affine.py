"""The hard affine ("A60") that moves the student's image and the teacher's heatmaps together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.limits import check_heatmaps, check_limits, check_maps
from sshpe_lib.augment.view import View
from sshpe_lib.errors import SSHPEError
from sshpe_lib.geometry import scale_matrix, stride, warp_batch
from sshpe_lib.modes import without_autocast


@dataclass(frozen=True)
class HardAffine:
    """Rotation and scale about the crop's centre, on top of the weak augmentation.

    scale: clip(N(1, scale), 1 - scale, 1 + scale) always; rotation: clip(N(0, rotation), +-2 rotation) degrees
    with `probability`; no flip, no shift. One draw a sample moves the image and the heatmaps; what leaves the
    frame is background (0).

    legacy: the reference implementation's form, where the rotation matrix stands in normalised coordinates,
    which shears a crop that is not square and turns scale upside down. unbiased: heatmaps are those of UDP's
    Gaussians, whose stride is a ratio of distances between pixels; its discs' offsets would have to be turned, too.

    Raises:
        SSHPEError: a scale that is not from 0 to below 1, a rotation below 0, a probability outside [0, 1].
    """

    scale: float = 0.25
    rotation: float = 30.0
    probability: float = 0.8
    legacy: bool = False
    unbiased: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.scale < 1:
            raise SSHPEError(f"an affine's scale is {self.scale}; give 0 or more, and less than 1")
        check_limits("an affine's rotation", (self.rotation,), 0)
        check_limits("an affine's probability", (self.probability,), 0, 1)

    def __call__(self, view: View, heatmaps: Tensor, draw: Draw) -> tuple[View, Tensor]:
        """image: (B, C, H, W); heatmaps: (B, K, h, w), stride H / h, or UDP's. Both are warped alike.

        Raises SSHPEError after a mix, or where either is not floating or they are of other numbers of images.
        """
        check_maps("an affine's images", view.image)
        check_heatmaps("an affine", heatmaps, view.image)
        if view.after_stage is not None:
            raise SSHPEError("an affine must come before a mix: the tiles of a group share one geometry")
        angle, scale = self.draw(len(view.image), draw)
        if self.legacy:
            theta = legacy_theta(angle, scale)
            (theta,) = draw.send(theta)
            return View(_sheared(view.image, theta)), _sheared(heatmaps, theta)
        height, width = view.image.shape[-2:]
        matrices = about_centre(angle, scale, width, height)
        rows, cols = heatmaps.shape[-2:]
        stride_x, stride_y = stride((width, height), (cols, rows), self.unbiased)
        moved = warp_batch(heatmaps, scale_matrix(matrices, 1 / stride_x, 1 / stride_y))
        return View(warp_batch(view.image, matrices)), moved

    def draw(self, batch: int, draw: Draw) -> tuple[Tensor, Tensor]:
        """Angles in degrees and scales, each (B,)."""
        scale = (1 + self.scale * draw.randn(batch)).clamp(1 - self.scale, 1 + self.scale)
        angle = (self.rotation * draw.randn(batch)).clamp(-2 * self.rotation, 2 * self.rotation)
        return torch.where(draw.rand(batch) < self.probability, angle, torch.zeros_like(angle)), scale


def about_centre(angle: Tensor, scale: Tensor, width: int, height: int) -> Tensor:
    """(B, 2, 3) matrices from input to output pixels: rotate by `angle` degrees and enlarge by `scale`.

    The fixed point is the crop's centre, ((width - 1) / 2, (height - 1) / 2).
    """
    cos, sin = scale * angle.deg2rad().cos(), scale * angle.deg2rad().sin()
    x, y = (width - 1) / 2, (height - 1) / 2
    first = torch.stack([cos, -sin, x - cos * x + sin * y], dim=-1)
    second = torch.stack([sin, cos, y - sin * x - cos * y], dim=-1)
    return torch.stack([first, second], dim=-2)


def legacy_theta(angle: Tensor, scale: Tensor) -> Tensor:
    """(B, 2, 3) of the reference: OpenCV's rotation matrix about (0, 0), read as an `affine_grid` theta."""
    cos, sin = scale * angle.deg2rad().cos(), scale * angle.deg2rad().sin()
    zero = torch.zeros_like(cos)
    return torch.stack([torch.stack([cos, sin, zero], -1), torch.stack([-sin, cos, zero], -1)], dim=-2)


def _sheared(maps: Tensor, theta: Tensor) -> Tensor:
    if maps.numel() == 0:  # of which `affine_grid` makes no grid
        return maps
    # In bfloat16, which maps or training would have it compute in, the grid is half a pixel off.
    dtype = torch.promote_types(maps.dtype, torch.float32)
    with without_autocast(maps.device):
        grid = F.affine_grid(theta.to(dtype), list(maps.shape), align_corners=False)
        sheared = F.grid_sample(
            maps.to(dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
    return sheared.to(maps.dtype)
