"""Average precision: equal to the reference numbers and to pycocotools, and honest about bad input."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.average_precision import METRICS, average_precision, visible_only
from sshpe_lib.skeleton import COCO17, CROWDPOSE14

GOLDENS = Path(__file__).parents[1] / "goldens"


def load(name: str) -> dict | list:
    return json.loads((GOLDENS / name).read_text(encoding="utf-8"))


@pytest.fixture
def coco() -> tuple[dict, list[dict]]:
    return load("eval_coco_gt.json"), load("eval_coco_dt.json")


@pytest.fixture
def crowd() -> tuple[dict, list[dict]]:
    return load("eval_crowdpose_gt.json"), load("eval_crowdpose_dt.json")


@pytest.fixture(scope="module")
def statistics() -> dict:
    return load("eval_stats.json")


def pycocotools(ground_truth: dict, results: list[dict]) -> dict[str, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = copy.deepcopy(ground_truth)
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "keypoints")
    evaluation.params.kpt_oks_sigmas = np.array(COCO17.sigmas)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return dict(zip(METRICS["keypoints"], map(float, evaluation.stats), strict=True))


# --- the numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part, flag", [("all", None), ("vis_v2_only", 2), ("invis_v1_only", 1)])
def test_coco_numbers_equal_the_reference_and_pycocotools(coco, statistics, part, flag):
    ground_truth, results = coco
    ground_truth = ground_truth if flag is None else visible_only(ground_truth, flag)
    ours = average_precision(ground_truth, results, COCO17.sigmas)
    assert ours == statistics[f"coco_{part}"]["pycocotools"]
    assert ours == pycocotools(ground_truth, results)


@pytest.mark.parametrize("seed", range(20))
def test_the_numbers_are_those_of_pycocotools(seed):
    """Images of up to thirty people, crowds, people without keypoints, wrong and doubled poses, equal scores.

    A mean of precisions is taken in another order, which can change its last bit.
    """
    rng = np.random.default_rng(seed)
    images = [{"id": int(number), "width": 640, "height": 480} for number in rng.permutation(40)[:12] + 1]
    people, results = [], []
    for image in images:
        for _ in range(int(rng.choice([0, 1, 2, 30]))):
            size = float(rng.choice([20, 60, 200]))
            points = np.column_stack(
                [rng.uniform(0, size, (17, 2)) + rng.uniform(0, 300, 2), rng.integers(0, 3, 17)]
            )
            points[points[:, 2] == 0] = 0
            if rng.random() < 0.1:
                points[:] = 0
            people.append(
                {
                    "id": len(people) + 1, "image_id": image["id"], "category_id": 1,
                    "iscrowd": int(rng.random() < 0.1), "num_keypoints": int((points[:, 2] > 0).sum()),
                    "area": 0.6 * size**2, "bbox": [*map(float, points[:, :2].min(0)), size, size],
                    "keypoints": points.ravel().tolist(),
                }
            )  # fmt: skip
            for _ in range(int(rng.choice([0, 1, 2]))):
                found = points[:, :2] + rng.normal(0, rng.choice([0.01, 0.05, 0.5]) * size, (17, 2))
                values = np.column_stack([found, np.ones(17)]).ravel().tolist()
                score = round(float(rng.random()), 1)
                results.append(
                    {"image_id": image["id"], "category_id": 1, "keypoints": values, "score": score}
                )
    truth = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    expected = pytest.approx(pycocotools(truth, results), rel=0, abs=1e-14)
    assert average_precision(truth, results, COCO17.sigmas) == expected


def test_crowdpose_numbers_equal_the_reference(crowd, statistics):
    ours = average_precision(*crowd, CROWDPOSE14.sigmas, iou_type="keypoints_crowd")
    expected = statistics["crowdpose"]["crowdposetools"]
    renamed = {"APE": "AP-easy", "APM": "AP-medium", "APH": "AP-hard"}
    assert ours == {renamed.get(name, name): value for name, value in expected.items()}


def perfect(ground_truth: dict) -> list[dict]:
    keys = ("image_id", "category_id", "keypoints")
    people = [a for a in ground_truth["annotations"] if a["num_keypoints"] and not a.get("iscrowd")]
    return [{key: a[key] for key in keys} | {"score": 1.0} for a in people]


def test_a_perfect_answer_scores_one(coco, crowd):
    assert set(average_precision(coco[0], perfect(coco[0]), COCO17.sigmas).values()) == {1.0}
    ours = average_precision(crowd[0], perfect(crowd[0]), CROWDPOSE14.sigmas, iou_type="keypoints_crowd")
    assert set(ours.values()) == {1.0}


def test_sigmas_are_used(coco):
    strict = average_precision(*coco, [s / 2 for s in COCO17.sigmas])
    assert strict["AP"] < average_precision(*coco, COCO17.sigmas)["AP"]


def test_the_arguments_are_left_as_they_are(coco, crowd):
    for (ground_truth, results), sigmas, kind in (
        (coco, COCO17.sigmas, "keypoints"),
        (crowd, CROWDPOSE14.sigmas, "keypoints_crowd"),
    ):
        before = copy.deepcopy((ground_truth, results))
        first = average_precision(ground_truth, results, sigmas, iou_type=kind)
        visible_only(ground_truth, 2)
        assert (ground_truth, results) == before
        assert average_precision(ground_truth, results, sigmas, iou_type=kind) == first


def test_nothing_is_printed(coco, capfd):
    average_precision(*coco, COCO17.sigmas)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_image_ids_restrict_the_evaluation(coco):
    ground_truth, results = coco
    chosen = [image["id"] for image in ground_truth["images"]][::2]
    part = {
        "categories": ground_truth["categories"],
        "images": [image for image in ground_truth["images"] if image["id"] in chosen],
        "annotations": [a for a in ground_truth["annotations"] if a["image_id"] in chosen],
    }
    own = [entry for entry in results if entry["image_id"] in chosen]
    ours = average_precision(ground_truth, results, COCO17.sigmas, image_ids=chosen)
    assert ours == average_precision(part, own, COCO17.sigmas)
    assert ours != average_precision(ground_truth, results, COCO17.sigmas)


def test_crowdpose_split_without_images_is_marked(crowd):
    ground_truth, results = crowd
    hard = [image["id"] for image in ground_truth["images"] if image["crowdIndex"] >= 0.8]
    ours = average_precision(ground_truth, results, CROWDPOSE14.sigmas, hard, "keypoints_crowd")
    assert ours["AP-easy"] == ours["AP-medium"] == -1
    assert ours["AP-hard"] == round(ours["AP"], 4) > 0


@pytest.mark.parametrize("kind", METRICS)
def test_no_results_score_zero(coco, crowd, kind):
    ground_truth, sigmas = (coco[0], COCO17.sigmas) if kind == "keypoints" else (crowd[0], CROWDPOSE14.sigmas)
    assert average_precision(ground_truth, [], sigmas, iou_type=kind) == dict.fromkeys(METRICS[kind], 0.0)


def test_a_size_without_people_is_marked_without_results_too(coco):
    ground_truth, results = coco
    for annotation in ground_truth["annotations"]:
        annotation["area"] = 50.0**2
    some, none = (average_precision(ground_truth, found, COCO17.sigmas) for found in (results, []))
    assert some["APL"] == none["APL"] == -1 and some["APM"] > none["APM"] == 0


def test_an_annotation_of_id_zero_counts(coco):
    ground_truth, results = coco
    expected = average_precision(ground_truth, results, COCO17.sigmas)
    for i, annotation in enumerate(ground_truth["annotations"]):
        annotation["id"] = i
    assert average_precision(ground_truth, results, COCO17.sigmas) == expected


@pytest.mark.parametrize("first", [-100, 2**53, 2**62, 2**70])
def test_ids_of_any_size_are_told_apart(coco, first):
    """From 2**53 on doubles, which the evaluator makes of them, are not."""
    ground_truth, results = coco
    expected = average_precision(ground_truth, results, COCO17.sigmas)
    shifted = {
        "images": [image | {"id": image["id"] + first} for image in ground_truth["images"]],
        "categories": [category | {"id": category["id"] + first} for category in ground_truth["categories"]],
    }
    people, found = (
        [one | {key: one[key] + first for key in ("image_id", "category_id")} for one in entries]
        for entries in (ground_truth["annotations"], results)
    )
    assert average_precision(shifted | {"annotations": people}, found, COCO17.sigmas) == expected


def test_people_of_no_category_or_image_of_the_file_do_not_count(coco):
    ground_truth, results = coco
    expected = average_precision(ground_truth, results, COCO17.sigmas)
    first = ground_truth["annotations"][0]
    ground_truth["annotations"] += [first | {"image_id": 5}, first | {"category_id": 9}]
    assert average_precision(ground_truth, results, COCO17.sigmas) == expected


def test_results_may_come_one_by_one_and_as_arrays(coco):
    ground_truth, results = coco
    arrays = [
        one
        | {
            "image_id": np.int64(one["image_id"]),
            "keypoints": np.array(one["keypoints"]),
            "score": np.float64(one["score"]),
        }
        for one in results
    ]
    expected = average_precision(ground_truth, results, COCO17.sigmas)
    assert average_precision(ground_truth, iter(arrays), COCO17.sigmas) == expected


def test_counts_that_are_missing_are_counted(coco):
    ground_truth, results = coco
    expected = average_precision(ground_truth, results, COCO17.sigmas)
    for annotation in ground_truth["annotations"]:
        del annotation["num_keypoints"]
    assert average_precision(ground_truth, results, COCO17.sigmas) == expected


def test_visible_only_keeps_the_joints_of_one_flag(coco):
    ground_truth, _ = coco
    for flag in (1, 2):
        for kept, original in zip(
            visible_only(ground_truth, flag)["annotations"], ground_truth["annotations"], strict=True
        ):
            joints, before = (
                np.reshape(kept["keypoints"], (-1, 3)),
                np.reshape(original["keypoints"], (-1, 3)),
            )
            chosen = before[:, 2] == flag
            np.testing.assert_array_equal(joints[chosen], before[chosen])
            assert not joints[~chosen].any() and kept["num_keypoints"] == chosen.sum()


# --- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"score": np.nan}, "not finite"),
        ({"score": None}, "not numbers"),
        ({"score": "0.5"}, "not numbers"),
        ({"keypoints": [np.nan] * 51}, "not finite"),
        ({"keypoints": [1.0] * 50}, "shape"),
        ({"keypoints": ["1.5"] * 51}, "not numbers"),
        ({"image_id": "1000"}, "of an image that the ground truth does not have"),
        ({"image_id": 999999}, "of an image that the ground truth does not have"),
        ({"image_id": [1000]}, "of an image that the ground truth does not have"),
        ({"category_id": 9}, "unknown category_id 9"),
        ({"category_id": {}}, "unknown category_id {}"),
    ],
)
def test_a_malformed_result_is_named(coco, change, message):
    ground_truth, results = coco
    results[3] |= change
    image = re.escape(str(results[3]["image_id"]))
    with pytest.raises(SSHPEError, match=rf"results entry 3 \(image {image}\) .*{message}"):
        average_precision(ground_truth, results, COCO17.sigmas)


@pytest.mark.parametrize("key", ["image_id", "category_id", "keypoints", "score"])
def test_a_result_that_lacks_a_key_is_named(coco, key):
    del coco[1][2][key]
    with pytest.raises(SSHPEError, match=f"results entry 2 .* lacks '{key}'"):
        average_precision(*coco, COCO17.sigmas)


def test_a_result_that_is_no_object_is_named(coco):
    with pytest.raises(SSHPEError, match="results entry 0 .* is a list"):
        average_precision(coco[0], [[1, 2]], COCO17.sigmas)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"keypoints": [1] * 48}, "'keypoints' holds 48 values, not 51"),
        ({"keypoints": 51}, "'keypoints' is 51"),
        ({"keypoints": ["1"] * 51}, "'keypoints' holds '1', not a finite number"),
        ({"bbox": [0, 0, np.inf, 1]}, "'bbox' holds inf, not a finite number"),
        ({"bbox": [0, 0, 1]}, "'bbox' holds 3 values, not 4"),
        ({"bbox": [0, 0, 1, 1, 1]}, "'bbox' holds 5 values, not 4"),
        ({"bbox": 3}, "'bbox' is 3"),
        ({"area": np.nan}, "'area' is nan"),
        ({"area": None}, "'area' is None"),
        ({"area": [3, 4]}, "'area' is [3, 4]"),
        ({"area": "9"}, "'area' is '9'"),
        ({"iscrowd": None}, "'iscrowd' is None"),
        ({"iscrowd": "0"}, "'iscrowd' is '0'"),
        ({"iscrowd": 2}, "'iscrowd' is 2"),
        ({"num_keypoints": None}, "'num_keypoints' is None"),
        ({"num_keypoints": "3"}, "'num_keypoints' is '3'"),
        ({"image_id": [1000]}, "'image_id' is [1000], no number"),
        ({"image_id": "1000"}, "'image_id' is '1000', no number"),
        ({"category_id": {}}, "'category_id' is {}, no number"),
    ],
)
def test_a_malformed_annotation_is_named(coco, change, message):
    ground_truth, results = coco
    ground_truth["annotations"][4] |= change
    named = re.escape(str(ground_truth["annotations"][4]["id"]))
    with pytest.raises(SSHPEError, match=rf"annotation {named} \(image .*\): {re.escape(message)}"):
        average_precision(ground_truth, results, COCO17.sigmas)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("wrong", [None, {}, [1]])
def test_a_ground_truth_without_its_lists_is_refused(coco, key, wrong):
    ground_truth, results = coco
    for broken in (ground_truth | {key: wrong}, {k: v for k, v in ground_truth.items() if k != key}):
        with pytest.raises(SSHPEError, match=f"ground truth has no '{key}', a list of objects; give a COCO"):
            average_precision(broken, results, COCO17.sigmas)
        if key == "annotations":
            with pytest.raises(SSHPEError, match="has no 'annotations'"):
                visible_only(broken, 2)


@pytest.mark.parametrize("key", ["images", "categories"])
@pytest.mark.parametrize("wrong", [{}, {"id": [1]}, {"id": None}, {"id": "1"}, {"id": np.nan}])
def test_an_entry_without_an_id_is_named(coco, key, wrong):
    ground_truth, results = coco
    with pytest.raises(
        SSHPEError, match=f"entry 0 of the ground truth's {key} has the id .*; give it a number"
    ):
        average_precision(ground_truth | {key: [wrong]}, results, COCO17.sigmas)


@pytest.mark.parametrize("key", ["image_id", "category_id", "keypoints", "bbox", "area"])
def test_an_annotation_that_lacks_a_key_is_named(coco, key):
    ground_truth, results = coco
    del ground_truth["annotations"][4][key]
    with pytest.raises(
        SSHPEError, match=rf"annotation {ground_truth['annotations'][4]['id']} .* lacks '{key}'"
    ):
        average_precision(ground_truth, results, COCO17.sigmas)


def test_unknown_images_measures_and_missing_crowd_indices_are_refused(coco):
    with pytest.raises(SSHPEError, match="image id 5 is not in the ground truth"):
        average_precision(*coco, COCO17.sigmas, image_ids=[1000, 5])
    with pytest.raises(SSHPEError, match="iou_type 'bbox' is unknown"):
        average_precision(*coco, COCO17.sigmas, iou_type="bbox")
    with pytest.raises(SSHPEError, match="image 1000 lacks 'crowdIndex'"):
        average_precision(*coco, COCO17.sigmas, iou_type="keypoints_crowd")
    coco[0]["images"][0]["crowdIndex"] = "0.5"
    with pytest.raises(SSHPEError, match="image 1000 lacks 'crowdIndex', a number"):
        average_precision(*coco, COCO17.sigmas, iou_type="keypoints_crowd")


@pytest.mark.parametrize(
    "wrong", [{}, {"keypoints": 3}, {"keypoints": [1, 2, 2, 5]}, {"keypoints": ["1"] * 51}]
)
def test_joints_of_one_flag_are_of_people_with_keypoints(wrong):
    with pytest.raises(SSHPEError, match=r"annotation 7 \(image 2\) has no keypoints, x, y and v"):
        visible_only({"annotations": [{"id": 7, "image_id": 2} | wrong]}, 2)


def test_a_ground_truth_that_is_no_dataset_is_refused(coco):
    with pytest.raises(SSHPEError, match="give a COCO keypoint dataset as read from JSON"):
        average_precision("people.json", coco[1], COCO17.sigmas)
