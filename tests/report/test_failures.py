"""The page of worst cases: every case with its picture, and a button for every kind of error."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest

from sshpe_lib.report import breakdown
from sshpe_lib.report.failures import HEIGHT, Case, Failures, picture
from sshpe_lib.report.overlay import SIDES
from sshpe_lib.skeleton import COCO17

GOOD, JITTER, INVERSION, SWAP, MISS = range(5)


def case(oks: float = 0.2, **kinds: int) -> Case:
    """A person on a grey picture; kinds: of the joints that are named, the others are good."""
    rng = np.random.default_rng(0)
    truth = np.column_stack([rng.uniform(60, 140, (17, 2)), np.full(17, 2.0)])
    predicted = np.column_stack([truth[:, :2] + 3, np.full(17, 0.9)])
    found = np.array([kinds.get(name, GOOD) for name in COCO17.keypoints])
    return Case(np.full((200, 240, 3), 120, np.uint8), predicted, truth, found, oks, "annotation 7, a<b.jpg")


def test_a_case_tells_its_errors_the_worst_first() -> None:
    made = case(left_knee=JITTER, nose=MISS, left_wrist=SWAP, right_wrist=SWAP)
    assert list(made.wrong(COCO17)) == ["miss", "swap", "jitter"]
    assert made.wrong(COCO17)["swap"] == ["left wrist", "right wrist"]
    assert made.summary(COCO17) == "OKS 0.20  annotation 7, a<b.jpg: 1 miss, 2 swap, 1 jitter"
    assert case().summary(COCO17).endswith("nothing is wrong")


def test_the_page_has_every_picture_and_a_button_for_every_kind() -> None:
    page = Failures((case(nose=MISS), case(0.4, nose=MISS, left_ear=INVERSION)), COCO17, "The 2 worst").page()
    assert re.findall(r"(\w+) \((\d)\)</label>", page) == [
        ("all", "2"), ("miss", "2"), ("swap", "0"), ("inversion", "1"), ("jitter", "0"),
    ]  # fmt: skip
    figures = re.findall(
        r"<figure class='([^']*)'><img alt=\"([^\"]*)\" src='data:image/jpeg;base64,([^']*)'", page
    )
    assert [classes for classes, _, _ in figures] == ["miss", "miss inversion"]
    assert figures[0][1] == "OKS 0.20  annotation 7, a&lt;b.jpg: 1 miss"
    for _, _, data in figures:
        assert (
            cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR).shape[0] == HEIGHT
        )
    assert "http" not in page and "<script" not in page


def test_the_picture_shows_label_prediction_and_rings() -> None:
    plain, ringed = picture(case(), COCO17), picture(case(nose=MISS), COCO17)
    changed = (plain != ringed).any(-1)
    assert plain.shape == ringed.shape and 20 < changed.sum() < 1000  # the ring, and nothing else
    assert (plain == 255).all(-1).any()  # the label


@pytest.mark.parametrize("kind", [JITTER, INVERSION, SWAP, MISS])
def test_a_ring_has_the_colour_of_what_went_wrong(kind: int) -> None:
    plain, ringed = picture(case(), COCO17), picture(case(nose=kind), COCO17)
    ring = ringed[(plain != ringed).any(-1)].astype(int)
    shades = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in breakdown.COLORS]
    near = [(np.abs(ring - shade).sum(-1) < 10).sum() for shade in shades]
    assert np.argmax(near) == kind and near[kind] > 20


@pytest.mark.parametrize("far", [-1e6, np.nan, 1e9])
def test_a_person_who_was_not_found_is_shown_by_the_label_alone(far: float) -> None:
    made = case(nose=MISS)
    made.predicted[:, :2] = far
    shown = picture(made, COCO17)
    assert shown.shape[0] == HEIGHT
    for side in SIDES.values():
        assert not (np.abs(shown.astype(int) - side).sum(-1) < 20).any()


def test_rings_have_no_colour_of_a_limb() -> None:
    shades = [tuple(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in breakdown.COLORS[1:]]
    assert not set(shades) & set(SIDES.values())
