"""A COCO-format document as columns, with the faults of its entries.

Columns are made and checked as a whole; entries are looked at one by one only where a column shows a fault,
so that 150,000 people cost less than the parsing of their JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sshpe_lib.data.columns import brief, column, integers, numbers, state, states, wrong_numbers
from sshpe_lib.data.faults import Fault, FaultList
from sshpe_lib.skeleton import Skeleton

# Formats without `area` (CrowdPose, AI Challenger) are evaluated with this share of the box.
AREA_OF_BOX = 0.53


@dataclass(frozen=True)
class ImageTable:
    """The file's `images`, in file order; I rows.

    ids: (I,) int64; names: I file names; sizes: (I, 2) int32 width and height in pixels. A wrong entry keeps
    its row, with id -1, name "" or size 0.
    """

    ids: np.ndarray
    names: list[str]
    sizes: np.ndarray

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """The row of each image id, (N,) int64; -1 where the file has no such image."""
        if not len(self.ids):
            return np.full(len(ids), -1)
        order = np.argsort(self.ids, kind="stable")
        place = np.searchsorted(self.ids, ids, sorter=order).clip(max=len(order) - 1)
        rows = order[place]
        return np.where((self.ids[rows] == ids) & (ids >= 0), rows, -1)

    def sizes_at(self, rows: np.ndarray) -> np.ndarray:
        """The sizes of these rows, (N, 2); 0, 0 for row -1."""
        return np.vstack([self.sizes, np.zeros((1, 2), dtype=np.int32)])[rows]


@dataclass(frozen=True)
class PersonTable:
    """The annotations of one category, in file order; A rows, K keypoints, coordinates in image pixels.

    ids: (A,) int64; image_rows: (A,) into the image table; boxes: (A, 4) x, y, width, height; areas: (A,),
    0.53 of the box where the file has none; keypoints: (A, K, 3) x, y, v; crowd: (A,) bool. All float64.
    """

    ids: np.ndarray
    image_rows: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    keypoints: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True)
class DetectionTable:
    """Detected boxes of one category, in file order; coordinates in image pixels.

    image_rows: (D,) into the image table; boxes: (D, 4) x, y, width, height; scores: (D,).
    """

    image_rows: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


def image_table(entries: Sequence, file: Path) -> tuple[ImageTable, list[Fault]]:
    """The `images` of a document, and their faults: ids, names and sizes missing, wrong or repeated."""
    entries, found = _objects(entries, file, "images")
    ids = _ids(entries, found)
    found.entry = lambda row: f"image {ids[row]}" if ids[row] >= 0 else f"images[{row}]"
    given: list[Any] = [entry.get("file_name") for entry in entries]
    named = np.array([isinstance(name, str) and name != "" for name in given], dtype=bool)
    found.add(~named, states(entries, "file_name"), "give the image's file name as a text")
    outside = np.array([ok and leads_out(name) for ok, name in zip(named, given, strict=True)], dtype=bool)
    found.add(
        outside,
        lambda row: f"file_name {given[row]!r} leads out of the folder of images",
        "give a path below that folder, without '..'",
    )
    sizes = numbers([[entry.get("width"), entry.get("height")] for entry in entries], 2)
    sized = ((sizes > 0) & (sizes == np.floor(sizes)) & (sizes < 2**31)).all(axis=1)
    found.add(
        ~sized,
        lambda row: f"width {entries[row].get('width')!r}, height {entries[row].get('height')!r}",
        "give both as whole numbers of pixels above 0",
    )
    sizes = np.where(sized[:, None], sizes, 0).astype(np.int32)
    names = [name if ok else "" for name, ok in zip(given, named & ~outside, strict=True)]
    return ImageTable(ids, names, sizes), found.faults


def leads_out(name: str) -> bool:
    """Whether a file's name, below a folder, is a path to somewhere else."""
    if ".." not in name and not name.startswith("/"):
        return False  # most names: to take a path apart costs twenty times more
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def person_table(
    entries: Sequence, images: ImageTable, category: int, skeleton: Skeleton, file: Path
) -> tuple[PersonTable, list[Fault]]:
    """The annotations of `category`, and their faults.

    Fatal: an id or image id that is missing, repeated or unknown; boxes, areas or keypoints that are not the
    right count of finite numbers; v other than 0, 1, 2; a labelled keypoint more than an image size outside
    the frame; an `iscrowd` that is none of 0, 1, false and true. Reported only: a labelled keypoint nearer
    outside the frame, a box without width or height, and a `num_keypoints` that is wrongly 0 or not 0, by which
    the evaluation tells whom to ignore.
    """
    entries, found = _objects(entries, file, "annotations")
    _known_categories(entries, found)
    rows = [row for row, entry in enumerate(entries) if entry.get("category_id") == category]
    every_id = _ids(entries, found)
    people, ids = [entries[row] for row in rows], every_id[rows]
    found.entry = lambda row: f"annotation {ids[row]}" if ids[row] >= 0 else f"annotations[{rows[row]}]"
    image_rows = _image_rows(people, images, found)
    boxes = _boxes(people, found)
    keypoints = numbers([person.get("keypoints") for person in people], 3 * len(skeleton))
    whole = np.isfinite(keypoints).all(axis=1)
    found.add(
        ~whole,
        lambda row: wrong_numbers(people[row], "keypoints", 3 * len(skeleton)),
        f"give x, y, v for each of the {len(skeleton)} keypoints of its category, zeros where unlabelled",
    )
    keypoints = keypoints.reshape(len(people), len(skeleton), 3)
    _check_keypoints(keypoints, whole, images.sizes_at(image_rows), skeleton, found)
    _check_counts(people, keypoints, whole, found)
    areas = _areas(people, boxes, found)
    crowd = _crowds(people, found)
    return PersonTable(ids, image_rows, boxes, areas, keypoints, crowd), found.faults


