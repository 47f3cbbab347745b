"""Average precision by object keypoint similarity, of COCO and of CrowdPose.

By faster-coco-eval, which knows CrowdPose, and whose numbers of COCO are those of pycocotools, up to the last bit of a
mean, in half of the time.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from sshpe_lib.data.columns import state, wrong_numbers
from sshpe_lib.errors import SSHPEError

METRICS = {
    "keypoints": ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"),
    "keypoints_crowd": ("AP", "AP50", "AP75", "AR", "AR50", "AR75", "AP-easy", "AP-medium", "AP-hard"),
}
_REQUIRED_RESULT = ("image_id", "category_id", "keypoints", "score")
_MEND = "mend the annotation file"


def average_precision(
    ground_truth: dict,
    results: Iterable[dict],
    sigmas: Sequence[float],
    image_ids: Collection[int] | None = None,
    iou_type: str = "keypoints",
) -> dict[str, float]:
    """Average precision and recall of COCO keypoint results, each in [0, 1].

    ground_truth: a COCO keypoint dataset as read from JSON, left as it is; results: as `to_results` makes
    them; sigmas: K OKS constants; image_ids: the images to evaluate, all by default. `iou_type` "keypoints"
    is COCO's protocol and gives AP AP50 AP75 APM APL AR AR50 AR75 ARM ARL; "keypoints_crowd" is
    CrowdPose's (area 0.53 of the box; images need `crowdIndex`, split at 0.2 and 0.8) and gives AP AP50 AP75
    AR AR50 AR75 AP-easy AP-medium AP-hard. A size or split without people has -1, COCO's mark, with results or
    without.

    Raises:
        SSHPEError: the ground truth lacks images, annotations or categories; one of them or an entry of the
            results is malformed or not finite, or the image or category of a result is unknown; the entry is named.
    """
    if iou_type not in METRICS:
        raise SSHPEError(f"iou_type {iou_type!r} is unknown; use one of {', '.join(METRICS)}")
    images, categories = _numbered(ground_truth, "images"), _numbered(ground_truth, "categories")
    wanted: set[float] = set(images) if image_ids is None else set(image_ids)
    if strange := wanted - set(images):
        known = "evaluate images of its file only"
        raise SSHPEError(f"image id {min(strange, key=str)} is not in the ground truth; {known}")
    dataset = _dataset(ground_truth, images, categories, len(sigmas), wanted, iou_type == "keypoints_crowd")
    detections = _detections(results, images, categories, len(sigmas), wanted)
    with contextlib.redirect_stdout(io.StringIO()):
        statistics = _statistics(dataset, detections, np.asarray(sigmas, np.float64), iou_type)
    return {name: float(value) for name, value in zip(METRICS[iou_type], statistics, strict=True)}


def visible_only(ground_truth: dict, flag: int) -> dict:
    """The ground truth with only the joints of one visibility: 2 for AP-vis, 1 (occluded) for AP-invis.

    Other joints become (0, 0, 0) and `num_keypoints` is counted anew; a person left with none is ignored by
    the evaluation. Returns a new dataset; the argument is left as it is. Raises SSHPEError where it has no annotations,
    and for one without x, y and v of its joints, which is named.
    """
    annotations = []
    for annotation in _entries(ground_truth, "annotations"):
        given = annotation.get("keypoints")
        numbers = _numbers(given)
        if numbers is None or len(numbers) % 3:
            raise SSHPEError(f"{_named(annotation)} has no keypoints, x, y and v of every joint; {_MEND}")
        joints = np.asarray(given).reshape(-1, 3)
        keep = joints[:, 2:] == flag
        kept = np.where(keep, joints, 0).ravel().tolist()
        annotations.append({**annotation, "keypoints": kept, "num_keypoints": int(keep.sum())})
    return {**ground_truth, "annotations": annotations}


def _statistics(dataset: dict, detections: list[dict], sigmas: np.ndarray, iou_type: str) -> np.ndarray:
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(dataset)
    found = truth.loadRes(detections)
    by_area = iou_type == "keypoints"
    evaluation = COCOeval_faster(truth, found, iou_type, kpt_oks_sigmas=sigmas, use_area=by_area)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.all_stats


def _entries(ground_truth: dict, key: str) -> Sequence[dict]:
    entries = ground_truth.get(key) if isinstance(ground_truth, dict) else None
    if not isinstance(entries, list | tuple) or not all(isinstance(entry, dict) for entry in entries):
        raise SSHPEError(
            f"the ground truth has no {key!r}, a list of objects; give a COCO keypoint dataset as read from JSON"
        )
    return entries


def _numbered(ground_truth: dict, key: str) -> dict[float, int]:
    """The ids of images or categories, in order, and the numbers from 1 on by which the evaluator is to know them.

    It tells ids apart as doubles, in which those from 2**53 on may be one.
    """
    ids: list[Any] = [entry.get("id") for entry in _entries(ground_truth, key)]
    for i, one in enumerate(ids):
        if not _is_number(one):
            raise SSHPEError(f"entry {i} of the ground truth's {key} has the id {one!r}; give it a number")
    return {one: number for number, one in enumerate(sorted(set(ids)), 1)}


def _dataset(
    ground_truth: dict,
    images: dict[float, int],
    categories: dict[float, int],
    joints: int,
    wanted: set[float],
    crowd: bool,
) -> dict:
    """What the evaluator reads of the ground truth of the wanted images; all of it is checked."""
    people: list[dict] = []
    for annotation in _entries(ground_truth, "annotations"):
        person = _person(annotation, joints, crowd)
        image, category = annotation["image_id"], annotation["category_id"]
        if image in wanted and category in categories:
            # It takes an annotation of id 0 for "not matched", so ids are counted anew from 1.
            ids = {"id": len(people) + 1, "image_id": images[image], "category_id": categories[category]}
            people.append(ids | person)
    described = [image for image in ground_truth["images"] if image["id"] in wanted]
    return {
        "categories": [{"id": number} for number in categories.values()],
        "images": [{"id": images[image["id"]]} | (_crowding(image) if crowd else {}) for image in described],
        "annotations": people,
    }


def _crowding(image: dict) -> dict:
    if not _is_number(image.get("crowdIndex")):
        cure = "use CrowdPose's own file, or 'keypoints'"
        raise SSHPEError(f"image {image['id']} lacks 'crowdIndex', a number; {cure}")
    return {"crowdIndex": image["crowdIndex"]}


def _person(annotation: dict, joints: int, crowd: bool) -> dict:
    """What the evaluator reads of an annotation, checked, but for its ids; CrowdPose's area is that of the box."""
    for key in ("image_id", "category_id", "keypoints", "bbox", *(() if crowd else ("area",))):
        if key not in annotation:
            raise SSHPEError(f"{_named(annotation)} lacks {key!r}; add it to the annotation file")
    found: dict = {}
    for key, count in {"keypoints": 3 * joints, "bbox": 4}.items():
        numbers = _numbers(annotation[key])
        if numbers is None or len(numbers) != count or not np.isfinite(numbers).all():
            raise SSHPEError(f"{_named(annotation)}: {wrong_numbers(annotation, key, count)}; {_MEND}")
        found[key] = numbers
    counted = np.count_nonzero(found["keypoints"][2::3] > 0)
    found["num_keypoints"] = _number(annotation.get("num_keypoints", counted))
    found["iscrowd"] = _number(annotation.get("iscrowd", 0))
    found["area"] = 0.0 if crowd else _number(annotation["area"])
    for key in ("num_keypoints", "iscrowd", "area"):
        if not np.isfinite(found[key]) or (key == "iscrowd" and found[key] not in (0, 1)):
            raise SSHPEError(f"{_named(annotation)}: {state(annotation, key)}; {_MEND}")
    for key in ("image_id", "category_id"):
        if not _is_number(annotation[key]):
            raise SSHPEError(f"{_named(annotation)}: {state(annotation, key)}, no number; {_MEND}")
    return found


