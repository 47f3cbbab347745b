"""Losses on heatmaps."""

from __future__ import annotations

from torch import Tensor


def heatmap_mse(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Half the mean squared error of weighted heatmaps, averaged over batch, keypoints and pixels.

    predicted, target: (B, K, H, W); weight: (B, K), 0 for a keypoint that teaches nothing (it stays in the
    denominator). Returns a scalar. Source: the reference implementation of the supervised loss L of Eq. 1 of
    Pose-MUM, `0.5 * MSE(w p, w t)` per keypoint.
    """
    error = predicted - target
    if weight is not None:
        error = error * weight[:, :, None, None]
    return 0.5 * error.square().mean()
