"""What the tests of cutting and pasting share: seeded draws that remember their numbers, and bright crops."""

from __future__ import annotations

import torch

from sshpe_lib.augment.draw import Draw

LAYOUTS = [torch.contiguous_format, torch.channels_last]


class Remembered(Draw):
    """A draw that keeps the numbers it handed out, in order, as NumPy arrays."""

    def __init__(self, generator: torch.Generator, **share: int):
        super().__init__(generator, **share)
        self.numbers = []

    def _share(self, whole, count):
        share = super()._share(whole, count)
        self.numbers.append(share.numpy())
        return share


def draw(seed: int = 0, **share: int) -> Remembered:
    return Remembered(torch.Generator().manual_seed(seed), **share)


def batch(size: tuple[int, int], keypoints: int = 17, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of a width x height crop, all different and far from 0, and heatmaps of stride 4."""
    width, height = size
    generator = torch.Generator().manual_seed(5)
    image = 1 + torch.rand(count, 3, height, width, generator=generator)
    return image, torch.rand(count, keypoints, height // 4, width // 4, generator=generator)
