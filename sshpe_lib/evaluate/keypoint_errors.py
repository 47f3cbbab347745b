"""Why a keypoint is wrong: jitter, inversion, swap or miss (Ronchi and Perona 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GOOD, JITTER, INVERSION, SWAP, MISS = range(5)
KINDS = ("good", "jitter", "inversion", "swap", "miss")
UNLABELED = -1
NEAR, EXACT = 0.5, 0.85  # similarity from which a keypoint is about a joint, and on it
PEOPLE = 64  # whose K x K distances are held at a time


def similarities(
    points: np.ndarray, joints: np.ndarray, areas: np.ndarray, sigmas: Sequence[float]
) -> np.ndarray:
    """Keypoint similarity, exp(-d^2 / (2 s^2 k^2)) of COCO, elementwise: 1 on the joint, 0 far from it.

    points, joints: (..., K, 2) px; areas: (...,) px^2 of the person whom the joints belong to; sigmas: K OKS constants.
    Returns (..., K).
    """
    squared = np.square(_difference(points, joints)).sum(-1)
    variances = np.square(2 * np.asarray(sigmas, np.float64))
    return np.exp(-squared / (2 * variances * (np.asarray(areas, np.float64)[..., None] + np.spacing(1))))


def _difference(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """As floats: differences of unsigned numbers wrap around."""
    return np.asarray(points, np.float64) - np.asarray(joints, np.float64)


def classify(
    predicted: np.ndarray,
    truth: np.ndarray,
    areas: np.ndarray,
    image_ids: np.ndarray,
    sigmas: Sequence[float],
) -> np.ndarray:
    """What became of every labelled joint of N people, each with its own prediction.

    predicted: (N, K, 2 or more) px; truth: (N, K, 3) x, y and v; areas: (N,) px^2; image_ids: (N,). Returns (N, K)
    int8: GOOD from a similarity of 0.85 on, JITTER from 0.5 on; else INVERSION where the prediction is about another
    joint of the same person, SWAP where it is about the same joint of another person of the image, MISS where it is
    about neither; UNLABELED where v is 0.
    """
    points, joints, labeled = predicted[..., :2], truth[..., :2], truth[..., 2] > 0
    own = similarities(points, joints, areas, sigmas)
    kinds = np.select([own >= EXACT, own >= NEAR], [GOOD, JITTER], MISS)
    wrong = kinds == MISS
    kinds[wrong & _about_others(points, joints, labeled, areas, image_ids, sigmas)] = SWAP
    kinds[wrong & _about_another_joint(points, joints, labeled, areas, sigmas)] = INVERSION
    return np.where(labeled, kinds, UNLABELED).astype(np.int8)


def _about_another_joint(
    points: np.ndarray, joints: np.ndarray, labeled: np.ndarray, areas: np.ndarray, sigmas: Sequence[float]
) -> np.ndarray:
    """(N, K): the prediction of a joint is near a different labelled joint of its person."""
    found, others = np.zeros(labeled.shape, bool), ~np.eye(points.shape[1], dtype=bool)
    for start in range(0, len(points), PEOPLE):
        few = slice(start, start + PEOPLE)
        near = similarities(points[few, :, None], joints[few, None], areas[few, None], sigmas) >= NEAR
        found[few] = (near & labeled[few, None] & others).any(axis=2)
    return found


def _about_others(
    points: np.ndarray,
    joints: np.ndarray,
    labeled: np.ndarray,
    areas: np.ndarray,
    image_ids: np.ndarray,
    sigmas: Sequence[float],
) -> np.ndarray:
    """(N, K): the prediction of a joint is near the same joint of somebody else in the image."""
    found = np.zeros(labeled.shape, bool)
    for image in np.unique(image_ids):
        rows = np.flatnonzero(image_ids == image)
        if len(rows) > 1:
            near = similarities(points[rows][:, None], joints[rows][None], areas[rows][None], sigmas) >= NEAR
            near &= labeled[rows][None] & ~np.eye(len(rows), dtype=bool)[..., None]
            found[rows] = near.any(axis=1)
    return found


def shares(kinds: np.ndarray) -> np.ndarray:
    """Of every joint's labels the share that became what, (K, 5), rows adding up to 1; NaN for a joint without any."""
    counts = np.stack([(kinds == kind).sum(axis=0) for kind in range(len(KINDS))], axis=-1).astype(float)
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def pck(predicted: np.ndarray, truth: np.ndarray, lengths: np.ndarray, share: float) -> np.ndarray:
    """Of every joint's labels the share that is predicted within `share` of the person's length, (K,); NaN without any.

    predicted, truth: as of `classify`; lengths: (N,) px, such as the longer side of the box. Source: PCK of Yang and
    Ramanan (2013).
    """
    distances = np.linalg.norm(_difference(predicted[..., :2], truth[..., :2]), axis=-1)
    return _mean_of_labels(distances <= share * lengths[:, None], truth)


def joint_similarities(
    predicted: np.ndarray, truth: np.ndarray, areas: np.ndarray, sigmas: Sequence[float]
) -> np.ndarray:
    """Every joint's mean similarity over its labels, (K,), what each joint adds to OKS; NaN for a joint without any."""
    return _mean_of_labels(similarities(predicted[..., :2], truth[..., :2], areas, sigmas), truth)


def _mean_of_labels(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N, K) values to their means over those who have the joint labelled, (K,); NaN where nobody has."""
    labeled = truth[..., 2] > 0
    count = labeled.sum(axis=0)
    total = (values * labeled).sum(axis=0).astype(float)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def person_oks(
    predicted: np.ndarray, truth: np.ndarray, areas: np.ndarray, sigmas: Sequence[float]
) -> np.ndarray:
    """Every person's OKS over its labelled joints, (N,), as COCO's; 0 for a person without any.

    Shapes are those of `classify`.
    """
    labeled = truth[..., 2] > 0
    each = similarities(predicted[..., :2], truth[..., :2], areas, sigmas)
    return (each * labeled).sum(axis=-1) / np.maximum(labeled.sum(axis=-1), 1)
