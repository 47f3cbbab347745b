"""Which people have labels: the reference's split and a seeded one; which images are held out."""

from __future__ import annotations

import json
from itertools import compress
from pathlib import Path

import numpy as np

from sshpe_lib.data import coco
from sshpe_lib.data.columns import integers
from sshpe_lib.data.documents import read_json
from sshpe_lib.data.faults import bad_input, refuse
from sshpe_lib.data.instances import Instances
from sshpe_lib.seeding import numpy_stream
from sshpe_lib.writing import check_writable, written_whole


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


def hold_out(
    annotations: Path,
    share: float,
    seed: int = 0,
    folder: Path | None = None,
    category: str | int | None = None,
) -> list[tuple[Path, int]]:
    """Part a COCO-format keypoint file by images, drawn at random: one file to train on, one to measure on.

    share: of the images, held out to measure on, entries of one file name together; folder: for the new files, that of
    the old one where left out, so that the images stay beside them; category: the one that is checked, as of
    `coco.load_instances`. Both keep everything the file says of their images; an entry of another category that belongs
    to no image is in neither. Returns the two files, train_of_NAME and val_of_NAME, each with its number of images.
    Raises SSHPEError for anything that `sshpe data check` calls fatal, for a share that leaves a part empty, and where
    the folder takes no files.
    """
    annotations = Path(annotations)
    folder = annotations.parent if folder is None else Path(folder)
    parsed = coco.parse(annotations, category)
    refuse(parsed.faults)
    ids, names = parsed.images.ids, parsed.images.names
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    pictures = np.array([numbers[name] for name in names])  # of each entry; two may be of one file
    held = round(share * len(numbers)) if np.isfinite(share) else 0
    if not 0 < held < len(numbers):
        problem = f"a share of {share:g} of {len(numbers):,} images is {held:,}, which leaves a part empty"
        raise bad_input(annotations, "hold-out", problem, "give a share between 0 and 1, such as 0.2")
    order = numpy_stream("hold-out", seed).permutation(len(numbers))
    whole: dict = read_json(annotations)  # type: ignore[assignment]  # parsed above, but for its outlines
    places, _ = integers([one.get("image_id") for one in whole["annotations"]])
    check_writable(folder)
    written = []
    for part, drawn in (("train", order[held:]), ("val", order[:held])):
        rows = np.isin(pictures, drawn)
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
