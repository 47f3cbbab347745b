"""Packed images: the pixels of the files, made once, anew where a file changes, never half of one."""

import errno
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock, Timeout

from sshpe_lib.data import packed
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.images import read_image
from sshpe_lib.data.packed import pack
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.errors import SSHPEError
from tests import toy


@pytest.fixture
def people(tmp_path, monkeypatch):
    monkeypatch.setenv("SSHPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packed, "AT_A_TIME", 2)
    return toy.instances(tmp_path, 5)


@pytest.fixture
def decoded(monkeypatch):
    """The files that packing decodes, in order."""
    calls = []

    def read(path, *rest):
        calls.append(Path(path).name)
        return read_image(path, *rest)

    monkeypatch.setattr(packed, "read_image", read)
    return calls


def assert_whole(found, people):
    for path in people.pictures.paths():
        np.testing.assert_array_equal(found.get(path), read_image(path, "the test"))


def test_packed_images_are_those_of_the_files_and_are_decoded_once(people, decoded):
    assert_whole(pack(people.pictures, show=False), people)
    assert sorted(decoded) == sorted(people.file_names)
    decoded.clear()
    again = pack(people.pictures, show=False)
    assert_whole(again, people)
    assert not decoded
    assert again.get(Path("elsewhere.png")) is None
    with pytest.raises(ValueError, match="read-only"):
        again.get(people.path(0))[0, 0] = 0


def test_crops_of_packed_images_have_the_same_bits(people):
    plain = Crops(people, (48, 64), weak=WeakAffine(), seed=1)
    cache = ImageCache(packs=[pack(people.pictures, show=False)])
    quick = Crops(people, (48, 64), weak=WeakAffine(), seed=1, cache=cache)
    for ours, theirs in zip(plain.batch(range(5)), quick.batch(range(5)), strict=True):
        assert ours.equal(theirs)
    assert cache.bytes == 0


def test_an_image_that_is_asked_for_smaller_is_read_from_its_file(people, tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((48, 64, 3), np.uint8))
    pictures = replace(people.pictures, names=("a.jpg",), sizes=np.array([[64, 48]]))
    cache = ImageCache(packs=[pack(pictures, show=False)])
    assert cache.read(tmp_path / "a.jpg", "the test", reduction=2).shape == (24, 32, 3)
    assert cache.read(tmp_path / "a.jpg", "the test").shape == (48, 64, 3)


def interrupted(people, monkeypatch, at):
    """Pack until this image, and no further."""

    def stopped(path, *rest):
        if path == people.path(at):
            raise KeyboardInterrupt
        return read_image(path, *rest)

    with monkeypatch.context() as short, pytest.raises(KeyboardInterrupt):
        short.setattr(packed, "read_image", stopped)
        pack(people.pictures, show=False)


def test_an_interrupted_packing_goes_on_where_it_was(people, decoded, monkeypatch):
    interrupted(people, monkeypatch, at=3)
    assert_whole(pack(people.pictures, show=False), people)
    assert sorted(decoded) == sorted(people.file_names[2:])  # the first two were noted


def test_a_broken_image_is_named_and_packed_when_it_is_whole(people):
    broken = people.path(3)
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SSHPEError, match=f"{broken.name}.*truncated"):
        pack(people.pictures, show=False)
    broken.write_bytes(whole)
    assert_whole(pack(people.pictures, show=False), people)


def test_a_changed_file_is_packed_anew_and_what_is_open_stays(people):
    before = {path: read_image(path, "the test") for path in people.pictures.paths()}
    open_one = pack(people.pictures, show=False)
    changed = people.path(2)
    assert open_one.get(changed) is not None  # mapped from here on
    cv2.imwrite(str(changed), 255 - before[changed])
    assert_whole(pack(people.pictures, show=False), people)
    for path, pixels in before.items():
        np.testing.assert_array_equal(open_one.get(path), pixels)


def test_a_file_that_grew_within_the_clocks_tick_is_packed_anew(people):
    pack(people.pictures, show=False)
    changed, other = people.path(2), people.path(3)
    time = changed.stat().st_mtime_ns
    changed.write_bytes(other.read_bytes().ljust(changed.stat().st_size + 1, b"\0"))
    os.utime(changed, ns=(time, time))
    assert_whole(pack(people.pictures, show=False), people)


def test_each_order_of_channels_is_packed_by_itself(people):
    for color in ("rgb", "bgr"):
        found = pack(people.pictures, color, show=False)
        for path in people.pictures.paths():
            np.testing.assert_array_equal(found.get(path), read_image(path, "the test", color))


def test_the_same_files_in_another_order_are_packed_anew(people):
    for path in people.pictures.paths():  # as many bytes, of one time
        path.write_bytes(path.read_bytes().ljust(1 << 15, b"\0"))
        os.utime(path, (0, 0))
    pack(people.pictures, show=False)
    turned = replace(people.pictures, names=people.pictures.names[::-1])
    found = pack(turned, show=False)
    for path in turned.paths():
        np.testing.assert_array_equal(found.get(path), read_image(path, "the test"))


def test_sizes_that_the_files_do_not_have_are_told_though_the_files_are_packed(people):
    pack(people.pictures, show=False)
    with pytest.raises(SSHPEError, match="the annotation file says"):
        pack(replace(people.pictures, sizes=people.pictures.sizes[:, ::-1]), show=False)


