"""People from heatmaps and tags: equal to the reference, whatever the order and the number of people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sshpe_lib import grouping
from sshpe_lib.errors import SSHPEError
from sshpe_lib.grouping import COCO_ORDER, Grouping

GOLDEN = Path(__file__).parent / "goldens" / "data_parser.npz"
SETTINGS = {"00": (False, False), "10": (True, False), "11": (True, True)}  # adjust, refine


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def maps(golden: dict[str, np.ndarray], scene: str) -> tuple[torch.Tensor, torch.Tensor]:
    heat, tags = (
        torch.from_numpy(golden[f"{scene}_{kind}"][0].astype(np.float32)) for kind in ("heat", "tags")
    )
    return heat, tags


@pytest.mark.parametrize("scene", ["coco5", "coco1"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_people_equal_the_references(golden, scene: str, setting: str) -> None:
    adjust, refine = SETTINGS[setting]
    people, scores = Grouping(adjust=adjust, refine=refine)(*maps(golden, scene))
    np.testing.assert_allclose(people, golden[f"{scene}_ans_{setting}"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(scores, golden[f"{scene}_scores_{setting}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scene", ["coco5", "coco1"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_unbiased_people_equal_udps(golden, scene: str, setting: str) -> None:
    adjust, refine = SETTINGS[setting]
    people, scores = Grouping(adjust=adjust, refine=refine, unbiased=True)(*maps(golden, scene))
    expected = golden[f"{scene}_mm_udp1_ans_{setting}"]
    seen = expected[..., 2] > 0
    np.testing.assert_array_equal(people[..., 2] > 0, seen)
    np.testing.assert_allclose(people[seen], expected[seen], rtol=0, atol=1e-4)
    assert not people[~seen].any()
    np.testing.assert_allclose(scores, golden[f"{scene}_mm_udp1_scores_{setting}"], rtol=0, atol=1e-6)


def scene(
    people: np.ndarray, size: tuple[int, int] = (48, 64), tags: np.ndarray | None = None, missing: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps of people with joints (P, K, 2) in whole pixels; `missing` joints of the first person are faint."""
    height, width = size
    tags = 3.0 * np.arange(len(people)) if tags is None else tags
    heat, tag = np.zeros((people.shape[1], height, width)), np.zeros((people.shape[1], height, width, 1))
    ys, xs = np.mgrid[:height, :width]
    for index, person in enumerate(people):
        for joint, (x, y) in enumerate(person):
            peak = 0.06 if index == 0 and joint < missing else 0.9 - 0.01 * index
            bell = peak * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 4)
            tag[joint][bell > 1e-3] = tags[index]
            heat[joint] = np.maximum(heat[joint], bell)
    return torch.from_numpy(heat).float(), torch.from_numpy(tag).float()


def spread(count: int, joints: int = 17, size: tuple[int, int] = (48, 64), seed: int = 0) -> np.ndarray:
    """People in columns of their own, so that no two joints are near."""
    draw, column = np.random.default_rng(seed), size[1] // count
    x = draw.integers(2, column - 2, (count, joints)) + column * np.arange(count)[:, None]
    return np.stack([x, draw.integers(2, size[0] - 2, (count, joints))], axis=-1)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("joints", [17, 14])
def test_every_person_is_found_with_every_joint(count: int, joints: int) -> None:
    order = tuple(joint for joint in COCO_ORDER if joint < joints)
    truth = spread(count, joints)
    people, scores = Grouping(order, adjust=False)(*scene(truth))
    assert people.shape == (count, joints, 4)
    found = people[np.argsort(people[:, 0, 3])]
    np.testing.assert_array_equal(found[..., :2], truth)
    np.testing.assert_allclose(
        np.sort(scores), np.sort([0.9 - 0.01 * index for index in range(count)]), atol=1e-6
    )


