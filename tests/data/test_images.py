"""Reading image files, sound and broken."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sshpe_lib.data import cache
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.images import find_images, held, read_image
from sshpe_lib.errors import SSHPEError
from tests.data.people import valid_document, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, valid_document())
    return tmp_path


def test_read_image_gives_the_stored_pixels_in_either_order(folder):
    path = folder / "deep/a.png"
    image = read_image(path, "people.json, annotation 11", size=(40, 60))
    assert image.shape == (60, 40, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    stored = cv2.imread(str(path))
    assert np.array_equal(read_image(path, "x", color="bgr"), stored)
    assert np.array_equal(image, stored[..., ::-1])
    cv2.imwrite(str(path), stored[..., 0])
    grey = read_image(path, "x")
    assert np.array_equal(grey, np.repeat(stored[..., :1], 3, axis=2))


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(folder):
    path = folder / "b.jpg"
    before = read_image(path, "x")
    path.write_bytes(path.read_bytes() + b"\n\0\0")
    assert np.array_equal(read_image(path, "x"), before)


@pytest.mark.parametrize(("reduction", "shape"), [(1, (49, 65)), (2, (25, 33)), (4, (13, 17)), (8, (7, 9))])
def test_a_jpeg_is_decoded_smaller_and_any_other_image_whole(tmp_path, reduction, shape):
    """The size is that of the file, whatever is decoded of it."""
    pixels = np.zeros((49, 65, 3), np.uint8)
    for suffix, expected in ((".jpg", shape), (".png", (49, 65))):
        path = tmp_path / f"a{suffix}"
        cv2.imwrite(str(path), pixels)
        assert read_image(path, "x", size=(65, 49), reduction=reduction).shape[:2] == expected
        with pytest.raises(SSHPEError, match="the annotation file says 99x49"):
            read_image(path, "x", size=(99, 49), reduction=reduction)


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims to be a white square of so many pixels a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packed = zlib.compress(b"\xff" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000])  # Pillow warns of the one and raises for the other
def test_an_image_that_claims_gigabytes_is_refused_before_it_is_decoded(folder, side, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    (folder / "deep/a.png").write_bytes(bomb(side))
    with pytest.raises(SSHPEError, match=r"a.png: x: the image says it has more than 89,478,485 pixels"):
        read_image(folder / "deep/a.png", "x")


def test_the_limit_of_pixels_does_not_hang_on_the_filter_of_warnings(folder, monkeypatch):
    """There is one filter for all threads: another one that reads an image may set it back at any time."""
    opens = Image.open

    def late(*arguments, **named):
        warnings.simplefilter("ignore")
        return opens(*arguments, **named)

    monkeypatch.setattr(Image, "open", late)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    (folder / "deep/a.png").write_bytes(bomb(10_000))
    with warnings.catch_warnings(), pytest.raises(SSHPEError, match="more than 89,478,485 pixels"):
        read_image(folder / "deep/a.png", "x")


def test_a_kind_of_image_that_only_opencv_knows_is_refused_before_it_is_decoded(folder, monkeypatch):
    path = folder / "b.hdr"
    cv2.imwrite(str(path), np.ones((24, 20, 3), np.float32))
    assert cv2.imread(str(path)).shape == (24, 20, 3)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(SSHPEError, match=r"b.hdr: x: the file is no JPEG, PNG, WEBP, .* image that can be"):
        read_image(path, "x")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".gif", ".tiff", ".ppm"])
def test_every_kind_of_photograph_is_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8))
    assert np.array_equal(read_image(path, "x", "bgr", size=(20, 24)), cv2.imread(str(path)))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("b.jpg", lambda data: b"", "the image file is empty"),
        ("b.jpg", lambda data: data[: len(data) // 2], "the image is truncated"),
        ("b.jpg", lambda data: data[:-2], "the image is truncated"),
        ("b.jpg", lambda data: data[:30], "the image is truncated"),
        ("deep/a.png", lambda data: data[: len(data) // 2], "the image is truncated"),
        ("deep/a.png", lambda data: data[:-4], "the image is truncated"),
        (
            "b.jpg",
            lambda data: b"<html>not found</html>",
            "the file is no JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM image",
        ),
        ("b.jpg", lambda data: None, "does not exist"),
    ],
    ids=["empty", "half a jpeg", "no end", "header only", "half a png", "no checksum", "html", "missing"],
)
def test_a_broken_image_is_named_with_who_asked(name, content, problem, folder):
    path = folder / name
    data = content(path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.raises(SSHPEError) as error:
        read_image(path, "people.json, annotation 12")
    assert str(error.value).startswith(f"{path}: people.json, annotation 12: ")
    assert problem in str(error.value) and "download the file again" in str(error.value)


def test_an_image_of_another_size_or_kind(folder):
    with pytest.raises(SSHPEError, match="the image is 64x48, the annotation file says 48x64; correct it"):
        read_image(folder / "b.jpg", "people.json, annotation 12", size=(48, 64))
    with pytest.raises(SSHPEError, match="cannot be read"):
        read_image(folder / "deep", "people.json, annotation 12")


def progressive(scans: int) -> bytes:
    """A grey JPEG with so many scans, but for one all of nothing: of the lowest bit of one coefficient."""
    ok, data = cv2.imencode(".jpg", np.full((48, 64), 7, np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    data, start = data.tobytes(), data.tobytes().rindex(b"\xff\xda")
    last = data[start:-2]
    assert ok and data.endswith(b"\xff\xd9")
    return data[:-2] + (scans - data.count(b"\xff\xda")) * last + b"\xff\xd9"


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(folder, monkeypatch):
    path = folder / "b.jpg"
    path.write_bytes(progressive(100))
    assert read_image(path, "x", size=(64, 48)).shape == (48, 64, 3)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    path.write_bytes(progressive(5000))
    with pytest.raises(SSHPEError, match=r"b.jpg: x: the image has 5,000 scans, which is refused unread"):
        read_image(path, "x")


def test_what_stands_before_and_after_the_scans_of_a_jpeg_is_none(folder):
    """Metadata, and the film that a phone puts after a photograph, have any bytes."""
    path = folder / "b.jpg"
    before = read_image(path, "x")
    many = 200 * b"\xff\xda\0\x08"
    path.write_bytes(with_segment(path.read_bytes(), b"http://ns.adobe.com/" + many) + many + b"\xff\xd9")
    assert np.array_equal(read_image(path, "x"), before)


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "folder"])
def test_what_is_no_file_is_refused_unread(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        SSHPEError, match=r"x: the image file cannot be read \(it is a folder, a pipe or a dev"
    ):
        read_image(tmp_path / name, "x")


def with_segment(jpeg: bytes, content: bytes) -> bytes:
    """The JPEG with an APP1 segment, where cameras keep their EXIF data, after its start marker."""
    return jpeg[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + jpeg[2:]


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image(folder):
    path = folder / "b.jpg"
    before = read_image(path, "x")
    data = with_segment(path.read_bytes(), b"Exif\0\0" + path.read_bytes())
    path.write_bytes(data)
    assert np.array_equal(read_image(path, "x"), before)
    path.write_bytes(data[:-20])
    with pytest.raises(SSHPEError, match="the image is truncated"):
        read_image(path, "x")


def test_the_orientation_tag_is_obeyed_where_asked(folder):
    path = folder / "b.jpg"
    before = read_image(path, "x")
    entry = (0x0112).to_bytes(2, "little") + b"\3\0" + b"\1\0\0\0" + b"\6\0\0\0"
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0" + entry + b"\0\0\0\0"
    path.write_bytes(with_segment(path.read_bytes(), exif))
    assert cv2.imread(str(path)).shape == (64, 48, 3)  # OpenCV's own habit: turned
    assert np.array_equal(read_image(path, "x"), before)
    told = (
        "is 64x48, the annotation file says 48x64, its size once its orientation tag .*mogrify -auto-orient"
    )
    with pytest.raises(SSHPEError, match=told):
        read_image(path, "x", size=(48, 64))
    with pytest.raises(SSHPEError, match="is 64x48, the annotation file says 48x65; correct it"):
        read_image(path, "x", size=(48, 65))
    with pytest.raises(SSHPEError, match="its orientation tag"):
        read_image(path, "x", size=(48, 64), reduction=2)
    turned = read_image(path, "x", size=(48, 64), upright=True)
    assert np.array_equal(turned, np.rot90(before, -1))
    assert np.array_equal(ImageCache(upright=True).read(path, "x", (48, 64)), turned)
    assert read_image(path, "x", size=(48, 64), reduction=2, upright=True).shape == (32, 24, 3)


# What is stored -> what is seen, by the number of the orientation tag.
UPRIGHT = {
    None: lambda stored: stored,
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}


def tiff(pixels: np.ndarray, order: str, big: bool, tags: dict[int, int]) -> bytes:
    """An uncompressed TIFF of (H, W, C) uint8 with further tags of one 16-bit number, in either order of bytes."""
    height, width, channels = pixels.shape
    start = 16 if big else 8
    known = {
        256: width, 257: height, 258: 8, 259: 1, 262: 2 if channels > 2 else 1, 273: start, 277: channels, 278: height,
        279: pixels.size,
    }  # fmt: skip
    head = (b"II" if order == "<" else b"MM") + (
        struct.pack(order + "HHHQ", 43, 8, 0, start + pixels.size)
        if big
        else struct.pack(order + "HI", 42, start + pixels.size)
    )
    entries = b"".join(
        struct.pack(order + ("HHQH6x" if big else "HHIH2x"), tag, 3, 1, value)
        for tag, value in sorted((known | tags).items())
    )
    return (
        head
        + pixels.tobytes()
        + struct.pack(order + ("Q" if big else "H"), len(known | tags))
        + entries
        + bytes(8)
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("alpha", [None, 0, 1, 2], ids=["no alpha", "unknown", "multiplied", "alpha"])
def test_a_tiff_is_read_as_stored_or_upright_and_without_alpha(tmp_path, order, orientation, alpha):
    draw = np.random.default_rng(0)
    pixels, path = draw.integers(0, 255, (24, 20, 3), np.uint8), tmp_path / "a.tiff"
    tags = {} if orientation is None else {274: orientation}
    stored = pixels
    if alpha is not None:
        stored, tags[338] = np.dstack([pixels, draw.integers(0, 255, (24, 20), np.uint8)]), alpha
    path.write_bytes(tiff(stored, order, False, tags))
    assert np.array_equal(read_image(path, "x", size=(20, 24)), pixels)
    assert np.array_equal(read_image(path, "x", upright=True), UPRIGHT[orientation](pixels))


@pytest.mark.parametrize("tags", [{}, {274: 6}, {338: 2}])
def test_a_tiff_of_wide_offsets_is_read_as_stored(tmp_path, tags):
    stored, path = (
        np.random.default_rng(0).integers(0, 255, (24, 20, 3 + (338 in tags)), np.uint8),
        tmp_path / "a.tiff",
    )
    path.write_bytes(tiff(stored, "<", True, tags))
    assert np.array_equal(read_image(path, "x"), stored[..., :3])


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_a_turned_tiff_of_every_kind_has_the_pixels_of_the_one_that_is_not(tmp_path, mode, compression):
    drawn = np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8)
    image = Image.fromarray(drawn)
    image = Image.fromarray(drawn[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    read = []
    for orientation in (1, 3, 6):
        exif = Image.Exif()
        exif[274] = orientation
        image.save(tmp_path / "a.tiff", compression=compression, exif=exif)
        read.append(read_image(tmp_path / "a.tiff", "x"))
    assert np.array_equal(read[0], read[1]) and np.array_equal(read[0], read[2])
    if mode not in ("RGBA", "LA"):
        image.save(tmp_path / "a.tiff", compression=compression)
        assert np.array_equal(read[0], cv2.imread(str(tmp_path / "a.tiff"), cv2.IMREAD_COLOR_RGB))


def test_a_tiff_that_is_cut_short_is_told(tmp_path):
    whole = tiff(np.zeros((4, 4, 3), np.uint8), "<", False, {274: 6})
    path = tmp_path / "a.tiff"
    for kept in range(4, len(whole) - 20):
        path.write_bytes(whole[:kept])
        with (
            warnings.catch_warnings(action="ignore"),
            pytest.raises(SSHPEError, match="a.tiff: x: the file is no"),
        ):
            read_image(path, "x")


@pytest.mark.parametrize(("lacking", "decoded"), [(0, "abcdc"), (1, "abcdbc")])
def test_images_are_kept_until_the_memory_is_full(tmp_path, monkeypatch, lacking, decoded):
    read = []
    monkeypatch.setattr(cache, "read_image", lambda *given: read.append(given[0].stem) or read_image(*given))
    for name in "abcd":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    images = ImageCache(limit=2 * 8 * 8 * 3 - lacking)
    for name in "abcdabc":
        images.read(tmp_path / f"{name}.png", "x")
    assert "".join(read) == decoded


@pytest.mark.parametrize(
    ("annotations", "place", "found"),
    [
        ("x_train.json", "images/train", True),
        ("x_train.json", "train", True),
        ("x_train.json", "images", True),
        ("x_train.json", ".", True),
        ("x_train.json", "images/val", False),
        ("annotations/x_train.json", "annotations/images", True),
        ("annotations/x_train.json", "images/train", True),
        ("annotations/x_train.json", "train", True),
        ("labels/x_train.json", "images/train", False),
        ("labels/x_train.json", ".", False),
    ],
)
def test_images_are_looked_for_beside_their_file_and_nowhere_else(tmp_path, annotations, place, found):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "b.jpg").touch()
    assert find_images(tmp_path / annotations, ["a.jpg", "b.jpg"]) == (tmp_path / place if found else None)


def test_the_folder_of_the_split_comes_before_what_holds_all(tmp_path):
    for place in (".", "images", "train", "images/train"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "a.jpg").touch()
    assert find_images(tmp_path / "x_train.json", ["a.jpg"]) == tmp_path / "images/train"


def test_what_is_held_is_a_file_and_each_folder_is_listed_once(tmp_path, monkeypatch):
    (tmp_path / "deep/er/folder.jpg").mkdir(parents=True)
    for name in ("a.jpg", "deep/er/b.jpg", "deep/c.jpg"):
        (tmp_path / name).touch()
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(Path(folder)) or scandir(folder))
    names = ["a.jpg", "deep/er/b.jpg", "deep/c.jpg", "deep/er/folder.jpg", "b.jpg", "nowhere/a.jpg"]
    assert list(held(tmp_path, names)) == [True, True, True, False, False, False]
    assert len(listed) == len(set(listed)) == 4


@pytest.mark.parametrize("target", ["odd.jpg", "a.jpg/b.jpg", "x" * 300, "nowhere"])
def test_one_odd_link_hides_no_other_image(tmp_path, target):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "odd.jpg").symlink_to(target)
    (tmp_path / "sound.jpg").symlink_to("a.jpg")
    assert list(held(tmp_path, ["a.jpg", "odd.jpg", "sound.jpg"])) == [True, False, True]
