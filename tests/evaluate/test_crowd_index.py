"""The crowd index of CrowdPose, worked out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sshpe_lib.evaluate.crowd_index import crowd_index, with_crowd_index


def person(x: float, joints: int = 4) -> tuple[np.ndarray, list[float]]:
    """Joints in a column at x, and a box of width 10 around them."""
    points = np.column_stack([np.full(joints, x), np.arange(joints) * 5.0, np.full(joints, 2.0)])
    return points, [x - 5, -1, 10, joints * 5]


def of(*people: tuple[np.ndarray, list[float]]) -> float:
    keypoints, boxes = zip(*people, strict=True)
    return crowd_index(np.stack(keypoints), np.array(boxes))


def test_people_apart_are_no_crowd_and_people_in_one_box_are_one() -> None:
    assert of(person(0), person(100)) == 0
    assert of(person(0), person(1)) == 1
    assert of(person(0)) == 0 and crowd_index(np.zeros((0, 17, 3)), np.zeros((0, 4))) == 0


def test_it_is_the_mean_share_of_others_joints() -> None:
    """The first box holds two of the second's four joints, the second's none of the first's: (2/4 + 0/4) / 2."""
    (first, box), (second, _) = person(0), person(8)
    second[:2, 0] = 4.0  # leaned over into the first box, out of its own
    second[2:, 0] = 12.0
    assert crowd_index(np.stack([first, second]), np.array([box, [3, -1, 20, 20]])) == pytest.approx(0.25)


def test_unlabelled_joints_and_people_without_any_do_not_count() -> None:
    (first, box), (second, other) = person(0), person(1)
    second[:, 2] = 0
    assert crowd_index(np.stack([first, second]), np.array([box, other])) == 0
    assert of(person(0), person(1), person(2)) == 1  # two of others for each of one's own: 2, cut at 1


def test_occluded_joints_count_as_visible_ones() -> None:
    (first, box), (second, other) = person(0), person(1)
    first[:, 2] = second[:, 2] = 1
    assert crowd_index(np.stack([first, second]), np.array([box, other])) == 1


def test_a_joint_on_the_edge_of_a_box_is_in_it() -> None:
    assert of(person(0), person(5)) == 1


def test_an_image_without_an_index_gets_that_of_its_own_people() -> None:
    (first, box), (second, other) = person(0), person(1)
    annotations = [
        {"image_id": image, "keypoints": points.ravel().tolist(), "bbox": where}
        for image, points, where in ((1, first, box), (2, first, box), (2, second, other))
    ]
    found = with_crowd_index({"images": [{"id": 1}, {"id": 2}], "annotations": annotations})
    assert [image["crowdIndex"] for image in found["images"]] == [0, 1]


def test_a_files_own_index_is_kept() -> None:
    (keypoints, box) = person(0)
    annotation = {"image_id": 2, "keypoints": keypoints.ravel().tolist(), "bbox": box}
    truth = {"images": [{"id": 1, "crowdIndex": 0.7}, {"id": 2}, {"id": 3}], "annotations": [annotation]}
    found = with_crowd_index(truth)
    assert [image["crowdIndex"] for image in found["images"]] == [0.7, 0, 0]
    assert "crowdIndex" not in truth["images"][1]


@pytest.mark.real_data
def test_near_to_the_index_of_crowdposes_own_file(sshpe_data) -> None:
    """Within 0.02 of the two public images' index: how its authors rounded is not known."""
    truth = json.loads((sshpe_data / "crowdpose-slice" / "test_crowdpose.json").read_text())
    own = [image.pop("crowdIndex") for image in truth["images"]]
    worked_out = [image["crowdIndex"] for image in with_crowd_index(truth)["images"]]
    np.testing.assert_allclose(worked_out, own, atol=0.02)
