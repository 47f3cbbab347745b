"""Skeletons drawn onto pictures."""

from __future__ import annotations

import numpy as np
import pytest

from sshpe_lib.report.overlay import SIDES, overlay
from sshpe_lib.skeleton import COCO17


def person(score: float = 1.0) -> np.ndarray:
    points = np.zeros((17, 3))
    for joint, name in enumerate(COCO17.keypoints):
        points[joint] = (30 if name.startswith("left") else 70, 5 + 5 * joint, score)
    return points


@pytest.mark.parametrize("shade", [0, 255])
def test_left_and_right_show_on_dark_and_bright_pictures(shade: int) -> None:
    image = np.full((100, 100, 3), shade, np.uint8)
    drawn = overlay(image, [person()], COCO17)
    assert (image == shade).all(), "the picture itself is left as it is"
    for joint, side in ((5, "left"), (6, "right"), (0, "middle")):
        x, y = person()[joint, :2].astype(int)
        assert np.abs(drawn[y, x].astype(int) - SIDES[side]).max() <= 2


def test_what_is_less_sure_is_fainter_and_what_is_not_there_is_not_drawn() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    sure, unsure = (overlay(image, [person(score)], COCO17).sum() for score in (1.0, 0.2))
    assert 0 < unsure < 0.6 * sure
    assert (overlay(image, [person(0.0)], COCO17) == 0).all()


def test_a_joint_outside_the_picture_is_no_error() -> None:
    outside = person()
    outside[:, :2] -= 300
    half = person()
    half[16, :2] = (400, -20)
    image = np.zeros((100, 100, 3), np.uint8)
    assert (overlay(image, [outside], COCO17) == 0).all()
    assert overlay(image, [half], COCO17).any()
