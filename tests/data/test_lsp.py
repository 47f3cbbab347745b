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
    points[2, :2] = (1, 1), (69, 109)  # a pixel from two corners of the third image, and the margin is more
    hidden = np.zeros((3, 14, 1))
    hidden[1, 4] = 1
    savemat(tmp_path / "joints.mat", {"joints": np.concatenate([points, hidden], axis=2).transpose(2, 1, 0)})
    out = convert_lsp(tmp_path / "joints.mat", tmp_path, tmp_path / "lsp.json", first=2)
    document = json.loads(out.read_text())
    assert [image["file_name"] for image in document["images"]] == ["im0002.jpg", "im0003.jpg"]
    assert [(image["width"], image["height"]) for image in document["images"]] == SIZES[1:]
    assert list(document["info"]) == ["description", "url"] and "BMVC 2010" in document["info"]["description"]
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
    assert document["annotations"][1]["bbox"] == [0, 0, *SIZES[2]]
    (category,) = document["categories"]
    # COCO counts from 1.
    assert {joint for limb in category["skeleton"] for joint in limb} == set(range(1, 15))
    ends = (*(low <= 0), *(high >= SIZES[1]))
    assert [isinstance(value, int) for value in entry["bbox"]] == [
        *ends[:2],
        *np.logical_and(ends[:2], ends[2:]),
    ]
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
        (
            {"joints": np.ones((3, 14, 3)) * (np.arange(14) < 8)[:, None]},  # 8 of 14
            "joints: 57% of the joints are marked, so the marks mean visible",
        ),
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


def before_rounding(entry: dict, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Joints (14, 2) that round to an entry's, and have its box and area."""
    rounded = np.array(entry["keypoints"]).reshape(14, 3)[:, :2]
    ends = np.array([rounded.min(axis=0), rounded.max(axis=0)])
    clipped = [isinstance(entry["bbox"][axis], int) for axis in range(2)]
    while True:
        low, high = (end + rng.uniform(-0.005, 0.005, (20_000, 2)) for end in ends)
        margin = 0.15 * (high - low)
        corner = np.maximum(0, low - margin)
        side = np.minimum(size, high + margin) - corner
        fits = np.abs(np.concatenate([corner, side], axis=1) - entry["bbox"]).max(axis=1) < 0.005
        fits &= np.abs(0.53 * side.prod(axis=1) - entry["area"]) < 0.005
        for axis in range(2):  # whole numbers are what was clipped
            whole = isinstance(entry["bbox"][2 + axis], int)
            fits &= (high[:, axis] + margin[:, axis] >= size[axis]) == whole if clipped[axis] else True
        if fits.any():
            found, joints = fits.argmax(), rounded.copy()
            for end, moved in zip(ends, (low[found], high[found]), strict=True):
                joints = np.where(rounded == end, moved, joints)
            return joints


@pytest.mark.real_data
@pytest.mark.parametrize(("part", "first"), [("train", 1), ("test", 1001)])
def test_the_conversion_writes_the_files_that_records_are_pinned_to(sshpe_data, tmp_path, part, first):
    """Byte for byte; they hold rounded joints and boxes of joints that were not, so from joints that may be those."""
    folder, rng = sshpe_data / "lsp", np.random.default_rng(0)
    pinned = folder / f"annotations/person_keypoints_{part}.json"
    theirs = json.loads(pinned.read_text())
    joints = np.zeros((3, 14, 2000))
    for entry, image in zip(theirs["annotations"], theirs["images"], strict=True):
        place = entry["id"] - 1
        joints[:2, :, place] = before_rounding(entry, (image["width"], image["height"]), rng).T
        joints[2, :, place] = 2 - np.array(entry["keypoints"][2::3])
    savemat(tmp_path / "joints.mat", {"joints": joints})
    images = folder / "images" / part
    out = convert_lsp(tmp_path / "joints.mat", images, tmp_path / "ours.json", first=first, last=first + 999)
    assert out.read_bytes() == pinned.read_bytes()
