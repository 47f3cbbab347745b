"""Boxes on a batch of crops: where predicted joints are, how large a box is, which pixels it covers.

A box has a centre c and a half size h in whole crop pixels and covers the pixels c - h to c + h - 1 of an axis, so
it is 2 h wide. Centres and half sizes are (B, N, 2) long tensors, (x, y).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sshpe_lib.augment.canvas import Canvas, one_by_one, painted
from sshpe_lib.augment.draw import Draw
from sshpe_lib.codec.peaks import first_highest
from sshpe_lib.geometry import stride
from sshpe_lib.transfer import constant, up_to

# The crop width in whose pixels the reference states its sizes.
REFERENCE_WIDTH = 192


def integers(uniform: Tensor, count: int) -> Tensor:
    """Uniform integers 0 to count - 1 from numbers in [0, 1); count < 2**24.

    A float32 below 1 is at most 1 - 2**-24, and times `count` it still rounds to less than `count`.
    """
    return (uniform * count).long()


def half_sizes(uniform: Tensor, limits: tuple[int, int], width: int) -> Tensor:
    """Uniform integers from limits[0] to limits[1], both included, in proportion to the crop's width.

    uniform: numbers in [0, 1) of any shape; limits: pixels of a crop 192 wide; width: of this crop. A size
    that is not whole is rounded, and at least 1.
    """
    return scaled(limits[0] + integers(uniform, limits[1] - limits[0] + 1), width)


def scaled(sizes: Tensor, width: int) -> Tensor:
    """Half sizes of a crop 192 wide as those of one `width` wide: whole, and at least 1."""
    return (sizes * (width / REFERENCE_WIDTH) + 0.5).long().clamp(min=1)


def largest_half(limits: tuple[int, int], width: int) -> int:
    """The largest of `half_sizes`."""
    return int(scaled(torch.tensor(limits[1]), width))


def peaks(heatmaps: Tensor, width: int, height: int, unbiased: bool = False) -> Tensor:
    """The highest pixel of each map in pixels of a width x height crop, whatever its height.

    heatmaps: (B, K, h, w), with UDP's stride where `unbiased`. Returns (B, K, 2) float32: pixel times stride. The
    first of equal pixels counts, and a NaN counts as the highest; every map therefore has a peak inside the crop.
    """
    rows, cols = heatmaps.shape[-2:]
    index = first_highest(heatmaps.flatten(2))
    row = index.div(cols, rounding_mode="floor")
    stride_x, stride_y = stride((width, height), (cols, rows), unbiased)
    return torch.stack([(index - row * cols) * stride_x, row * stride_y], dim=-1)


def joint_boxes(
    batch: int, joints: int, width: int, jitter: float, limits: tuple[int, int], draw: Draw
) -> tuple[Tensor, Tensor]:
    """For a box around every predicted joint: how far from its peak its centre is, N(0, jitter) per axis, and its size.

    jitter, limits: pixels of a crop 192 wide; width: of this crop. Half width and half height are drawn independently.
    Returns (B, K, 2) float32 and half sizes, (B, K, 2) long, on the CPU.
    """
    moved = jitter * (width / REFERENCE_WIDTH) * draw.randn(batch, joints, 2)
    return moved, half_sizes(draw.rand(batch, joints, 2), limits, width)


def pick(boxes: Tensor, joints: Tensor) -> Tensor:
    """The entries of boxes (B, K, 2) at joints (B, N): (B, N, 2)."""
    return boxes.gather(1, joints[..., None].expand(-1, -1, boxes.shape[-1]))


def cover(centers: Tensor, halves: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """The rows (B, N, H) and columns (B, N, W) that each box covers, bool: a box is their product.

    What lies outside the crop is clipped by having no row or column.
    """
    spans = []
    for axis, length in ((1, height), (0, width)):
        center, half = centers[..., axis, None], halves[..., axis, None]
        pixel = up_to(length, centers.device)
        spans.append((pixel >= center - half) & (pixel < center + half))
    return spans[0], spans[1]


def cut(
    image: Tensor, centers: Tensor, halves: Tensor, largest: int, frame: tuple[int, int] | None = None
) -> Tensor:
    """A copy of the image with 0 in the union of its boxes.

    image: (B, C, H, W), in either memory layout, which the copy keeps; largest: no half size is more; frame: width and
    height outside of which nothing is cut, those of the image where left out. 0 is the mean colour of a normalised
    image.
    """
    height, width = image.shape[-2:]
    frame = frame or (width, height)
    if one_by_one(image):
        boxes = corners(centers, halves, frame).tolist()

        def cut_all(number: int, pixels: np.ndarray) -> None:
            for left, top, right, bottom in boxes[number]:
                pixels[top:bottom, left:right] = 0

        return painted(image, cut_all)
    pixel, inside = along(centers, halves, largest, frame)
    shown = Canvas(image)
    shown.pixels.index_fill_(0, shown.places(pixel, inside).flatten(), 0)
    return shown.image()


def corners(centers: Tensor, halves: Tensor, frame: tuple[int, int]) -> Tensor:
    """The first column and row of each box and those after its last, clipped to the frame, (B, N, 4) long.

    frame: (width, height). A box outside of it has no column or no row.
    """
    size = constant(frame, centers.device)
    return torch.cat([(centers - halves).clamp(min=0), (centers + halves).clamp(min=0).minimum(size)], dim=-1)


def along(centers: Tensor, halves: Tensor, largest: int, frame: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The pixels of both axes from the first of each box on, (B, N, 2, S) long, and which of them it covers, bool.

    S = 2 largest for a box of whatever size, so that nothing waits for a GPU; largest: no half size is more. What lies
    outside of the frame, (width, height), is not covered.
    """
    steps = up_to(2 * largest, centers.device)
    pixel = (centers - halves)[..., None] + steps
    size = constant(frame, centers.device)[:, None]
    return pixel, (steps < 2 * halves[..., None]) & (pixel >= 0) & (pixel < size)
