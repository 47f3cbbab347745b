"""What is told of a set of predicted people: COCO's or CrowdPose's statistics, in percent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sshpe_lib.evaluate.average_precision import average_precision, visible_only
from sshpe_lib.evaluate.crowd_index import with_crowd_index

Protocol = Literal["coco", "crowdpose"]


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
    kind = "keypoints"
    if protocol == "crowdpose":
        kind, ground_truth = "keypoints_crowd", with_crowd_index(ground_truth)
    found = average_precision(ground_truth, results, sigmas, iou_type=kind)
    if visibility:
        for name, flag in (("AP-vis", 2), ("AP-invis", 1)):
            alone = visible_only(ground_truth, flag)
            found[name] = average_precision(alone, results, sigmas, iou_type=kind)["AP"]
    return {name: 100 * value for name, value in found.items() if value >= 0}
