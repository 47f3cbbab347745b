"""What is in a keypoint file, and everything that is wrong with it: `sshpe data check PATH`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from sshpe_lib.data.coco import Parsed, exclusions, missing_images, parse
from sshpe_lib.data.documents import read_annotations
from sshpe_lib.data.faults import BadInput, Fault, bad_input
from sshpe_lib.data.images import find_images, read_image
from sshpe_lib.data.tables import detection_table
from sshpe_lib.skeleton import UNKNOWN_SIGMA, without_partner, without_sigma

TOLD = 6  # of names in one note


@dataclass(frozen=True)
class FileReport:
    """One JSON file: what it is, counts of what it holds, where its images were found, and its faults."""

    file: Path
    kind: Literal["keypoints", "detections", "other"]
    counts: dict[str, int] = field(default_factory=dict)
    image_root: Path | None = None
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.file}: {self.kind}"]
        lines += [f"  {name:<32}{count:>10,}" for name, count in self.counts.items()]
        if self.kind == "keypoints" and self.counts:
            place = self.image_root or "not found beside the file, so not checked; name their folder"
            lines.append(f"  images: {place}")
        lines += [f"  {'fault' if fault.fatal else 'note'}: {fault}" for fault in self.faults]
        return "\n".join(lines)


@dataclass(frozen=True)
class Report:
    """Every file that was checked; printed, it lists counts and all faults by file and entry."""

    files: tuple[FileReport, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults of all files, in order."""
        return tuple(fault for file in self.files for fault in file.faults)

    @property
    def ok(self) -> bool:
        """Whether nothing was found that would stop a training."""
        return not any(fault.fatal for fault in self.faults)

    def __str__(self) -> str:
        fatal = sum(fault.fatal for fault in self.faults)
        notes = len(self.faults) - fatal
        end = f"{fatal:,} fault{'s' * (fatal != 1)} that stop{'s' * (fatal == 1)} a training, "
        end += f"{notes:,} note{'s' * (notes != 1)}"
        return "\n".join([*map(str, self.files), end])


def check(path: Path, image_root: Path | None = None, category: str | int | None = None) -> Report:
    """Check a keypoint file, a file of detections, or every JSON file under a folder, and decode every image.

    image_root: the folder of the images; by default it is looked for beside the file, in the layouts of COCO;
    category: as of `coco.load_instances`, for every keypoint file.
    Never stops at a fault. Raises SSHPEError only for a folder without any JSON file.
    """
    path = Path(path)
    if not path.is_dir():
        return Report((_check_file(path, image_root, category, alone=True),))
    files = sorted(path.rglob("*.json"))
    if not files:
        cure = "name a COCO keypoint file or a folder of them"
        raise bad_input(path, "the folder", "no .json file is in it", cure)
    return Report(tuple(_check_file(file, image_root, category, alone=False) for file in files))


def _check_file(file: Path, image_root: Path | None, category: str | int | None, alone: bool) -> FileReport:
    try:
        document = read_annotations(file)
        if isinstance(document, list) and _has(document, "image_id"):
            return _check_detections(file, document)
        if not alone and not _has_keypoints(document):
            return FileReport(file, "other")
        return _check_keypoints(file, image_root, category)
    except BadInput as error:
        return FileReport(file, "keypoints", faults=(error.fault,))


def _has_keypoints(document: dict | list) -> bool:
    categories = document.get("categories") if isinstance(document, dict) else None
    return isinstance(categories, list) and _has(categories, "keypoints")


def _has(entries: list, key: str) -> bool:
    return any(isinstance(entry, dict) and key in entry for entry in entries)


def _check_detections(file: Path, document: list) -> FileReport:
    table, faults = detection_table(document, None, None, file)
    return FileReport(file, "detections", {"boxes": len(table.scores)}, faults=tuple(faults))


