"""Keypoint sets: their OKS constants are the published ones, and what a category of one's own gets."""

from __future__ import annotations

import numpy as np
import pytest

from sshpe_lib.evaluate.oks import oks_matrix
from sshpe_lib.skeleton import AIC14, from_category

# `delta` of `Evaluation/keypoint_eval/keypoint_eval.py`, AIChallenger/AI_Challenger_2017.
DELTA = 2 * np.array(
    [0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642, 0.03686941, 0.01981803,
     0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173]
)  # fmt: skip


def test_people_of_ai_challenger_are_as_alike_as_its_own_evaluation_says() -> None:
    """`compute_oks`, of two people with every joint in sight and an area of its own kind, box and 1."""
    draw = np.random.default_rng(0)
    people = draw.uniform(0, 200, (1, 14, 2)) + draw.normal(0, 5, (2, 14, 2))
    box = 180.0 * 90.0
    squared = np.sum((people[0] - people[1]) ** 2, axis=1)
    theirs = np.mean(np.exp(-squared / 2 / DELTA**2 / (box + 1)))
    ours = oks_matrix(people, np.full(2, box + 1), AIC14.sigmas)
    assert 0.05 < theirs < 0.95
    assert ours[0, 1] == pytest.approx(theirs, rel=1e-12)


def test_a_category_of_ai_challengers_joints_has_its_constants() -> None:
    """In the words of its COCO-format file."""
    names = [name.replace("_", " ").capitalize() for name in AIC14.keypoints]
    assert from_category({"id": 1, "keypoints": names}, "a file") == AIC14


def test_a_category_of_ones_own_has_coco_s_constants_and_not_ai_challenger_s() -> None:
    """All sets name shoulders; AI Challenger's constant, a sixth of COCO's, is for its own file alone."""
    names = ["left_shoulder", "right_ankle", "nose", "neck", "head_top", "head", "tail"]
    found = from_category({"id": 1, "name": "person", "keypoints": names}, "a file")
    assert found.sigmas == (0.079, 0.089, 0.026, 0.079, 0.079, 0.079, 0.08)
