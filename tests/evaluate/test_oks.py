"""Keypoint similarity and the suppression of duplicates: equal to the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.evaluate.oks import oks_matrix, oks_nms
from sshpe_lib.skeleton import COCO17

GOLDEN = Path(__file__).parents[1] / "goldens" / "data_oksnms.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def test_oks_matrix_equals_the_reference(golden):
    ours = oks_matrix(golden["kpts"], golden["areas"], COCO17.sigmas)
    np.testing.assert_allclose(ours, golden["oks_matrix"], rtol=0, atol=4e-16)


def test_oks_matrix_is_a_similarity(golden):
    ours = oks_matrix(golden["kpts"], golden["areas"], COCO17.sigmas)
    assert (np.diag(ours) == 1).all() and ((ours >= 0) & (ours <= 1)).all()
    np.testing.assert_array_equal(ours, ours.T)


def test_oks_falls_off_as_its_definition_says():
    keypoints = np.zeros((2, 17, 3))
    keypoints[1, 0, 0] = 2 * COCO17.sigmas[0] * np.sqrt(2 * 900.0)  # one joint, at exp(-1)
    ours = oks_matrix(keypoints, np.array([800.0, 1000.0]), COCO17.sigmas)
    assert ours[0, 1] == pytest.approx((16 + np.exp(-1)) / 17, rel=1e-12)


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_oks_nms_equals_the_reference(golden, threshold):
    kept = oks_nms(golden["kpts"], golden["scores"], golden["areas"], COCO17.sigmas, threshold)
    np.testing.assert_array_equal(kept, golden[f"keep_{int(100 * threshold)}"])


def test_oks_nms_keeps_the_better_of_two_copies_and_the_first_of_equal_ones():
    person = np.random.default_rng(0).uniform(0, 100, (17, 3))
    far = person + np.array([300, 0, 0])
    keypoints, areas = np.stack([person, far, person, far]), np.full(4, 5000.0)
    assert oks_nms(keypoints, [0.2, 0.6, 0.7, 0.6], areas, COCO17.sigmas).tolist() == [2, 1]
    assert oks_nms(keypoints, [0.2, 0.6, 0.7, 0.6], areas, COCO17.sigmas, threshold=1.0).tolist() == [
        2,
        1,
        3,
        0,
    ]


def test_oks_nms_takes_an_image_without_people():
    kept = oks_nms(np.zeros((0, 17, 3)), np.zeros(0), np.zeros(0), COCO17.sigmas)
    assert kept.shape == (0,) and kept.dtype == np.int64
