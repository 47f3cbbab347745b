"""AI Challenger as more people of COCO's kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.config import AIChallengerSource
from sshpe_lib.data import ai_challenger, coco, sources
from sshpe_lib.data.images import read_image
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import AIC14, COCO17
from tests.data.people import valid_document, write

# AI Challenger's number -> COCO's, as the mapping is published (MMPose's merge of the two).
PUBLISHED = {0: 6, 1: 8, 2: 10, 3: 5, 4: 7, 5: 9, 6: 12, 7: 14, 8: 16, 9: 11, 10: 13, 11: 15}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file of one person with every joint, and one of whom only head and neck are labelled."""
    document = valid_document()
    category = {"id": 1, "name": "person", "keypoints": list(AIC14.keypoints), "skeleton": []}
    whole = [number for joint in range(14) for number in (10 + joint, 20 + joint, 1 + joint % 2)]
    head = [0] * 36 + [12, 4, 2, 12, 6, 2]
    first = {"image_id": 7, "category_id": 1, "bbox": [5, 5, 30, 40], "iscrowd": 0}
    document["categories"] = [category]
    document["annotations"] = [
        {**first, "id": number, "keypoints": keypoints} for number, keypoints in ((1, whole), (2, head))
    ]
    write(tmp_path, document)
    return tmp_path


def test_joints_go_where_the_published_mapping_sends_them(folder: Path) -> None:
    before, after = coco.load_instances(folder / "people.json", folder), None
    after = ai_challenger.load_instances(folder / "people.json", folder)
    assert before.skeleton == AIC14 and after.skeleton == COCO17
    assert after.annotation_ids.tolist() == [1]  # head and neck alone teach nothing
    for ours, theirs in PUBLISHED.items():
        assert np.array_equal(after.keypoints[0, theirs], before.keypoints[0, ours])
    assert not after.keypoints[0, :5].any()
    assert len(ai_challenger.SHARED) == 12


def test_who_is_occluded_all_over_is_learned_from(folder: Path) -> None:
    document = json.loads((folder / "people.json").read_text())
    document["annotations"][0]["keypoints"][2::3] = [1] * 14
    write(folder, document)
    assert ai_challenger.load_instances(folder / "people.json", folder).annotation_ids.tolist() == [1]


def test_another_keypoint_set_is_refused(tmp_path: Path) -> None:
    write(tmp_path, valid_document())
    with pytest.raises(
        SSHPEError, match="people.json: its keypoints are those of .*, not AI Challenger's 14; give"
    ):
        ai_challenger.load_instances(tmp_path / "people.json", tmp_path)


def test_its_people_are_not_measured_on(folder: Path) -> None:
    source = AIChallengerSource(
        kind="ai_challenger", annotations=str(folder / "people.json"), images=str(folder)
    )
    assert sources.skeleton(source) == COCO17 and sources.unlabelled_people(source) == {}
    for read in (sources.ground_truth, sources.whole_images):
        with pytest.raises(
            SSHPEError, match="people of kind 'ai_challenger' are learned from, not measured on"
        ):
            read(source)


def test_the_book_lists_its_joints(repository: Path) -> None:
    assert " ".join(AIC14.keypoints) in " ".join((repository / "book" / "data.md").read_text().split())


@pytest.mark.real_data
def test_the_real_slice(sshpe_data: Path) -> None:
    file = sshpe_data / "aic-slice" / "test_aic.json"
    before, after = coco.load_instances(file, file.parent), ai_challenger.load_instances(file, file.parent)
    assert len(after) == len(before) == 9
    raw = {
        entry["id"]: np.reshape(entry["keypoints"], (14, 3))
        for entry in json.loads(file.read_text())["annotations"]
    }
    for row, number in enumerate(after.annotation_ids):
        for ours, theirs in PUBLISHED.items():
            assert np.array_equal(after.keypoints[row, theirs], raw[number][ours])
    assert read_image(after.path(0), "the first person").ndim == 3
