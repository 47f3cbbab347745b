"""Losses on heatmaps."""

from __future__ import annotations

from torch import Tensor

from sshpe_lib.errors import SSHPEError


def heatmap_mse(
    predicted: Tensor, target: Tensor, weight: Tensor | None = None, top: int | None = None
) -> Tensor:
    """Half the mean squared error of weighted heatmaps, averaged over batch, keypoints and pixels.

    predicted, target: (B, K, H, W); weight: (B, K), 0 for a keypoint that teaches nothing (it stays in the
    denominator, and counts as perfect). With `top`, only so many keypoints of every sample count, the hardest
    (OHKM). Returns a scalar. Source: the reference implementation of the supervised loss L of Eq. 1 of Pose-MUM,
    `0.5 * MSE(w p, w t)` per keypoint, and `JointsOHKMMSELoss` of HRNet, after CPN (Chen et al. 2018).

    Raises:
        SSHPEError: fewer than `top` keypoints, or `top` below 1.
    """
    error = predicted - target
    if weight is not None:
        error = error * weight[:, :, None, None]
    if top is None:
        return 0.5 * error.square().mean()
    return _hardest(0.5 * error.square().mean((2, 3)), top)


def offset_mse(
    predicted: Tensor, target: Tensor, weight: Tensor | None = None, top: int | None = None
) -> Tensor:
    """Half the squared errors of UDP's heat and of its two offsets, which count inside the target's discs only.

    predicted, target: (B, 3 K, H, W), per keypoint heat, dx and dy; weight: (B, K), on the heat alone (the
    target of a keypoint that teaches nothing is empty, and with it its offsets). Returns a scalar: the terms of a
    keypoint added up, averaged over pixels, over keypoints, or with `top` over every sample's `top` hardest, and
    over the batch. Source: `JointsMSELoss_offset` of UDP; the choice of the hardest is `heatmap_mse`'s.

    Raises:
        SSHPEError: fewer than `top` keypoints, or `top` below 1.
    """
    predicted, target = predicted.unflatten(1, (-1, 3)), target.unflatten(1, (-1, 3))
    error = predicted - target
    heat, offsets = error[:, :, 0], error[:, :, 1:] * target[:, :, :1]
    if weight is not None:
        heat = heat * weight[:, :, None, None]
    # The mean over a pair of offsets is half their sum, and their sum is what counts.
    losses = 0.5 * heat.square().mean((2, 3)) + offsets.square().mean((2, 3, 4))
    return losses.mean() if top is None else _hardest(losses, top)


def _hardest(losses: Tensor, top: int) -> Tensor:
    """The mean of the `top` largest of every sample's losses, (B, K)."""
    if not 1 <= top <= losses.shape[1]:
        raise SSHPEError(
            f"there are no {top} hardest of {losses.shape[1]} keypoints; choose fewer (train.hard_keypoints)"
        )
    return losses.topk(top, dim=1).values.mean()
