"""Whether the data that is found is the data that is expected."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sshpe_lib import paths
from sshpe_lib.config import AIChallengerSource, CocoSource, Experiment, Source, SyntheticSource
from sshpe_lib.config.published import EXPECTED, Expected
from sshpe_lib.data import ai_challenger, coco, sources
from sshpe_lib.data.faults import refuse
from sshpe_lib.data.synthetic import fingerprint
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models.published import Weights


@dataclass(frozen=True)
class Found:
    """What there is of one source.

    people: valid people, of the file where there is one, else as expected; None where neither tells. there: it
    can be loaded from here. keypoints: a person's. said: lines for people to read.
    images, peopled: numbers of images, and of those with valid people.
    """

    people: int | None
    there: bool
    said: tuple[str, ...]
    keypoints: int = 17
    images: int | None = None
    peopled: int | None = None

    def learned_from(self, bottom_up: bool) -> int | None:
        """How many there are to learn from: people, or for a bottom-up network images with people."""
        return self.peopled if bottom_up else self.people

    def tested(self, bottom_up: bool) -> int | None:
        """How many there are to predict: people, or for a bottom-up network images."""
        return self.images if bottom_up else self.people


def look(source: Source) -> Found:
    """What there is of a source; nothing is downloaded or rendered. Raises SSHPEError for a wrong SSHPE_DATA."""
    if isinstance(source, SyntheticSource):
        return _look_synthetic(source)
    if isinstance(source, CocoSource | AIChallengerSource):
        return _look_coco(source)
    return _look_taught(source)


def roles(experiments: list[Experiment]) -> dict[Source, list[str]]:
    """Every source once, with what it is used for."""
    used: dict[Source, list[str]] = {}
    for experiment in experiments:
        data = experiment.data
        people = {"labelled": data.labeled, "test": data.val}
        if experiment.semi_supervised:
            people["unlabelled"] = data.unlabeled or data.labeled
        if data.extra is not None:
            people["further labelled"] = data.extra
        for role, source in people.items():
            kinds = used.setdefault(source, [])
            if role not in kinds:
                kinds.append(role)
    return used


def look_for_weights(file: Weights) -> str:
    """Whether a published trunk is in the cache, in words."""
    path = paths.cache() / "weights" / file.name
    if path.is_file():
        return f"ImageNet trunk {path}: found"
    return f"ImageNet trunk {path}: not there; a run downloads it from {file.url}"


def _look_synthetic(source: SyntheticSource) -> Found:
    spec = sources.people(source)
    file = paths.drawn() / fingerprint(spec) / "annotations.json"
    fewest, most = source.people
    if fewest != most and not file.is_file():
        said = (f"{source.images:,} synthetic images; the first run draws them",)
        return Found(None, False, said, images=source.images)
    count, peopled = source.images * fewest, source.images
    if fewest != most:
        people = sources.instances(source)
        count, peopled = len(people), len(people.file_names)
    state = "in the cache" if file.is_file() else "the first run draws them"
    said = (f"{count:,} synthetic people in {source.images:,} images; {state}",)
    return Found(count, True, said, images=source.images, peopled=peopled)


def _look_taught(source: Source) -> Found:
    """Another format, such as one of a contributor (CONTRIBUTING.md), which is asked for its people."""
    try:
        people = sources.instances(source)
    except SSHPEError as error:
        return Found(None, False, (f"cannot be used: {error}",))
    images = len(people.file_names)
    said = (f"{people.source}: {len(people):,} people in {images:,} images",)
    return Found(len(people), True, said, len(people.skeleton), images, images)


def _look_coco(source: CocoSource | AIChallengerSource) -> Found:
    expected = EXPECTED.get(Path(source.annotations).name)

    def not_there(*said: str) -> Found:
        said = (*said, *_wanting_boxes(source))
        if expected is None:
            return Found(None, False, said)
        return Found(expected.people, False, said, images=expected.images, peopled=expected.peopled)

    if not _leads_somewhere(source.annotations):
        where = "SSHPE_DATA is not set, so it was not looked for"
        return not_there(*_wanting(source.annotations, source.images, where, expected))
    annotations, images = sources.resolve(source.annotations), sources.resolve(source.images)
    if not annotations.is_file():
        return not_there(*_wanting(str(annotations), str(images), "there is no such file", expected))
    try:
        parsed = coco.parse(annotations, sources.category(source))
        refuse(parsed.faults)
        others, told_of_them = _stand_ins(source, annotations, images)
    except SSHPEError as error:
        return not_there(f"{annotations}: cannot be used: {error}")
    valid = ~np.any(list(coco.exclusions(parsed.people, parsed.images).values()), axis=0)
    rows = np.unique(parsed.people.image_rows[valid])
    counts = int(valid.sum()), len(parsed.images.ids)
    told, whole = _look_images(images, tuple(parsed.images.names[row] for row in rows), expected)
    said = (f"{annotations}: {_compared(counts, expected)}", told, *told_of_them)
    keypoints = len(parsed.skeleton)
    return Found(others or counts[0], whole, said, keypoints, counts[1], len(rows))


def _stand_ins(
    source: CocoSource | AIChallengerSource, annotations: Path, images: Path
) -> tuple[int, tuple[str, ...]]:
    """How many stand for the valid people of a file, and a line on them; nobody where these are used as they are."""
    if isinstance(source, AIChallengerSource):
        count = len(ai_challenger.load_instances(annotations, images, check_images=False))
        return count, (f"{count:,} of these people have an arm or a leg labelled, and are learned from",)
    if source.detections is None:
        return 0, ()
    detections = sources.resolve(source.detections)
    found = coco.load_instances(
        annotations, images, detections=detections, check_images=False, category=source.category
    )
    count = len(found)
    return count, (f"{source.detections}: {count:,} detected boxes",)


def _leads_somewhere(path: str) -> bool:
    """Whether a source's path is one on this machine: a relative one starts at the data folder."""
    return paths.data() is not None or Path(path).is_absolute()


