"""Reading keypoint files: the reference's order and filter, and one clear error for every broken file."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from sshpe_lib.data.check import check
from sshpe_lib.data.coco import clip_boxes, fingerprint, ground_truth, load_instances
from sshpe_lib.data.images import read_image
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import COCO17

NAMES = ["left_hand", "right_hand"]
LEFT_OUT = (13, 14, 15, 16)  # the people below that the filter drops


def person(number: int, image: int, **changes) -> dict:
    """One valid annotation of a two-keypoint category."""
    keypoints = [10, 12, 2, 20.5, 22, 1]
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "keypoints": keypoints,
        "num_keypoints": 2, "bbox": [5, 6, 30, 32], "area": 400.5, **changes,
    }  # fmt: skip


def valid_document() -> dict:
    """Three images, not in the order of their ids, and people in and out of the filter."""
    return {
        "images": [
            {"id": 7, "file_name": "b.jpg", "width": 64, "height": 48},
            {"id": 3, "file_name": "deep/a.png", "width": 40, "height": 60},
            {"id": 9, "file_name": "empty.jpg", "width": 10, "height": 10},
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2]]}],
        "annotations": [
            person(11, 3),
            person(12, 7, bbox=[-5, 40, 30, 32]),
            person(13, 7, iscrowd=1, segmentation={"counts": "x", "size": [48, 64]}),
            person(14, 7, area=0),
            person(15, 3, keypoints=[0] * 6, num_keypoints=0),
            person(16, 3, bbox=[200, 5, 10, 10]),
            person(10, 7, segmentation=[[1, 2, 3, 4, 5, 6]]),
        ],
    }


def write(folder: Path, document: object) -> Path:
    """The document as a file, with the images it names."""
    path = folder / "people.json"
    path.write_text(json.dumps(document))
    (folder / "deep").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for name, (width, height) in {"b.jpg": (64, 48), "deep/a.png": (40, 60), "empty.jpg": (10, 10)}.items():
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, valid_document())
    return tmp_path


def test_people_come_in_the_order_of_images_then_annotations(folder):
    people = load_instances(folder / "people.json", folder)
    assert people.annotation_ids.tolist() == [12, 10, 11]
    assert people.image_ids.tolist() == [7, 7, 3]
    assert people.file_names == ("b.jpg", "deep/a.png")
    assert people.image_index.tolist() == [0, 0, 1]
    assert people.image_sizes.tolist() == [[64, 48], [40, 60]]
    assert people.boxes.tolist() == [[0, 40, 29, 7], [5, 6, 29, 31], [5, 6, 29, 31]]
    assert people.areas.tolist() == [400.5] * 3
    assert people.box_scores.tolist() == [1, 1, 1]
    assert people.keypoints[0].tolist() == [[10, 12, 2], [20.5, 22, 1]]
    assert people.skeleton.keypoints == tuple(NAMES)
    assert people.path(2) == folder / "deep/a.png"
    dtypes = [getattr(people, name).dtype.name for name in ("keypoints", "boxes", "areas", "box_scores")]
    assert dtypes == ["float32"] * 4
    assert (people.image_sizes.dtype, people.annotation_ids.dtype) == (np.int32, np.int64)


def test_select_keeps_order_and_drops_unused_images(folder):
    people = load_instances(folder / "people.json", folder)
    chosen = people.select([2, 1])
    assert chosen.annotation_ids.tolist() == [11, 10]
    assert [chosen.path(i) for i in range(2)] == [people.path(2), people.path(1)]
    assert people.select([2]).file_names == ("deep/a.png",)
    assert people.select([2]).image_sizes.tolist() == [[40, 60]]
    assert len(people.select([])) == 0
    with pytest.raises(IndexError):
        people.select([3])


def slow_filter(document: dict) -> list[tuple[int, list[float]]]:
    """The reference's filter, one person at a time."""
    kept = []
    for image in document["images"]:
        for entry in document["annotations"]:
            if entry["image_id"] != image["id"] or entry["iscrowd"]:
                continue
            x, y, w, h = entry["bbox"]
            x1, y1 = max(0, x), max(0, y)
            x2 = min(image["width"] - 1, x1 + max(0, w - 1))
            y2 = min(image["height"] - 1, y1 + max(0, h - 1))
            if entry["area"] > 0 and x2 >= x1 and y2 >= y1 and max(entry["keypoints"]) != 0:
                kept.append((entry["id"], [x1, y1, x2 - x1, y2 - y1]))
    return kept


