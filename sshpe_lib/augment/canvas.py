"""Images to be painted on: on a CPU one after the other, elsewhere all at once and pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sshpe_lib.transfer import constant, up_to


def one_by_one(images: Tensor) -> bool:
    """Whether `painted` can paint on such images: float32 on a CPU, of which nobody asks a gradient."""
    return images.device.type == "cpu" and images.dtype == torch.float32 and not images.requires_grad


def painted(images: Tensor, paint: Callable[[int, np.ndarray], None]) -> Tensor:
    """A copy of images (B, C, H, W), in either memory layout, which it keeps, with what `paint` does to each of them.

    paint: is given the number of an image and its pixels, (H, W, C) float32, to be changed in place.
    """
    shown = torch.empty_like(images)
    pixels, originals = (all_.permute(0, 2, 3, 1).numpy() for all_ in (shown, images))
    for number, (copy, original) in enumerate(zip(pixels, originals, strict=True)):
        copy[:] = original
        paint(number, copy)  # while it is in the cache
    return shown


class Canvas:
    """A copy of images (B, C, H, W) to be painted on: `pixels`, (B H W + 1, C).

    The last pixel is none of an image: what falls outside of them is painted there.
    """

    def __init__(self, images: Tensor):
        batch, channels, self.height, self.width = images.shape
        self.layout = (
            torch.channels_last
            if images.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
        self.beyond = batch * self.height * self.width
        self.pixels = images.new_empty(self.beyond + 1, channels)
        self._images = (
            self.pixels[: self.beyond].view(batch, self.height, self.width, channels).permute(0, 3, 1, 2)
        )
        self._images.copy_(images)

    def places(self, pixel: Tensor, inside: Tensor) -> Tensor:
        """Where in `pixels` those of boxes are, (B, N, S, S) long, as `along` gives them: rows by columns."""
        col, row = pixel.unbind(2)
        first = self.height * up_to(len(pixel), pixel.device)[:, None, None]
        beyond = constant(self.beyond, pixel.device)
        col = col.where(inside[:, :, 0], beyond)
        row = (self.width * (first + row)).where(inside[:, :, 1], beyond)
        return (row[..., :, None] + col[..., None, :]).clamp_(max=self.beyond)

    def image(self) -> Tensor:
        """What has become of the images, in their memory layout."""
        return self._images.contiguous(memory_format=self.layout)
