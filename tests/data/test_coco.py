"""Reading keypoint files: the reference's order and filter, detections, and the real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.data.check import check
from sshpe_lib.data.coco import clip_boxes, fingerprint, ground_truth, load_detections, load_instances
from sshpe_lib.data.images import read_image
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import COCO17
from tests.data.people import NAMES, person, valid_document, write


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
            shows = x2 >= x1 and y2 >= y1 and (x2, y2) != (x1, y1)  # the reference keeps a single point, too
            if entry["area"] > 0 and shows and max(entry["keypoints"]) != 0:
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


def test_a_person_whose_joints_have_places_but_no_labels_is_kept_as_by_the_reference(folder):
    document = valid_document()
    document["annotations"].append(person(17, 9, bbox=[1, 1, 5, 5], keypoints=[4, 3, 0, 0, 0, 0]))
    people = load_instances(write(folder, document), folder)
    assert people.annotation_ids.tolist() == [number for number, _ in slow_filter(document)]
    assert 17 in people.annotation_ids


def test_clip_keeps_a_box_of_one_pixel():
    boxes, left = clip_boxes(
        np.array([[3.0, 4, 1, 1], [63, 0, 5, 5], [64, 0, 5, 5]]), np.array([[64, 48]] * 3)
    )
    assert boxes.tolist()[:2] == [[3, 4, 0, 0], [63, 0, 0, 4]]
    assert left.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "box", [[10, 10, 1, 1], [10.2, 10.2, 0.6, 0.9], [10, 10, 0, 0], [63, 47, 30, 30], [-9, -9, 1, 0]]
)
def test_a_person_of_whom_a_single_point_is_left_is_no_person(folder, box):
    document = valid_document()
    document["annotations"][1]["bbox"] = box
    path = write(folder, document)
    assert load_instances(path, folder).annotation_ids.tolist() == [10, 11]
    report = check(path, folder)
    assert report.ok and report.files[0].counts["left out: box without size"] == 1
    assert report.files[0].counts["valid people"] == 2


@pytest.mark.parametrize("box", [[10, 10, 1, 2], [10.2, 10.2, 1.1, 0], [63, 46, 30, 30], [-9, -9, 1.5, 0]])
@pytest.mark.parametrize("unbiased", [False, True])
def test_whoever_is_valid_can_be_cropped(folder, box, unbiased):
    document = valid_document()
    document["annotations"][1]["bbox"] = box
    people = load_instances(write(folder, document), folder)
    assert people.annotation_ids.tolist() == [12, 10, 11]
    weak = WeakAffine()
    assert Crops(people, (48, 64), weak=weak, unbiased=unbiased).batch([0, 1, 2]).image.shape == (
        3,
        3,
        64,
        48,
    )


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
    for name in ("dog", 2, "2"):
        assert load_instances(path, folder, category=name).annotation_ids.tolist() == [99]
    with pytest.raises(
        SSHPEError, match="0 of them match 'cat'; choose one by `category`, its name or id: --category"
    ):
        load_instances(path, folder, category="cat")
    document["categories"][0]["name"] = "2"  # a name goes before an id
    assert len(load_instances(write(folder, document), folder, category="2")) == 3


def test_fingerprint_follows_the_content(folder):
    path = folder / "people.json"
    before = fingerprint(path)
    assert len(before) == 64 and fingerprint(path) == before
    path.write_text(path.read_text() + " ")
    assert fingerprint(path) != before
    write(folder, valid_document())
    assert fingerprint(path) == before


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


def test_detections_in_a_file_that_labels_nobody_are_the_same(folder):
    """COCO's image_info_test-dev2017.json has images, and categories without keypoints."""
    results, info = folder / "boxes.json", folder / "info.json"
    results.write_text(json.dumps(DETECTED))
    info.write_text(
        json.dumps({"images": valid_document()["images"], "categories": [{"id": 1, "name": "person"}]})
    )
    found = load_detections(info, folder, results, COCO17, 1)
    expected = load_instances(folder / "people.json", folder, detections=results)
    assert found.skeleton == COCO17 and found.keypoints.shape == (3, 17, 3) and found.source == info
    for name in ("boxes", "box_scores", "image_ids", "annotation_ids", "areas", "image_sizes"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    assert found.file_names == expected.file_names


def test_a_file_of_image_facts_is_checked(folder):
    results, info = folder / "boxes.json", folder / "info.json"
    results.write_text(json.dumps(DETECTED))
    info.write_text("[]")
    with pytest.raises(SSHPEError, match="info.json.*no list of images"):
        load_detections(info, folder, results, COCO17, 1)
    for changes, told in (
        ({"file_name": "no.png"}, "info.json.*no.png"),
        ({"width": 0}, r"info\.json: image 7: width 0, height"),
    ):
        info.write_text(json.dumps({"images": [one | changes for one in valid_document()["images"]]}))
        with pytest.raises(SSHPEError, match=told):
            load_detections(info, folder, results, COCO17, 1)


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
def test_real_files(annotations, images, people, with_people, skeleton, sshpe_data):
    found = load_instances(sshpe_data / annotations, sshpe_data / images)
    assert (len(found), len(found.file_names), found.skeleton.name) == (people, with_people, skeleton)
    first = read_image(found.path(0), "the first person", size=tuple(found.image_sizes[found.image_index[0]]))
    assert first.shape[1::-1] == tuple(found.image_sizes[found.image_index[0]])
    needed = {"area", "iscrowd", "num_keypoints"}
    assert all(needed <= entry.keys() for entry in ground_truth(sshpe_data / annotations)["annotations"])


@pytest.mark.real_data
def test_real_detections(sshpe_data):
    folder = sshpe_data / "crowdpose-slice"
    found = load_instances(
        folder / "test_crowdpose.json", folder, detections=folder / "test_crowdpose_det_AP_40.json"
    )
    assert len(found) == 6
    assert found.box_scores[0] == np.float32(0.9999284744262695)


@pytest.mark.real_data
def test_val2017_has_6352_people(sshpe_data):
    path = sshpe_data / "coco-full" / "person_keypoints_val2017_rebuilt.json"
    people = load_instances(path, sshpe_data, check_images=False)
    assert (len(people), len(people.file_names)) == (6352, 2346)
    assert people.skeleton == COCO17


@pytest.mark.real_data
def test_train2017_has_149813_people_in_file_order(sshpe_data, tmp_path):
    arrays = np.load(sshpe_data / "coco-full" / "coco_train2017_keypoints_rebuilt.npz")
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
                    np.round(arrays["bbox"].astype(float), 2).tolist(),
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
