"""LSP and LSP Extended from joints.mat to COCO keypoint files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from sshpe_lib.data.check import check
from sshpe_lib.data.coco import load_instances
from sshpe_lib.data.lsp import convert_lsp, convert_lspet
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import LSP14

SIZES = [(90, 120), (80, 100), (70, 110)]


def make(folder: Path, pattern: str) -> np.ndarray:
    """Three images and the joints in them, (3, 14, 2)."""
    rng = np.random.default_rng(1)
    for number, (width, height) in enumerate(SIZES, 1):
        cv2.imwrite(str(folder / pattern.format(number)), np.full((height, width, 3), 99, dtype=np.uint8))
    return np.round(rng.uniform(10, 70, (3, 14, 2)), 2)


def test_lsp_marks_hidden_joints(tmp_path):
    points = make(tmp_path, "im{:04d}.jpg")
    hidden = np.zeros((3, 14, 1))
    hidden[1, 4] = 1
    savemat(tmp_path / "joints.mat", {"joints": np.concatenate([points, hidden], axis=2).transpose(2, 1, 0)})
    out = convert_lsp(tmp_path / "joints.mat", tmp_path, tmp_path / "lsp.json", first=2)
    document = json.loads(out.read_text())
    assert [image["file_name"] for image in document["images"]] == ["im0002.jpg", "im0003.jpg"]
    assert [(image["width"], image["height"]) for image in document["images"]] == SIZES[1:]
    assert "counted from 1" in document["info"]["description"]
    people = load_instances(out, tmp_path)
    assert people.skeleton == LSP14
    assert people.annotation_ids.tolist() == [2, 3]
    assert np.array_equal(people.keypoints[:, :, :2], points[1:].astype(np.float32))
    assert people.keypoints[0, :, 2].tolist() == [2, 2, 2, 2, 1] + [2] * 9
    low, high = points[1].min(axis=0), points[1].max(axis=0)
    margin = 0.15 * (high - low)
    low, high = np.maximum(0, low - margin), np.minimum(SIZES[1], high + margin)
    entry = document["annotations"][0]
    assert np.abs(np.array(entry["bbox"]) - np.concatenate([low, high - low])).max() <= 0.0051
    assert entry["area"] == pytest.approx(0.53 * np.prod(high - low), abs=0.0051)
    assert entry["num_keypoints"] == 14
    assert check(out, tmp_path).ok


def test_lspet_marks_labelled_joints(tmp_path):
    points = make(tmp_path, "im{:05d}.jpg")
    labelled = np.ones((3, 14, 1))
    labelled[0, 3] = labelled[2] = 0
    points[0, 3] = -999  # what the file holds there is of no use
    savemat(
        tmp_path / "joints.mat", {"joints": np.concatenate([points, labelled], axis=2).transpose(1, 2, 0)}
    )
    out = convert_lspet(tmp_path / "joints.mat", tmp_path, tmp_path / "lspet.json")
    document = json.loads(out.read_text())
    assert [entry["num_keypoints"] for entry in document["annotations"]] == [13, 14, 0]
    assert document["annotations"][2]["bbox"] == [0, 0, 0, 0]
    people = load_instances(out, tmp_path)
    assert people.annotation_ids.tolist() == [1, 2]  # nobody is labelled in the third
    assert people.keypoints[0, 3].tolist() == [0, 0, 0]
    assert people.boxes[0].min() >= 0
    assert set(people.keypoints[..., 2].ravel().tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "the file: it does not exist"),
        (b"not a matrix", "the file: it is no MATLAB file that SciPy reads"),
        ({"points": np.zeros((3, 14, 3))}, "joints: it is missing"),
        (
            {"joints": np.zeros((14, 3, 3))},
            "joints: it is float64 of shape (14, 3, 3), not numbers of shape (3, 14, 'N')",
        ),
        ({"joints": np.full((3, 14, 3), "x")}, "joints: it is "),
        ({"joints": np.full((3, 14, 3), np.nan)}, "joints: it holds a number that is not finite"),
        (
            {"joints": np.full((3, 14, 3), 0.5)},
            "joints: it holds a number that is not finite, or a flag other",
        ),
        ({"joints": np.ones((3, 14, 3))}, "joints: 100% of the joints are marked, so the marks mean visible"),
    ],
)
def test_another_file_is_refused(content, problem, tmp_path):
    make(tmp_path, "im{:04d}.jpg")
    path = tmp_path / "joints.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        savemat(path, content)
    with pytest.raises(SSHPEError) as error:
        convert_lsp(path, tmp_path, tmp_path / "out.json")
    assert str(error.value).startswith(f"{path}: {problem}")
    assert "give LSP's own joints.mat" in str(error.value)
    assert not (tmp_path / "out.json").exists()


def test_a_truncated_mat_an_impossible_range_and_a_missing_image(tmp_path):
    make(tmp_path, "im{:04d}.jpg")
    path = tmp_path / "joints.mat"
    savemat(path, {"joints": np.zeros((3, 14, 3))}, do_compression=True)
    with pytest.raises(
        SSHPEError, match=r"joints.mat: joints: images 2 to 4 of 3 are wanted; ask for a range within"
    ):
        convert_lsp(path, tmp_path, tmp_path / "out.json", first=2, last=4)
    (tmp_path / "im0002.jpg").unlink()
    with pytest.raises(SSHPEError, match=r"im0002.jpg: .*joints.mat, image 2: the image file does not exist"):
        convert_lsp(path, tmp_path, tmp_path / "out.json")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SSHPEError, match="it is no MATLAB file that SciPy reads"):
        convert_lsp(path, tmp_path, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists() and not list(tmp_path.glob("*.tmp"))


@pytest.mark.real_data
def test_the_conversion_equals_the_one_that_lsp_comes_in(sshpe_data, tmp_path):
    folder = sshpe_data / "lsp"
    theirs = json.loads((folder / "annotations/person_keypoints_test.json").read_text())
    joints = np.zeros((3, 14, 2000))
    joints[..., 1000:] = (
        np.array([entry["keypoints"] for entry in theirs["annotations"]]).reshape(-1, 14, 3).T.copy()
    )
    joints[2, :, 1000:] = 2 - joints[2, :, 1000:]
    savemat(tmp_path / "joints.mat", {"joints": joints})
    out = convert_lsp(tmp_path / "joints.mat", folder / "images/test", tmp_path / "ours.json", first=1001)
    ours = json.loads(out.read_text())
    assert ours["categories"] == theirs["categories"]
    assert ours["images"] == theirs["images"]
    for entry, other in zip(ours["annotations"], theirs["annotations"], strict=True):
        assert entry.keys() == other.keys()
        for key in ("id", "image_id", "keypoints", "num_keypoints", "iscrowd", "category_id"):
            assert entry[key] == other[key]
        # Theirs was made before the joints were rounded by up to 0.005, which moves a side by up to 0.013.
        assert np.abs(np.subtract(entry["bbox"], other["bbox"])).max() < 0.025
        assert abs(entry["area"] - other["area"]) < 0.025 * sum(other["bbox"][2:])
