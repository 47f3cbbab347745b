"""People of a large annotation file as arrays in the cache, so that it is parsed and checked once only."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from sshpe_lib import paths
from sshpe_lib.data.documents import fingerprint, version_of
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.tables import leads_out
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import Skeleton
from sshpe_lib.writing import written_whole

FORMAT = 5  # to be raised where `load_instances` makes other people of the same file
LARGE = 16 << 20  # bytes; below it, reading the file anew takes a fraction of a second
_ARRAYS = {
    "image_sizes": np.int32, "image_index": np.int64, "image_ids": np.int64, "annotation_ids": np.int64,
    "keypoints": np.float32, "boxes": np.float32, "areas": np.float32, "box_scores": np.float32,
}  # fmt: skip

_log = logging.getLogger(__name__)


def recalled(
    annotations: Path, image_root: Path, category: str | int | None, parsed: Callable[[], Instances]
) -> Instances:
    """The people of a file, of a large one out of the cache; where they are not in it, `parsed` and put aside.

    What cannot be read is as good as nothing, and a cache that cannot be written is reported only. Raises SSHPEError
    where the file cannot be opened, and what `parsed` raises.
    """
    version = version_of(annotations)
    if version[1] < LARGE:
        return parsed()
    # Known before the file is parsed: by then another may be in its place, under whose bytes these people must not lie.
    asked = hashlib.sha256(repr((FORMAT, fingerprint(annotations), category)).encode()).hexdigest()[:24]
    place = paths.cache() / "people" / f"{asked}.npz"
    instances = _recall(place, annotations, image_root)
    if instances is None:
        instances = parsed()
        if version_of(annotations) == version:
            _keep(instances, place, annotations)
    return instances


def _recall(place: Path, annotations: Path, image_root: Path) -> Instances | None:
    try:
        return _read(place, annotations, image_root)
    except FileNotFoundError:
        return None
    except Exception as error:  # NumPy and zipfile raise every kind for a file that was cut or edited
        _log.warning("%s cannot be read (%s: %s) and is made anew", place, type(error).__name__, error)
        return None


def _read(place: Path, annotations: Path, image_root: Path) -> Instances:
    with place.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        texts = json.loads(stored["texts"].tobytes())
        arrays = {name: stored[name] for name in _ARRAYS}
    skeleton = TypeAdapter(Skeleton).validate_python(texts["skeleton"])
    names = TypeAdapter(tuple[str, ...]).validate_python(texts["file_names"])
    people = Instances(
        skeleton=skeleton, source=annotations, image_root=image_root, file_names=names, **arrays
    )
    _check(people)
    return people


def _check(people: Instances) -> None:
    """Raises ValueError where the parts do not fit together, or a name leads out of the folder of images."""
    people.skeleton.check()
    count, images = len(people), len(people.file_names)
    shapes = dict.fromkeys(_ARRAYS, (count,)) | {
        "image_sizes": (images, 2),
        "keypoints": (count, len(people.skeleton), 3),
        "boxes": (count, 4),
    }
    for name, array in ((name, getattr(people, name)) for name in _ARRAYS):
        if array.shape != shapes[name] or array.dtype != _ARRAYS[name]:
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
    if not ((people.image_index >= 0) & (people.image_index < images)).all():
        raise ValueError("image_index is of no image")
    if not (people.image_sizes > 0).all():
        raise ValueError("image_sizes are not above 0")
    if any(not name or leads_out(name) for name in people.file_names):
        raise ValueError("a file name leads out of the folder of images")


def _keep(instances: Instances, place: Path, annotations: Path) -> None:
    """Put people aside, whole or not at all."""
    texts = json.dumps({"skeleton": asdict(instances.skeleton), "file_names": instances.file_names})
    arrays = {name: getattr(instances, name) for name in _ARRAYS}
    try:
        with written_whole(place) as partial, partial.open("wb") as file:
            np.savez(file, texts=np.frombuffer(texts.encode(), np.uint8), **arrays)
    except SSHPEError as error:
        _log.warning("%s is not kept in the cache (%s) and will be parsed again", annotations, error)
