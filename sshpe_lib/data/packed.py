"""Decoded images in one file that all processes map: decoded once, whatever the runs, the epochs and the loaders."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from sshpe_lib import paths, progress
from sshpe_lib.data.faults import bad_input
from sshpe_lib.data.images import Color, read_image
from sshpe_lib.errors import SSHPEError
from sshpe_lib.writing import written_whole

AT_A_TIME = 64  # images between two notes of what is done: what an interrupted packing loses at most


@dataclass(frozen=True)
class Pictures:
    """M images of an annotation file: what can be packed.

    source: the annotation file; root: the folder that `names` start from; sizes: (M, 2) width and height, pixels.
    """

    source: Path
    root: Path
    names: tuple[str, ...]
    sizes: np.ndarray

    def paths(self) -> list[Path]:
        return [self.root / name for name in self.names]

    def places(self) -> np.ndarray:
        """Where each image begins in the file of pixels, and where the last one ends; (M + 1,) bytes."""
        return np.concatenate([[0], np.cumsum(3 * self.sizes.astype(np.int64).prod(axis=1))])

    def digest(self, color: str) -> str:
        """What tells these images, as their files are now, from all others. Raises SSHPEError as `states`."""
        value = [color, str(self.root.resolve()), self.names, self.sizes.tolist(), self.states().tolist()]
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]

    def states(self) -> np.ndarray:
        """Bytes and time of change of every image file, (M, 2). Raises SSHPEError for one that is missing."""
        found = np.empty((len(self.names), 2), np.int64)
        for row, path in enumerate(self.paths()):
            try:
                status = path.stat()
            except OSError as error:
                cure = "copy or download the file again"
                where = f"{self.source}, image {self.names[row]!r}"
                raise bad_input(path, where, f"it cannot be read ({error.strerror})", cure) from None
            found[row] = status.st_size, status.st_mtime_ns
        return found


class PackedImages:
    """The pixels of `pictures`, read-only, in a file as `pack` leaves it; a process that gets it maps it itself."""

    def __init__(self, pictures: Pictures, file: Path):
        self.file, self.sizes, self.starts = file, pictures.sizes, pictures.places()
        self._rows = {path: row for row, path in enumerate(pictures.paths())}
        self._pixels: np.ndarray | None = None

    def __contains__(self, path: Path) -> bool:
        return path in self._rows

    def get(self, path: Path) -> np.ndarray | None:
        """An image, (H, W, 3) uint8, without a copy; None for one that is not here."""
        row = self._rows.get(path)
        if row is None:
            return None
        pixels = self.map() if self._pixels is None else self._pixels
        width, height = self.sizes[row].tolist()
        return pixels[self.starts[row] : self.starts[row + 1]].reshape(height, width, 3)

    def map(self) -> np.ndarray:
        """The file's bytes, which processes that are forked from this one have too, even where it is deleted.

        Raises SSHPEError where it is no longer there.
        """
        try:
            self._pixels = np.asarray(np.memmap(self.file, mode="r"))
        except (OSError, ValueError) as error:
            raise SSHPEError(
                f"{self.file}: packed images cannot be read ({error}); leave a pack that a run uses, and start again, "
                "which packs them again"
            ) from error
        return self._pixels

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pixels": None}


def pack(pictures: Pictures, color: Color = "rgb", show: bool = True) -> PackedImages:
    """Decode what is not yet packed of `pictures`, and return all of them; below SSHPE_CACHE, in packed/.

    Where an image file has another size or time, the images are packed anew, into another file: what a run has mapped
    never changes. Interrupted work goes on where it was; two processes that ask for the same images pack them once.
    Raises SSHPEError for a missing or broken image, and where the disk has not enough room.
    """
    folder = paths.cache() / "packed"
    file, notes = (folder / f"{pictures.digest(color)}.{kind}" for kind in ("pixels", "done"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            _fill(pictures, color, file, notes, show)
    except OSError as error:
        raise SSHPEError(
            f"{folder}: images cannot be packed ({error.strerror or error}); what is packed stays; make room there, "
            "name another folder by SSHPE_CACHE, or train without packing"
        ) from error
    made = PackedImages(pictures, file)
    made.map()
    return made


def _fill(pictures: Pictures, color: Color, file: Path, notes: Path, show: bool) -> None:
    places, done = pictures.places(), np.zeros(len(pictures.names), bool)
    if file.is_file() and file.stat().st_size == places[-1]:  # its length from the first note on
        done = _noted(notes, done)
    rows = np.flatnonzero(~done)
    if not len(rows):
        return
    _check_room(int((places[rows + 1] - places[rows]).sum()), file.parent)
    with (
        file.open("r+b" if file.is_file() else "w+b") as pixels,
        progress.bar(len(done), f"pack {pictures.source.name}", start=len(done) - len(rows), unit="image",
                     show=show) as bar,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):  # fmt: skip
        _note(notes, done)  # those of a lost file say of this one what is not yet true
        pixels.truncate(places[-1])
        for some in np.array_split(rows, -(-len(rows) // AT_A_TIME)):
            for row, image in zip(
                some, threads.map(lambda row: _read(pictures, row, color), some), strict=True
            ):
                pixels.seek(places[row])
                pixels.write(image)
            pixels.flush()
            os.fsync(pixels.fileno())
            done[some] = True
            _note(notes, done)
            bar.update(len(some))


def _read(pictures: Pictures, row: int, color: Color) -> memoryview:
    where = f"{pictures.source}, image {pictures.names[row]!r}"
    width, height = pictures.sizes[row].tolist()
    image = read_image(pictures.root / pictures.names[row], where, color, (width, height))
    return np.ascontiguousarray(image).data


def _noted(notes: Path, nothing: np.ndarray) -> np.ndarray:
    """Which images are packed, (M,) bool; nothing where the notes are lost or of another number of images."""
    if not notes.is_file() or notes.stat().st_size != nothing.nbytes:
        return nothing
    return np.fromfile(notes, np.uint8) == 1


def _note(notes: Path, done: np.ndarray) -> None:
    """Write down which images are packed, whole or not at all."""
    with written_whole(notes, alone=True) as partial:
        partial.write_bytes(done.tobytes())  # `tofile` says nothing of a full disk


def _check_room(wanted: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise SSHPEError(
            f"{folder}: the decoded images take {wanted / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free; make room, "
            "name another folder by SSHPE_CACHE, or train without packing"
        )
