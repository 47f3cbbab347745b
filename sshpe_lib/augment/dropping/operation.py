"""What the ways of dropping information share: whom it happens to, and what stands where pixels were."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.limits import check_choice, check_limits, check_maps
from sshpe_lib.augment.pixels import BLACK, paint, row_of
from sshpe_lib.augment.view import View

Fill = Literal["black", "mean"]


@dataclass(frozen=True)
class Dropping(ABC):
    """Fill some pixels of an image with one colour; keypoints and heatmaps stay as they are.

    probability: of each sample for itself. fill: "black", which is -mean / std of a normalised image, or
    "mean", which is 0. Raises SSHPEError for settings out of range.
    """

    probability: float = 1.0
    fill: Fill = "black"

    def __post_init__(self) -> None:
        check_limits("probability", (self.probability,), 0, 1)
        check_choice("fill", self.fill, get_args(Fill))

    @abstractmethod
    def _numbers(self, batch: int, width: int, height: int, draw: Draw) -> tuple[Tensor, ...]:
        """What is drawn for so many samples, and what follows from it alone, on the CPU; (B, ...) each."""

    @abstractmethod
    def _dropped(self, numbers: Sequence[Tensor], width: int, height: int) -> Tensor:
        """Which pixels to drop from the samples that it happens to, (B, H, W) bool; numbers: of `_numbers`."""

    def numbers(self, batch: int, width: int, height: int, draw: Draw) -> tuple[Tensor, ...]:
        """All that `drop` takes beside so many images, on the CPU; of one form whatever is drawn."""
        happens = draw.rand(batch) < self.probability
        return happens, *self._numbers(batch, width, height, draw)

    def drop(self, image: Tensor, numbers: Sequence[Tensor]) -> Tensor:
        """A copy of normalised images (B, 3, H, W) without what `numbers`, on their device, say.

        Raises SSHPEError where images are not floating, or black would fill other than three channels.
        """
        self._check(image)
        happens, *others = numbers
        dropped = self._dropped(others, image.shape[-1], image.shape[-2])
        if self.probability < 1:
            dropped = both(dropped, happens[:, None, None])
        return paint(image, dropped, colour(self.fill, image))

    def __call__(self, view: View, heatmaps: Tensor, draw: Draw) -> tuple[View, Tensor]:
        """image: (B, 3, H, W) normalised, left as it is; heatmaps: (B, K, h, w), returned as they are.

        Raises SSHPEError as `drop`, and where the images are not on the draw's device.
        """
        self._check(view.image)
        draw.check(view.image)
        batch, _, height, width = view.image.shape
        numbers = draw.send(*self.numbers(batch, width, height, draw))
        return replace(view, image=self.drop(view.image, numbers)), heatmaps

    def _check(self, image: Tensor) -> None:
        check_maps("images whose information is dropped", image, 3 if self.fill == "black" else None)


def at_most(one: Tensor, other: Tensor) -> Tensor:
    """one <= other, bool, of floating point tensors that broadcast."""
    if one.device.type == "cpu":
        # PyTorch compares floats one after the other where it is to give truths, NumPy a vector at a time.
        return torch.from_numpy(one.numpy() <= other.numpy())
    return one <= other


def both(one: Tensor, other: Tensor) -> Tensor:
    """one & other of bool tensors that broadcast; as bytes, which are taken a vector at a time."""
    return (one.view(torch.uint8) & other.view(torch.uint8)).view(torch.bool)


def any_of(found: Tensor) -> Tensor:
    """Where any of N masks is true: of (B, N, H, W) bool, (B, H, W); one mask is itself."""
    return found[:, 0] if found.shape[1] == 1 else found.any(1)


def colour(fill: Fill, image: Tensor) -> Tensor:
    """The fill as `normalize` makes it: a scalar 0 for the mean, a row of black, (1, 3, 1, W) channels last."""
    if fill == "mean":
        return image.new_zeros(())
    return row_of(BLACK, image).to(image.dtype)
