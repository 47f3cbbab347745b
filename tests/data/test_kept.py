"""People of large files kept as arrays: the same people, of the same bytes, or made anew."""

import errno
import gc
import json
import logging
import os
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.data import coco, documents, kept


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("SSHPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "LARGE", 0)
    path = tmp_path / "people.json"
    write(path, count=5)
    return path


def write(path, count, shift=0.0):
    """`count` people in two images, with all that COCO's files say of them."""
    category = {
        "id": 1, "name": "person", "keypoints": ["nose", "left_eye", "right_eye"], "skeleton": [[1, 2], [1, 3]],
    }  # fmt: skip
    images = [{"id": n, "file_name": f"ü{n}.jpg", "width": 90, "height": 60} for n in (7, 3)]
    people = [
        {
            "id": n + 1, "image_id": (7, 3)[n % 2], "category_id": 1, "iscrowd": 0, "area": 100.5 + n,
            "bbox": [1.25 + n + shift, 2, 30, 40], "keypoints": [5 + n, 6, 2, 0, 0, 0, 7, 8 + n, 1],
            "num_keypoints": 2, "segmentation": [[1, 2, 3, 4, 5, 6]],
        }
        for n in range(count)
    ]  # fmt: skip
    path.write_text(json.dumps({"images": images, "categories": [category], "annotations": people}))


def load(path):
    return coco.load_instances(path, path.parent, check_images=False)


def parsed_again(monkeypatch):
    """Calls of the parser from now on."""
    calls = []
    parse = coco.parse
    monkeypatch.setattr(coco, "parse", lambda *given, **more: calls.append(given) or parse(*given, **more))
    return calls


def assert_same(first, second):
    for field in fields(first):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if isinstance(ours, np.ndarray):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype, field.name
        else:
            assert ours == theirs, field.name


def test_the_second_time_gives_the_same_people_without_parsing(file, monkeypatch):
    first = load(file)
    calls = parsed_again(monkeypatch)
    assert_same(first, load(file))
    assert not calls


def test_a_changed_file_and_another_category_are_read_anew(file, monkeypatch):
    load(file)
    calls = parsed_again(monkeypatch)
    write(file, count=5, shift=1.0)
    assert load(file).boxes[0, 0] == 2.25
    assert len(calls) == 1
    coco.load_instances(file, file.parent, check_images=False, category="person")
    assert len(calls) == 2


def test_a_file_that_was_moved_or_touched_is_known_by_its_bytes(file, monkeypatch):
    first = load(file)
    calls = parsed_again(monkeypatch)
    (file.parent / "elsewhere").mkdir()
    moved = file.rename(file.parent / "elsewhere" / "other.json")
    os.utime(moved, (0, 0))
    again = load(moved)
    assert not calls and (again.source, again.image_root) == (moved, moved.parent)
    assert_same(replace(again, source=first.source, image_root=first.image_root), first)


def test_people_of_another_version_of_the_reader_are_read_anew(file, monkeypatch):
    load(file)
    calls = parsed_again(monkeypatch)
    monkeypatch.setattr(kept, "FORMAT", kept.FORMAT + 1)
    load(file)
    assert len(calls) == 1


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not an archive", "half"])
def test_what_cannot_be_read_is_made_anew_and_said(file, monkeypatch, caplog, damage):
    first = load(file)
    (stored,) = (file.parent / "cache" / "people").iterdir()
    whole = stored.read_bytes()
    stored.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    calls = parsed_again(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert_same(first, load(file))
    assert len(calls) == 1
    assert "made anew" in caplog.text
    assert stored.read_bytes() == whole


def edited(path, **changes):
    """The cached people with other arrays or texts; None takes one out."""
    with np.load(path) as stored:
        arrays = dict(stored)
    texts = json.loads(arrays["texts"].tobytes())
    (texts if next(iter(changes)) in texts else arrays).update(changes)
    arrays["texts"] = np.frombuffer(json.dumps(texts).encode(), np.uint8)
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": None},
        {"boxes": np.zeros((2, 4), np.float32)},
        {"boxes": np.zeros((5, 4))},
        {"boxes": np.full((5, 4), "a")},
        {"boxes": np.full((5, 4), np.nan, np.float32)},
        {"keypoints": np.zeros((5, 4, 3), np.float32)},
        {"image_index": np.full(5, 2)},
        {"image_index": np.full(5, -1)},
        {"image_sizes": np.zeros((2, 2), np.int32)},
        {"file_names": None},
        {"file_names": ["ü7.jpg"]},
        {"file_names": [1, 2]},
        {"file_names": ["ü7.jpg", "../ü3.jpg"]},
        {"file_names": ["ü7.jpg", "/ü3.jpg"]},
        {"file_names": ["ü7.jpg", ""]},
        {"skeleton": None},
        {"skeleton": {"name": "x"}},
    ],
    ids=str,
)
def test_whatever_is_wrong_with_the_cache_makes_it_anew(file, monkeypatch, change):
    first = load(file)
    (stored,) = (file.parent / "cache" / "people").iterdir()
    whole = stored.read_bytes()
    edited(stored, **change)
    calls = parsed_again(monkeypatch)
    assert_same(first, load(file))
    assert len(calls) == 1 and stored.read_bytes() == whole


