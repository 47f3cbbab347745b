"""A document as columns: what each entry becomes, and which entries are at fault, whatever stands beside them."""

from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.data import columns
from sshpe_lib.data.columns import LARGEST, brief, integers, numbers
from sshpe_lib.data.tables import ImageTable, detection_table, image_table, person_table
from sshpe_lib.skeleton import Skeleton
from tests.data.people import NAMES, person

FILE = Path("people.json")
TWO = Skeleton(
    name="two", keypoints=tuple(NAMES), flip_pairs=(), limbs=((0, 1),), sigmas=(0.1, 0.1), upper_body=()
)
IMAGES = ImageTable(np.array([7, 3]), ["b.jpg", "a.png"], np.array([[64, 48], [40, 60]], np.int32))
NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        ([3, 0, 7], [3, 0, 7]),
        ([3, -1, -5], [3, -1, -1]),
        ([0, None, 2.0, "4", -5], [0, -1, -1, -1, -1]),
        ([True, False], [-1, -1]),
        ([True, None, 3], [-1, -1, 3]),
        ([[1], [2]], [-1, -1]),
        ([2**63 - 1, 5], [2**63 - 1, 5]),
        ([2**63, 5], [-1, 5]),
        ([10**400, 5], [-1, 5]),
        ([], []),
    ],
)
def test_whole_numbers_from_0_and_nothing_else(values, whole):
    column, given = integers(values)
    assert column.tolist() == whole and column.dtype == np.int64
    assert given.tolist() == [number >= 0 for number in whole]


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        ([[1.5, 2], [3, LARGEST]], [[1.5, 2], [3, LARGEST]]),
        ([[1, 2 * LARGEST], [-2 * LARGEST, -LARGEST]], [[1, INF], [-INF, -LARGEST]]),
        ([[1, 2], None], [[1, 2], [NAN, NAN]]),
        ([[1, 2], [3]], [[1, 2], [NAN, NAN]]),
        ([[1, 2], [3, 4, 5]], [[1, 2], [NAN, NAN]]),
        ([[1, 2], [3, "4"]], [[1, 2], [NAN, NAN]]),
        ([[1, 2], [True, None]], [[1, 2], [NAN, NAN]]),
        ([[True, False]], [[NAN, NAN]]),
        ([[1, 2], [10**400, 3]], [[1, 2], [NAN, NAN]]),
        ([[1], [2]], [[NAN, NAN], [NAN, NAN]]),
        ([5, 6], [[NAN, NAN], [NAN, NAN]]),
        ([], np.empty((0, 2))),
    ],
)
@pytest.mark.parametrize("chunk", [1, 4096])
def test_rows_of_numbers_and_nothing_else(values, rows, chunk, monkeypatch):
    """Infinite is what is larger than any number that can be meant, whatever its sign."""
    monkeypatch.setattr(columns, "_CHUNK", chunk)
    found = numbers(values, 2)
    np.testing.assert_array_equal(np.abs(found), np.abs(rows))
    assert found.shape == (len(values), 2)


def test_long_values_are_cut_to_forty_characters():
    assert brief("x" * 38) == repr("x" * 38)
    assert brief("x" * 39) == repr("x" * 39)[:37] + "..." and len(brief("x" * 99)) == 40


def faults(found):
    return [(fault.entry, fault.fatal) for fault in found]


@pytest.mark.parametrize(
    ("sides", "sound"),
    [
        ((64, 48), True), ((64.0, 48), True), ((1, 1), True), ((2**31 - 1, 1), True), ((2**31, 1), False),
        ((64.5, 48), False), ((64, 0), False), ((0, 48), False), ((-64, 48), False), ((None, 48), False),
    ],
)  # fmt: skip
def test_sides_of_an_image_are_whole_numbers_of_pixels(sides, sound):
    table, found = image_table([{"id": 7, "file_name": "b.jpg", "width": sides[0], "height": sides[1]}], FILE)
    assert table.sizes.tolist() == [list(sides) if sound else [0, 0]] and table.sizes.dtype == np.int32
    assert faults(found) == ([] if sound else [("image 7", True)])


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("b.jpg", True), ("deep/b.jpg", True), ("b..c.jpg", True), ("..b/c.jpg", True), ("../b.jpg", False),
        ("deep/../../b.jpg", False), ("/b.jpg", False), ("..", False), ("", False), (3, False),
    ],
)  # fmt: skip
def test_a_name_leads_nowhere_but_into_the_folder(name, sound):
    """A wrong one is no name at all, so that nobody looks for its file."""
    table, found = image_table([{"id": 7, "file_name": name, "width": 64, "height": 48}], FILE)
    assert table.names == [name if sound else ""]
    assert faults(found) == ([] if sound else [("image 7", True)])


def test_of_a_repeated_id_the_later_entries_are_named():
    entries = [{"id": number, "file_name": "b.jpg", "width": 64, "height": 48} for number in (7, 3, 7, 5, 7)]
    entries += [{**entry, "id": None} for entry in entries[:2]]
    _, found = image_table(entries, FILE)
    again = [fault.entry for fault in found if "is used before" in fault.problem]
    assert again == ["images[2]", "images[4]"]
    assert [fault.entry for fault in found if "number each" in fault.cure] == ["images[5]", "images[6]"]
    assert len(found) == 4


def test_images_are_found_by_their_ids_alone():
    broken = ImageTable(np.array([7, -1, 3]), ["b.jpg", "c.jpg", "a.png"], np.ones((3, 2), np.int32))
    assert broken.rows_of(np.array([3, 7, 4, -1, 99])).tolist() == [2, 0, -1, -1, -1]
    nothing = ImageTable(np.array([], np.int64), [], np.empty((0, 2), np.int32))
    assert nothing.rows_of(np.array([3])).tolist() == [-1]


