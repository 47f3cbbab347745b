"""`sshpe data check`: counts, and all faults by file and entry."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sshpe_lib.data.check import check
from sshpe_lib.data.sources import own
from sshpe_lib.errors import SSHPEError


def person(number: int, image: int, **changes) -> dict:
    keypoints = [10, 12, 2, 20, 22, 1, 0, 0, 0]
    entry = {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "keypoints": keypoints,
        "bbox": [5, 6, 30, 32],
    }
    return {**entry, "area": 400, "iscrowd": 0, "num_keypoints": 2, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set in COCO's layout: five images of which the last has nobody, and seven annotations."""
    images = [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 48} for n in range(1, 6)]
    document = {
        "images": images,
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "right_eye"]}],
        "annotations": [
            person(1, 1),
            person(2, 2),
            person(3, 3),
            person(4, 4),
            person(5, 1, iscrowd=1, area=0),
            person(6, 1, area=0),
            person(7, 1, keypoints=[0] * 9, num_keypoints=0),
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "annotations/person_keypoints_train.json").write_text(json.dumps(document))
    rng = np.random.default_rng(0)
    for image in images:
        cv2.imwrite(
            str(tmp_path / "images/train" / image["file_name"]),
            rng.integers(0, 255, (48, 64, 3), dtype=np.uint8),
        )
    return tmp_path


def edit(folder: Path, change) -> Path:
    path = folder / "annotations/person_keypoints_train.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def test_counts_of_a_sound_file(folder):
    report = check(folder / "annotations/person_keypoints_train.json")
    assert report.ok and report.faults == ()
    assert report.files[0].image_root == folder / "images/train"
    assert report.files[0].counts == {
        "images": 5,
        "annotations": 7,
        "left-right pairs of keypoints": 1,
        "left out: crowd": 1,
        "left out: no area": 1,
        "left out: box outside the image": 0,
        "left out: box without size": 0,
        "left out: no keypoint": 1,
        "valid people": 4,
        "images with valid people": 4,
        "their keypoints: unlabelled": 4,
        "their keypoints: occluded": 4,
        "their keypoints: visible": 4,
    }
    text = str(report)
    assert "valid people                             4\n" in text
    assert text.endswith("\n0 faults that stop a training, 0 notes")


def test_every_fault_is_listed_by_file_and_entry(folder):
    def change(document):
        entries = document["annotations"]
        entries[0]["keypoints"] = [1, 2, 2]
        entries[1]["bbox"] = [1, 2, 3, float("nan")]
        entries[2]["keypoints"][0] = 66  # a little outside
        entries[3]["image_id"] = 77
        entries[6]["num_keypoints"] = 1
        document["images"][4]["width"] = "wide"

    path = edit(folder, change)
    root = folder / "images/train"
    data = (root / "2.png").read_bytes()
    (root / "2.png").write_bytes(data[:100])
    (root / "3.png").unlink()
    cv2.imwrite(str(root / "4.png"), np.zeros((9, 9, 3), dtype=np.uint8))
    report = check(path)
    found = {(fault.file.name, fault.entry, fault.fatal) for fault in report.faults}
    name = path.name
    assert found == {
        (name, "image 5", True),
        (name, "annotation 1", True),
        (name, "annotation 2", True),
        (name, "annotation 3", False),
        (name, "annotation 4", True),
        (name, "annotation 7", False),
        (name, "image '3.png'", True),
        ("2.png", f"{name}, image 2", False),  # its only person is broken already
        ("4.png", f"{name}, image 4", False),
    }
    assert not report.ok
    assert str(report).count("fault: ") == 5 and str(report).count("note: ") == 4
    assert str(report).endswith("5 faults that stop a training, 4 notes")
    for fault in report.faults:
        assert f"{fault.file}: {fault.entry}: {fault.problem}; {fault.cure}" in str(report)


@pytest.mark.parametrize(
    ("names", "pairs", "note"),
    [
        (["nose", "L_Eye", "R_Eye"], 1, None),
        (
            ["nose", "L_Eye", "right_eye"],
            0,
            "L_Eye, right_eye: no keypoint has the same name on the other side",
        ),
        (["left_eye", "right_eye", "LeftEar"], 1, "LeftEar: no keypoint has the same name on the other side"),
        (["nose", "tail", "back"], 0, "none of its 3 keypoints is named as left or right"),
    ],
)
def test_left_and_right_are_told_and_what_has_no_other_side(folder, names, pairs, note):
    report = check(edit(folder, lambda document: document["categories"][0].update(keypoints=names)))
    assert report.ok and report.files[0].counts["left-right pairs of keypoints"] == pairs
    of_sides = [fault for fault in report.faults if "OKS" not in fault.problem]
    assert [(fault.entry, fault.problem) for fault in of_sides] == ([("category 1", note)] if note else [])


