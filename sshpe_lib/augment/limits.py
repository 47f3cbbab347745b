"""What an augmentation's settings, and its images and heatmaps, may be."""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor

from sshpe_lib.errors import SSHPEError


def check_limits(name: str, values: tuple[float, ...], low: float, high: float = float("inf")) -> None:
    """Raises SSHPEError where a value is not between low and high, or the values do not ascend."""
    if not all(low <= value <= high for value in values) or list(values) != sorted(values):
        shown = values[0] if len(values) == 1 else values
        raise SSHPEError(f"{name} is {shown}; give {_range(low, high)}{', ascending' * (len(values) > 1)}")


def check_count(name: str, value: int) -> None:
    """Raises SSHPEError where the value is not a whole number from 1 on."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise SSHPEError(f"{name} is {value!r}; give a whole number, 1 or more")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises SSHPEError where the value is none of the choices."""
    if value not in choices:
        raise SSHPEError(f"{name} is {value!r}; choose {' or '.join(map(repr, choices))}")


def check_maps(what: str, maps: Tensor, channels: int | None = None) -> None:
    """Raises SSHPEError where images or heatmaps are not floating (B, C, H, W), with so many channels where given."""
    shape = tuple(maps.shape)
    if not maps.is_floating_point() or len(shape) != 4 or channels not in (None, shape[1]):
        cure = ", as augment.pixels.normalize makes images of bytes" * (maps.dtype == torch.uint8)
        raise SSHPEError(
            f"{what} are {maps.dtype} of shape {shape}; give floating point numbers (B, {channels or 'C'}, H, W){cure}"
        )


def check_heatmaps(what: str, heatmaps: Tensor, images: Tensor) -> None:
    """Raises SSHPEError where heatmaps are not floating (B, K, h, w), or not of as many people as the images."""
    check_maps(f"{what}'s heatmaps", heatmaps)
    if len(heatmaps) != len(images):
        raise SSHPEError(
            f"{what} has heatmaps of {len(heatmaps)} images for {len(images)}; give those of its images"
        )


def _range(low: float, high: float) -> str:
    return f"{low} or more" if high == float("inf") else f"{low} to {high}"
