"""Boxes, affine maps and flips, so that points, images and heatmaps move together.

Pixel coordinates are (x, y) with integers at pixel centres; sizes are (width, height); boxes are (x, y,
width, height) in pixels; angles are in degrees; a matrix is 2 x 3 and maps column vectors (x, y, 1). There are
two conventions of crops. In the plain one of SimpleBaseline and HRNet, a crop of w x h pixels spans the box
[0, w] x [0, h], so strides are ratios of sizes. In the unbiased one of UDP it spans [0, w - 1] x [0, h - 1], from
its first pixel to its last, so strides are ratios of these distances, and mirroring is exact at every size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import Skeleton
from sshpe_lib.transfer import constant, sent, up_to

Array = TypeVar("Array", np.ndarray, torch.Tensor)


# --- boxes --------------------------------------------------------------------------------------------------


def box_to_center_size(
    boxes: np.ndarray, aspect: float, padding: float = 1.25
) -> tuple[np.ndarray, np.ndarray]:
    """Grow boxes to an aspect ratio by their short side, then by `padding`.

    boxes: (N, 4) xywh px; aspect: width / height of the crop. Returns center (N, 2) px and size (N, 2) px,
    the padded box (200 times the "scale" of the reference implementation).
    """
    boxes = np.asarray(boxes, np.float64)
    return boxes[:, :2] + boxes[:, 2:] / 2, _pad(boxes[:, 2:], aspect, padding)


def half_body(
    keypoints: np.ndarray, skeleton: Skeleton, upper: bool, aspect: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Centre and size of a box around the visible upper or lower body.

    keypoints: (K, 3) as (x, y, v), visible where v > 0. `upper` asks for the half; a half of two joints or
    fewer is replaced by the other one. Returns center (2,) px and size (2,) px, or None if fewer than two
    joints are left, or all lie on one point. The centre is the mean of the joints, not of their box. Source:
    half-body augmentation of HRNet.
    """
    keypoints = np.asarray(keypoints, np.float64)
    is_upper = np.zeros(len(skeleton), bool)
    is_upper[list(skeleton.upper_body)] = True
    visible = keypoints[:, 2] > 0
    upper_joints, lower_joints = keypoints[visible & is_upper, :2], keypoints[visible & ~is_upper, :2]
    if upper and len(upper_joints) > 2:
        chosen = upper_joints
    else:
        chosen = lower_joints if len(lower_joints) > 2 else upper_joints
    if len(chosen) < 2 or not np.ptp(chosen, axis=0).any():
        return None
    return chosen.mean(axis=0), _pad(np.ptp(chosen, axis=0), aspect, 1.5)


def _pad(sides: np.ndarray, aspect: float, padding: float) -> np.ndarray:
    width, height = sides[..., 0], sides[..., 1]
    return (
        np.stack([np.maximum(width, height * aspect), np.maximum(height, width / aspect)], axis=-1) * padding
    )


# --- affine maps of points ----------------------------------------------------------------------------------


def crop_matrix(
    center: np.ndarray, size: np.ndarray, rotation: float, output: tuple[int, int], unbiased: bool = False
) -> np.ndarray:
    """The map from an image to a crop that shows the box (center, size), turned by `rotation`.

    center, size: (2,) px of the image; rotation: degrees; output: crop (width, height). Returns (2, 3) float64,
    image -> crop. The plain crop: one scale, output width / box width, serves both axes; `center` lands on
    (width / 2, height / 2); the box turns clockwise on screen, so the content of the crop turns anticlockwise.
    The unbiased crop: the box goes from the centre of the first pixel to that of the last, with a scale an
    axis; `center` lands on ((width - 1) / 2, (height - 1) / 2); the content turns clockwise, the other way. Closed
    forms of the three-point affine of HRNet and of `get_warpmatrix` of UDP, p' = diag(o / b) (R (p - c) + b / 2).

    Raises:
        SSHPEError: the box has no width (or, unbiased, no height), or a number is not finite.
    """
    center, size = np.asarray(center, np.float64), np.asarray(size, np.float64)
    sides = size if unbiased else size[:1]
    if not ((sides > 0).all() and np.isfinite([*center, *sides, rotation]).all()):
        raise SSHPEError(
            f"cannot crop the box with center {center.tolist()}, size {size.tolist()} and rotation {rotation}: its "
            "width must be positive, with an unbiased crop its height too, and its numbers finite; correct or drop "
            "this person's box"
        )
    angle = np.deg2rad(-rotation if unbiased else rotation)
    last = np.asarray(output, np.float64) - (1 if unbiased else 0)
    scale = last / size if unbiased else np.repeat(last[0] / size[0], 2)
    linear = scale[:, None] * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, last / 2 - linear @ center])


def invert_affine(matrix: Array) -> Array:
    """The inverse map of (..., 2, 3) matrices, NumPy or torch, with their type and device.

    Raises:
        SSHPEError: a NumPy matrix is singular or not finite. (A tensor is not looked at, which would make the
            device wait; a singular one gives non-finite numbers.)
    """
    a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
    determinant = a * d - b * c
    xp = torch if isinstance(matrix, torch.Tensor) else np
    if xp is np and not (np.isfinite(matrix).all() and (determinant != 0).all()):
        raise SSHPEError(
            f"the affine matrix {np.asarray(matrix).tolist()} has no inverse; check its scale for 0 or NaN"
        )
    adjugate = xp.stack([xp.stack([d, -b], -1), xp.stack([-c, a], -1)], -2)
    linear = adjugate / determinant[..., None, None]
    offset = -(linear * matrix[..., None, :, 2]).sum(-1)
    return xp.concatenate([linear, offset[..., None]], -1)