def test_filter_equals_the_reference_on_random_files(tmp_path):
    rng = np.random.default_rng(5)
    document = valid_document()
    sizes = rng.integers(20, 90, (40, 2)).tolist()
    document["images"] = [
        {"id": int(number), "file_name": f"{number}.jpg", "width": width, "height": height}
        for number, (width, height) in zip(rng.permutation(40), sizes, strict=True)
    ]
    document["annotations"] = [
        person(
            number,
            int(rng.integers(40)),
            bbox=np.append(rng.uniform(-40, 100, 2), rng.uniform(0, 60, 2) * rng.integers(0, 2, 2)).tolist(),
            area=float(rng.choice([0, 3.5])),
            iscrowd=int(rng.integers(2)),
            keypoints=[5, 5, 1, 6, 6, 2] if rng.random() < 0.8 else [0] * 6,
        )
        for number in rng.permutation(1000).tolist()
    ]
    path = tmp_path / "random.json"
    path.write_text(json.dumps(document))
    people = load_instances(path, tmp_path, check_images=False)
    expected = slow_filter(document)
    assert 50 < len(expected) < 300
    assert people.annotation_ids.tolist() == [number for number, _ in expected]
    assert np.array_equal(people.boxes, np.array([box for _, box in expected], dtype=np.float32))


def test_clip_keeps_a_box_of_one_pixel():
    boxes, left = clip_boxes(
        np.array([[3.0, 4, 1, 1], [63, 0, 5, 5], [64, 0, 5, 5]]), np.array([[64, 48]] * 3)
    )
    assert boxes.tolist()[:2] == [[3, 4, 0, 0], [63, 0, 0, 4]]
    assert left.tolist() == [True, True, False]


def test_missing_area_crowd_and_count_are_filled_in(folder):
    document = valid_document()
    for entry in document["annotations"]:
        for key in ("area", "num_keypoints") + (("iscrowd",) if entry["id"] != 13 else ()):
            del entry[key]
    path = write(folder, document)
    people = load_instances(path, folder)
    assert people.annotation_ids.tolist() == [12, 14, 10, 11]  # without areas, 14 is a person
    assert np.allclose(people.areas, 0.53 * 30 * 32)
    entries = {entry["id"]: entry for entry in ground_truth(path)["annotations"]}
    assert entries[11]["area"] == 0.53 * 30 * 32
    assert [entries[n]["num_keypoints"] for n in (11, 15)] == [2, 0]
    assert [entries[n]["iscrowd"] for n in (11, 13)] == [0, 1]


def test_ground_truth_has_the_keypoint_category_only_and_is_parsed_once(folder):
    document = valid_document()
    document["categories"].append({"id": 2, "name": "dog"})
    document["annotations"].append({"id": 99, "image_id": 7, "category_id": 2, "bbox": [0, 0, 5, 5]})
    path = write(folder, document)
    truth = ground_truth(path)
    assert [entry["id"] for entry in truth["annotations"]] == [11, 12, 13, 14, 15, 16, 10]
    assert [entry["name"] for entry in truth["categories"]] == ["person"]
    assert [image["id"] for image in truth["images"]] == [7, 3, 9]
    assert not any("segmentation" in entry for entry in truth["annotations"])
    assert ground_truth(path)["annotations"][0] is truth["annotations"][0]


def test_the_person_category_is_taken_unless_another_is_named(folder):
    document = valid_document()
    document["categories"].append({"id": 2, "name": "dog", "keypoints": ["nose", "tail", "paw"]})
    document["annotations"].append(person(99, 3, category_id=2, keypoints=[1, 2, 2] * 3))
    path = write(folder, document)
    assert len(load_instances(path, folder)) == 3
    for name in ("dog", 2):
        assert load_instances(path, folder, category=name).annotation_ids.tolist() == [99]


def test_fingerprint_follows_the_content(folder):
    path = folder / "people.json"
    before = fingerprint(path)
    assert len(before) == 64 and fingerprint(path) == before
    path.write_text(path.read_text() + " ")
    assert fingerprint(path) != before
    write(folder, valid_document())
    assert fingerprint(path) == before


def change(where: str, number: int, **values):
    """A change of one entry; None removes the key."""

    def broken(document: dict) -> dict:
        entry = document[where][number]
        entry.update(values)
        for key in [key for key, value in values.items() if value is None]:
            del entry[key]
        return document

    return broken


def replaced(**values):
    return lambda document: {**document, **values}