def told(**changes):
    """The faults of one person in an image of 64x48 pixels."""
    entry = {key: value for key, value in person(10, 7, **changes).items() if value is not Ellipsis}
    table, found = person_table([entry], IMAGES, 1, TWO, FILE)
    return table, faults(found)


@pytest.mark.parametrize(
    ("point", "fatal"),
    [
        ((0, 0), None), ((64, 48), None), ((-1, 0), False), ((0, -1), False), ((65, 48), False), ((64, 49), False),
        ((-64, 48), False), ((-65, 48), True), ((128, 96), False), ((129, 96), True), ((128, 97), True),
        ((64, -48), False), ((64, -49), True), ((60, 60), False),
    ],
)  # fmt: skip
def test_a_labelled_keypoint_is_in_its_image_or_less_than_a_size_beside_it(point, fatal):
    """On each axis by the image's own side; an unlabelled one may be anywhere."""
    _, found = told(keypoints=[*point, 2, 5, 5, 1])
    assert found == ([] if fatal is None else [("annotation 10", fatal)])
    assert told(keypoints=[*point, 0, 5, 5, 1])[1] == []


def test_keypoints_are_not_judged_by_an_image_that_nobody_knows():
    assert told(image_id=4, keypoints=[9999, 9999, 2, 5, 5, 1])[1] == [("annotation 10", True)]
    unsized = ImageTable(IMAGES.ids, IMAGES.names, np.zeros((2, 2), np.int32))
    assert not person_table([person(10, 7)], unsized, 1, TWO, FILE)[1]


@pytest.mark.parametrize(
    ("changes", "fatal"),
    [
        ({"bbox": [1, 2, 0, 5]}, [False]), ({"bbox": [1, 2, 0, -5]}, [True]), ({"bbox": [1, 2, 3, 0]}, [False]),
        ({"area": 0}, []), ({"area": -0.5}, [True]), ({"area": ...}, []), ({"num_keypoints": ...}, []),
        ({"num_keypoints": 1}, []), ({"num_keypoints": 0}, [False]),
        ({"num_keypoints": 0, "keypoints": [1, 2]}, [True]), ({"num_keypoints": 1, "keypoints": [1, 2]}, [True]),
        ({"num_keypoints": 1, "keypoints": [1, 2, 0, 3, 4, 0]}, [False]), ({"iscrowd": ...}, []),
        ({"iscrowd": 0.0}, []), ({"iscrowd": True}, []), ({"iscrowd": False}, []), ({"iscrowd": None}, [True]),
        ({"iscrowd": "0"}, [True]), ({"iscrowd": "true"}, [True]), ({"iscrowd": 2}, [True]), ({"iscrowd": -1}, [True]),
        ({"iscrowd": [1]}, [True]), ({"iscrowd": NAN}, [True]),
    ],
)  # fmt: skip
def test_what_is_told_of_a_person_and_whether_it_stops_a_training(changes, fatal):
    assert [one for _, one in told(**changes)[1]] == fatal


@pytest.mark.parametrize(
    ("changes", "fatal"),
    [
        ({}, []), ({"category_id": 1.0}, []), ({"bbox": [1, 2, 0, 4]}, [False]), ({"bbox": [1, 2, 3, 0]}, [False]),
        ({"bbox": [1, 2, 0, 0]}, [False, True]), ({"category_id": True}, [True]), ({"category_id": "1"}, [True]),
    ],
)  # fmt: skip
def test_what_is_told_of_a_detection_and_whether_it_stops_a_training(changes, fatal):
    box = {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    _, found = detection_table([box | changes], IMAGES, 1, FILE)
    assert [one for _, one in faults(found)] == fatal


def test_what_a_person_does_not_say_is_filled_in():
    table, _ = told(area=..., iscrowd=..., bbox=[1, 2, 10, 20])
    assert table.areas.tolist() == pytest.approx([0.53 * 200]) and table.crowd.tolist() == [False]
    for crowd in (0, False, 1, True):
        assert told(area=5, iscrowd=crowd)[0].crowd.tolist() == [bool(crowd)]


def test_entries_are_counted_in_the_file_and_not_in_their_category():
    other = person(4, 7, category_id=2)
    broken = person(10, 7, bbox=None)
    _, found = person_table([other, {**broken, "id": None}], IMAGES, 1, TWO, FILE)
    assert {entry for entry, _ in faults(found)} == {"annotations[1]"}
    box = {"image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}
    table, found = detection_table([box, {**box, "category_id": 1, "score": np.inf}], IMAGES, 1, FILE)
    assert faults(found) == [("detections[1]", True)] and len(table.boxes) == 1
    assert len(detection_table([box, {**box, "category_id": 1}], None, None, FILE)[0].boxes) == 2


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([1, 2.5, 0], [1, 2.5, 0]),
        ([1, None, 2], [1, np.nan, 2]),
        ([1, "2", [3]], [1, np.nan, np.nan]),
        ([True, False], [np.nan, np.nan]),
        ([1e16, -1e16, -(2**63), 2**63 - 1], [np.inf] * 4),
        ([2**63, 10**400, 1], [np.nan, np.nan, 1]),
    ],
)
def test_a_column_holds_the_numbers_of_its_entries(given, read):
    np.testing.assert_array_equal(columns.column(given), read)
    np.testing.assert_array_equal(columns.column(given), columns.numbers([[one] for one in given], 1)[:, 0])
