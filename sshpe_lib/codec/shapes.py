"""Sizes and shapes that a codec may be given."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sshpe_lib.errors import SSHPEError


def set_sizes(codec: object, **sizes: Sequence[int]) -> None:
    """Give a frozen codec its sizes as tuples: those of a list could not be kept on a GPU."""
    for name, size in sizes.items():
        object.__setattr__(codec, name, tuple(size))


def check_points(points: torch.Tensor, visible: torch.Tensor) -> None:
    """Raises SSHPEError where points are not (B, K, 2), or visibilities not (B, K) of the same keypoints.

    What is broadcast would draw a joint with the visibility of another.
    """
    shape = tuple(points.shape)
    if len(shape) != 3 or shape[2] != 2 or visible.shape != shape[:2]:
        raise SSHPEError(
            f"points have shape {shape} and visibilities {tuple(visible.shape)}; give (B, K, 2) and (B, K) of the same "
            "keypoints"
        )


def check_heatmaps(heatmaps: torch.Tensor, size: tuple[int, int], channels: int = 1) -> None:
    """Raises SSHPEError where heatmaps are not (B, C, H, W) of a codec's size, (width, height), and of whole keypoints.

    channels: of a keypoint. Maps of another size would be read as if they were, with points in wrong places.
    """
    width, height = size
    shape = tuple(heatmaps.shape)
    if len(shape) != 4 or shape[2:] != (height, width) or shape[1] % channels:
        each = "K" if channels == 1 else f"{channels} K"
        raise SSHPEError(
            f"heatmaps have shape {shape}, and the codec reads (B, {each}, {height}, {width}); "
            "give it the network's heatmap_size, (width, height)"
        )