def appended(where: str, entry: object):
    return lambda document: {**document, where: [*document[where], entry]}


NAN, INFINITE = float("nan"), float("inf")
# name: (how the valid document is broken, the entry the message names, a part of the problem, of the cure)
BROKEN = {
    "a results list": (lambda d: d["annotations"], "the file", "no JSON object", "annotation file"),
    "no images": (lambda d: {k: v for k, v in d.items() if k != "images"}, "images", "missing", "complete COCO"),
    "annotations no list": (replaced(annotations={}), "annotations", "not a list", "complete COCO"),
    "no keypoint category": (
        replaced(categories=[{"id": 1, "name": "person"}]), "categories", "no category lists", "person_keypoints",
    ),
    "two keypoint categories": (
        replaced(categories=[{"id": n, "name": name, "keypoints": NAMES} for n, name in ((1, "cat"), (2, "dog"))]),
        "categories", "'cat' (id 1), 'dog' (id 2); which one", "choose one by `category`",
    ),
    "category id": (change("categories", 0, id="1"), "categories", "category id '1'", "whole number"),
    "repeated keypoint": (change("categories", 0, keypoints=["a", "a"]), "category 1", "repeats", "correct the"),
    "limb": (change("categories", 0, skeleton=[[1]]), "category 1", "skeleton cannot be read", "pairs of numbers"),
    "image no object": (appended("images", 5), "images[3]", "5 is not an object", "make each of 'images'"),
    "image without id": (change("images", 1, id=None), "images[1]", "no 'id'", "number each"),
    "image id text": (change("images", 1, id="3"), "images[1]", "'id' is '3'", "number each"),
    "image id twice": (change("images", 2, id=7), "images[2]", "id 7 is used before", "an id of its own"),
    "image without name": (change("images", 0, file_name=None), "image 7", "no 'file_name'", "file name"),
    "image size": (change("images", 0, width=0), "image 7", "width 0, height 48", "whole numbers of pixels"),
    "image size text": (change("images", 0, height="48"), "image 7", "height '48'", "whole numbers of pixels"),
    "annotation no object": (appended("annotations", None), "annotations[7]", "None is not", "make each of"),
    "annotation without id": (change("annotations", 2, id=None), "annotations[2]", "no 'id'", "number each"),
    "annotation id twice": (change("annotations", 6, id=11), "annotations[6]", "id 11 is used", "id of its own"),
    "unknown image": (change("annotations", 0, image_id=4), "annotation 11", "'image_id' is 4", "add the image"),
    "no image": (change("annotations", 0, image_id=None), "annotation 11", "no 'image_id'", "add the image"),
    "no category": (change("annotations", 0, category_id=None), "annotations[0]", "no 'category_id'", "add the id"),
    "short keypoints": (change("annotations", 0, keypoints=[1, 2, 2]), "annotation 11", "3 values, not 6", "x, y, v"),
    "no keypoints": (change("annotations", 0, keypoints=None), "annotation 11", "no 'keypoints'", "x, y, v"),
    "nan": (change("annotations", 0, keypoints=[1, NAN, 2, 0, 0, 0]), "annotation 11", "holds nan", "x, y, v"),
    "infinite": (change("annotations", 0, keypoints=[INFINITE, 1, 2, 0, 0, 0]), "annotation 11", "inf", "x, y, v"),
    "text": (change("annotations", 0, keypoints=[1, "2", 2, 0, 0, 0]), "annotation 11", "holds '2'", "x, y, v"),
    "huge": (change("annotations", 0, keypoints=[10**400, 2, 2, 0, 0, 0]), "annotation 11", "holds 1000", "x, y, v"),
    "v": (change("annotations", 0, keypoints=[1, 2, 3, 0, 0, 0]), "annotation 11", "v = 3: v is none", "set v to 0"),
    "half v": (change("annotations", 0, keypoints=[1, 2, 0.5, 0, 0, 0]), "annotation 11", "v = 0.5", "set v to 0"),
    "far outside": (
        change("annotations", 0, keypoints=[1, 2, 2, 81, 9, 1], bbox=[0, 0, 9, 9]),
        "annotation 11", "'right_hand' at (81, 9) with v = 1 is outside its 40x60", "pixels of that image",
    ),
    "box of three": (change("annotations", 0, bbox=[1, 2, 3]), "annotation 11", "3 values, not 4", "width, height"),
    "box nan": (change("annotations", 0, bbox=[1, 2, NAN, 3]), "annotation 11", "'bbox' holds nan", "width, height"),
    "box negative": (change("annotations", 0, bbox=[1, 2, -3, 3]), "annotation 11", "[1, 2, -3, 3]", "not below 0"),
    "area": (change("annotations", 0, area="big"), "annotation 11", "'area' is 'big'", "square pixels"),
    "nobody": (replaced(annotations=valid_document()["annotations"][2:6]), "annotations", "valid", "label people"),
    "no people": (replaced(annotations=[]), "annotations", "valid person", "label people"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gives_one_error_that_names_file_entry_and_cure(name, tmp_path):
    how, entry, problem, cure = BROKEN[name]
    path = write(tmp_path, how(copy.deepcopy(valid_document())))
    with pytest.raises(SSHPEError) as error:
        load_instances(path, tmp_path)
    message = str(error.value)
    assert message.startswith(f"{path}: {entry}: ")
    assert problem in message and cure in message
    assert "\n" not in message
    with pytest.raises(SSHPEError):
        ground_truth(path) if name not in ("nobody", "no people") else load_instances(path, tmp_path)
    report = check(path, tmp_path)
    assert not report.ok
    assert any(fault.entry == entry and cure in fault.cure for fault in report.faults if fault.fatal) or (
        name == "a results list"  # which `check` takes for detections, and misses their scores
    )


@pytest.mark.parametrize(
    ("content", "entry", "problem"),
    [
        (b"", "line 1 column 1", "is cut short"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "line 1 column 1", "is not JSON"),
        (json.dumps(valid_document()).encode()[:-30], "line 1 column", "is cut short"),
        (json.dumps(valid_document(), indent=1).encode()[:200], "line 13 column", "is cut short"),
        (b'{"images": [1,]}', "line 1 column 15", "is not JSON"),
        (b"\x1f\x8b\x08\x00\xff\xfe\xfd", "the file", "not text"),
        (b"[" * 100_000, "the file", "nested too deeply"),
    ],
    ids=["empty", "git-lfs pointer", "cut in an entry", "cut in a name", "comma", "gzip", "deep"],
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


def test_one_error_says_how_many_more_faults_there_are(folder):
    document = valid_document()
    for entry in document["annotations"][:4]:
        entry["bbox"] = None
    path = write(folder, document)
    with pytest.raises(SSHPEError, match=r"annotation 11: 'bbox' is None.*\(and 3 more: `sshpe data check "):
        load_instances(path, folder)


def test_one_wrong_number_among_thousands_of_people_is_found(tmp_path):
    document = valid_document()
    document["annotations"] = [person(number, 7) for number in range(9000)]
    document["annotations"][5000]["keypoints"][4] = "22"
    path = write(tmp_path, document)
    with pytest.raises(SSHPEError, match=r"annotation 5000: 'keypoints' holds '22'"):
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


def test_detections_stand_unclipped_in_file_order(folder):
    results = folder / "boxes.json"
    results.write_text(json.dumps(DETECTED))
    people = load_instances(folder / "people.json", folder, detections=results)
    assert people.boxes.tolist() == [[-2.5, 3, 50, 20], [1, 2, 3, 4], [5, 6, 7, 8]]
    assert people.box_scores.tolist() == [0.25, 0.75, 1]
    assert people.image_ids.tolist() == [3, 7, 3]
    assert people.annotation_ids.tolist() == [-1, -1, -1]
    assert people.areas.tolist() == [1000, 12, 56]
    assert people.path(0) == folder / "deep/a.png"
    assert people.keypoints.shape == (3, 2, 3) and not people.keypoints.any()


@pytest.mark.parametrize(
    ("change", "entry", "problem", "cure"),
    [
        ({"image_id": 4}, "detections[1]", "'image_id' is 4, an image that", "take the entry out"),
        ({"score": None}, "detections[1]", "'score' is None", "detector's score"),
        ({"score": NAN}, "detections[1]", "'score' is nan", "detector's score"),
        ({"bbox": [1, 2, 3]}, "detections[1]", "3 values, not 4", "width, height"),
        ({"bbox": [1, 2, 3, -4]}, "detections[1]", "[1, 2, 3, -4]", "not below 0"),
    ],
)
def test_a_broken_detection_is_named(change, entry, problem, cure, folder):
    results = folder / "boxes.json"
    results.write_text(json.dumps([DETECTED[0], {**DETECTED[1], **change}]))
    with pytest.raises(SSHPEError) as error:
        load_instances(folder / "people.json", folder, detections=results)
    assert str(error.value).startswith(f"{results}: {entry}: ")
    assert problem in str(error.value) and cure in str(error.value)


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


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("b.jpg", lambda data: b"", "the image file is empty"),
        ("b.jpg", lambda data: data[: len(data) // 2], "the image is truncated"),
        ("b.jpg", lambda data: data[:-2], "the image is truncated"),
        ("b.jpg", lambda data: data[:30], "the image is truncated"),
        ("deep/a.png", lambda data: data[: len(data) // 2], "the image is truncated"),
        ("deep/a.png", lambda data: data[:-4], "the image is truncated"),
        ("b.jpg", lambda data: b"<html>not found</html>", "no image that OpenCV can decode"),
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


@pytest.fixture
def data() -> Path:
    if not os.environ.get("SSHPE_DATA"):
        pytest.skip("SSHPE_DATA is not set")
    return Path(os.environ["SSHPE_DATA"])


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("annotations", "images", "people", "with_people", "skeleton"),
    [
        ("lsp/annotations/person_keypoints_train.json", "lsp/images/train", 1000, 1000, "lsp14"),
        ("lsp/annotations/person_keypoints_test.json", "lsp/images/test", 1000, 1000, "lsp14"),
        ("lspet-6k/annotations/person_keypoints_train.json", "lspet-6k/images/train", 6000, 6000, "lsp14"),
        ("coco-slice/annotations/person_keypoints_train.json", "coco-slice/images/train", 488, 170, "coco17"),
        ("coco-slice/annotations/person_keypoints_val.json", "coco-slice/images/val", 399, 123, "coco17"),
        ("crowdpose-slice/test_crowdpose.json", "crowdpose-slice", 4, 2, "crowdpose14"),
        ("aic-slice/test_aic.json", "aic-slice", 9, 3, "aic14"),
    ],
)
def test_real_files(annotations, images, people, with_people, skeleton, data):
    found = load_instances(data / annotations, data / images)
    assert (len(found), len(found.file_names), found.skeleton.name) == (people, with_people, skeleton)
    first = read_image(found.path(0), "the first person", size=tuple(found.image_sizes[found.image_index[0]]))
    assert first.shape[1::-1] == tuple(found.image_sizes[found.image_index[0]])
    if "area" not in ground_truth(data / annotations)["annotations"][0]:
        pytest.fail("the evaluation needs areas")


@pytest.mark.real_data
def test_real_detections(data):
    folder = data / "crowdpose-slice"
    found = load_instances(
        folder / "test_crowdpose.json", folder, detections=folder / "test_crowdpose_det_AP_40.json"
    )
    assert len(found) == 6
    assert found.box_scores[0] == np.float32(0.9999284744262695)


@pytest.mark.real_data
def test_val2017_has_6352_people(data):
    path = data / "coco-full" / "person_keypoints_val2017_rebuilt.json"
    people = load_instances(path, data, check_images=False)
    assert (len(people), len(people.file_names)) == (6352, 2346)
    assert people.skeleton == COCO17


@pytest.mark.real_data
def test_train2017_has_149813_people_in_file_order(data, tmp_path):
    arrays = np.load(data / "coco-full" / "coco_train2017_keypoints_rebuilt.npz")
    image_ids, keypoints = arrays["image_id"], arrays["keypoints"]
    first = np.sort(np.unique(image_ids, return_index=True)[1])
    path = tmp_path / "person_keypoints_train2017.json"
    document = {
        "images": [
            {"id": number, "file_name": f"{number:012d}.jpg", "width": width, "height": height}
            for number, (width, height) in zip(
                image_ids[first].tolist(), arrays["size_wh"][first].tolist(), strict=True
            )
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}],
        "annotations": [
            {"id": number, "image_id": image, "category_id": 1, "keypoints": points, "bbox": box}
            for number, (image, points, box) in enumerate(
                zip(
                    image_ids.tolist(),
                    keypoints.reshape(-1, 51).tolist(),
                    arrays["bbox"].tolist(),
                    strict=True,
                )
            )
        ],
    }
    path.write_text(json.dumps(document))
    people = load_instances(path, tmp_path, check_images=False)
    assert (len(people), len(people.file_names)) == (149_813, 56_599)
    assert np.array_equal(people.annotation_ids, np.arange(149_813))
    assert np.array_equal(people.keypoints, keypoints.astype(np.float32))
