"""Shapes of heatmaps that a codec may read."""

from __future__ import annotations

import torch

from sshpe_lib.errors import SSHPEError


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
