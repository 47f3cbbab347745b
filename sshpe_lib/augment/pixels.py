"""Between 8-bit pixels and what a network reads: the ImageNet statistics of the trunk's pretraining."""

from __future__ import annotations

import torch
from torch import Tensor

from sshpe_lib.transfer import constant

# R, G, B of [0, 1] images.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalize(images: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) to float32 with the ImageNet statistics, in the same memory layout."""
    # In place on one copy: to allocate another takes longer than the arithmetic.
    pixels = images.to(torch.float32, copy=True)
    return pixels.sub_(_of_bytes(MEAN, images)).mul_(1 / _of_bytes(STD, images))


def denormalize(images: Tensor) -> Tensor:
    """The nearest uint8 pixels of normalised images, (B, 3, H, W), in the same memory layout.

    Undoes `normalize` exactly; what no pixel can show is clipped.
    """
    pixels = images * _of_bytes(STD, images)
    return pixels.add_(_of_bytes(MEAN, images)).round_().clamp_(0, 255).to(torch.uint8)


def paint(images: Tensor, covered: Tensor, colour: Tensor) -> Tensor:
    """A copy of the images with a colour in the covered pixels.

    images: (B, C, H, W), in either memory layout, which the copy keeps; covered: (B, H, W) bool; colour: of a
    shape that broadcasts to the images'.
    """
    # Written out in the images' layout, channel by channel, and as bytes, which are copied faster than truths: to
    # broadcast over channels that lie innermost takes three times as long.
    everywhere = torch.empty_like(images, dtype=torch.uint8)
    for channel in everywhere.unbind(1):
        channel.copy_(covered.view(torch.uint8))
    return torch.where(everywhere.view(torch.bool), colour, images)


def _of_bytes(statistic: tuple[float, float, float], images: Tensor) -> Tensor:
    """A statistic of [0, 1] images as one of 0 to 255, (1, 3, 1, W).

    Written out for a whole row, channels last: an inner loop over three channels would take several times as
    long as one over a row.
    """
    row = constant(statistic, images.device).view(1, 3, 1, 1).expand(1, 3, 1, images.shape[-1])
    return row.contiguous(memory_format=torch.channels_last) * 255