def test_a_skeleton_whose_indices_are_none_makes_the_cache_anew(file, monkeypatch):
    first = load(file)
    (stored,) = (file.parent / "cache" / "people").iterdir()
    edited(stored, skeleton=asdict(first.skeleton) | {"limbs": [[0, 3]]})
    calls = parsed_again(monkeypatch)
    assert_same(first, load(file))
    assert len(calls) == 1


@pytest.mark.parametrize("byte", range(0, 60, 3))
def test_a_flipped_bit_of_the_cache_makes_it_anew_or_is_of_no_matter(file, byte):
    """As odd flags of the zip, which zipfile says it does not implement."""
    first = load(file)
    (stored,) = (file.parent / "cache" / "people").iterdir()
    whole = stored.read_bytes()
    for start in (0, whole.index(b"PK\x01\x02")):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[start + byte] ^= 1 << bit
            stored.write_bytes(damaged)
            assert_same(first, load(file))


def test_a_cache_that_cannot_be_written_stops_nothing(file, monkeypatch, caplog):
    (file.parent / "cache").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert len(load(file)) == 5
    assert "will be parsed again" in caplog.text


def test_people_of_a_file_that_is_replaced_while_it_is_read_are_not_kept(file, monkeypatch):
    """They would lie under the bytes of the new one."""
    parse = coco.parse

    def slow(*given, **more):
        found = parse(*given, **more)
        write(file, count=5, shift=1.5)
        return found

    monkeypatch.setattr(coco, "parse", slow)
    assert load(file).boxes[0, 0] == 1.25
    monkeypatch.setattr(coco, "parse", parse)
    assert load(file).boxes[0, 0] == load(file).boxes[0, 0] == 2.75


def test_a_cache_that_may_not_be_looked_into_stops_nothing(file, monkeypatch, caplog):
    first = load(file)
    forbid(monkeypatch, file.parent / "cache")
    with caplog.at_level(logging.WARNING):
        assert_same(first, load(file))
    assert "Permission denied" in caplog.text


def forbid(monkeypatch, folder):
    """Nothing below a folder may be looked at; by rights alone, root would not be kept out."""

    def refusing(looks):
        def look(path, *given, **more):
            if folder in path.parents:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return looks(path, *given, **more)

        return look

    for name in ("stat", "open"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name)))


def test_a_small_file_and_a_missing_one_leave_nothing_behind(file, monkeypatch):
    monkeypatch.setattr(kept, "LARGE", 16 << 20)
    load(file)
    assert not (file.parent / "cache").exists()
    with pytest.raises(coco.SSHPEError, match="cannot be opened"):
        load(file.with_name("none.json"))


def test_the_quick_reader_and_the_plain_one_read_the_same(file):
    """Every kind of number that JSON knows; and text that is laid out in another way is read as it stands."""
    person = '{"id": 1, "bbox": [1e2, -0.0, 1E-5, 12345678901234567890], "extra": [1]}'
    text = f'{{"annotations": [{person}], "images": [{{"x": 1}}]}}'
    file.write_text(text)
    found = documents.read_annotations(file)
    assert found["annotations"][0]["bbox"] == json.loads(text)["annotations"][0]["bbox"]
    assert found["images"] == [{"x": 1}]
    assert "extra" not in found["annotations"][0]
    for odd in ('{"annotations": [1, {"id": 2}]}', '{"annotations": 3}', "[1, 2]", '{"images": NaN}'):
        file.write_text(odd)
        assert repr(documents.read_annotations(file)) == repr(json.loads(odd))


@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_a_pipe_is_no_document(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    for reads in (documents.read_json, documents.read_annotations, documents.fingerprint):
        with pytest.raises(coco.SSHPEError, match="the file: it is a pipe or a device; name a file"):
            reads(tmp_path / name)


def test_a_file_that_grew_within_the_clocks_tick_is_another(file):
    before = documents.fingerprint(file), documents.read_annotations(file)
    time = file.stat().st_mtime_ns
    file.write_text(file.read_text().replace('"bbox": [1.25', '"bbox": [31.25', 1))
    os.utime(file, ns=(time, time))
    assert documents.fingerprint(file) != before[0]
    assert documents.read_annotations(file) != before[1]


@pytest.mark.parametrize("running", [True, False])
def test_the_collector_runs_again_only_where_it_ran(running):
    before = gc.isenabled()
    gc.enable() if running else gc.disable()
    try:
        with pytest.raises(KeyError), documents.collector_paused():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == running
    finally:
        gc.enable() if before else gc.disable()


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ({"keypoints": [10, 12, 2, 20, 22, 1]}, False),
        ({"keypoints": [10, 12, 2, 20, 22, 1], "iscrowd": 1}, True),
        ({"keypoints": [10, 12, 0, 20, 22, 0]}, True),
        ({"keypoints": [10, 12, None, 20, 22, None]}, True),
        ({"keypoints": [0, 0, 0, 20, 22, 1], "iscrowd": 0}, False),
        ({}, True),
    ],
)
def test_outlines_are_kept_of_crowds_and_of_people_without_a_labelled_keypoint(file, entry, kept):
    file.write_text(json.dumps({"annotations": [entry | {"segmentation": [[1, 2, 3.5, 4]]}]}))
    (found,) = documents.read_annotations(file, outlines=True)["annotations"]
    assert found == (entry | {"segmentation": [[1, 2, 3.5, 4]]} if kept else entry)
    assert documents.read_annotations(file)["annotations"] == [entry]
