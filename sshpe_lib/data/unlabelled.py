"""What nobody labelled in an image, though people are there: crowds, and people without a keypoint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sshpe_lib.data import coco
from sshpe_lib.data.faults import bad_input, refuse

# Image id -> segmentations (COCO polygons or run lengths) of what is in no way labelled in it.
Unlabelled = Mapping[int, list]


def unlabelled_people(annotations: Path, category: str | int | None = None) -> Unlabelled:
    """What training must not take for background: crowds, and people without a keypoint, by image.

    A segmentation that is missing is replaced by the box. Raises SSHPEError for a malformed file.
    """
    annotations = Path(annotations)
    parsed = coco.parse(annotations, category, outlines=True)
    refuse(parsed.faults)
    found: dict[int, list] = {}
    for entry in parsed.document["annotations"]:
        if entry.get("category_id") != parsed.category:
            continue
        labelled = any(v > 0 for v in (entry.get("keypoints") or [])[2::3])
        if labelled and not entry.get("iscrowd"):
            continue
        segmentation = entry.get("segmentation")
        if not segmentation:
            x, y, width, height = entry["bbox"]
            segmentation = [[x, y, x + width, y, x + width, y + height, x, y + height]]
        if not _readable(segmentation):
            where, cure = (
                f"annotation {entry.get('id')}",
                "give polygons of three points or more, or run lengths",
            )
            raise bad_input(annotations, where, "its segmentation cannot be read", cure)
        found.setdefault(entry["image_id"], []).append(segmentation)
    return found


def _readable(segmentation: object) -> bool:
    if isinstance(segmentation, dict):
        return "counts" in segmentation and "size" in segmentation
    return isinstance(segmentation, list) and all(
        isinstance(one, list) and len(one) >= 6 for one in segmentation
    )


def drawn(segmentations: list, size: tuple[int, int]) -> np.ndarray:
    """The union of segmentations in an image of (width, height), 255 inside."""
    from pycocotools import mask

    width, height = size
    union = np.zeros((height, width), np.uint8)
    for one in segmentations:
        with warnings.catch_warnings():  # pycocotools' arrays do not know NumPy 2's `copy`
            warnings.simplefilter("ignore", DeprecationWarning)
            drawn = mask.decode(one if _compressed(one) else mask.frPyObjects(one, height, width))
        union |= drawn.any(axis=2).astype(np.uint8) if drawn.ndim == 3 else drawn
    return 255 * union


def _compressed(segmentation: object) -> bool:
    """Whether run lengths are a text already."""
    return isinstance(segmentation, dict) and isinstance(segmentation["counts"], str | bytes)
