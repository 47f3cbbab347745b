"""A record: what one experiment measured, and where, when and by which code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from sshpe_lib.config import Experiment, Frozen
from sshpe_lib.errors import SSHPEError, in_one_line
from sshpe_lib.writing import written_whole

MAX_BYTES = 20_000
MAX_POINTS = 100
MULTI_SCALE = "-ms"  # ends the names of metrics that were measured at several scales

Percent = Annotated[float, Field(strict=True, ge=0, le=100)]  # strict: no text, and true is not 1


class Point(Frozen):
    """One evaluation on the way: AP in percent, mean training losses since the last one."""

    step: int
    loss: float
    supervised: float
    consistency: float | None = None
    student_ap: float
    teacher_ap: float | None = None


class Example(Frozen):
    """One test person as the evaluated network sees it: (x, y, score) in image pixels, K rows."""

    image_id: int
    annotation_id: int
    keypoints: tuple[tuple[float, float, float], ...]


class SceneExample(Frozen):
    """One test image as the evaluated bottom-up network sees it: the people it finds there, surest first.

    people: for each K rows (x, y, height) in image pixels, all 0 for a joint that was not found; scores: theirs.
    """

    image_id: int
    people: tuple[tuple[tuple[float, float, float], ...], ...]
    scores: tuple[float, ...]


class Provenance(Frozen):
    """What ran, on what, at which commit. None of this decides the key.

    checkpoint_sha256: of the state of the network that tables quote (`experiment.state_sha256`); the hash of the file
    checkpoint.pt, which holds more, is another. precision: what the run had, float32 where a processor without
    bfloat16 was asked for that. Of a run that was interrupted, started is the first part's, dirty tells of any, and
    what else runs differ in is the last one's. earlier: the fields that parts before had otherwise, by name, of each
    part that was another.
    """

    commit: str
    dirty: bool
    versions: dict[str, str]
    device: str
    threads: int
    world_size: int
    seconds: float
    started: str
    checkpoint_sha256: str
    data: dict[str, str | int]
    command: str
    precision: str | None = None  # None in records from before it was noted: the experiment's
    instructions: str | None = None  # of a CPU, such as AVX2: they decide the last bits
    # Not written where it is empty, so that a record of one part has the bytes that it always had.
    earlier: tuple[dict[str, Any], ...] = Field((), exclude_if=lambda earlier: not earlier)


class Record(Frozen):
    """The result of one experiment. Metrics are percent; `headline` names the network that tables quote.

    examples: the first test people; hard_cases: those with most occluded joints, where visibility is measured;
    scenes: of a bottom-up network, the first test images.
    """

    key: str
    experiment: Experiment
    headline: str
    metrics: dict[str, dict[str, Percent]]
    curve: tuple[Point, ...]
    examples: tuple[Example, ...] = ()
    hard_cases: tuple[Example, ...] = ()
    scenes: tuple[SceneExample, ...] = ()
    provenance: Provenance

    @model_validator(mode="after")
    def _measured(self) -> Record:
        if self.headline not in self.metrics:
            raise ValueError(f"metrics: there are none of the headline's network, {self.headline!r}")
        for name, measured in self.metrics.items():
            if "AP" not in measured:
                raise ValueError(f"metrics: there is no AP of {name!r}")
        return self

    @property
    def precision(self) -> str:
        """What the run had: the experiment's, but for a processor without bfloat16."""
        return self.provenance.precision or self.experiment.train.precision

    @property
    def ap(self) -> float:
        return self.metrics[self.headline]["AP"]


def path_of(folder: Path, key: str) -> Path:
    """Where the record of `key` lies in `folder`."""
    return folder / f"{key}.json"


def find(folder: Path, key: str) -> Record | None:
    """The record of `key`, or None. Raises SSHPEError on a file that is no record or belongs to another key."""
    return stored(folder, key) if path_of(folder, key).exists() else None


def stored(folder: Path, key: str) -> Record:
    """The record of `key`, which is there. Raises SSHPEError as `find`."""
    path = path_of(folder, key)
    record = read(path)
    if record.key != key or record.experiment.key() != key:
        raise SSHPEError(
            f"{path}: the record inside has key {record.key} and its experiment hashes to "
            f"{record.experiment.key()}; it was edited or renamed: delete it and run the experiment again"
        )
    return record


def only(folder: Path, key: str) -> Record:
    """The one record in `folder` whose key starts with `key`. Raises SSHPEError where there is none or several."""
    keys = [path.stem for path in sorted(folder.glob("*.json")) if path.stem.startswith(key)]
    if not keys:
        raise SSHPEError(
            f"{folder}: no record's key starts with {key!r}; a record's file is named by its key"
        )
    if len(keys) > 1:
        some = ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")
        raise SSHPEError(
            f"{folder}: {key!r} begins the keys of {len(keys)} records ({some}); give more of the key"
        )
    return stored(folder, keys[0])


def read(path: Path) -> Record:
    """The record in a file, parsed once for each state of it. Raises SSHPEError where it is not one."""
    try:
        status = path.stat()
        return _parse(path, status.st_size, status.st_mtime_ns)
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise SSHPEError(
            f"{path}: not a readable record ({in_one_line(error)}); it is of another version, or no record: update "
            "sshpe, move it out of the folder, or run the experiment again"
        ) from None


@lru_cache(maxsize=4096)
def _parse(path: Path, size: int, mtime_ns: int) -> Record:
    return Record.model_validate_json(path.read_text())


def read_all(folder: Path) -> list[Record]:
    """Every record in a folder, ordered by key; the empty list where the folder does not exist."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def write(folder: Path, record: Record) -> Path:
    """Write a record, as far as it is `fitting`, whole or not at all. Raises SSHPEError as that and `written_whole`."""
    record = fitting(record)
    text = json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    if len(text) > MAX_BYTES:
        text = _compact(record) + "\n"
    path = path_of(folder, record.key)
    with written_whole(path) as partial:
        partial.write_text(text)
    return path


def fitting(record: Record) -> Record:
    """The record with as many points of its curve as MAX_BYTES and MAX_POINTS leave room for, the ends kept.

    Raises SSHPEError where the rest alone is too large.
    """
    for most in range(MAX_POINTS, 1, -1):
        fits = record.model_copy(update={"curve": thin(record.curve, most)})
        if len(_compact(fits)) <= MAX_BYTES:
            return fits
    raise SSHPEError(
        f"record {record.key} has {len(_compact(fits)):,} bytes with {most} points of its curve, and the limit is "
        f"{MAX_BYTES:,}; let the experiment measure less in `evaluate`"
    )


def _compact(record: Record) -> str:
    return json.dumps(record.model_dump(mode="json"), separators=(",", ":"))


def thin(points: Sequence[Point], most: int = MAX_POINTS) -> tuple[Point, ...]:
    """At most so many points of a curve (2 or more), evenly spaced, the first and last kept."""
    if len(points) <= most:
        return tuple(points)
    last = len(points) - 1
    return tuple(points[round(i * last / (most - 1))] for i in range(most))