def test_folders_with_the_same_names_and_sizes_do_not_share_a_file(people, tmp_path):
    others = toy.instances(tmp_path / "others", 5, seed=1)
    others = replace(others, file_names=people.file_names)
    for mine, other in zip(people.pictures.paths(), sorted(others.image_root.iterdir()), strict=True):
        other = other.rename(others.image_root / mine.name)
        for path in (mine, other):  # as many bytes, of one time
            path.write_bytes(path.read_bytes().ljust(1 << 15, b"\0"))
            os.utime(path, (0, 0))
    one, two = pack(people.pictures, show=False), pack(others.pictures, show=False)
    assert one.file != two.file
    assert_whole(one, people)
    assert_whole(two, others)


def test_a_lost_file_of_pixels_is_made_again(people, decoded):
    pack(people.pictures, show=False).file.unlink()
    assert_whole(pack(people.pictures, show=False), people)
    assert len(decoded) == 10


def test_notes_of_a_lost_file_say_nothing_of_the_next(people, monkeypatch):
    pack(people.pictures, show=False).file.unlink()
    interrupted(people, monkeypatch, at=0)
    assert_whole(pack(people.pictures, show=False), people)


@pytest.mark.parametrize("length", [0, 100, -1, 1])
def test_a_file_of_pixels_of_another_length_is_made_again(people, decoded, length):
    file = pack(people.pictures, show=False).file
    size = file.stat().st_size
    os.truncate(file, length if length in (0, 100) else size + length)
    assert_whole(pack(people.pictures, show=False), people)
    assert len(decoded) == 10 and file.stat().st_size == size


def test_notes_of_another_length_are_not_believed(people, decoded):
    pack(people.pictures, show=False).file.with_suffix(".done").write_bytes(b"\1")
    assert_whole(pack(people.pictures, show=False), people)
    assert len(decoded) == 10


def test_an_image_is_noted_when_its_pixels_are_on_the_disk(people, monkeypatch):
    """A machine may stop at any time; of what it wrote, only what was synced is sure to be there."""
    places, note, on_disk, noted = people.pictures.places(), packed._note, [b""], []

    def sync(descriptor):
        if os.fstat(descriptor).st_size == places[-1]:
            on_disk.append(os.pread(descriptor, places[-1], 0))

    def checked(notes, done):
        for row in np.flatnonzero(done):
            pixels = read_image(people.pictures.paths()[row], "the test").tobytes()
            assert on_disk[-1][places[row] : places[row + 1]] == pixels
        noted.append(done.sum())
        note(notes, done)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(packed, "_note", checked)
    pack(people.pictures, show=False)
    assert noted == [0, 2, 4, 5]


def test_nobody_else_packs_meanwhile(people, monkeypatch):
    asked = []

    def read(path, *rest):
        (lock,) = (Path(os.environ["SSHPE_CACHE"]) / "packed").glob("*.lock")
        with pytest.raises(Timeout):
            FileLock(lock).acquire(timeout=0)
        asked.append(path)
        return read_image(path, *rest)

    monkeypatch.setattr(packed, "read_image", read)
    pack(people.pictures, show=False)
    assert len(asked) == 5


@pytest.mark.parametrize("lacking", [0, 1])
def test_room_is_wanted_for_what_is_not_packed_yet(people, monkeypatch, lacking):
    interrupted(people, monkeypatch, at=3)
    places = people.pictures.places()
    free = int(places[-1] - places[2]) - lacking
    usage = shutil.disk_usage(people.image_root)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    if lacking:
        with pytest.raises(SSHPEError, match="make room"):
            pack(people.pictures, show=False)
    else:
        assert_whole(pack(people.pictures, show=False), people)


def test_a_full_disk_ends_in_one_sentence_before_and_during_the_work(people, monkeypatch):
    usage = shutil.disk_usage(people.image_root)
    with monkeypatch.context() as few:
        few.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
        with pytest.raises(SSHPEError, match="decoded images take .* GB .* are free; make room"):
            pack(people.pictures, show=False)

    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as none:
        none.setattr(packed, "_note", full)
        with pytest.raises(SSHPEError, match="cannot be packed .No space left.*SSHPE_CACHE"):
            pack(people.pictures, show=False)
    assert_whole(pack(people.pictures, show=False), people)


def test_a_missing_image_is_named(people):
    people.path(1).unlink()
    with pytest.raises(SSHPEError, match=f"{people.file_names[1]}.*copy or download"):
        pack(people.pictures, show=False)


def test_a_loader_process_is_sent_the_place_and_not_the_pixels(people):
    found = pack(people.pictures, show=False)
    pixels = found.get(people.path(0)).copy()
    sent = pickle.dumps(found)
    assert len(sent) < 3 * people.image_sizes.prod(axis=1).sum()
    np.testing.assert_array_equal(pickle.loads(sent).get(people.path(0)), pixels)


def test_a_pack_that_is_deleted_in_use_is_read_on_and_told_where_it_is_not_open(people):
    found = pack(people.pictures, show=False)
    pixels, sent = found.get(people.path(1)).copy(), pickle.loads(pickle.dumps(found))
    found.file.unlink()
    np.testing.assert_array_equal(found.get(people.path(1)), pixels)
    with pytest.raises(SSHPEError, match=r"\.pixels: packed images cannot be read .*start again"):
        sent.get(people.path(1))
