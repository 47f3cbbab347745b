"""Between 8-bit pixels and what a network reads: the ImageNet statistics of the trunk's pretraining."""

from __future__ import annotations

from functools import lru_cache

import cv2
import torch
from torch import Tensor

from sshpe_lib.augment.canvas import one_by_one, painted
from sshpe_lib.transfer import constant

# R, G, B of [0, 1] images.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Of 0 to 255, in float32.
_MEAN, _STD = (tuple((torch.tensor(of_one) * 255).tolist()) for of_one in (MEAN, STD))
_BY_STD = tuple((1 / torch.tensor(_STD)).tolist())
# As `normalize` makes it.
BLACK = tuple((-torch.tensor(_MEAN) * torch.tensor(_BY_STD)).tolist())


def normalize(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 (B, 3, H, W) with the ImageNet statistics, in the same memory layout; computed in float32."""
    # All in one kernel; a CPU is quicker with a copy, and arithmetic in its place.
    if images.device.type != "cpu":
        found = torch.empty_like(images, dtype=dtype)
        return torch.addcmul(row_of(BLACK, images), images, row_of(_BY_STD, images), out=found)
    found = images.to(torch.float32, copy=True).sub_(row_of(_MEAN, images)).mul_(row_of(_BY_STD, images))
    return found.to(dtype)


def denormalize(images: Tensor) -> Tensor:
    """The nearest uint8 pixels of normalised images, (B, 3, H, W), in the same memory layout.

    Undoes `normalize` exactly; what no pixel can show is clipped.
    """
    pixels = images * row_of(_STD, images)
    return pixels.add_(row_of(_MEAN, images)).round_().clamp_(0, 255).to(torch.uint8)


def paint(images: Tensor, covered: Tensor, colour: Tensor) -> Tensor:
    """A copy of the images with a colour in the covered pixels.

    images: (B, C, H, W), in either memory layout, which the copy keeps; covered: (B, H, W) bool; colour: of a
    shape that broadcasts to the images'.
    """
    if one_by_one(images) and images.is_contiguous(memory_format=torch.channels_last) and images.shape[1] > 1:
        fill = colour.expand(1, *images.shape[1:]).contiguous(memory_format=torch.channels_last)
        pixels, masks = fill[0].permute(1, 2, 0).numpy(), covered.contiguous().view(torch.uint8).numpy()
        return painted(images, lambda number, image: cv2.copyTo(pixels, masks[number], image))
    if images.device.type != "cpu":
        return torch.where(covered[:, None], colour, images)
    # Written out in the images' layout, channel by channel, and as bytes, which are copied faster than truths: to
    # broadcast over channels that lie innermost takes three times as long.
    everywhere = torch.empty_like(images, dtype=torch.uint8)
    for channel in everywhere.unbind(1):
        channel.copy_(covered.view(torch.uint8))
    return torch.where(everywhere.view(torch.bool), colour, images)


def row_of(colour: tuple[float, ...], images: Tensor) -> Tensor:
    """A row of images in one colour, (1, C, 1, W) float32; made for a GPU once, and so not to be changed in place.

    Written out for a whole row, channels last: an inner loop over three channels would take several times as
    long as one over a row.
    """
    make = _kept_row if images.device.type == "cuda" else _row
    return make(colour, images.shape[-1], images.device)


def _row(colour: tuple[float, ...], width: int, device: torch.device) -> Tensor:
    one = constant(colour, device).view(1, -1, 1, 1)
    return one.expand(-1, -1, 1, width).contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=64)
def _kept_row(colour: tuple[float, ...], width: int, device: torch.device) -> Tensor:
    # Copied, which is waited for: a row made there might be read on another stream before it is made.
    return _row(colour, width, torch.device("cpu")).to(device)
