"""Suppressing duplicates and measuring all of COCO val, beside the loop over detections and the bare evaluation.

    python benchmarks/evaluation.py [--data FOLDER] [--repeats 5]

FOLDER (default: SSHPE_DATA) holds coco-full/person_keypoints_val2017_rebuilt.json, val2017's 6,352 people. Their
poses, each moved by some pixels, are what is measured. The bare evaluation is pycocotools' own
three calls on a file that is already read.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import os
from functools import partial
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from timing import NOT_COUNTED, compare, heading

from sshpe_lib.data.coco import ground_truth
from sshpe_lib.evaluate.average_precision import average_precision
from sshpe_lib.evaluate.oks import oks_nms
from sshpe_lib.skeleton import COCO17

REFERENCE = "OKS-NMS of 10 poses 0.36 - 0.48, of 20 2.3; pycocotools on 6,352 poses 617"


def loop_nms(keypoints: np.ndarray, scores: np.ndarray, areas: np.ndarray, threshold: float) -> list[int]:
    """Take the best, measure every other against it one by one, and go on with those that are left."""
    flat = np.concatenate([keypoints, np.ones((*keypoints.shape[:2], 1))], axis=-1).reshape(
        len(keypoints), -1
    )
    order, kept = scores.argsort()[::-1], []
    while order.size:
        first, rest = order[0], order[1:]
        kept.append(int(first))
        similar = np.zeros(len(rest))
        for place, other in enumerate(rest):
            variances = (np.asarray(COCO17.sigmas) * 2) ** 2
            dx, dy = flat[other, 0::3] - flat[first, 0::3], flat[other, 1::3] - flat[first, 1::3]
            e = (dx**2 + dy**2) / variances / ((areas[first] + areas[other]) / 2 + np.spacing(1)) / 2
            similar[place] = np.sum(np.exp(-e)) / e.shape[0]
        order = rest[similar <= threshold]
    return kept


def crowd(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses of one person, some of them nearly the same, with scores and areas."""
    people = rng.uniform(0, 200, (max(count // 3, 1), 17, 2))
    poses = people[rng.integers(len(people), size=count)] + rng.normal(0, 3, (count, 17, 2))
    return poses, rng.random(count), rng.uniform(5e3, 2e4, count)


def poses_of(people: dict, rng: np.random.Generator) -> list[dict]:
    """Results as a network might give them."""
    found = []
    for person in people["annotations"]:
        keypoints = np.asarray(person["keypoints"], float).reshape(17, 3)
        if not keypoints[:, 2].any():
            continue
        keypoints[:, :2] += rng.normal(0, 0.03 * np.sqrt(person["area"]), (17, 2))
        keypoints[:, 2] = 1
        values = keypoints.ravel().round(2).tolist()
        found.append(
            {
                "image_id": person["image_id"],
                "category_id": 1,
                "keypoints": values,
                "score": float(rng.random()),
            }
        )
    return found


def bare(truth: dict, results: list[dict]) -> float:
    """AP by pycocotools alone."""
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = truth
        data.createIndex()
        evaluation = COCOeval(data, data.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("SSHPE_DATA"))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.data is None:
        parser.error("name the data folder: --data FOLDER, or set SSHPE_DATA")
    rng = np.random.default_rng(0)
    heading("OKS-NMS", 20 * options.repeats)
    for count in (10, 20, 50):
        poses, scores, areas = crowd(count, rng)
        slow = partial(loop_nms, poses, scores, areas, 0.9)
        ours = partial(oks_nms, poses, scores, areas, COCO17.sigmas)
        assert slow() == ours().tolist()
        compare(f"{count} poses", slow, ours, None, 20 * options.repeats)
    truth = ground_truth(options.data / "coco-full" / "person_keypoints_val2017_rebuilt.json")
    results = poses_of(truth, rng)
    turns = range(options.repeats + NOT_COUNTED + 1)
    copies = [(copy.deepcopy(truth), copy.deepcopy(results)) for _ in turns]  # it writes into both
    ours = partial(average_precision, truth, results, COCO17.sigmas)
    assert np.isclose(ours()["AP"], bare(*copies.pop()))
    print()
    heading(f"AP of {len(results):,} poses; the slow form is pycocotools alone", options.repeats)
    people = f"{len(truth['annotations']):,} people"
    compare(people, lambda: bare(*copies.pop()), ours, None, options.repeats)
    print(f"\nReference implementations, measured elsewhere, ms: {REFERENCE}")


if __name__ == "__main__":
    main()