def _check_keypoints(file: Path, image_root: Path | None, category: str | int | None) -> FileReport:
    parsed = parse(file, category)
    counts, valid = _count(parsed)
    faults = [*parsed.faults, *_side_notes(parsed, file), *_constant_notes(parsed, file)]
    if not valid.any():
        cure = "label people with keypoints, boxes inside their image and areas above 0"
        faults.append(Fault(file, "annotations", "none is a valid person", cure))
    root = image_root or find_images(file, parsed.images.names)
    if root is not None:
        faults += _image_faults(parsed, valid, Path(root), file)
    return FileReport(file, "keypoints", counts, root, tuple(faults))


def _count(parsed: Parsed) -> tuple[dict[str, int], np.ndarray]:
    """Counts by name, and which annotations are valid people, (A,) bool."""
    people = parsed.people
    counts = {"images": len(parsed.images.ids), "annotations": len(people.ids)}
    counts["left-right pairs of keypoints"] = len(parsed.skeleton.flip_pairs)
    valid = np.ones(len(people.ids), dtype=bool)
    for reason, rows in exclusions(people, parsed.images).items():
        counts[f"left out: {reason}"] = int((rows & valid).sum())
        valid &= ~rows
    counts["valid people"] = int(valid.sum())
    counts["images with valid people"] = len(np.unique(people.image_rows[valid]))
    for v, name in enumerate(("unlabelled", "occluded", "visible")):
        counts[f"their keypoints: {name}"] = int((people.keypoints[valid][..., 2] == v).sum())
    return counts, valid


def _side_notes(parsed: Parsed, file: Path) -> list[Fault]:
    """A note where keypoints that have a left and a right seem not to be named so that a mirror swaps them."""
    alone = without_partner(parsed.names)
    if alone:
        problem = f"{_listed(alone)}: no keypoint has the same name on the other side"
    elif len(parsed.names) > 1 and not parsed.skeleton.flip_pairs:
        problem = f"none of its {len(parsed.names)} keypoints is named as left or right"
    else:
        return []
    cure = "name both sides alike, such as left_eye and right_eye; a mirrored picture swaps only such pairs"
    return [Fault(file, f"category {parsed.category}", problem, cure, fatal=False)]


def _constant_notes(parsed: Parsed, file: Path) -> list[Fault]:
    """A note where nobody knows how near a predicted keypoint must be."""
    own = next(entry for entry in parsed.document["categories"] if entry.get("id") == parsed.category)
    guessed = without_sigma(parsed.names) if own.get("sigmas") is None else ()
    if not guessed:
        return []
    problem = f"no OKS constant is known for {_listed(guessed)}, and {UNKNOWN_SIGMA} is taken"
    return [
        Fault(file, f"category {parsed.category}", problem, "give it 'sigmas', one a keypoint", fatal=False)
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:TOLD]) + (f" and {len(names) - TOLD} more" if len(names) > TOLD else "")


def _image_faults(parsed: Parsed, valid: np.ndarray, root: Path, file: Path) -> list[Fault]:
    """Faults of all images of the file; those of an image without a valid person stop no training."""
    images = parsed.images
    needed = set(parsed.people.image_rows[valid].tolist())
    rows = [row for row, name in enumerate(images.names) if name]
    missing = missing_images(tuple(images.names[row] for row in rows), root, file)
    if missing and not root.is_dir():
        return missing
    by_entry = {fault.entry: fault for fault in missing}
    faults = []
    for row in tqdm(rows, desc=file.name, unit="image", disable=None, leave=False):
        fault = by_entry.get(f"image {images.names[row]!r}") or _decode(parsed, row, root, file)
        if fault is not None:
            faults.append(replace(fault, fatal=row in needed))
    return faults


def _decode(parsed: Parsed, row: int, root: Path, file: Path) -> Fault | None:
    width, height = parsed.images.sizes[row].tolist()
    where = f"{file.name}, image {parsed.images.ids[row]}"
    try:
        read_image(root / parsed.images.names[row], where, size=(width, height) if width else None)
    except BadInput as error:
        return error.fault
    return None
