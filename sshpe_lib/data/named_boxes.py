"""Boxes around people in one's own pictures, by file name: read from a file, or given in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sshpe_lib.data import coco
from sshpe_lib.data.columns import LARGEST, numbers
from sshpe_lib.data.documents import read_json
from sshpe_lib.data.faults import bad_input
from sshpe_lib.errors import SSHPEError

# File name -> (P, 4) x, y, width, height in pixels; P is 0 where nobody is.
Boxes = Mapping[str, np.ndarray | Sequence[Sequence[float]]]
# The cure for one name of two files.
ONE_BY_ONE = "predict them one after the other, each with an --output of its own"


def read_boxes(path: Path, category: str | int | None = None) -> dict[str, np.ndarray]:
    """Boxes by file name, from a list of {file_name, bbox} or a COCO file with `images` and `annotations`.

    bbox: x, y, width, height in pixels. Of a COCO file those of one category count, and no crowds, so that an image
    that is listed may have none; category: its name or id, where left out `person`, or the only one, of those with
    keypoints if there are such. An image is known by its name without folders: boxes of a list go together by it, and
    of a COCO file no two images with boxes may share it. Raises SSHPEError that names the entry for anything else.
    """
    document = read_json(Path(path))
    cure = "give a list of {file_name, bbox: [x, y, width, height]}, or a COCO annotation file"
    if isinstance(document, dict):
        boxes = _boxes_of_coco(document, Path(path), category)
    else:
        listed = document if isinstance(document, list) else []  # JSON may be a word or a number
        known = (entry if isinstance(entry, dict) else {} for entry in listed)
        boxes = [(entry.get("file_name"), entry.get("bbox"), True) for entry in known]
    if not boxes:
        raise bad_input(path, "the file", "it lists no boxes", cure)
    found: dict[str, list] = {}
    for place, (name, box, person) in enumerate(boxes):
        sides = numbers([box], 4)[0]
        sound = not person or (np.isfinite(sides).all() and (sides[2:] > 0).all())
        if not isinstance(name, str) or not sound:
            raise bad_input(path, f"entry {place}", f"file_name {name!r}, bbox {box!r}", cure)
        found.setdefault(Path(name).name, []).extend([sides] if person else [])
    return {name: np.array(rows).reshape(-1, 4) for name, rows in found.items()}


def _boxes_of_coco(
    document: dict, path: Path, category: str | int | None
) -> list[tuple[object, object, bool]]:
    """The boxes of a COCO file: the image's name, the box, whether it is of one person; none of another file."""
    images, entries, categories = (document.get(key) for key in ("images", "annotations", "categories"))
    if not isinstance(images, list) or not isinstance(entries, list):
        return []
    meant = coco.category_of_boxes(categories, category, path) if isinstance(categories, list) else None
    names = {_id(one, "id"): one.get("file_name") for one in images if isinstance(one, dict)}
    names[None] = None  # an image without an id is not that of a box without one
    boxes = []
    for one in entries:
        known = one if isinstance(one, dict) else {}
        person = known.get("iscrowd") != 1 and (meant is None or known.get("category_id") == meant)
        boxes.append((names.get(_id(known, "image_id")), known.get("bbox"), person))
    listed = [name for name in names.values() if isinstance(name, str)]
    _refuse_namesakes(listed, boxes, path)
    # One that is listed and has no annotation shows nobody.
    return boxes and [*boxes, *((name, None, False) for name in listed)]


def _refuse_namesakes(names: list[str], boxes: list[tuple[object, object, bool]], path: Path) -> None:
    """Raise SSHPEError where two images have one name but for their folders, and one has boxes: it would lend them."""
    boxed = {name for name, _, person in boxes if person and isinstance(name, str)}
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(Path(name).name, name)
        if other != name and boxed & {other, name}:
            problem = f"{other!r} and {name!r} are two images by the name of {Path(name).name!r}"
            cure = "give each a file name of its own, or the boxes of one folder at a time"
            raise bad_input(path, "images", problem, cure)


def by_name(boxes: Boxes) -> Boxes:
    """The boxes by the names of files, whatever folder these were given in.

    Raises SSHPEError where one is given by no name, or two by the name of one file.
    """
    foreign = next((path for path in boxes if not isinstance(path, str | Path)), None)
    if foreign is not None:
        raise SSHPEError(f"boxes are given by the names of their images, and {foreign!r} is none")
    named = {Path(path).name: given for path, given in boxes.items()}
    if len(named) < len(boxes):
        raise SSHPEError(f"boxes of two images have one file name; {ONE_BY_ONE}")
    return named


def checked_boxes(
    name: str, given: np.ndarray | Sequence[Sequence[float]], size: Sequence[int]
) -> np.ndarray:
    """The boxes of one image, (P, 4) float32. Raises SSHPEError where they are none, or nothing of one is in it."""
    cure = f"give {name} a list of boxes, each x, y, width and height in its pixels as stored"
    try:
        boxes = np.asarray(given, np.float64)
    except (TypeError, ValueError, OverflowError):  # words, boxes of several lengths, more than a float holds
        raise SSHPEError(f"the boxes of {name} are no lists of numbers; {cure}") from None
    if boxes.shape == (0,):
        return np.empty((0, 4), np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise SSHPEError(f"the boxes of {name} are {boxes.shape}, not (P, 4); {cure}")
    corners, sides = boxes[:, :2], boxes[:, 2:]
    for wrong, problem in (
        (~((np.abs(boxes) <= LARGEST).all(axis=1) & (sides > 0).all(axis=1)), "is no box"),
        (~((corners < size) & (corners + sides > 0)).all(axis=1), f"lies outside {size[0]}x{size[1]} pixels"),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            raise SSHPEError(f"box {row} of {name}, {boxes[row].tolist()}, {problem}; {cure}")
    return boxes.astype(np.float32)


def _id(entry: dict, key: str) -> int | str | None:
    """A number or text that names an image, which a list cannot."""
    value = entry.get(key)
    return value if isinstance(value, int | str) else None
