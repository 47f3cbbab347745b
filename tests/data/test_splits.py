"""Labelled splits, the reference's and a seeded one, and files parted by images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.data.coco import load_instances
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.splits import (
    first_images,
    first_instances,
    hold_out,
    random_images,
    random_instances,
)
from sshpe_lib.errors import SSHPEError
from sshpe_lib.seeding import numpy_stream
from tests.data.people import valid_document, write


@pytest.fixture
def people(tmp_path: Path) -> Instances:
    """Fifty people, two an image, with ids that fall as the file goes on."""
    document = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 50, "height": 50} for n in range(25)],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose"]}],
        "annotations": [
            {
                "id": 500 - n,
                "image_id": n // 2,
                "category_id": 1,
                "keypoints": [1, 2, 2],
                "bbox": [0, 0, 9, 9],
            }
            for n in range(50)
        ],
    }
    path = tmp_path / "people.json"
    path.write_text(json.dumps(document))
    return load_instances(path, tmp_path, check_images=False)


def test_the_first_people_of_the_file_cut_the_last_image_part_way(people):
    chosen = people.select(first_instances(people, 5))
    assert chosen.annotation_ids.tolist() == [500, 499, 498, 497, 496]
    assert chosen.image_ids.tolist() == [0, 0, 1, 1, 2]
    assert first_instances(people, 50).tolist() == list(range(50))


def test_a_random_split_is_seeded_sorted_and_grows(people):
    ten = random_instances(people, 10, seed=3)
    assert ten.tolist() == random_instances(people, 10, seed=3).tolist() == sorted(set(ten.tolist()))
    assert ten.tolist() != random_instances(people, 10, seed=4).tolist()
    assert ten.tolist() != list(range(10))
    assert set(ten) < set(random_instances(people, 20, seed=3))
    assert random_instances(people, 50, seed=3).tolist() == list(range(50))
    drawn = np.bincount(
        np.concatenate([random_instances(people, 10, seed) for seed in range(400)]), minlength=50
    )
    assert 45 < drawn.min() and drawn.max() < 115  # 80 expected, standard deviation 8


def test_the_first_images_come_with_everybody_in_them(people):
    assert first_images(people, 3).tolist() == list(range(6))
    assert first_images(people, None).tolist() == first_images(people, 25).tolist() == list(range(50))


def test_a_random_split_of_images_is_seeded_whole_and_grows(people):
    ten = random_images(people, 10, seed=3)
    assert ten.tolist() == random_images(people, 10, seed=3).tolist()
    assert ten.tolist() != random_images(people, 10, seed=4).tolist()
    assert np.array_equal(ten, np.flatnonzero(np.isin(people.image_index, people.image_index[ten])))
    assert len(ten) == 20 and set(ten) < set(random_images(people, 20, seed=3))


def test_a_random_split_is_that_of_the_committed_records(people):
    """Drawn otherwise, it would be of other people under the same key."""
    assert random_instances(people, 6, seed=3).tolist() == [9, 12, 32, 35, 39, 49]
    assert random_images(people, 3, seed=3).tolist() == [14, 15, 28, 29, 42, 43]


@pytest.mark.parametrize("count", [0, -1, 51])
def test_a_count_outside_the_pool_is_refused(people, count):
    for choose in (lambda: first_instances(people, count), lambda: random_instances(people, count, 0)):
        with pytest.raises(SSHPEError) as error:
            choose()
        assert str(error.value) == (
            f"{people.source}: labelled split: {count} labels are wanted of 50 valid people; ask for 1 to 50"
        )


@pytest.mark.parametrize("count", [0, -1, 26])
def test_a_count_of_images_outside_the_pool_is_refused(people, count):
    for choose in (lambda: first_images(people, count), lambda: random_images(people, count, 0)):
        with pytest.raises(SSHPEError, match=f"{count} labels are wanted of 25 images; ask for 1 to 25"):
            choose()


def test_a_hold_out_parts_the_images_and_keeps_what_is_said_of_them(tmp_path: Path) -> None:
    file = write(tmp_path, valid_document())
    (train, two), (val, one) = hold_out(file, 0.34, seed=3, folder=tmp_path / "parts")
    assert (two, one) == (2, 1) and {train.parent, val.parent} == {tmp_path / "parts"}
    parts = [json.loads(path.read_text()) for path in (train, val)]
    whole = valid_document()
    for name in ("images", "annotations"):
        together = [entry for part in parts for entry in part[name]]
        assert sorted(together, key=lambda entry: entry["id"]) == sorted(
            whole[name], key=lambda entry: entry["id"]
        )
    for part in parts:
        assert part["categories"] == whole["categories"]
        assert {person["image_id"] for person in part["annotations"]} <= {
            image["id"] for image in part["images"]
        }


def test_a_share_is_the_nearest_number_of_images(tmp_path: Path) -> None:
    file = write(tmp_path, valid_document())
    assert [images for _, images in hold_out(file, 0.6)] == [1, 2]  # 1.8 of 3


@pytest.mark.parametrize("place", [{}, {"image_id": [7]}, {"image_id": None}, {"image_id": 10**30}])
def test_a_hold_out_leaves_out_what_belongs_to_no_image(tmp_path: Path, place: dict) -> None:
    document = valid_document()
    document["annotations"].append({"id": 20, "category_id": 2, **place})
    file = write(tmp_path, document)
    assert len(load_instances(file, tmp_path)) == 3
    parts = [json.loads(path.read_text()) for path, _ in hold_out(file, 0.34)]
    assert sorted(one["id"] for part in parts for one in part["annotations"]) == list(range(10, 17))


def test_a_hold_out_names_a_number_that_python_does_not_read(tmp_path: Path) -> None:
    file = write(tmp_path, valid_document())
    file.write_text(file.read_text().replace('"size": [', '"size": [' + "1" * 5000))
    with pytest.raises(SSHPEError, match=r"people.json: the file: it holds a whole number of more than"):
        hold_out(file, 0.34)


def test_a_hold_out_needs_a_folder(tmp_path: Path) -> None:
    file = write(tmp_path, valid_document())
    with pytest.raises(SSHPEError, match=r"people.json: cannot be written \(File exists\)"):
        hold_out(file, 0.34, folder=file)


def test_a_hold_out_is_drawn_by_its_seed(tmp_path: Path) -> None:
    document = valid_document()
    more = [dict(document["images"][2], id=n, file_name=f"{n}.jpg") for n in range(20, 60)]
    document["images"] += more
    file = write(tmp_path, document)

    def held(seed: int) -> str:
        return hold_out(file, 0.5, seed)[1][0].read_text()

    assert held(1) == held(1) != held(2)


def test_a_photograph_that_is_listed_twice_is_in_one_part(tmp_path: Path) -> None:
    document = valid_document()
    document["images"] = [dict(document["images"][0], id=n, file_name=f"{n // 2}.jpg") for n in range(40)]
    document["annotations"] = [dict(document["annotations"][0], id=n, image_id=n) for n in range(40)]
    file = write(tmp_path, document)
    for seed in range(3):
        parts = [json.loads(path.read_text())["images"] for path, _ in hold_out(file, 0.4, seed)]
        train, val = ({image["file_name"] for image in part} for part in parts)
        assert not train & val and [len(part) for part in parts] == [24, 16]


def test_a_hold_out_is_that_of_its_stream(tmp_path: Path) -> None:
    document = valid_document()
    document["images"] = [dict(document["images"][0], id=9 - n, file_name=f"{n}.jpg") for n in range(10)]
    document["annotations"] = [dict(document["annotations"][0], image_id=5)]
    _, (val, _) = hold_out(write(tmp_path, document), 0.3, seed=2)
    drawn = numpy_stream("hold-out", 2).permutation(10)[:3]
    assert {image["id"] for image in json.loads(val.read_text())["images"]} == set((9 - drawn).tolist())


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.2, 0.1, float("nan")])
def test_a_hold_out_that_leaves_a_part_empty_is_refused(tmp_path: Path, share: float) -> None:
    file = write(tmp_path, valid_document())
    with pytest.raises(
        SSHPEError, match=r"people.json: hold-out: a share of .* leaves a part empty; give a share"
    ):
        hold_out(file, share)
    assert [path.name for path in tmp_path.glob("*.json")] == ["people.json"]
