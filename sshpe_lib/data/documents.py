"""Annotation files as parsed JSON: read once, told apart by size and time, never half read."""

from __future__ import annotations

import gc
import hashlib
import json
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from sshpe_lib.data.faults import bad_input

# A parsed file takes several times its size in memory. One that is asked for twice (an evaluation needs the
# arrays and the document) is small; a training set above this size is parsed, made into arrays and let go.
_KEEP_BELOW = 64 << 20

_AGAIN = "copy or download the file again"


# What stands in an entry where a number belongs, but for true and false: NumPy takes these for 1 and 0.
_Value = int | float | str | None
_Row = list[int | float | None] | None
_NUMBERS = ("id", "image_id", "category_id", "keypoints", "bbox", "area", "score", "width", "height")


class _Annotation(TypedDict, total=False):
    """What is read of an annotation; the rest, above all outlines, is most of COCO's files and is skipped unread."""

    id: _Value
    image_id: _Value
    category_id: _Value
    keypoints: _Row
    num_keypoints: Any
    bbox: _Row
    area: _Value
    iscrowd: Any
    ignore: Any


class _Outlined(_Annotation, total=False):
    segmentation: msgspec.Raw


class _Document(TypedDict, total=False):
    info: Any
    licenses: Any
    images: Any
    categories: Any
    annotations: list[_Annotation]


class _Detection(TypedDict, total=False):
    """What is read of an entry of a file that is a list."""

    image_id: _Value
    category_id: _Value
    bbox: _Row
    score: _Value


class _OutlinedDocument(_Document, total=False):
    annotations: list[_Outlined]  # type: ignore[misc]  # an entry with one more key


def read_json(path: Path) -> dict | list:
    """A parsed JSON file. Raises SSHPEError if it is missing, unreadable, cut short or not JSON."""
    return _parse(*version_of(path), None)


def read_annotations(path: Path, outlines: bool = False) -> dict | list:
    """A parsed annotation file or a list of detected boxes, of its entries only what is used.

    Where true or false stands in the place of a number it becomes a text, which is told as a fault. A small file is
    parsed once and shared: do not change it. outlines: keep the `segmentation` of crowds and of people without a
    labelled keypoint, which are few. Raises SSHPEError as `read_json`.
    """
    version = version_of(path)
    parse = _parse_once if version[1] < _KEEP_BELOW else _parse
    return parse(*version, _OutlinedDocument if outlines else _Document)


def fingerprint(annotations: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal; hashed again only when its size or time has changed.

    Raises SSHPEError if the file cannot be opened.
    """
    return _sha256(*version_of(Path(annotations)))


@contextmanager
def collector_paused() -> Iterator[None]:
    """Python's cycle collector stands still while millions of objects are made, which halves the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def version_of(path: Path) -> tuple[str, int, int]:
    """What tells one state of a file from another: its path, size in bytes and time of change."""
    if path.is_dir():
        raise bad_input(path, "the file", "it is a folder", "name the annotation file inside it")
    try:
        status = path.stat()
    except OSError as error:
        cure = "correct the path: one as typed starts at the working folder, one of a profile at SSHPE_DATA"
        raise bad_input(path, "the file", f"it cannot be opened ({error.strerror})", cure) from None
    if not stat.S_ISREG(status.st_mode):
        raise bad_input(path, "the file", "it is a pipe or a device", "name a file")  # its end may never come
    return str(path), status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(path: str, size: int, mtime_ns: int, layout: type | None) -> Any:
    """A file as `layout`, None: as it stands."""
    try:
        data = Path(path).read_bytes()
        with collector_paused():
            if layout is None:
                return json.loads(data)
            return _decode(data, layout)
    except OSError as error:
        raise bad_input(path, "the file", f"it cannot be read ({error.strerror})", _AGAIN) from None
    except UnicodeDecodeError:
        raise bad_input(path, "the file", "it is not text, so not JSON", _AGAIN) from None
    except RecursionError:
        raise bad_input(path, "the file", "its JSON is nested too deeply", _AGAIN) from None
    except json.JSONDecodeError as error:
        cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string")
        what = "is cut short" if cut else "is not JSON"
        problem = f"it {what}: {error.msg.lower()} (it starts with {error.doc[:24]!r})"
        raise bad_input(path, f"line {error.lineno} column {error.colno}", problem, _AGAIN) from None
    except ValueError:  # Python's own limit
        problem = f"it holds a whole number of more than {sys.get_int_max_str_digits():,} digits"
        raise bad_input(path, "the file", problem, "correct the number") from None


_parse_once = lru_cache(maxsize=2)(_parse)


def _decode(data: bytes, layout: type) -> Any:
    """JSON as `layout`; where it is laid out in another way or broken, as it stands, or with json's own error."""
    try:
        document = msgspec.json.decode(data, type=layout | list[_Detection])
        if layout is _OutlinedDocument and isinstance(document, dict):
            for entry in document.get("annotations", ()):
                _keep_rare_outline(entry)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        document = json.loads(data)
        _tell_booleans(document.get("annotations") if isinstance(document, dict) else document)
    if isinstance(document, dict) and _booleans_among(images := document.get("images")):
        _tell_booleans(images)
    return document


def _booleans_among(entries: Any) -> bool:
    """Whether a value of any entry is true or false: a quick look, so that few are looked at one by one."""
    if not isinstance(entries, list):
        return False
    objects = (entry.values() for entry in entries if isinstance(entry, dict))
    return bool in set(map(type, chain.from_iterable(objects)))


def _tell_booleans(entries: Any) -> None:
    """Make texts of true and false that stand where entries have numbers, in place."""
    for entry in entries if isinstance(entries, list) else ():
        for key in _NUMBERS if isinstance(entry, dict) else ():
            value = entry.get(key)
            if isinstance(value, list):
                entry[key] = [_text_of(item) for item in value]
            elif isinstance(value, bool):
                entry[key] = _text_of(value)


def _text_of(value: Any) -> Any:
    """The text of true or false, anything else as it is."""
    return str(value).lower() if isinstance(value, bool) else value


def _keep_rare_outline(entry: dict) -> None:
    """Parse the outline of a crowd or of a person without a labelled keypoint; drop another's, still unparsed."""
    outline = entry.pop("segmentation", None)
    keypoints = entry.get("keypoints")
    labelled = isinstance(keypoints, list) and any(v not in (0, None) for v in keypoints[2::3])
    if outline is not None and (entry.get("iscrowd") or not labelled):
        entry["segmentation"] = msgspec.json.decode(outline)
