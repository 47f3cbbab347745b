"""Files that appear whole or not at all, whatever ends the program or fills the disk."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sshpe_lib.errors import SSHPEError


@contextmanager
def written_whole(path: Path, suffix: str = ".tmp", alone: bool = False) -> Iterator[Path]:
    """The name of a file to write beside `path`, which takes its place when the block ends, and goes on any error.

    suffix: that the name must end in; alone: nobody else writes `path`, so that a file which a killed process left is
    written over and not left for ever. Folders are made as needed, and the file is on the disk before it has its name.
    Raises SSHPEError where the disk is full or the folder refuses; what was at `path` is then still there.
    """
    path = Path(path)
    writer = "" if alone else f"{os.getpid()}-{threading.get_ident()}"
    partial = path.with_name(f".{path.name}.{writer}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def cannot_write(path: Path, error: OSError) -> SSHPEError:
    """The error of a file that the system does not let be written, to be raised."""
    return SSHPEError(
        f"{path}: cannot be written ({error.strerror or error}); make room, or name a folder that can be written to, "
        "and start again: finished work is not lost"
    )


def check_writable(folder: Path) -> None:
    """Make a folder and a file in it that goes again. Raises SSHPEError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise cannot_write(folder, error) from error