def detection_table(
    entries: Sequence, images: ImageTable | None, category: int | None, file: Path
) -> tuple[DetectionTable, list[Fault]]:
    """The detections of `category` (None: of all) and their faults; without `images` ids go unchecked.

    Fatal: an unknown image; a box that is not four finite numbers, has a side below 0, or has neither width nor height,
    so that no crop can be made of it; a score that is no finite number.
    """
    entries, found = _objects(entries, file, "detections")
    rows = [row for row, entry in enumerate(entries) if category in (None, entry.get("category_id"))]
    _numbered_categories(entries, found)
    detected = [entries[row] for row in rows]
    found.entry = lambda row: f"detections[{rows[row]}]"
    if images is None:
        image_rows = np.full(len(detected), -1)
    else:
        image_rows = _image_rows(detected, images, found)
    boxes = _boxes(detected, found)
    points = (boxes[:, 2:] == 0).all(axis=1)
    found.add(
        points, states(detected, "bbox"), "take the entry out: a box without width and height shows nobody"
    )
    scores = column([entry.get("score") for entry in detected])
    found.add(~np.isfinite(scores), states(detected, "score"), "give the detector's score, a finite number")
    return DetectionTable(image_rows, boxes, scores), found.faults


def _objects(entries: Sequence, file: Path, key: str) -> tuple[list[Mapping], FaultList]:
    """The entries with every one that is no JSON object replaced by an empty one, and their fault list."""
    found = FaultList(file, lambda row: f"{key}[{row}]")
    wrong = np.array([not isinstance(entry, dict) for entry in entries], dtype=bool)
    found.add(wrong, lambda row: f"{brief(entries[row])} is not an object", f"make each of {key!r} an object")
    return [{} if bad else entry for entry, bad in zip(entries, wrong, strict=True)], found


def _ids(entries: Sequence[Mapping], found: FaultList) -> np.ndarray:
    ids, given = integers([entry.get("id") for entry in entries])
    found.add(~given, states(entries, "id"), "number each entry with a whole number from 0")
    order = np.argsort(ids, kind="stable")
    again = np.zeros(len(ids), dtype=bool)
    again[order[1:]] = (ids[order[1:]] == ids[order[:-1]]) & given[order[1:]]
    found.add(again, lambda row: f"id {ids[row]} is used before", "give each entry an id of its own")
    return ids


def _image_rows(entries: Sequence[Mapping], images: ImageTable, found: FaultList) -> np.ndarray:
    ids, _ = integers([entry.get("image_id") for entry in entries])
    rows = images.rows_of(ids)
    found.add(
        rows < 0,
        lambda row: state(entries[row], "image_id") + ", an image that the annotation file does not have",
        "add the image to 'images', or take the entry out",
    )
    return rows


def _known_categories(entries: Sequence[Mapping], found: FaultList) -> None:
    missing = np.array(["category_id" not in entry for entry in entries], dtype=bool)
    found.add(missing, "it has no 'category_id'", "add the id of its category")
    _numbered_categories(entries, found)


