"""Files that appear whole or not at all, whatever ends the program or fills the disk."""

from __future__ import annotations

import glob
import os
import platform
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sshpe_lib.errors import SSHPEError

if TYPE_CHECKING:
    import numpy as np

MINUTE, DAY = 60.0, 86_400.0  # seconds


@contextmanager
def written_whole(path: Path, suffix: str = ".tmp", alone: bool = False) -> Iterator[Path]:
    """The name of a file to write beside `path`, which takes its place when the block ends, and goes on any error.

    suffix: that the name must end in; alone: nobody else writes `path`, so that a file which a killed process left is
    written over. Otherwise each writer has a name of its own, and what killed ones left goes when the next one starts.
    Folders are made as needed, and the file is on the disk before it has its name.
    Raises SSHPEError where the disk is full or the folder refuses; what was at `path` is then still there.
    """
    path = Path(path)
    writer = "" if alone else f"{platform.node()}-{os.getpid()}-{threading.get_ident()}"
    partial = path.with_name(f".{path.name}.{writer}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not alone:
            _sweep(path, suffix)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _sweep(path: Path, suffix: str) -> None:
    """Remove what killed processes left of `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{glob.escape(suffix)}"):
        writer = left.name.removeprefix(f".{path.name}.").removesuffix(suffix)
        made = re.fullmatch(r"(.+)-(\d{1,9})-\d+", writer)
        with suppress(OSError):
            if made and _is_stale(left, made[1], int(made[2])):
                left.unlink()


def _is_stale(left: Path, machine: str, process: int) -> bool:
    """Whether nobody writes a file any more.

    Other machines may share the folder, and so may containers that have this one's name and other processes: a file
    counts as left only after a minute, or a day where its process cannot be looked for.
    """
    age = time.time() - left.stat().st_mtime
    return age > (MINUTE if machine == platform.node() and not _runs(process) else DAY)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def cannot_write(path: Path, error: OSError) -> SSHPEError:
    """The error of a file that the system does not let be written, to be raised."""
    return SSHPEError(
        f"{path}: cannot be written ({error.strerror or error}); make room, or name a folder that can be written to, "
        "and start again: finished work is not lost"
    )


def write_picture(path: Path, image: np.ndarray, *settings: int) -> None:
    """Write an image, (H, W, 3) uint8 RGB, in the format that its name says; settings: of OpenCV, for that format.

    Raises OSError where the disk is full, of which OpenCV's own writing does not always tell.
    """
    import cv2  # not for those who only write words

    path.write_bytes(cv2.imencode(path.suffix, image[..., ::-1], settings)[1].tobytes())


def check_writable(folder: Path) -> None:
    """Make a folder and a file in it that goes again. Raises SSHPEError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise cannot_write(folder, error) from error