def test_the_order_of_people_in_the_image_does_not_matter() -> None:
    truth = spread(4)
    first, _ = Grouping()(*scene(truth))
    other, _ = Grouping()(*scene(truth[::-1], tags=3.0 * np.arange(4)[::-1]))
    by_tag = [one[np.argsort(one[:, 0, 3])] for one in (first, other)]
    np.testing.assert_allclose(by_tag[0][..., :2], by_tag[1][..., :2], atol=1e-6)


def test_a_missing_joint_is_found_by_its_tag_and_does_not_count_in_the_score() -> None:
    truth = spread(2)
    heat, tags = scene(truth, missing=3)
    plain, before = Grouping(adjust=False, refine=False)(heat, tags)
    first = np.argmin(plain[:, 5, 3])
    assert (plain[first, :3] == 0).all() and (plain[first, 3:, 2] > 0).all()
    full, after = Grouping(adjust=False)(heat, tags)
    assert np.abs(full[first, :3, :2] - 0.5 - truth[0, :3]).max() <= 0.25
    np.testing.assert_allclose(full[first, :3, 2], 0.06, atol=1e-6)
    np.testing.assert_array_equal(before, after)


def test_a_missing_joint_of_which_nothing_is_seen_stays_missing() -> None:
    heat, tags = torch.zeros(2, 16, 16), torch.zeros(2, 16, 16, 1)
    heat[0, 8, 8] = 0.9
    ((_, other),), _ = Grouping((0, 1))(heat, tags)
    assert not other.any()


def test_a_tag_that_is_near_nobody_starts_a_person() -> None:
    truth = spread(1)
    heat, tags = scene(truth)
    tags[9][heat[9] > 0.01] += 2
    people, _ = Grouping(refine=False)(heat, tags)
    assert len(people) == 2
    assert [(person[:, 2] > 0).sum() for person in people] == [16, 1]


def test_no_more_joints_of_a_kind_than_people_allowed() -> None:
    people, _ = Grouping(max_people=3, adjust=False, refine=False)(*scene(spread(5)))
    assert all((people[:, joint, 2] > 0).sum() == 3 for joint in range(17))


def found(*joints: list[tuple], **settings) -> np.ndarray:
    """The people in maps of single bright pixels, in whole pixels: for every joint its (x, y, height, tag)."""
    heat, tags = torch.zeros(len(joints), 32, 64), torch.zeros(len(joints), 32, 64, 1)
    for joint, peaks in enumerate(joints):
        for x, y, height, tag in peaks:
            heat[joint, y, x], tags[joint, y, x] = height, tag
    people, _ = Grouping(tuple(range(len(joints))), adjust=False, refine=False, **settings)(heat, tags)
    return people


def test_as_many_people_are_found_as_the_reference_looks_for() -> None:
    """30, `MAX_NUM_PEOPLE` of HigherHRNet."""
    assert len(found([(x, 5, 0.9, 2.0 * x) for x in range(0, 64)], window=1)) == 30


def test_a_peak_must_be_above_the_threshold() -> None:
    assert len(found([(5, 5, 0.5, 0.0), (25, 5, 0.625, 3.0)], threshold=0.5)) == 1


def test_a_tag_as_far_away_as_the_threshold_starts_a_person() -> None:
    """As in the reference, which asks for a distance below it."""
    assert len(found([(5, 5, 0.9, 0.0)], [(5, 9, 0.9, 1.0)], tag_threshold=1.0)) == 2


def test_a_person_is_known_by_the_mean_of_its_tags() -> None:
    """The third tag is 1.2 from the first, and 0.8 from the mean of two."""
    (person,) = found([(5, 5, 0.9, 0.0)], [(5, 9, 0.9, 0.8)], [(5, 13, 0.9, 1.2)])
    assert person[2, 2] > 0