def _wanting(annotations: str, images: str, why: str, expected: Expected | None) -> tuple[str, ...]:
    """What to put where; as paths below the data folder where there is none yet."""
    folder = "" if Path(annotations).is_absolute() else "$SSHPE_DATA/"
    if expected is None:
        return (f"{folder}{annotations}: DATA NOT FOUND: {why}", f"{folder}{images}: its folder of images")
    return (
        f"{folder}{annotations}: DATA NOT FOUND: {why}; expected: {expected.people:,} people in "
        f"{expected.images:,} images",
        f"get {expected.annotations_from} and unpack it in {folder}{Path(annotations).parent.parent}",
        f"get {expected.images_from} and unpack it in {folder}{Path(images).parent}, so that "
        f"{folder}{images} holds {expected.images:,} images",
    )


def _wanting_boxes(source: CocoSource | AIChallengerSource) -> tuple[str, ...]:
    """A line on detected boxes that nobody counted, as the people they are of were not found."""
    if isinstance(source, AIChallengerSource) or source.detections is None:
        return ()
    known = _leads_somewhere(source.detections)
    boxes = sources.resolve(source.detections) if known else f"$SSHPE_DATA/{source.detections}"
    return (
        f"{boxes}: detected boxes, which a run takes instead of the people's own; "
        "not counted, and evaluations cost as much more as these are more",
    )


def _compared(counts: tuple[int, int], expected: Expected | None) -> str:
    """Numbers of people and of images, beside those of the published file."""
    found = f"{counts[0]:,} people in {counts[1]:,} images"
    if expected is None:
        return found
    if counts == (expected.people, expected.images):
        return f"{found}, as expected"
    return (
        f"{found}: NOT AS EXPECTED, which is {expected.people:,} people in {expected.images:,} images; this is "
        f"another file, or a part of it; the published one is in {expected.annotations_from}"
    )


def _look_images(folder: Path, wanted: tuple[str, ...], expected: Expected | None) -> tuple[str, bool]:
    """What a folder of images lacks of those that show valid people, and whether that is nothing."""
    cure = f"; get {expected.images_from} and unpack it in {folder.parent}" if expected else ""
    if not folder.is_dir():
        return f"{folder}: DATA NOT FOUND{cure}", False
    files, size = _measure(folder)
    counted = f"{folder}: {files:,} files, {size / 1e9:,.2f} GB"
    if expected is not None:
        as_expected = files == expected.images
        counted += ", as expected" if as_expected else f" (NOT AS EXPECTED: {expected.images:,} images)"
    missing = coco.missing_images(wanted, folder, folder)
    if missing:
        told = f"{len(missing):,} of {len(wanted):,} images with people ARE MISSING, the first: {missing[0].entry}"
        return f"{counted}; {told}{cure}", False
    return f"{counted}; all {len(wanted):,} images with people are there", True


def _measure(folder: Path) -> tuple[int, int]:
    """Number and bytes of the files directly in a folder."""
    with os.scandir(folder) as entries:
        sizes = [entry.stat().st_size for entry in entries if entry.is_file()]
    return len(sizes), sum(sizes)
