"""Keypoint sets: their OKS constants are the published ones, and what a category of one's own gets."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sshpe_lib.evaluate.oks import oks_matrix
from sshpe_lib.skeleton import AIC14, COCO17, KNOWN, flip_pairs, from_category, without_partner

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


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_eye", "right_eye"), ("L_Eye", "R_Eye"), ("l_eye", "r_eye"), ("eye_l", "eye_r"),
        ("left-eye", "right-eye"), ("left eye", "right eye"), ("l eye", "r eye"), ("LeftEye", "RightEye"),
        ("leftEye", "rightEye"),
        ("lefteye", "righteye"), ("LEFT_EYE", "RIGHT_EYE"), ("shoulder_left", "shoulder_right"), ("LEye", "REye"),
        ("ShoulderLeft", "ShoulderRight"), ("lEye", "rEye"), ("EyeL", "EyeR"), ("big_l_toe", "big_r_toe"),
        ("left_eye_left_corner", "right_eye_right_corner"), ("left_eye_right_corner", "right_eye_left_corner"),
    ],
)  # fmt: skip
def test_a_mirror_swaps_left_and_right_however_they_are_named(left: str, right: str) -> None:
    names = ["nose", right, "left_hip", left, "right_hip"]
    found = from_category({"id": 1, "keypoints": names}, "a file")
    assert set(found.flip_pairs) == {(3, 1), (2, 4)} and len(found.flip_pairs) == 2
    assert found.flip_order == (0, 3, 4, 1, 2)
    assert found.sides == ("middle", "right", "left", "left", "right")
    assert without_partner(names) == ()


@pytest.mark.parametrize(
    "names",
    [
        ("lip", "rip"), ("Lip", "Rip"), ("LIP", "RIP"), ("lower_back", "rower_back"), ("leye", "reye"),
        ("tail", "tair"), ("l1", "r1"), ("left_eye", "right_ear"), ("left_eye", "r_eye"),
    ],
)  # fmt: skip
def test_names_that_are_not_the_same_but_for_the_side_are_no_pair(names: tuple[str, str]) -> None:
    assert flip_pairs(names) == ()


def test_a_mirror_is_its_own_inverse_where_one_keypoint_is_named_twice() -> None:
    names = ["left_eye", "left-eye", "right_eye", "LeftEye"]
    found = from_category({"id": 1, "keypoints": names}, "a file")
    assert len(found.flip_pairs) == 1
    assert [found.flip_order[i] for i in found.flip_order] == [0, 1, 2, 3]


def test_the_pairs_of_the_known_sets() -> None:
    for known in KNOWN:
        sides = [name for name in known.keypoints if name.startswith(("left_", "right_"))]
        swapped = [known.keypoints[i] for i in known.flip_order]
        assert len(known.flip_pairs) == len(sides) / 2 > 5
        for name, other in zip(known.keypoints, swapped, strict=True):
            assert {name, other} == {name.replace("right_", "left_"), name.replace("left_", "right_")}
        assert all(known.keypoints[left].startswith("left_") for left, _ in known.flip_pairs)


def test_a_keypoint_of_one_side_alone_is_told_as_it_is_written() -> None:
    assert without_partner(["nose", "L_Eye", "LeftEar", "left ear", "RightEar", "lip"]) == (
        "L_Eye",
        "LeftEar",
    )


def cocos(change) -> dict:
    """COCO's category with its keypoints written otherwise."""
    return {"id": 1, "name": "person", "keypoints": [change(name) for name in COCO17.keypoints]}


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda name: name.replace("_", " "),
        lambda name: name.replace("_", "-"),
        lambda name: name.title().replace("_", ""),
        lambda name: re.sub("^(l|r)[a-z]+_", r"\1_", name),
        lambda name: re.sub("^(left|right)_(.*)", r"\2_\1", name),
        lambda name: re.sub("^(l|r)[a-z]+_(.*)", r"\2_\1", name),
    ],
)
def test_known_keypoints_are_known_however_they_are_written(change) -> None:
    assert from_category(cocos(change), "a file") is COCO17
    more = cocos(change)
    more["keypoints"].append("tail")
    assert from_category(more, "a file").sigmas == (*COCO17.sigmas, 0.08)
