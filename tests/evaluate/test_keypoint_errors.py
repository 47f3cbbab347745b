"""Good, jitter, inversion, swap, miss: each made on purpose."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from sshpe_lib.evaluate.keypoint_errors import (
    EXACT,
    GOOD,
    INVERSION,
    JITTER,
    KINDS,
    MISS,
    NEAR,
    SWAP,
    UNLABELED,
    classify,
    joint_similarities,
    pck,
    person_oks,
    shares,
    similarities,
)
from sshpe_lib.skeleton import COCO17

SIGMAS = np.array(COCO17.sigmas)
AREA = 100.0**2


def people() -> np.ndarray:
    """Two people 400 px apart whose joints are 60 px from one another, (2, 17, 3), all visible."""
    grid = np.stack([np.arange(17) % 4 * 60.0, np.arange(17) // 4 * 60.0, np.full(17, 2.0)], axis=-1)
    return np.stack([grid, grid + (400, 0, 0)])


def kinds(predicted: np.ndarray, truth: np.ndarray | None = None, image_ids=(1, 1)) -> np.ndarray:
    truth = people() if truth is None else truth
    return classify(predicted, truth, np.full(2, AREA), np.array(image_ids), SIGMAS)


def away(joint: int, similarity: float) -> float:
    """The distance, px, at which a joint has that similarity."""
    return float(np.sqrt(-2 * AREA * (2 * SIGMAS[joint]) ** 2 * np.log(similarity)))


def test_distances_decide_between_good_jitter_and_miss() -> None:
    for joint in range(17):
        for similarity, kind in ((EXACT + 0.01, GOOD), (EXACT - 0.01, JITTER), (NEAR + 0.01, JITTER)):
            predicted = people()
            predicted[0, joint, 1] += away(joint, similarity)
            found = kinds(predicted)
            assert found[0, joint] == kind and (np.delete(found[0], joint) == GOOD).all()
    predicted = people()
    predicted[0, 5, 1] += 2000
    assert kinds(predicted)[0, 5] == MISS


def test_people_by_the_hundred_are_told_as_each_alone_and_in_little_memory() -> None:
    draw = np.random.default_rng(0)
    truth = draw.uniform(0, 200, (300, 133, 3)) * (1, 1, 0.01)
    predicted = truth + draw.normal(0, 20, truth.shape) * (1, 1, 0)
    areas, ids, sigmas = draw.uniform(50, 150, 300) ** 2, np.arange(300), [0.08] * 133
    tracemalloc.start()
    found = classify(predicted, truth, areas, ids, sigmas)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6  # 170 MB for all of them at once
    assert {INVERSION, MISS} < set(found.ravel())
    for row in range(0, 300, 37):
        one = slice(row, row + 1)
        alone = classify(predicted[one], truth[one], areas[one], ids[one], sigmas)
        np.testing.assert_array_equal(alone, found[one])


def test_left_for_right_is_an_inversion_and_anothers_joint_a_swap() -> None:
    predicted = people()
    predicted[0, [5, 6]] = predicted[0, [6, 5]]
    predicted[0, 9] = people()[1, 9]
    found = kinds(predicted)
    assert found[0, [5, 6]].tolist() == [INVERSION] * 2 and found[0, 9] == SWAP
    assert kinds(predicted, image_ids=(1, 2))[0, 9] == MISS, (
        "in another image there is nobody to take it from"
    )


def test_what_is_not_labelled_is_not_counted_and_explains_nothing() -> None:
    truth, predicted = people(), people()
    truth[0, 6, 2] = 0
    predicted[0, 5] = people()[0, 6]
    found = kinds(predicted, truth)
    assert found[0, 6] == UNLABELED and found[0, 5] == MISS
    table = shares(found)
    assert table.shape == (17, len(KINDS)) and np.allclose(table.sum(1), 1)
    assert table[5, MISS] == 0.5 and table[6, GOOD] == 1
    truth[:, 6, 2] = 0
    assert np.isnan(shares(kinds(predicted, truth))[6]).all()


def test_what_is_about_another_joint_of_its_own_person_is_no_swap() -> None:
    predicted, truth = people(), people()
    truth[1, 5] = predicted[0, 5] = truth[0, 6]
    assert kinds(predicted, truth)[0, 5] == INVERSION


def test_how_near_somebody_elses_joint_is_goes_by_that_persons_size() -> None:
    predicted, truth = people(), people()
    predicted[0, 9] = truth[1, 9] + (0, away(9, NEAR + 0.1), 0)  # near to it for a person of AREA
    for areas, kind in (((AREA, AREA / 100), MISS), ((AREA / 100, AREA), SWAP)):
        assert classify(predicted, truth, np.array(areas), np.array([1, 1]), SIGMAS)[0, 9] == kind


def test_jitter_is_no_swap_where_somebody_else_is_as_near() -> None:
    predicted, truth = people(), people()
    predicted[0, 0, 1] += away(0, (NEAR + EXACT) / 2)
    truth[1, 0] = predicted[0, 0]
    assert kinds(predicted, truth)[0, 0] == JITTER


def test_what_is_not_labelled_of_somebody_else_explains_no_swap() -> None:
    predicted, truth = people(), people()
    truth[1, 9, 2] = 0
    predicted[0, 9] = truth[1, 9]
    assert kinds(predicted, truth)[0, 9] == MISS


def test_whole_numbers_without_a_sign_are_coordinates() -> None:
    """Their differences wrap around."""
    draw = np.random.default_rng(0)
    predicted, truth = draw.integers(0, 250, (2, 6, 17, 3)).astype(np.uint8)
    truth[..., 2] = 2
    areas, lengths, ids = np.full(6, 9e4), np.full(6, 600.0), np.zeros(6)
    one, two = (
        (
            person_oks(found, labels, areas, COCO17.sigmas),
            pck(found, labels, lengths, 0.1),
            classify(found, labels, areas, ids, COCO17.sigmas),
        )
        for found, labels in ((predicted, truth), (predicted.astype(float), truth.astype(float)))
    )
    assert 0 < one[0].min() < 1 and 0 < one[1].max()
    for unsigned, signed in zip(one, two, strict=True):
        np.testing.assert_array_equal(unsigned, signed)


def test_oks_is_cocos() -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    truth, predicted = people(), people()
    predicted[..., :2] += rng.normal(0, 8, predicted.shape[:2] + (2,))
    truth[0, :5, 2] = 0
    annotation = {
        "id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": AREA, "iscrowd": 0,
        "num_keypoints": 12, "keypoints": truth[0].ravel().tolist(),
    }  # fmt: skip
    coco = COCO()
    coco.dataset = {"images": [{"id": 1}], "annotations": [annotation], "categories": [{"id": 1}]}
    coco.createIndex()
    found = coco.loadRes(
        [{"image_id": 1, "category_id": 1, "keypoints": predicted[0].ravel().tolist(), "score": 1}]
    )
    expected = COCOeval(coco, found, "keypoints")
    expected.params.imgIds = [1]
    expected._prepare()
    ours = person_oks(predicted, truth, np.full(2, AREA), SIGMAS)[0]
    assert ours == pytest.approx(expected.computeOks(1, 1)[0, 0], abs=1e-9)
    assert similarities(truth[..., :2], truth[..., :2], np.full(2, AREA), SIGMAS).min() == 1


def test_pck_counts_joints_within_a_share_of_the_length() -> None:
    truth, predicted = people(), people()
    predicted[0, 3, 0] += 10.0
    predicted[1, 4, 1] -= 10.01
    lengths = np.array([100.0, 100.0])
    found = pck(predicted, truth, lengths, 0.1)
    assert found[3] == 1.0 and found[4] == 0.5 and np.delete(found, 4).min() == 1.0
    assert pck(predicted, truth, 2 * lengths, 0.1).min() == 1.0
    truth[:, 7, 2] = 0
    assert np.isnan(pck(predicted, truth, lengths, 0.1)[7])


def test_a_persons_oks_is_the_mean_of_its_joints_similarities() -> None:
    truth, predicted = people(), people()
    predicted[..., :2] += np.random.default_rng(0).normal(0, 8, (2, 17, 2))
    truth[:, 2, 2] = 0
    each = joint_similarities(predicted, truth, np.full(2, AREA), SIGMAS)
    assert np.isnan(each[2])
    assert np.nanmean(each) == pytest.approx(person_oks(predicted, truth, np.full(2, AREA), SIGMAS).mean())
