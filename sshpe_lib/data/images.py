"""Image files: read one, or say in one sentence why it cannot be read."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from sshpe_lib.data.faults import BadInput, bad_input

Color = Literal["rgb", "bgr"]  # the order of the channels

_FLAGS = {"rgb": cv2.IMREAD_COLOR_RGB, "bgr": cv2.IMREAD_COLOR_BGR}
_REDUCED = {1: 0, 2: 16, 4: 32, 8: 64}  # added to one of the above; OpenCV names them with a colour only
# The endings of such files as `read_image` reads, in small letters.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
_KINDS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # as Pillow names them
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
# Of a segment that says how long it is, or of the end.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
# Of a JPEG at most: a photograph has one, a progressive one about ten, and each goes over all pixels.
_SCANS = 100
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
# The first bytes of a TIFF, which say the order of bytes and whether its offsets have four bytes or eight.
_TIFF_STARTS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_ORIENTATION, _EXTRA_SAMPLES = 274, 338  # tags of a TIFF
_AGAIN = "copy or download the file again, or leave it out, with its annotations where it has any"


def read_image(
    path: Path,
    where: str,
    color: Color = "rgb",
    size: tuple[int, int] | None = None,
    reduction: int = 1,
    upright: bool = False,
) -> np.ndarray:
    """One image, (H, W, 3) uint8 in `color` order; a grey image gets three equal channels, alpha is dropped.

    where: who asks (an annotation file and its entry), for the message; size: (width, height) in pixels that
    the annotation states, compared when given; reduction: decode a JPEG at 1/2, 1/4 or 1/8 of its size, rounded up,
    which takes less time (another image is decoded whole); upright: turned as the camera's orientation tag says, where
    otherwise the pixels are as stored, which is what the annotations of COCO refer to.
    Raises SSHPEError for a file that is missing, empty, truncated, not an image, far too large, or not of `size`.
    """
    data = _read(path, where)
    content = data.tobytes()
    if _truncated(content):
        raise bad_input(path, where, f"the image is truncated after {len(data):,} bytes", _AGAIN)
    _refuse_a_bomb(content, path, where)
    if content.startswith(_JPEG_START):
        _refuse_many_scans(content, path, where)
    else:
        reduction = 1
    if content[:4] in _TIFF_STARTS:
        data = np.frombuffer(_tiff_as_stored(content, upright), dtype=np.uint8)
    try:
        turn = 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(data, _FLAGS[color] | _REDUCED[reduction] | turn)
    except cv2.error:  # more pixels than OpenCV's limit
        image = None
    if image is None:
        raise _no_image(content, path, where)
    if size is not None:
        found, stated = image.shape[1::-1], tuple(-(-int(side) // reduction) for side in size)
        if found != stated:
            turned = None if upright else read_image(path, where, reduction=reduction, upright=True)
            by_its_tag = turned is not None and turned.shape[1::-1] == stated
            raise _of_another_size(path, where, found, size, by_its_tag)
    return image


def _of_another_size(
    path: Path, where: str, found: tuple[int, ...], size: tuple[int, int], by_its_tag: bool
) -> BadInput:
    problem = f"the image is {found[0]}x{found[1]}, the annotation file says {size[0]}x{size[1]}"
    cure = "correct it, or name the folder of the images it describes"
    if by_its_tag:
        problem += ", its size once its orientation tag has turned it"
        cure = "pixels are read as stored: turn them and drop the tag, as `mogrify -auto-orient FILE` does"
    return bad_input(path, where, problem, cure)


def _read(path: Path, where: str) -> np.ndarray:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            problem = "the image file cannot be read (it is a folder, a pipe or a device)"
            raise bad_input(path, where, problem, "correct its path")
        data = np.fromfile(path, dtype=np.uint8)
    except FileNotFoundError:
        raise bad_input(path, where, "the image file does not exist", f"correct its path, {_AGAIN}") from None
    except OSError as error:
        problem = f"the image file cannot be read ({error.strerror})"
        raise bad_input(path, where, problem, "correct its path or rights") from None
    if not len(data):
        raise bad_input(path, where, "the image file is empty", _AGAIN)
    return data


def _refuse_a_bomb(data: bytes, path: Path, where: str) -> None:
    """Raises SSHPEError for an image that says it has more pixels than Pillow calls safe, or is of none of the kinds of
    which Pillow and OpenCV read one and the same size: a few bytes can claim gigabytes.
    """
    limit = Image.MAX_IMAGE_PIXELS
    try:
        with Image.open(BytesIO(data), formats=_KINDS) as image:  # reads the header only
            large = limit is not None and image.width * image.height > limit
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        large = True
    except (OSError, ValueError, SyntaxError):
        raise _no_image(data, path, where) from None
    if large:
        problem = f"the image says it has more than {limit:,} pixels, which is refused unread"
        raise bad_input(path, where, problem, "scale it down, and its annotations with it")


def _tiff_as_stored(data: bytes, upright: bool) -> bytes:
    """A TIFF without the two tags for which OpenCV's decoder changes pixels, whatever flags it is given.

    Its orientation becomes that of pixels as they are stored, unless they are to be `upright`; its colours become those
    that alpha has multiplied already, as else the decoder does. What is no sound TIFF is left to the decoder.
    """
    order, big = _TIFF_STARTS[data[:4]]
    # Formats of the offset of the tags, of their number, and of a tag's number, type and count; a tag's length.
    offset, number, entry, length = ("Q", "Q", "HHQ", 20) if big else ("I", "H", "HHI", 12)
    changed = bytearray(data)
    try:
        (place,) = struct.unpack_from(order + offset, data, 8 if big else 4)
        (tags,) = struct.unpack_from(order + number, data, place)
        first = place + struct.calcsize(order + number)
        for start in range(first, min(first + tags * length, len(data)), length):
            (tag,) = struct.unpack_from(order + "H", data, start)
            if tag == _EXTRA_SAMPLES or (tag == _ORIENTATION and not upright):
                struct.pack_into(order + entry + "H", changed, start, tag, 3, 1, 1)  # one 16-bit number, 1
    except struct.error:  # it ends before its tags do
        return data
    return bytes(changed)


def _refuse_many_scans(data: bytes, path: Path, where: str) -> None:
    """Raises SSHPEError for a JPEG that takes minutes to decode: a few bytes can be thousands of scans of nothing."""
    if _pairs(data, _JPEG_SCAN) <= _SCANS:
        return
    scans = _scans(data)
    if scans > _SCANS:
        problem = f"the image has {scans:,} scans, which is refused unread, as more than {_SCANS} take long to decode"
        raise bad_input(path, where, problem, "save it anew, as a baseline JPEG or one of a few scans")


def _pairs(data: bytes, pair: bytes) -> int:
    """How often two bytes stand one after the other, in a seventh of the time of `bytes.count`."""
    halves = (np.frombuffer(data, np.uint16, (len(data) - start) // 2, start) for start in (0, 1))
    return sum(int(np.count_nonzero(half == np.frombuffer(pair, np.uint16))) for half in halves)


def _scans(data: bytes) -> int:
    """How many scans a JPEG has; those of its thumbnails, and of a film that a phone puts after it, do not count."""
    count, place = 0, len(_JPEG_START)
    while (marker := _JPEG_MARKER.search(data, place)) and marker[0] != _JPEG_END:
        count += marker[0] == _JPEG_SCAN
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return count


def _no_image(data: bytes, path: Path, where: str) -> BadInput:
    problem = f"the file is no {', '.join(_KINDS)} image that can be decoded (it starts with {data[:8]!r})"
    return bad_input(path, where, problem, _AGAIN)


def _truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end marker.

    Inside a JPEG scan a 0xFF byte is always followed by a zero or a restart marker, so after a complete main
    image an end marker follows the last scan header; an end marker before it belongs to an EXIF thumbnail.
    """
    if data.startswith(_JPEG_START):
        end = data.rfind(_JPEG_END)
        return end < 0 or _JPEG_SCAN in data[end:]
    if data.startswith(_PNG_START):
        return _PNG_END not in data
    return False


def find_images(annotations: Path, names: Sequence[str]) -> Path | None:
    """The first folder that holds any of the named images, looked for beside their annotation file, or None.

    For x_train.json that is images/train, train, images or the file's own folder; for a file in annotations/ the same
    beside that folder, too.
    """
    split = annotations.stem.rpartition("_")[2]
    bases = [annotations.parent]
    if annotations.parent.name == "annotations":
        bases.append(annotations.parent.parent)
    folders = [base / place for base in bases for place in (f"images/{split}", split, "images", ".")]
    return next((folder for folder in folders if any(held(folder, names))), None)


def held(root: Path, names: Sequence[str]) -> Iterator[bool]:
    """For every name whether it is a file below `root`; each folder is listed once, when the first name in it comes."""
    folders: dict[str, set[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        if folder not in folders:
            folders[folder] = _listing(root / folder)
        yield last in folders[folder]


def _listing(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if _is_file(entry)}
    except (OSError, ValueError):
        # The latter for a name that no file can have, with a zero byte or a lone surrogate.
        return set()


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, through a file, or to a name that is too long
        return False
