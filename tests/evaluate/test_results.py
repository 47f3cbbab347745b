"""Scores and COCO results: equal to the reference, complete, and refused when they are not numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.results import rescore, to_results, write_results
from sshpe_lib.skeleton import COCO17

GOLDEN = Path(__file__).parents[1] / "goldens" / "data_oksnms.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def arguments(golden: dict[str, np.ndarray], **changes) -> dict:
    """The golden people, all in image 7."""
    people = {
        "image_ids": [7] * 24,
        "keypoints": golden["kpts"][..., :2],
        "joint_scores": golden["kpts"][..., 2],
        "scores": golden["scores"],
        "areas": golden["areas"],
        "category_id": 1,
        "sigmas": COCO17.sigmas,
    }
    return people | changes


def test_rescore_equals_the_reference(golden):
    ours = rescore(golden["kpts"][..., 2], golden["box_score"])
    np.testing.assert_allclose(ours, golden["rescored_vis02"], rtol=0, atol=4e-16)


def test_rescore_counts_joints_above_the_threshold_only():
    scores = np.array([[0.2, 0.3, 0.5], [0.1, 0.2, 0.0], [0.9, 0.9, 0.9]])
    np.testing.assert_allclose(rescore(scores, np.array([1.0, 1.0, 0.5])), [0.4, 0.0, 0.45], rtol=1e-12)
    np.testing.assert_allclose(rescore(scores, np.ones(3), threshold=-1), scores.mean(1), rtol=1e-12)


def test_to_results_keeps_what_the_reference_keeps(golden):
    results = to_results(**arguments(golden), nms=0.5)
    assert len(results) == len(golden["keep_50"])
    for entry, person in zip(results, golden["keep_50"], strict=True):
        assert (entry["image_id"], entry["category_id"]) == (7, 1)
        assert entry["score"] == golden["scores"][person]
        np.testing.assert_array_equal(np.reshape(entry["keypoints"], (17, 3)), golden["kpts"][person])


def test_to_results_suppresses_within_an_image_only(golden):
    by_image = [i % 3 for i in range(24)]
    results = to_results(**arguments(golden, image_ids=by_image), nms=0.5)
    assert [entry["image_id"] for entry in results] == sorted(entry["image_id"] for entry in results)
    for image in range(3):
        people = np.arange(24) % 3 == image
        alone = {k: v[people] if isinstance(v, np.ndarray) else v for k, v in arguments(golden).items()}
        alone["image_ids"] = [image] * int(people.sum())
        assert [entry for entry in results if entry["image_id"] == image] == to_results(**alone, nms=0.5)


def test_to_results_without_suppression_keeps_everybody_best_first(golden):
    results = to_results(**arguments(golden), nms=None)
    assert [entry["score"] for entry in results] == sorted(golden["scores"], reverse=True)


def test_results_survive_the_file_they_are_written_to(golden, tmp_path):
    images = np.arange(24) // 5
    results = to_results(**arguments(golden, image_ids=images))
    path = tmp_path / "new" / "results.json"
    write_results(path, results)
    assert json.loads(path.read_text()) == results
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]


def test_to_results_takes_nobody():
    nobody = np.zeros((0, 17))
    assert to_results([], np.zeros((0, 17, 2)), nobody, np.zeros(0), np.zeros(0), 1, COCO17.sigmas) == []


@pytest.mark.parametrize("name", ["keypoints", "joint_scores", "scores", "areas"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_to_results_names_a_prediction_that_is_not_finite(golden, name, value):
    given = arguments(golden, image_ids=range(100, 124))
    given[name] = given[name].copy()
    given[name][5] = value
    with pytest.raises(SSHPEError, match=rf"prediction 5 \(image 105\) has {name} that are not finite"):
        to_results(**given)


@pytest.mark.parametrize("name", ["keypoints", "joint_scores", "scores", "areas"])
def test_to_results_names_an_array_of_the_wrong_length(golden, name):
    given = arguments(golden)
    given[name] = given[name][:-1]
    with pytest.raises(SSHPEError, match=f"{name} has shape .* 24 image ids and 17 sigmas"):
        to_results(**given)
