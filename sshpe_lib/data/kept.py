"""People of a large annotation file as arrays in the cache, so that it is parsed and checked once only."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from sshpe_lib import paths
from sshpe_lib.data.documents import fingerprint, version_of
from sshpe_lib.data.instances import Instances
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import Skeleton
from sshpe_lib.writing import written_whole

FORMAT = 4  # to be raised where `load_instances` makes other people of the same file
LARGE = 16 << 20  # bytes; below it, reading the file anew takes a fraction of a second
_ARRAYS = (
    "image_sizes", "image_index", "image_ids", "annotation_ids", "keypoints", "boxes", "areas", "box_scores",
)  # fmt: skip

_log = logging.getLogger(__name__)


def recall(annotations: Path, image_root: Path, category: str | int | None) -> Instances | None:
    """The people that `keep` put aside for a file of these very bytes; None where there are none.

    What cannot be read is as good as nothing: it is made anew.
    """
    place = _place(annotations, category)
    if place is None or not place.is_file():
        return None
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            texts = json.loads(stored["texts"].tobytes())
            skeleton = TypeAdapter(Skeleton).validate_python(texts["skeleton"])
            arrays = {name: stored[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("%s cannot be read (%s) and is made anew", place, error)
        return None
    return Instances(
        skeleton=skeleton,
        source=annotations,
        image_root=image_root,
        file_names=tuple(texts["file_names"]),
        **arrays,
    )


def keep(instances: Instances, annotations: Path, category: str | int | None) -> None:
    """Put the people of a large file aside, whole or not at all; a cache that cannot be written is reported only."""
    place = _place(annotations, category)
    if place is None:
        return
    texts = json.dumps({"skeleton": asdict(instances.skeleton), "file_names": instances.file_names})
    arrays = {name: getattr(instances, name) for name in _ARRAYS}
    try:
        with written_whole(place) as partial, partial.open("wb") as file:
            np.savez(file, texts=np.frombuffer(texts.encode(), np.uint8), **arrays)
    except SSHPEError as error:
        _log.warning("%s is not kept in the cache (%s) and will be parsed again", annotations, error)


def _place(annotations: Path, category: str | int | None) -> Path | None:
    """Where the people of a large file lie, None for a small one."""
    if version_of(annotations)[1] < LARGE:
        return None
    asked = hashlib.sha256(repr((FORMAT, fingerprint(annotations), category)).encode()).hexdigest()[:24]
    return paths.cache() / "people" / f"{asked}.npz"
