"""Where people are in an image that cannot be learned from: crowds, people without a keypoint, and others left out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sshpe_lib.data import coco
from sshpe_lib.data.columns import brief, numbers
from sshpe_lib.data.faults import bad_input, refuse

# Image id -> segmentations (COCO polygons or run lengths) of people in it that are not learned from.
Unlabelled = Mapping[int, list]

_TEXT = re.compile("([P-o]{0,11}[0-O])*")  # run lengths as a text; the last character of each is below "P"


def unlabelled_people(annotations: Path, category: str | int | None = None) -> Unlabelled:
    """What training must not take for background, by image: who has no labelled keypoint or is left out of `coco`.

    category: as of `coco.load_instances`. A segmentation that is missing is replaced by the box. Of one person with
    keypoints it is the box around the box and them, for the box may be what is wrong. Raises SSHPEError for a malformed
    file, and for a segmentation that cannot be drawn in its image.
    """
    annotations = Path(annotations)
    parsed = coco.parse(annotations, category, outlines=True)
    refuse(parsed.faults)
    sizes = dict(zip(parsed.images.ids.tolist(), parsed.images.sizes.tolist(), strict=True))
    excluded = np.any(list(coco.exclusions(parsed.people, parsed.images).values()), axis=0)
    people = (one for one in parsed.document["annotations"] if one.get("category_id") == parsed.category)
    found: dict[int, list] = {}
    for entry, left_out in zip(people, excluded.tolist(), strict=True):
        labelled = any(v > 0 for v in (entry.get("keypoints") or [])[2::3])
        if labelled and not left_out:
            continue
        size = sizes[entry["image_id"]]
        segmentation = entry.get("segmentation")
        if labelled and not entry.get("iscrowd"):
            segmentation = outline(_around(entry["bbox"], entry["keypoints"]), size)
        elif not segmentation:
            segmentation = outline(entry["bbox"], size)
        elif problem := _problem(segmentation, size):
            problem = f"its segmentation cannot be read, for {problem}"
            cure = "give polygons of three points or more in pixels, or run lengths of the whole image"
            raise bad_input(annotations, f"annotation {entry.get('id')}", problem, cure)
        found.setdefault(entry["image_id"], []).append(segmentation)
    return found


def drawn(segmentations: list, size: tuple[int, int]) -> np.ndarray:
    """The union of segmentations, as `unlabelled_people` finds them, in an image of (width, height); 255 inside."""
    from pycocotools import mask

    width, height = size
    union = np.zeros((height, width), np.uint8)
    for one in segmentations:
        if isinstance(one, dict):
            counts = _run_lengths(one["counts"])
            inside = (np.arange(len(counts)) % 2).astype(np.uint8)
            union |= np.repeat(inside, counts).reshape(width, height).T
            continue
        with warnings.catch_warnings():  # pycocotools' arrays do not know NumPy 2's `copy`
            warnings.simplefilter("ignore", DeprecationWarning)
            union |= mask.decode(mask.frPyObjects(one, height, width)).any(axis=2)
    return 255 * union


def _around(box: list, keypoints: list) -> list:
    """The box around a box and the labelled ones of keypoints x, y, v."""
    x, y, width, height = box
    joints = [keypoints[at : at + 2] for at in range(0, len(keypoints), 3) if keypoints[at + 2] > 0]
    xs, ys = zip((x, y), (x + width, y + height), *joints, strict=True)
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def outline(box: list, size: Sequence[int]) -> list:
    """The polygon of a box in an image of (width, height), of which no more is kept than that beyond each side."""
    x, y, width, height = box
    left, right = (min(max(side, -size[0]), 2 * size[0]) for side in (x, x + width))
    top, bottom = (min(max(side, -size[1]), 2 * size[1]) for side in (y, y + height))
    return [[left, top, right, top, right, bottom, left, bottom]]


def _problem(segmentation: object, size: list[int]) -> str | None:
    """Why a segmentation of an image of [width, height] is not one; None where it is.

    pycocotools checks nothing: what is not sound reads and writes beyond its memory.
    """
    if isinstance(segmentation, dict):
        return _problem_of_runs(segmentation, size)
    if not isinstance(segmentation, list):
        return f"it is {brief(segmentation)}"
    limit = np.array(size)
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            return f"{brief(polygon)} is no list of x, y of three points or more"
        points = numbers([polygon], len(polygon)).reshape(-1, 2)
        if not ((points >= -limit) & (points <= 2 * limit)).all():
            return f"{brief(polygon)} holds what is no number or no place near its {size[0]}x{size[1]} image"
        length = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum()
        if length > size[0] * size[1] + 6 * sum(size):  # memory grows with it
            return f"a polygon of {length:,.0f} pixels' length is longer than one through every pixel"
    return None


def _problem_of_runs(segmentation: dict, size: list[int]) -> str | None:
    width, height = size
    if segmentation.get("size") != [height, width]:
        return f"its size is {brief(segmentation.get('size'))} and not [{height}, {width}], that of its image"
    counts = segmentation.get("counts")
    if not isinstance(counts, list) and not (isinstance(counts, str) and _TEXT.fullmatch(counts)):
        return f"its counts are {brief(counts)}"
    counts = _run_lengths(counts)
    if not all(type(count) is int and 0 <= count <= width * height for count in counts):
        return "a count is no number of its image's pixels"
    if sum(counts) != width * height:
        return f"its counts make {sum(counts):,} pixels, not {width * height:,}"
    return None


def _run_lengths(counts: str | list) -> list:
    """Run lengths, out of COCO's text where they are one.

    In it a number has five bits a character, the lowest first, and from the fourth on is what was added to the last
    but one (pycocotools: rleFrString).
    """
    if isinstance(counts, list):
        return counts
    found: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        found.append(value + (found[-2] if len(found) > 2 else 0))
        value = shift = 0
    return found