def test_of_tags_that_are_about_as_near_the_highest_peak_joins_the_person() -> None:
    """Distances of 0.2 and 0.1 from the second of two people both count as none."""
    peaks = [(5, 9, 0.7, 0.2), (25, 9, 0.3, 0.1), (50, 9, 0.2, 0.1)]
    people = found([(5, 5, 0.9, 1.2), (25, 5, 0.8, 0.0)], peaks)
    assert people[1, :, :2].tolist() == [[25, 5], [5, 9]]


def test_joints_join_no_more_people_than_allowed() -> None:
    """Of four people, whom two joints of two peaks each make, the last is not joined: a fifth one starts."""
    apart = [(5, 5, 0.9, 0.0), (25, 5, 0.8, 10.0)], [(5, 9, 0.9, 20.0), (25, 9, 0.8, 30.0)]
    for tag, count in ((10.2, 4), (30.2, 5)):
        assert len(found(*apart, [(25, 13, 0.9, tag)], max_people=2)) == count


def test_an_unbiased_joint_at_the_border_may_lie_beyond_it() -> None:
    """Its person's other joint is looked for all the same, by the tag at the border."""
    heat, tags = torch.zeros(2, 16, 16), torch.zeros(2, 16, 16, 1)
    heat[0, 8, 14], heat[0, 8, 15], heat[1, 3, 3] = 0.89, 0.9, 0.08
    ((one, other),), _ = Grouping((0, 1), unbiased=True)(heat, tags)
    assert 15 < one[0] < 16 and abs(other[:2] - 3).max() < 1


def test_nobody_in_the_image() -> None:
    people, scores = Grouping()(torch.zeros(17, 8, 8), torch.zeros(17, 8, 8, 2))
    assert people.shape == (0, 17, 5) and scores.shape == (0,)


def test_looking_at_high_pixels_first_is_looking_at_all(monkeypatch) -> None:
    monkeypatch.setattr(grouping, "SECOND", 50)
    draw = np.random.default_rng(0)
    for scale in (1.0, 0.2, 0.06, 0.04, 0.0):
        for _ in range(20):
            heat = (scale * draw.random((20, 20)) ** 4).astype(np.float32)
            tag, mean = draw.normal(size=(20, 20, 2)).astype(np.float32), draw.normal(size=2)
            whole = np.argmax(heat - np.round(np.linalg.norm(tag - mean, axis=2)))
            assert grouping._Search(heat, tag).best(mean) == whole


def test_a_bright_pixel_of_another_tag_is_less_than_a_faint_one_of_the_persons() -> None:
    """Less its tag's distance of 1, it is no higher than faint ones may be, so they are looked at, too."""
    heat = np.array([[1 + grouping.BRIGHT - 0.01, grouping.BRIGHT - 0.005]], np.float32)
    assert grouping._Search(heat, np.array([[[1.0], [0.0]]], np.float32)).best(np.zeros(1)) == 1


def test_joints_find_people_in_the_order_of_the_reference() -> None:
    """`joint_order` of HigherHRNet's `Params`, which counts from 1."""
    theirs = (1, 2, 3, 4, 5, 6, 7, 12, 13, 8, 9, 10, 11, 14, 15, 16, 17)
    assert COCO_ORDER == tuple(joint - 1 for joint in theirs)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [({"order": (0, 0, 1)}, "each of them once"), ({"window": 4}, "odd side"), ({"window": 0}, "odd side")],
)
def test_impossible_settings_are_refused(arguments: dict, told: str) -> None:
    with pytest.raises(SSHPEError, match=told):
        Grouping(**arguments)


def test_maps_of_another_shape_are_refused() -> None:
    with pytest.raises(SSHPEError, match=r"not \(K, H, W\) and \(K, H, W, L\) of 17 joints"):
        Grouping()(torch.zeros(14, 8, 8), torch.zeros(14, 8, 8, 1))
    with pytest.raises(SSHPEError, match=r"not \(K, H, W\)"):
        Grouping()(torch.zeros(17, 8, 8), torch.zeros(17, 8, 9, 1))
