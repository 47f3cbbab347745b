"""What is told of a set of predicted people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.evaluate.statistics import statistics
from sshpe_lib.skeleton import COCO17
from tests import toy


@pytest.mark.parametrize(("right", "wrong", "flag"), [("AP-vis", "AP-invis", 2), ("AP-invis", "AP-vis", 1)])
def test_visible_and_occluded_joints_are_measured_apart(
    tmp_path: Path, right: str, wrong: str, flag: int
) -> None:
    """Joints of one flag are predicted where they are, all others far away."""
    people = toy.instances(tmp_path, 6)
    results = []
    for image, joints in zip(people.image_ids.tolist(), people.keypoints.astype(float), strict=True):
        points = joints[:, :2] + 1000 * (joints[:, 2:] != flag)
        keypoints = np.column_stack([points, np.ones(17)]).ravel().tolist()
        results.append({"image_id": image, "category_id": 1, "keypoints": keypoints, "score": 1.0})
    told = statistics(toy.ground_truth(people), results, COCO17.sigmas, visibility=True)
    assert told[right] == pytest.approx(100) and told[wrong] == 0
