"""Average precision by object keypoint similarity, of COCO and of CrowdPose.

By faster-coco-eval, which knows CrowdPose, and whose numbers of COCO are those of pycocotools, up to the last bit of a
mean, in half of the time.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Hashable, Sequence
from typing import Any

import numpy as np

from sshpe_lib.errors import SSHPEError

METRICS = {
    "keypoints": ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"),
    "keypoints_crowd": ("AP", "AP50", "AP75", "AR", "AR50", "AR75", "AP-easy", "AP-medium", "AP-hard"),
}
_REQUIRED_RESULT = ("image_id", "category_id", "keypoints", "score")


def average_precision(
    ground_truth: dict,
    results: list[dict],
    sigmas: Sequence[float],
    image_ids: Collection[int] | None = None,
    iou_type: str = "keypoints",
) -> dict[str, float]:
    """Average precision and recall of COCO keypoint results, each in [0, 1].

    ground_truth: a COCO keypoint dataset as read from JSON, left as it is; results: as `to_results` makes
    them; sigmas: K OKS constants; image_ids: the images to evaluate, all by default. `iou_type` "keypoints"
    is COCO's protocol and gives AP AP50 AP75 APM APL AR AR50 AR75 ARM ARL; "keypoints_crowd" is
    CrowdPose's (area 0.53 of the box; images need `crowdIndex`, split at 0.2 and 0.8) and gives AP AP50 AP75
    AR AR50 AR75 AP-easy AP-medium AP-hard. Without results every number is 0; a size or split without people
    has -1, COCO's mark.

    Raises:
        SSHPEError: the ground truth lacks images, annotations or categories; one of them or an entry of the
            results is malformed or not finite, or the image or category of a result is unknown; the entry is named.
    """
    if iou_type not in METRICS:
        raise SSHPEError(f"iou_type {iou_type!r} is unknown; use one of {', '.join(METRICS)}")
    crowd = iou_type == "keypoints_crowd"
    dataset = _copy_ground_truth(ground_truth, len(sigmas), image_ids, crowd)
    _check_results(results, ground_truth, len(sigmas))
    wanted = {image["id"] for image in dataset["images"]}
    detections = [{key: r[key] for key in _REQUIRED_RESULT} for r in results if r["image_id"] in wanted]
    if not detections:
        return dict.fromkeys(METRICS[iou_type], 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        statistics = _statistics(dataset, detections, np.asarray(sigmas, np.float64), iou_type)
    return {name: float(value) for name, value in zip(METRICS[iou_type], statistics, strict=True)}


def visible_only(ground_truth: dict, flag: int) -> dict:
    """The ground truth with only the joints of one visibility: 2 for AP-vis, 1 (occluded) for AP-invis.

    Other joints become (0, 0, 0) and `num_keypoints` is counted anew; a person left with none is ignored by
    the evaluation. Returns a new dataset; the argument is left as it is. Raises SSHPEError where it has no annotations.
    """
    annotations = []
    for annotation in _entries(ground_truth, "annotations"):
        joints = np.asarray(annotation["keypoints"]).reshape(-1, 3)
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


def _copy_ground_truth(
    ground_truth: dict, joints: int, image_ids: Collection[int] | None, crowd: bool
) -> dict:
    """A copy that the evaluators may write into, checked, of the wanted images only."""
    known = _ids(ground_truth, "images")
    wanted = known if image_ids is None else set(image_ids)
    if not wanted <= known:
        raise SSHPEError(
            f"image id {min(wanted - known)} is not in the ground truth; evaluate images of its file only"
        )
    images = [dict(image) for image in ground_truth["images"] if image["id"] in wanted]
    for image in images:
        if crowd and "crowdIndex" not in image:
            raise SSHPEError(
                f"image {image['id']} lacks 'crowdIndex'; use CrowdPose's own file, or 'keypoints'"
            )
    annotations: list[dict] = []
    for annotation in _entries(ground_truth, "annotations"):
        _check_annotation(annotation, joints, ("bbox",) if crowd else ("bbox", "area"))
        if annotation["image_id"] in wanted:
            counted = sum(v > 0 for v in annotation["keypoints"][2::3])
            # COCOeval takes an annotation of id 0 for "not matched", so ids are counted anew from 1.
            fresh = {"num_keypoints": counted, "iscrowd": 0, **annotation, "id": len(annotations) + 1}
            annotations.append(fresh)
    categories = _entries(ground_truth, "categories")
    return {"categories": categories, "images": images, "annotations": annotations}


def _entries(ground_truth: dict, key: str) -> Sequence[dict]:
    entries = ground_truth.get(key)
    if not isinstance(entries, list | tuple) or not all(isinstance(entry, dict) for entry in entries):
        raise SSHPEError(
            f"the ground truth has no {key!r}, a list of objects; give a COCO keypoint dataset as read from JSON"
        )
    return entries


def _ids(ground_truth: dict, key: str) -> set[Any]:
    ids = [entry.get("id") for entry in _entries(ground_truth, key)]
    for i, one in enumerate(ids):
        if one is None or not isinstance(one, Hashable):
            raise SSHPEError(f"entry {i} of the ground truth's {key} has the id {one!r}; give it a number")
    return set(ids)


def _check_annotation(annotation: dict, joints: int, sizes: tuple[str, ...]) -> None:
    where = f"ground-truth annotation {annotation.get('id')} (image {annotation.get('image_id')})"
    for key in ("image_id", "category_id", "keypoints", *sizes):
        if key not in annotation:
            raise SSHPEError(f"{where} lacks {key!r}; add it to the annotation file")
    if not isinstance(annotation["image_id"], Hashable):
        raise SSHPEError(f"{where} has an image_id that is no number; mend the annotation file")
    try:
        count = len(annotation["keypoints"])
        finite = np.isfinite(np.hstack([annotation[key] for key in ("keypoints", *sizes)])).all()
    except (TypeError, ValueError):
        told = ", ".join(("keypoints", *sizes))
        raise SSHPEError(f"{where} has {told} that are not numbers; mend the annotation file") from None
    if count != 3 * joints:
        raise SSHPEError(f"{where} has {count} keypoint numbers, not 3 x {joints}; mend the annotation file")
    if not finite:
        raise SSHPEError(f"{where} holds a NaN or an infinity; mend the annotation file")


def _check_results(results: list[dict], ground_truth: dict, joints: int) -> None:
    images, categories = _ids(ground_truth, "images"), _ids(ground_truth, "categories")
    for i, entry in enumerate(results):
        fault = _fault(entry, images, categories, joints)
        if fault:
            image = entry.get("image_id") if isinstance(entry, dict) else None
            raise SSHPEError(f"results entry {i} (image {image}) {fault}")


def _fault(entry: dict, images: set[int], categories: set[int], joints: int) -> str | None:
    """What is wrong with an entry of the results, and its cure; None if nothing is."""
    if not isinstance(entry, dict):
        return f"is a {type(entry).__name__}; an entry must be an object with {', '.join(_REQUIRED_RESULT)}"
    for key in _REQUIRED_RESULT:
        if key not in entry:
            return f"lacks {key!r}; add it"
    if not isinstance(entry["image_id"], Hashable) or entry["image_id"] not in images:
        return "is of an image that the ground truth does not have; predict on its images only"
    if not isinstance(entry["category_id"], Hashable) or entry["category_id"] not in categories:
        return f"has the unknown category_id {entry['category_id']!r}; use one of {sorted(categories)}"
    try:
        keypoints, score = np.asarray(entry["keypoints"], np.float64), float(entry["score"])
    except (TypeError, ValueError):
        return "has keypoints or a score that are not numbers; write numbers"
    if keypoints.shape != (3 * joints,):
        return f"has keypoints of shape {keypoints.shape}; give (x, y, score) for each of {joints} joints"
    if not (np.isfinite(keypoints).all() and np.isfinite(score)):
        return "has keypoints or a score that are not finite; did the training diverge?"
    return None