def _numbered_categories(entries: Sequence[Mapping], found: FaultList) -> None:
    wrong = np.array([type(entry.get("category_id", 0)) not in (int, float) for entry in entries], dtype=bool)
    found.add(wrong, states(entries, "category_id"), "give the id of its category, a number")


def _boxes(entries: Sequence[Mapping], found: FaultList) -> np.ndarray:
    boxes = numbers([entry.get("bbox") for entry in entries], 4)
    whole = np.isfinite(boxes).all(axis=1)
    found.add(
        ~whole,
        lambda row: wrong_numbers(entries[row], "bbox", 4),
        "give x, y, width, height in pixels",
    )
    sides = np.where(whole[:, None], boxes[:, 2:], 1)
    negative, flat = np.any(sides < 0, axis=1), np.any(sides == 0, axis=1)
    text = states(entries, "bbox")
    found.add(negative, text, "give x, y, width, height in pixels, the last two not below 0")
    found.add(flat & ~negative, text, "a box without width or height shows nobody; correct it", fatal=False)
    return boxes


def _areas(people: Sequence[Mapping], boxes: np.ndarray, found: FaultList) -> np.ndarray:
    missing = np.array(["area" not in person for person in people], dtype=bool)
    areas = column([person.get("area", 0) for person in people])
    wrong = ~(np.isfinite(areas) & (areas >= 0))
    found.add(wrong, states(people, "area"), "give the area in square pixels, or leave 'area' out")
    return np.where(missing, AREA_OF_BOX * boxes[:, 2] * boxes[:, 3], areas)


def _crowds(people: Sequence[Mapping], found: FaultList) -> np.ndarray:
    given = [person.get("iscrowd", 0) for person in people]
    known = np.array([isinstance(value, int | float) and value in (0, 1) for value in given], dtype=bool)
    found.add(~known, states(people, "iscrowd"), "give 1 for a crowd, 0 for one person, or leave it out")
    return np.array([value == 1 for value in given], dtype=bool)


def _check_counts(
    people: Sequence[Mapping], keypoints: np.ndarray, whole: np.ndarray, found: FaultList
) -> None:
    """Only 0 or not is compared: CrowdPose does not count head and neck."""
    labelled = np.any(keypoints[..., 2] > 0, axis=1)
    pairs = zip(people, labelled.tolist(), strict=True)
    counted = np.array([person.get("num_keypoints", some) != 0 for person, some in pairs], dtype=bool)
    found.add(
        whole & (counted != labelled),
        states(people, "num_keypoints"),
        "count the keypoints with v above 0, or leave it out; the evaluation ignores people with 0",
        fatal=False,
    )


def _check_keypoints(
    keypoints: np.ndarray, whole: np.ndarray, sizes: np.ndarray, skeleton: Skeleton, found: FaultList
) -> None:
    """Faults of (A, K, 3) keypoints, of which rows of `whole` numbers and images of known size are judged."""
    flags = np.where(whole[:, None], keypoints[..., 2], 0)
    wrong = (flags != 0) & (flags != 1) & (flags != 2)

    def first(points: np.ndarray, row: int) -> str:
        number = int(np.argmax(points[row]))
        x, y, v = keypoints[row, number].tolist()
        return f"keypoint {skeleton.keypoints[number]!r} at ({x:g}, {y:g}) with v = {v:g}"

    found.add(
        wrong.any(axis=1),
        lambda row: f"{first(wrong, row)}: v is none of 0, 1, 2",
        "set v to 0 (unlabelled), 1 (occluded) or 2 (visible)",
    )
    judged = (flags > 0) & whole[:, None] & np.all(sizes > 0, axis=1)[:, None]
    outside, absurd = np.zeros_like(judged), np.zeros_like(judged)
    for axis in (0, 1):  # one after the other: arrays whose last side is 2 are slow to go over
        value, limit = keypoints[..., axis], sizes[:, axis, None]
        outside |= (value < 0) | (value > limit)
        absurd |= (value < -limit) | (value > 2 * limit)
    outside &= judged
    absurd &= judged

    def place(points: np.ndarray) -> Callable[[int], str]:
        return lambda row: f"{first(points, row)} is outside its {sizes[row, 0]}x{sizes[row, 1]} image"

    found.add(
        absurd.any(axis=1),
        lambda row: place(absurd)(row) + " by more than the image's size",
        "give coordinates in pixels of that image, or v = 0",
    )
    near = outside.any(axis=1) & ~absurd.any(axis=1)
    found.add(near, place(outside), "correct it, or set v = 0; training keeps it as it is", fatal=False)
