"""Predicted people as a list of COCO results, scored and free of duplicates."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.oks import oks_nms
from sshpe_lib.writing import written_whole


def rescore(joint_scores: np.ndarray, box_scores: np.ndarray, threshold: float = 0.2) -> np.ndarray:
    """A person's score: the mean of its joint scores above `threshold`, times its box's score.

    joint_scores: (N, K); box_scores: (N,), 1 for ground-truth boxes. Returns (N,), 0 where no joint is above.
    Source: evaluation of HRNet.
    """
    joint_scores = np.asarray(joint_scores, np.float64)
    confident = joint_scores > threshold
    count = confident.sum(axis=1)
    return np.where(confident, joint_scores, 0).sum(axis=1) / np.maximum(count, 1) * np.asarray(box_scores)


def to_results(
    image_ids: Sequence[int] | np.ndarray,
    keypoints: np.ndarray,
    joint_scores: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    category_id: int,
    sigmas: Sequence[float],
    nms: float | None = 0.9,
) -> list[dict]:
    """COCO keypoint results, after OKS suppression within each image.

    image_ids: (N,); keypoints: (N, K, 2) image px; joint_scores: (N, K); scores: (N,); areas: (N,) px^2 of
    the padded boxes; nms: OKS above which the lower-scored of two people is dropped, None keeps all. Returns
    a list of {image_id, category_id, keypoints [x, y, score, ...], score}, images in order of appearance,
    best first.

    Raises:
        SSHPEError: the arrays disagree in length, or a prediction is not finite.
    """
    ids, keypoints, joint_scores = np.asarray(image_ids), np.asarray(keypoints), np.asarray(joint_scores)
    scores, areas = np.asarray(scores), np.asarray(areas)
    _check_predictions(ids, keypoints, joint_scores, scores, areas, sigmas)
    triplets = np.concatenate([keypoints, joint_scores[..., None]], axis=-1).astype(np.float64)
    results = []
    for image_id, people in _group(ids).items():
        kept = np.argsort(-scores[people], kind="stable")
        if nms is not None:
            kept = oks_nms(triplets[people], scores[people], areas[people], sigmas, nms)
        for person in people[kept]:
            results.append(
                {
                    "image_id": image_id,
                    "category_id": int(category_id),
                    "keypoints": triplets[person].ravel().tolist(),
                    "score": float(scores[person]),
                }
            )
    return results


def write_results(path: str | os.PathLike, results: list[dict]) -> None:
    """Write results as JSON, whole or not at all; folders are made as needed."""
    with written_whole(Path(path)) as partial:
        partial.write_text(json.dumps(results, allow_nan=False), encoding="utf-8")


def _group(image_ids: np.ndarray) -> dict[int, np.ndarray]:
    groups: dict[int, list[int]] = {}
    for person, image_id in enumerate(image_ids.tolist()):
        groups.setdefault(image_id, []).append(person)
    return {image_id: np.array(people) for image_id, people in groups.items()}


def _check_predictions(
    image_ids: np.ndarray,
    keypoints: np.ndarray,
    joint_scores: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    sigmas: Sequence[float],
) -> None:
    n, k = len(image_ids), len(sigmas)
    given = {"keypoints": keypoints, "joint_scores": joint_scores, "scores": scores, "areas": areas}
    expected = {"keypoints": (n, k, 2), "joint_scores": (n, k), "scores": (n,), "areas": (n,)}
    for name, array in given.items():
        if array.shape != expected[name]:
            raise SSHPEError(
                f"{name} has shape {array.shape}, but {n} image ids and {k} sigmas ask for {expected[name]}; "
                "pass one entry per person and one joint per sigma"
            )
        finite = np.isfinite(array.reshape(n, -1)).all(axis=1) if n else np.ones(0, bool)
        if not finite.all():
            person = int(np.argmin(finite))
            raise SSHPEError(
                f"prediction {person} (image {image_ids[person]}) has {name} that are not finite; "
                "the network or its checkpoint produced NaN or infinity: check the training log"
            )