@pytest.mark.parametrize("given", [{}, {"sigmas": [0.1, 0.2, 0.3]}])
def test_guessed_oks_constants_are_told(folder, given):
    category = {"keypoints": ["LeftEye", "tail", "RightEye"], "skeleton": []} | given
    report = check(edit(folder, lambda document: document["categories"][0].update(category)))
    told = [fault.problem for fault in report.faults]
    assert told == ([] if given else ["no OKS constant is known for tail, and 0.08 is taken"])
    assert report.ok


def test_an_image_without_people_stops_no_training(folder):
    path = folder / "annotations/person_keypoints_train.json"
    (folder / "images/train/5.png").write_bytes(b"")
    report = check(path)
    assert [(fault.problem, fault.fatal) for fault in report.faults] == [("the image file is empty", False)]
    assert report.ok
    (folder / "images/train/4.png").write_bytes(b"")
    assert not check(path).ok


def test_images_can_be_elsewhere_or_nowhere(folder):
    path = folder / "annotations/person_keypoints_train.json"
    (folder / "images").rename(folder / "photographs")
    report = check(path)
    assert report.files[0].image_root is None and report.ok
    assert "images: not found beside the file, so not checked" in str(report)
    assert check(path, folder / "photographs/train").files[0].image_root == folder / "photographs/train"
    faults = check(path, folder / "nowhere").faults
    assert [fault.entry for fault in faults] == ["image folder"] and faults[0].fatal


def test_a_missing_first_image_is_a_fault_like_any_other(folder):
    path = folder / "annotations/person_keypoints_train.json"
    (folder / "images/train/1.png").unlink()
    report = check(path)
    assert report.files[0].image_root == folder / "images/train" and not report.ok
    assert [fault.entry for fault in report.faults] == ["image '1.png'"]


@pytest.mark.parametrize("name", [None, "../1.png"])
def test_a_wrong_first_name_is_told_alike_by_all_who_look_for_images(folder, name):
    path = edit(folder, lambda document: document["images"][0].update(file_name=name))
    report = check(path)
    assert report.files[0].image_root == folder / "images/train"
    with pytest.raises(SSHPEError) as caught:
        own(path)
    assert str(caught.value) == str(report.faults[0])


def test_ones_own_images_are_found_by_any_name(folder):
    path = folder / "annotations/person_keypoints_train.json"
    (folder / "images/train/1.png").unlink()
    assert own(path).images == str(folder / "images/train")


def test_a_folder_is_checked_file_by_file(folder):
    boxes = [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5},
        {"image_id": 1, "bbox": [1]},
    ]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    (folder / "captions.json").write_text(json.dumps({"images": [], "annotations": []}))
    (folder / "cut.json").write_text('{"images": [')
    report = check(folder)
    kinds = {file.file.name: (file.kind, len(file.faults)) for file in report.files}
    assert kinds == {
        "person_keypoints_train.json": ("keypoints", 0),
        "boxes.json": ("detections", 2),
        "captions.json": ("other", 0),
        "cut.json": ("keypoints", 1),
    }
    assert {fault.entry for fault in report.faults} == {"detections[1]", "line 1 column 13"}


def test_a_folder_without_json_and_a_missing_file(tmp_path):
    with pytest.raises(SSHPEError, match=r"the folder: no .json file is in it; name a COCO keypoint file"):
        check(tmp_path)
    report = check(tmp_path / "none.json")
    assert not report.ok and "cannot be opened" in report.faults[0].problem
    assert report.faults[0].cure.startswith("correct the path: one as typed starts at the working folder")


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "people", "boxes"), [("coco-slice", 887, 0), ("crowdpose-slice", 4, 6)])
def test_real_folders_are_sound(name, people, boxes, sshpe_data):
    report = check(sshpe_data / name)
    assert report.ok and report.faults == ()
    assert sum(file.counts.get("valid people", 0) for file in report.files) == people
    assert sum(file.counts.get("boxes", 0) for file in report.files) == boxes
