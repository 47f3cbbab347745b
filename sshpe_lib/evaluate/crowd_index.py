"""How crowded an image is: the crowd index of CrowdPose (Li et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def crowd_index(keypoints: np.ndarray, boxes: np.ndarray) -> float:
    """The mean over people of the joints of others in their box, per joint of their own in it.

    keypoints: (P, K, 3) x, y and v, a joint counts where v > 0; boxes: (P, 4) x, y, width, height. People without a
    joint of their own in their box are left out. 0 where nobody is left; at most 1, as in CrowdPose's files. Source:
    Eq. 5 of Li et al. (2019), whose code is not public: on the two images of CrowdPose at hand it gives 0.34 and
    0.41 where the file says 0.33 and 0.39.
    """
    if not len(boxes):
        return 0.0
    x, y = keypoints[None, ..., 0], keypoints[None, ..., 1]
    left, top, width, height = (side[:, None, None] for side in np.asarray(boxes, np.float64).T)
    inside = (x >= left) & (x <= left + width) & (y >= top) & (y <= top + height)
    counts = (inside & (keypoints[None, ..., 2] > 0)).sum(axis=2)  # [box, person]
    own = np.diagonal(counts)
    shares = (counts.sum(axis=1) - own)[own > 0] / own[own > 0]
    return float(min(1.0, shares.mean())) if len(shares) else 0.0


def with_crowd_index(ground_truth: dict) -> dict:
    """A parsed COCO keypoint file whose every image has `crowdIndex`: its own, or else the one worked out here.

    Returns a new dictionary that shares the annotations; images without people have 0.
    """
    people: dict[int, list[dict]] = {}
    for annotation in ground_truth["annotations"]:
        people.setdefault(annotation["image_id"], []).append(annotation)
    images = [
        {"crowdIndex": round(_of(people.get(image["id"], ())), 4), **image}
        if "crowdIndex" not in image
        else image
        for image in ground_truth["images"]
    ]
    return {**ground_truth, "images": images}


def _of(annotations: Sequence[dict]) -> float:
    if not annotations:
        return 0.0
    keypoints = np.array([a["keypoints"] for a in annotations], np.float64).reshape(len(annotations), -1, 3)
    return crowd_index(keypoints, np.array([a["bbox"] for a in annotations], np.float64))
