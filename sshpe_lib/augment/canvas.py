"""Images to be painted on, pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor


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
        first = self.height * torch.arange(len(pixel), device=pixel.device)[:, None, None]
        col = col.where(inside[:, :, 0], self.beyond)
        row = (self.width * (first + row)).where(inside[:, :, 1], self.beyond)
        return (row[..., :, None] + col[..., None, :]).clamp_(max=self.beyond)

    def image(self) -> Tensor:
        """What has become of the images, in their memory layout."""
        return self._images.contiguous(memory_format=self.layout)