def transform_points(points: Array, matrix: Array) -> Array:
    """Apply a map to points.

    points (..., 2) with one matrix (2, 3), or points (B, K, 2) with matrices (B, 2, 3); NumPy or torch, both
    of the same kind. Written out rather than as a matrix product, which a GPU may round to TensorFloat-32
    (steps of a quarter of a pixel beyond x = 256).
    """
    m = matrix[..., None, :, :] if matrix.ndim > 2 else matrix
    x, y = points[..., 0], points[..., 1]
    xp = torch if isinstance(points, torch.Tensor) else np
    return xp.stack([m[..., i, 0] * x + m[..., i, 1] * y + m[..., i, 2] for i in (0, 1)], -1)


def scale_matrix(matrices: Array, sx: float, sy: float) -> Array:
    """The same maps in a frame whose pixels are sx, sy times as many, e.g. of heatmaps instead of images.

    matrices: (..., 2, 3), frame -> frame; sx, sy: heatmap px per image px and axis, 1 / `stride` of the codec:
    heatmap size / image size in the plain convention, and (heatmap size - 1) / (image size - 1) in the unbiased
    one, as both put pixel (0, 0) on pixel (0, 0). Returns S M S^-1 for S = diag(sx, sy).
    """
    factors = ((1.0, sx / sy, sx), (sy / sx, 1.0, sy))
    if isinstance(matrices, np.ndarray):
        return matrices * np.array(factors)
    return matrices * constant(factors, matrices.device, matrices.dtype)


# --- affine maps of images ----------------------------------------------------------------------------------


def stride(
    size: tuple[int, int], heatmap_size: tuple[int, int], unbiased: bool = False
) -> tuple[float, float]:
    """Image pixels per heatmap pixel along x and y, both sizes (width, height): of sizes, or unbiased, of distances."""
    less = 1 if unbiased else 0
    x, y = ((pixels - less) / (maps - less) for pixels, maps in zip(size, heatmap_size, strict=True))
    return x, y


def warp(image: np.ndarray, matrix: np.ndarray, output: tuple[int, int]) -> np.ndarray:
    """Resample one image by OpenCV: bilinear, black outside.

    image: (H, W, 3) uint8; matrix: (2, 3), image -> output; output: (width, height). Returns uint8 of that
    size.
    """
    return cv2.warpAffine(image, matrix, output, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def reduction(matrix: np.ndarray) -> int:
    """By how much an image may be decoded smaller, 1, 2, 4 or 8, without a crop losing detail.

    matrix: (2, 3), image -> crop. A pixel of the smaller image is at most one of the crop.
    """
    shrinks = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    return next((times for times in (8, 4, 2) if times * shrinks <= 1), 1)


def from_reduced(times: int) -> np.ndarray:
    """Pixels of an image decoded at 1 / `times` of its size -> pixels of the image, (3, 3)."""
    offset = (times - 1) / 2  # the middle of the first block
    return np.array([[times, 0.0, offset], [0.0, times, offset], [0.0, 0.0, 1.0]])


def warp_batch(images: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Resample a batch on its device: bilinear, zero outside; integer pixels map to integer pixels exactly.

    images: (B, C, H, W), floating; matrices: (B, 2, 3), input pixel -> output pixel, on the images' device or, better,
    on the CPU. Returns the images' shape, dtype and device. Coordinates are float32 at least, whatever the images'
    dtype. `scale_matrix` gives the matrices of the heatmaps that belong to the images.

    Raises:
        TypeError: the images are integers.
    """
    if not images.is_floating_point():
        raise TypeError(f"warp_batch needs floating images, got {images.dtype}")
    height, width = images.shape[-2:]
    # grid_sample wants coordinates divided by the size. Zero-padding the size to a power of two, here at most
    # doubled, makes that division and its undoing exact; by 192 or 48, a plain copy would come back blurred.
    padded_width, padded_height = 1 << (width - 1).bit_length(), 1 << (height - 1).bit_length()
    dtype = torch.promote_types(images.dtype, torch.float32)
    padded = F.pad(images.to(dtype), (0, padded_width - width, 0, padded_height - height))
    padded_size = constant((padded_width, padded_height), matrices.device, dtype)
    to_grid = 2 * invert_affine(matrices.to(dtype)) / padded_size[:, None]
    to_grid[..., 2] += 1 / padded_size - 1
    (to_grid,) = sent((to_grid,), images.device)
    xs, ys = (up_to(length, images.device, dtype) for length in (width, height))
    if images.device.type == "cpu":
        # x and y each in one piece of memory: a loop over pairs takes several times as long as one over a row.
        by_x, by_y, by_one = to_grid[..., None, None].unbind(2)
        grid = (by_x * xs + (by_y * ys[:, None] + by_one)).permute(0, 2, 3, 1)
    else:
        by_x, by_y, by_one = to_grid[:, None, None].unbind(-1)
        grid = by_x * xs[:, None] + (by_y * ys[:, None, None] + by_one)  # (B, H, W, 2)
    warped = F.grid_sample(padded, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return warped.to(images.dtype)


# --- flips --------------------------------------------------------------------------------------------------


def flip_images(images: torch.Tensor) -> torch.Tensor:
    """Mirror images (B, C, H, W) left to right."""
    return images.flip(-1)


def flip_heatmaps(heatmaps: torch.Tensor, flip_order: Sequence[int]) -> torch.Tensor:
    """Mirror heatmaps (B, K, ..., H, W) left to right, and exchange left and right joints.

    Raises:
        SSHPEError: the order is not one of K joints.
    """
    order = list(flip_order)
    if sorted(order) != list(range(heatmaps.shape[1])):
        raise SSHPEError(
            f"{order} is no order of {heatmaps.shape[1]} joints; give skeleton.flip_order, one index for each"
        )
    return heatmaps[:, order].flip(-1)
