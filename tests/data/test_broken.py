"""Broken keypoint and detection files: each gives one error that names the file, the entry and the cure."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path

import pytest

from sshpe_lib.config import SyntheticSource
from sshpe_lib.data import sources
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.check import check
from sshpe_lib.data.coco import fingerprint, ground_truth, load_instances
from sshpe_lib.data.documents import read_json
from sshpe_lib.data.faults import BadInput
from sshpe_lib.data.unlabelled import unlabelled_people
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.statistics import statistics
from tests.data.people import NAMES, person, valid_document, write

NAN = float("nan")


def changed(where: str, number: int, **values):
    """A change of one entry; None removes the key."""

    def breaks(document: dict) -> dict:
        entry = document[where][number]
        entry.update(values)
        for key in [key for key, value in values.items() if value is None]:
            del entry[key]
        return document

    return breaks


def replaced(**values):
    return lambda document: {**document, **values}


def without(key: str):
    return lambda document: {name: value for name, value in document.items() if name != key}


def appended(where: str, entry: object):
    return lambda document: {**document, where: [*document[where], entry]}


def categories(*names: str):
    return replaced(categories=[{"id": n, "name": name, "keypoints": NAMES} for n, name in enumerate(names)])


def someone(**values):
    """A change of person 11, in an image of 40x60 pixels."""
    return changed("annotations", 0, **values)


# The entry that the message names: (how the valid document is broken, part of the problem, part of the cure)
BROKEN = [
    ("the file", lambda document: document["annotations"], "no JSON object", "annotation file"),
    ("images", without("images"), "missing", "complete COCO"),
    ("annotations", replaced(annotations={}), "not a list", "complete COCO"),
    ("categories", replaced(categories=[{"id": 1}]), "no category lists", "person_keypoints"),
    ("categories", categories("cat", "dog"), "'cat' (id 0), 'dog' (id 1); which", "choose one by `category`"),
    ("categories", changed("categories", 0, id="1"), "category id '1'", "whole number"),
    ("categories[1]", appended("categories", "dog"), "'dog' is not an object", "make each of 'categories'"),
    (
        "category 1",
        changed("categories", 0, sigmas=[0.1, 0]),
        "sigmas hold 0, not a number above 0",
        "correct",
    ),
    ("category 1", changed("categories", 0, sigmas=[-0.05, 0.1]), "sigmas hold -0.05, not", "correct"),
    ("category 1", changed("categories", 0, sigmas=[0.1, NAN]), "sigmas hold nan, not", "correct"),
    ("category 1", changed("categories", 0, sigmas=[0.1, 1e300]), "above 0 and up to 1", "correct"),
    ("category 1", changed("categories", 0, sigmas=[10**400, 1]), "above 0 and up to 1", "correct"),
    (
        "category 1",
        changed("categories", 0, sigmas=[0.1, "s"]),
        "skeleton cannot be read",
        "pairs of numbers",
    ),
    ("image 3", changed("images", 1, file_name="../a.png"), "leads out of the folder", "without '..'"),
    (
        "image 3",
        changed("images", 1, file_name="deep/../../a.png"),
        "leads out of the folder",
        "without '..'",
    ),
    (
        "image 3",
        changed("images", 1, file_name="/etc/passwd"),
        "leads out of the folder",
        "below that folder",
    ),
    ("category 1", changed("categories", 0, keypoints=["a", "a"]), "repeats", "correct the category"),
    ("category 1", changed("categories", 0, skeleton=[[1]]), "skeleton cannot be read", "pairs of numbers"),
    ("category 1", changed("categories", 0, skeleton=[[1, 3]]), "outside 1..2", "correct the category"),
    ("images[3]", appended("images", 5), "5 is not an object", "make each of 'images'"),
    ("images[1]", changed("images", 1, id=None), "no 'id'", "number each"),
    ("images[1]", changed("images", 1, id="3"), "'id' is '3'", "number each"),
    ("images[1]", changed("images", 1, id=2**70), "'id' is 1180591", "number each"),
    ("images[2]", changed("images", 2, id=7), "id 7 is used before", "an id of its own"),
    ("image 7", changed("images", 0, file_name=None), "no 'file_name'", "file name"),
    ("image 7", changed("images", 0, width=0), "width 0, height 48", "whole numbers of pixels"),
    ("image 7", changed("images", 0, height="48"), "height '48'", "whole numbers of pixels"),
    ("annotations[7]", appended("annotations", None), "None is not an object", "make each of"),
    ("annotations[2]", changed("annotations", 2, id=None), "no 'id'", "number each"),
    ("annotations[6]", changed("annotations", 6, id=11), "id 11 is used before", "an id of its own"),
    ("annotations[0]", someone(category_id=None), "no 'category_id'", "add the id"),
    ("annotation 11", someone(image_id=4), "'image_id' is 4", "add the image"),
    ("annotation 11", someone(image_id=None), "no 'image_id'", "add the image"),
    ("annotation 11", someone(keypoints=None), "no 'keypoints'", "x, y, v"),
    ("annotation 11", someone(keypoints=[1, 2, 2]), "3 values, not 6", "x, y, v"),
    ("annotation 11", someone(keypoints=[1, NAN, 2, 0, 0, 0]), "holds nan", "x, y, v"),
    ("annotation 11", someone(keypoints=[float("inf"), 1, 2, 0, 0, 0]), "holds inf", "x, y, v"),
    ("annotation 11", someone(keypoints=[1, "2", 2, 0, 0, 0]), "holds '2'", "x, y, v"),
    ("annotation 11", someone(keypoints=[10**400, 2, 2, 0, 0, 0]), "holds 1000", "x, y, v"),
    ("annotation 11", someone(keypoints=[1, 2, 3, 0, 0, 0]), "v = 3: v is none of", "set v to 0"),
    ("annotation 11", someone(keypoints=[1, 2, 0.5, 0, 0, 0]), "v = 0.5: v is none of", "set v to 0"),
    ("annotation 11", someone(keypoints=[1, 2, 2, 81, 9, 1]), "(81, 9) with v = 1 is outside", "pixels of"),
    ("annotation 11", someone(keypoints=[1, -61, 2, 8, 9, 1]), "outside its 40x60", "pixels of that image"),
    ("annotation 11", someone(bbox=[1, 2, 3]), "3 values, not 4", "width, height"),
    ("annotation 11", someone(bbox=[1, 2, NAN, 3]), "'bbox' holds nan", "width, height"),
    ("annotation 11", someone(bbox=[1, 2, -3, 3]), "[1, 2, -3, 3]", "not below 0"),
    ("annotation 11", someone(area="big"), "'area' is 'big'", "square pixels"),
    ("annotation 11", someone(area=-1), "'area' is -1", "square pixels"),
    (
        "annotations",
        replaced(annotations=valid_document()["annotations"][2:6]),
        "valid person",
        "label people",
    ),
    ("annotations", replaced(annotations=[]), "valid person", "label people"),
]


@pytest.mark.parametrize(("entry", "how", "problem", "cure"), BROKEN)
def test_a_broken_file_gives_one_error_that_names_file_entry_and_cure(entry, how, problem, cure, tmp_path):
    path = write(tmp_path, how(valid_document()))
    with pytest.raises(SSHPEError) as error:
        load_instances(path, tmp_path)
    message = str(error.value)
    assert message.startswith(f"{path}: {entry}: ")
    assert problem in message and cure in message
    assert "\n" not in message


@pytest.mark.parametrize(("entry", "how", "problem", "cure"), BROKEN[1:])
def test_the_check_finds_the_same_fault(entry, how, problem, cure, tmp_path):
    path = write(tmp_path, how(valid_document()))
    report = check(path, tmp_path)
    assert not report.ok
    fatal = [fault for fault in report.faults if fault.fatal]
    assert [fault.entry for fault in fatal][:1] == [entry]
    assert problem in fatal[0].problem and cure in fatal[0].cure


def test_a_list_is_checked_as_detections(tmp_path):
    report = check(write(tmp_path, valid_document()["annotations"]))
    assert report.files[0].kind == "detections"
    assert [fault.problem for fault in report.faults] == ["it has no 'score'"] * 7


@pytest.mark.parametrize(("entry", "how", "problem", "cure"), BROKEN[:-2])
def test_the_evaluation_refuses_the_file_too(entry, how, problem, cure, tmp_path):
    with pytest.raises(SSHPEError) as error:
        ground_truth(write(tmp_path, how(valid_document())))
    assert problem in str(error.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, valid_document())
    return tmp_path


@pytest.mark.parametrize(
    ("content", "entry", "problem"),
    [
        (b"", "line 1 column 1", "is cut short"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "line 1 column 1", "is not JSON"),
        (json.dumps(valid_document()).encode()[:-30], "line 1 column", "is cut short"),
        (json.dumps(valid_document(), indent=1).encode()[:200], "line 17 column 4", "is cut short"),
        (b'{"images": [1, \n\n', "line 3 column 1", "is cut short"),
        (b'{"images": [1 2]}', "line 1 column 15", "is not JSON"),
        (b"\x1f\x8b\x08\x00\xff\xfe\xfd", "the file", "not text"),
        (b"[" * 100_000, "the file", "nested too deeply"),
    ],
    ids=[
        "empty",
        "git-lfs pointer",
        "cut in an entry",
        "cut in a name",
        "cut in space",
        "comma",
        "gzip",
        "deep",
    ],
)
def test_what_is_no_json_is_told_apart_from_what_is_cut_short(content, entry, problem, tmp_path):
    path = tmp_path / "people.json"
    path.write_bytes(content)
    with pytest.raises(SSHPEError, match="download the file again") as error:
        load_instances(path, tmp_path)
    assert str(error.value).startswith(f"{path}: {entry}")
    assert problem in str(error.value)
    assert check(path).faults[0].problem in str(error.value)


def test_missing_file_and_folder_in_its_place(tmp_path):
    for path, problem in ((tmp_path / "none.json", "No such file"), (tmp_path, "is a folder")):
        for read in (lambda file: load_instances(file, tmp_path), ground_truth, fingerprint):
            with pytest.raises(SSHPEError, match=problem) as error:
                read(path)
            assert str(error.value).startswith(f"{path}: the file: ")


def test_an_error_goes_from_process_to_process(folder):
    document = valid_document()
    for entry in document["annotations"][:4]:
        entry["bbox"] = None
    path = write(folder, document)
    with pytest.raises(BadInput) as error:
        load_instances(path, folder)
    again = pickle.loads(pickle.dumps(error.value))
    assert type(again) is BadInput and str(again) == str(error.value) and again.fault == error.value.fault


def test_one_error_says_how_many_more_faults_there_are(folder):
    document = valid_document()
    for entry in document["annotations"][:4]:
        entry["bbox"] = None
    path = write(folder, document)
    with pytest.raises(SSHPEError, match=r"annotation 11: 'bbox' is None.*\(and 3 more: `sshpe data check "):
        load_instances(path, folder)


def test_one_wrong_number_among_thousands_of_people_is_found(tmp_path):
    document = valid_document()
    document["annotations"] = [person(number, 7) for number in range(5000)]
    document["annotations"][4500]["keypoints"][4] = "22"
    path = write(tmp_path, document)
    with pytest.raises(SSHPEError, match=r"annotation 4500: 'keypoints' holds '22'"):
        load_instances(path, tmp_path)


def test_a_keypoint_a_little_outside_the_frame_is_kept(folder):
    document = valid_document()
    document["annotations"][0]["keypoints"] = [-3, 12, 2, 80, 22, 1]
    people = load_instances(write(folder, document), folder)
    assert people.keypoints[2].tolist() == [[-3, 12, 2], [80, 22, 1]]


def test_missing_images_are_named(folder):
    path = folder / "people.json"
    (folder / "empty.jpg").unlink()
    load_instances(path, folder)  # nobody is in it
    (folder / "deep/a.png").unlink()
    with pytest.raises(
        SSHPEError, match=r"people.json: image 'deep/a.png': it is not in .*; point the image folder"
    ):
        load_instances(path, folder)
    with pytest.raises(
        SSHPEError, match=r"image folder: .*nowhere is not a folder; make it the folder that holds"
    ):
        load_instances(path, folder / "nowhere")
    assert len(load_instances(path, folder / "nowhere", check_images=False)) == 3


DETECTED = [
    {"image_id": 3, "category_id": 1, "bbox": [-2.5, 3, 50, 20], "score": 0.25},
    {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.75},
    {"image_id": 7, "category_id": 18, "bbox": "of a dog"},
    {"image_id": 3, "category_id": 1, "bbox": [5, 6, 7, 8], "score": 1},
]


@pytest.mark.parametrize(
    ("change", "entry", "problem", "cure"),
    [
        ({"image_id": 4}, "detections[1]", "'image_id' is 4, an image that", "take the entry out"),
        (
            {"bbox": [1, 2, 3, 1e300]},
            "detections[1]",
            "'bbox' holds 1e+300, not below 1e+15",
            "width, height",
        ),
        (
            {"category_id": True},
            "detections[1]",
            "'category_id' is 'true'",
            "the id of its category, a number",
        ),
        ({"score": None}, "detections[1]", "'score' is None", "detector's score"),
        ({"score": NAN}, "detections[1]", "'score' is nan", "detector's score"),
        ({"bbox": [1, 2, 3]}, "detections[1]", "3 values, not 4", "width, height"),
        ({"bbox": [1, 2, 3, -4]}, "detections[1]", "[1, 2, 3, -4]", "not below 0"),
        ({"bbox": [1, 2, 0, 0.0]}, "detections[1]", "[1, 2, 0, 0.0]", "take the entry out"),
    ],
)
def test_a_broken_detection_is_named(change, entry, problem, cure, folder):
    results = folder / "boxes.json"
    results.write_text(json.dumps([DETECTED[0], {**DETECTED[1], **change}]))
    with pytest.raises(SSHPEError) as error:
        load_instances(folder / "people.json", folder, detections=results)
    assert str(error.value).startswith(f"{results}: {entry}: ")
    assert problem in str(error.value) and cure in str(error.value)


@pytest.mark.parametrize("said", ["true", "false"])
@pytest.mark.parametrize(
    ("number", "entry"),
    [
        ('"id": 12,', "annotations[1]"),
        ('"image_id": 7, "category_id": 1, "iscrowd": 0, "keypoints": [10, 12, 2', "annotation 12"),
        ("[10, 12, 2", "annotation 11"),
        ("[-5, 40, 30, 32]", "annotation 12"),
        ('"area": 400.5', "annotation 11"),
        ('"width": 40', "image 3"),
        ('"height": 60', "image 3"),
        ('"id": 3,', "images[1]"),
    ],
)
def test_true_and_false_are_no_numbers(number, entry, said, tmp_path):
    path = write(tmp_path, valid_document())
    whole = path.read_text()
    assert number in whole
    path.write_text(whole.replace(number, re.sub(r"-?\d+(\.\d+)?", said, number, count=1), 1))
    report = check(path, tmp_path)
    assert any(fault.fatal and fault.entry == entry and said in fault.problem for fault in report.faults)
    with pytest.raises(SSHPEError, match=said):
        load_instances(path, tmp_path)


@pytest.mark.parametrize("key", ["image_id", "score", "bbox"])
def test_true_is_no_number_of_a_detection(key, folder):
    results = folder / "boxes.json"
    broken = {**DETECTED[1], key: True if key != "bbox" else [1, True, 3, 4]}
    results.write_text(json.dumps([DETECTED[0], broken]))
    with pytest.raises(SSHPEError, match=r"detections\[1\]: .*'?true'?"):
        load_instances(folder / "people.json", folder, detections=results)


def test_a_crowd_may_be_true(tmp_path):
    document = valid_document()
    for entry in document["annotations"]:
        entry["iscrowd"] = bool(entry["iscrowd"])
    path = write(tmp_path, document)
    assert check(path, tmp_path).ok and load_instances(path, tmp_path).annotation_ids.tolist() == [12, 10, 11]
    assert statistics(ground_truth(path), [], [0.1, 0.1])["AP"] == 0


def test_a_truth_value_is_no_category_of_a_person(folder):
    path = write(folder, someone(category_id=True)(valid_document()))
    with pytest.raises(
        SSHPEError, match="annotations.0.: 'category_id' is 'true'; give the id of its category"
    ):
        load_instances(path, folder)


@pytest.mark.parametrize("content", ["", "half", "no image"])
def test_drawn_people_that_are_broken_are_to_be_drawn_again(tmp_path, monkeypatch, content):
    """Nobody could copy or download them again."""
    monkeypatch.setenv("SSHPE_CACHE", str(tmp_path))
    source = SyntheticSource(kind="synthetic", images=2)
    people = sources.instances(source)
    folder = people.source.parent
    if content == "no image":
        people.path(0).write_bytes(people.path(0).read_bytes()[:200])
    else:
        people.source.write_text(people.source.read_text()[: 500 * bool(content)])
    cure = f"delete the folder {folder}, and its people are drawn again"
    with pytest.raises(SSHPEError, match=re.escape(cure)):
        ImageCache().read(sources.instances(source).path(0), "the test")
    shutil.rmtree(folder)
    assert len(sources.instances(source)) == len(people)


@pytest.mark.parametrize("name", ["a\0/b.jpg", "\ud800/b.jpg"])
def test_an_image_whose_name_no_file_can_have_is_missing(name, tmp_path):
    path = write(tmp_path, changed("images", 0, file_name=name)(valid_document()))
    with pytest.raises(SSHPEError) as error:
        load_instances(path, tmp_path)
    assert f"image {name!r}: it is not in {tmp_path}" in str(error.value)
    assert f"image {name!r}: it is not in {tmp_path}" in str(check(path, tmp_path))


@pytest.mark.parametrize("key", ['"id": ', '"iscrowd": ', '"width": '])
def test_a_number_that_python_does_not_read_is_told(key, tmp_path):
    path = write(tmp_path, valid_document())
    path.write_text(path.read_text().replace(key, key + "1" * 5000, 1))
    problem = f"{path}: the file: it holds a whole number of more than 4,300 digits"
    for read in (lambda: load_instances(path, tmp_path), lambda: ground_truth(path), lambda: read_json(path)):
        with pytest.raises(SSHPEError) as error:
            read()
        assert str(error.value).startswith(problem)
    assert problem in str(check(path, tmp_path))


@pytest.mark.parametrize(
    ("digits", "problem"), [(5000, "of more than 4,300 digits"), (30, "annotation 13: its")]
)
def test_a_long_number_in_an_outline_is_told_where_outlines_are_read(digits, problem, tmp_path):
    path = write(tmp_path, valid_document())
    path.write_text(path.read_text().replace('"size": [', '"size": [' + "1" * digits, 1))
    assert len(load_instances(path, tmp_path)) == 3
    with pytest.raises(SSHPEError, match=problem):
        unlabelled_people(path)


def test_detections_without_score_of_another_category_or_of_another_shape(folder):
    results = folder / "boxes.json"
    unscored = {key: value for key, value in DETECTED[0].items() if key != "score"}
    for content, problem in (
        ([unscored], r"detections\[0\]: it has no 'score'"),
        ([DETECTED[2]], "none of 1 detections has category 1"),
        ([], "none of 0 detections"),
        ({"boxes": []}, "it holds no JSON list; give a COCO results file"),
    ):
        results.write_text(json.dumps(content))
        with pytest.raises(SSHPEError, match=problem):
            load_instances(folder / "people.json", folder, detections=results)
