"""Annotation files as parsed JSON: read once, told apart by size and time, never half read."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from sshpe_lib.data.faults import bad_input

# A parsed file takes several times its size in memory. One that is asked for twice (an evaluation needs the
# arrays and the document) is small; a training set above this size is parsed, made into arrays and let go.
_KEEP_BELOW = 64 << 20

_AGAIN = "copy or download the file again"


def read_json(path: Path, outlines: bool = False) -> dict | list:
    """A parsed JSON file without its `segmentation` entries; a small one is parsed once and shared.

    outlines: keep those of crowds and of people without a labelled keypoint, which are few.
    Raises SSHPEError if it is missing, unreadable, cut short or not JSON.
    """
    version = _version(path)
    parse = _parse if version[1] < _KEEP_BELOW else _parse.__wrapped__
    return parse(*version, outlines)


def fingerprint(annotations: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal; hashed again only when its size or time has changed.

    Raises SSHPEError if the file cannot be opened.
    """
    return _sha256(*_version(Path(annotations)))


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


def _version(path: Path) -> tuple[str, int, int]:
    """What tells one state of a file from another: its path, size in bytes and time of change."""
    if path.is_dir():
        raise bad_input(path, "the file", "it is a folder", "name the annotation file inside it")
    try:
        status = path.stat()
    except OSError as error:
        cure = "correct the path; a relative one starts at the data folder (SSHPE_DATA)"
        raise bad_input(path, "the file", f"it cannot be opened ({error.strerror})", cure) from None
    return str(path), status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_outline(entry: dict) -> dict:
    entry.pop("segmentation", None)
    return entry


def _without_outline_of_labelled(entry: dict) -> dict:
    keypoints = entry.get("keypoints")
    labelled = isinstance(keypoints, list) and any(v not in (0, None) for v in keypoints[2::3])
    return _without_outline(entry) if labelled and not entry.get("iscrowd") else entry


@lru_cache(maxsize=2)
def _parse(path: str, size: int, mtime_ns: int, outlines: bool) -> dict | list:
    hook = _without_outline_of_labelled if outlines else _without_outline
    try:
        with collector_paused():
            return json.loads(Path(path).read_bytes(), object_hook=hook)
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
