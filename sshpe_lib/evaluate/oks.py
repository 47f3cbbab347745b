"""Object keypoint similarity between detections, and the suppression of duplicates by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def oks_matrix(keypoints: np.ndarray, areas: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Similarity of every pair of detections, (N, N), symmetric, 1 on the diagonal.

    keypoints: (N, K, 2 or more) px, only x and y are used; areas: (N,) px^2; sigmas: K OKS constants. The
    scale of a pair is the mean of its areas, and all K joints count whatever their scores. Source: `oks_iou`
    of HRNet.
    """
    points, areas = np.asarray(keypoints, np.float64)[..., :2], np.asarray(areas, np.float64)
    squared = ((points[:, None] - points[None, :]) ** 2).sum(axis=-1)
    variances = (2 * np.asarray(sigmas, np.float64)) ** 2
    scale = (areas[:, None] + areas[None, :]) / 2 + np.spacing(1)
    return np.exp(-squared / variances / scale[..., None] / 2).mean(axis=-1)


def oks_nms(
    keypoints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    sigmas: Sequence[float],
    threshold: float = 0.9,
) -> np.ndarray:
    """Keep detections by falling score, dropping those more than `threshold` similar to one already kept.

    keypoints: (N, K, 2 or more) px; scores: (N,); areas: (N,) px^2. Returns the kept indices, best first; of
    equal scores the earlier detection goes first.
    """
    alike = oks_matrix(keypoints, areas, sigmas) > threshold
    order = np.argsort(-np.asarray(scores), kind="stable")
    dropped = np.zeros(len(order), dtype=bool)
    for best in order:
        if not dropped[best]:
            dropped |= alike[best]
            dropped[best] = False
    return order[~dropped[order]]
