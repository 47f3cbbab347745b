"""Which people have labels: the reference's split, a seeded one, and a split kept in a file."""

from __future__ import annotations

import json
from itertools import compress
from pathlib import Path
from typing import Literal

import numpy as np

from sshpe_lib.data import coco
from sshpe_lib.data.columns import integers
from sshpe_lib.data.documents import fingerprint, read_json
from sshpe_lib.data.faults import bad_input, refuse
from sshpe_lib.data.instances import Instances
from sshpe_lib.seeding import numpy_stream
from sshpe_lib.writing import written_whole

_KEYS = {"source", "fingerprint", "rule", "seed", "count", "annotation_ids"}


def first_instances(instances: Instances, count: int | None) -> np.ndarray:
    """The first `count` people in file order, (count,) int64: the reference implementation's labelled split.

    None takes everybody. The reference cuts by person, so the last image may be cut part-way. Raises SSHPEError for a
    count outside 1..N.
    """
    count = len(instances) if count is None else count
    _check_count(instances, count)
    return np.arange(count)


def random_instances(instances: Instances, count: int, seed: int) -> np.ndarray:
    """`count` people drawn without replacement, (count,) int64 in file order.

    With one seed a smaller split is part of a larger one. Raises SSHPEError for a count outside 1..N.
    """
    _check_count(instances, count)
    order = numpy_stream("labelled split", seed).permutation(len(instances))
    return np.sort(order[:count])


def first_images(instances: Instances, count: int | None) -> np.ndarray:
    """Everybody in the first `count` images that have people, (N,) int64; None takes everybody.

    Raises SSHPEError for a count outside 1..M.
    """
    images = len(instances.file_names)
    count = images if count is None else count
    _check_count(instances, count, images, "images")
    return np.flatnonzero(instances.image_index < count)


def random_images(instances: Instances, count: int, seed: int) -> np.ndarray:
    """Everybody in `count` images drawn without replacement, (N,) int64 in file order.

    With one seed a smaller split is part of a larger one. Raises SSHPEError for a count outside 1..M.
    """
    images = len(instances.file_names)
    _check_count(instances, count, images, "images")
    chosen = numpy_stream("labelled split", seed).permutation(images)[:count]
    return np.flatnonzero(np.isin(instances.image_index, chosen))


def write_split(
    path: Path,
    instances: Instances,
    indices: np.ndarray,
    *,
    rule: Literal["first", "random"],
    seed: int | None = None,
) -> None:
    """Write a split as annotation ids, with the fingerprint of the file they belong to.

    Raises SSHPEError for detections, which have no annotation ids.
    """
    ids = instances.annotation_ids[indices]
    if (ids < 0).any():
        cure = "load the file without `detections` to choose labelled people"
        raise bad_input(instances.source, "labelled split", "detected boxes have no annotation ids", cure)
    split = {
        "source": instances.source.name,
        "fingerprint": fingerprint(instances.source),
        "rule": rule,
        "seed": seed,
        "count": len(ids),
        "annotation_ids": ids.tolist(),
    }
    _write(Path(path), split)


def read_split(path: Path, instances: Instances) -> np.ndarray:
    """The split of a file as indices into `instances`, (count,) int64, in the order it was written.

    Raises SSHPEError if the file is no split, was made from another annotation file, or names people whom
    `instances` lacks.
    """
    path = Path(path)
    split = read_json(path)
    cure = "write it again with `write_split`"
    if not isinstance(split, dict) or not _KEYS <= split.keys():
        raise bad_input(path, "the file", "it is no labelled split", cure)
    if split["fingerprint"] != fingerprint(instances.source):
        problem = f"the split was made from another {split['source']} than {instances.source}"
        raise bad_input(path, "fingerprint", problem, "use the file it was made from, or make a new split")
    ids = split["annotation_ids"]
    whole = isinstance(ids, list) and all(type(number) is int for number in ids)
    if not whole or len(set(ids)) != len(ids) or len(ids) != split["count"]:
        problem = f"it is no list of {split['count']} different annotation ids"
        raise bad_input(path, "annotation_ids", problem, cure)
    place = {number: row for row, number in enumerate(instances.annotation_ids.tolist())}
    unknown = [number for number in ids if number not in place]
    if unknown:
        problem = f"annotation {unknown[0]} is no valid person of {instances.source}"
        raise bad_input(path, "annotation_ids", problem, cure)
    return np.array([place[number] for number in ids], dtype=np.int64)


def hold_out(
    annotations: Path, share: float, seed: int = 0, folder: Path | None = None
) -> list[tuple[Path, int]]:
    """Part a COCO-format keypoint file by images, drawn at random: one file to train on, one to measure on.

    share: of the images, held out to measure on; folder: for the new files, that of the old one where left out, so that
    the images stay beside them. Both keep everything the file says of their images; an entry of another category that
    belongs to no image is in neither. Returns the two files, train_of_NAME and val_of_NAME, each with its number of
    images.
    Raises SSHPEError for anything that `sshpe data check` calls fatal, and for a share that leaves a part empty.
    """
    annotations = Path(annotations)
    folder = annotations.parent if folder is None else Path(folder)
    parsed = coco.parse(annotations)
    refuse(parsed.faults)
    ids = parsed.images.ids
    held = round(share * len(ids)) if np.isfinite(share) else 0
    if not 0 < held < len(ids):
        problem = f"a share of {share:g} of {len(ids):,} images is {held:,}, which leaves a part empty"
        raise bad_input(annotations, "hold-out", problem, "give a share between 0 and 1, such as 0.2")
    order = numpy_stream("hold-out", seed).permutation(len(ids))
    whole: dict = read_json(annotations)  # type: ignore[assignment]  # parsed above, but for its outlines
    places, _ = integers([one.get("image_id") for one in whole["annotations"]])
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for part, rows in (("train", order[held:]), ("val", order[:held])):
        chosen = set(ids[rows].tolist())
        kept = np.isin(places, ids[rows]).tolist()
        document = whole | {
            "images": [image for image in whole["images"] if image["id"] in chosen],
            "annotations": list(compress(whole["annotations"], kept)),
        }
        path = folder / f"{part}_of_{annotations.name}"
        _write(path, document)
        written.append((path, len(chosen)))
    return written


def _write(path: Path, value: dict) -> None:
    """Write JSON whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(value) + "\n")


def _check_count(
    instances: Instances, count: int, there: int | None = None, what: str = "valid people"
) -> None:
    there = len(instances) if there is None else there
    if not 1 <= count <= there:
        problem = f"{count:,} labels are wanted of {there:,} {what}"
        raise bad_input(instances.source, "labelled split", problem, f"ask for 1 to {there:,}")
