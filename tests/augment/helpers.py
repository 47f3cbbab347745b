"""What the tests of cutting and pasting share: seeded draws that remember their numbers, and bright crops."""

from __future__ import annotations

import torch

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.view import Operation, View

LAYOUTS = [torch.contiguous_format, torch.channels_last]
# On a CPU images of the first are painted on one by one, those of the second all at once, as on a GPU.
DTYPES = [torch.float32, torch.float64]


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


def assert_ranks_share(operation: Operation, image: torch.Tensor, heatmaps: torch.Tensor) -> None:
    """Each of two ranks makes of its half of the batch what one alone makes of that half."""
    whole, _ = operation(View(image), heatmaps, draw())
    each = len(image) // 2
    for rank in range(2):
        share = slice(each * rank, each * (rank + 1))
        part, _ = operation(View(image[share]), heatmaps[share], draw(rank=rank, world=2))
        assert torch.equal(part.image, whole.image[share])