def _detections(
    results: Iterable[dict],
    images: dict[float, int],
    categories: dict[float, int],
    joints: int,
    wanted: set[float],
) -> list[dict]:
    """What the evaluator reads of the results on the wanted images; all of them are checked."""
    checked = (_detection(i, entry, images, categories, joints) for i, entry in enumerate(results))
    return [detection for image, detection in checked if image in wanted]


def _detection(
    place: int, entry: dict, images: dict[float, int], categories: dict[float, int], joints: int
) -> tuple[float, dict]:
    """The image of an entry of the results, and what the evaluator reads of it, checked."""

    def refused(fault: str) -> SSHPEError:
        image = entry.get("image_id") if isinstance(entry, dict) else None
        return SSHPEError(f"results entry {place} (image {image}) {fault}")

    if not isinstance(entry, dict):
        needed = f"an entry must be an object with {', '.join(_REQUIRED_RESULT)}"
        raise refused(f"is a {type(entry).__name__}; {needed}")
    for key in _REQUIRED_RESULT:
        if key not in entry:
            raise refused(f"lacks {key!r}; add it")
    image, category = entry["image_id"], entry["category_id"]
    if not _is_number(image) or image not in images:
        raise refused("is of an image that the ground truth does not have; predict on its images only")
    if not _is_number(category) or category not in categories:
        raise refused(f"has the unknown category_id {category!r}; use one of {list(categories)}")
    keypoints, score = _numbers(entry["keypoints"]), _numbers([entry["score"]])
    if keypoints is None or score is None:
        raise refused("has keypoints or a score that are not numbers; write numbers")
    if keypoints.shape != (3 * joints,):
        raise refused(
            f"has keypoints of shape {keypoints.shape}; give (x, y, score) for each of {joints} joints"
        )
    if not (np.isfinite(keypoints).all() and np.isfinite(score).all()):
        raise refused("has keypoints or a score that are not finite; did the training diverge?")
    ids = {"image_id": images[image], "category_id": categories[category]}
    return image, ids | {"keypoints": keypoints, "score": float(score[0])}


def _named(annotation: dict) -> str:
    return f"ground-truth annotation {annotation.get('id')} (image {annotation.get('image_id')})"


def _is_number(value: object) -> bool:
    """Whether a value is a number, which NaN is not; text is none, whatever it says."""
    return isinstance(value, Real) and value == value


def _numbers(value: object) -> np.ndarray | None:
    """A list of numbers as (N,) float64; None for anything else."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError):  # lists of several lengths
        return None
    return array.astype(np.float64) if array.ndim == 1 and array.dtype.kind in "biuf" else None


def _number(value: object) -> float:
    """NaN for what is no number."""
    numbers = _numbers([value])
    return float("nan") if numbers is None else float(numbers[0])
