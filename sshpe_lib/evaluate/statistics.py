"""What is told of a set of predicted people: COCO's or CrowdPose's statistics, in percent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sshpe_lib.evaluate.average_precision import METRICS, average_precision, visible_only
from sshpe_lib.evaluate.crowd_index import with_crowd_index

Protocol = Literal["coco", "crowdpose"]

BY_VISIBILITY = {"AP-vis": 2, "AP-invis": 1}  # which joints each is about, as v of their keypoints says


def metrics(protocol: Protocol = "coco", visibility: bool = False) -> tuple[str, ...]:
    """The names of what `statistics` tells."""
    return (*METRICS[_kind(protocol)], *(BY_VISIBILITY if visibility else ()))


def statistics(
    ground_truth: dict,
    results: list[dict],
    sigmas: Sequence[float],
    visibility: bool = False,
    protocol: Protocol = "coco",
) -> dict[str, float]:
    """The statistics of `average_precision` in percent; a size or a crowding that no image has is left out.

    visibility: AP-vis and AP-invis too, on visible and on occluded joints alone. protocol: "crowdpose" splits by
    crowd index, which is worked out where the file has none.
    Raises SSHPEError as `average_precision`.
    """
    kind = _kind(protocol)
    if protocol == "crowdpose":
        ground_truth = with_crowd_index(ground_truth)
    found = average_precision(ground_truth, results, sigmas, iou_type=kind)
    if visibility:
        for name, flag in BY_VISIBILITY.items():
            alone = visible_only(ground_truth, flag)
            found[name] = average_precision(alone, results, sigmas, iou_type=kind)["AP"]
    return {name: 100 * value for name, value in found.items() if value >= 0}


def _kind(protocol: Protocol) -> str:
    """What `average_precision` calls it."""
    return "keypoints_crowd" if protocol == "crowdpose" else "keypoints"
