"""The file for COCO's server: its names, its content, and what is refused before it is sent."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate import submission

STEM = "person_keypoints_test-dev2017_ours_results"


def result(**changes) -> dict:
    keypoints = [float(value) for value in range(51)]
    return {"image_id": 7, "category_id": 1, "keypoints": keypoints, "score": 0.5} | changes


@pytest.fixture
def info(tmp_path: Path) -> Path:
    path = tmp_path / "image_info_test-dev2017.json"
    path.write_text(json.dumps({"images": [{"id": 7}, {"id": 9}], "categories": []}))
    return path


def test_the_file_is_the_servers(info: Path, tmp_path: Path) -> None:
    results = [result(), result(image_id=9, score=0.12345678, keypoints=[1 / 3] * 51)]
    path = submission.write(tmp_path / "new" / "folder", "ours", results, info)
    assert path == tmp_path / "new" / "folder" / f"{STEM}.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{STEM}.json"]
        written = json.loads(archive.read(f"{STEM}.json"))
    assert written == [result(), result(image_id=9, score=0.123457, keypoints=[0.333] * 51)]
    assert submission.check(path, info) == 2
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_equal_results_give_equal_bytes(info: Path, tmp_path: Path) -> None:
    first, again = (submission.write(tmp_path / n, "ours", [result()], info).read_bytes() for n in ("a", "b"))
    assert first == again


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (result(image_id=8), "image 8 is not one of test-dev"),
        (result(image_id=[7]), r"image \[7\] is not one of test-dev"),
        (result(category_id=2), "category 2 is not 1"),
        (result(keypoints=[0.0] * 50), "not 51 numbers"),
        (result(keypoints=[float("nan")] + [0.0] * 50), "no finite number"),
        (result(score=float("inf")), "no finite number"),
        (result(segmentation=[]), "fields are not image_id, category_id, keypoints, score"),
    ],
)
def test_what_the_server_would_refuse_is_refused_here(
    info: Path, tmp_path: Path, wrong: dict, told: str
) -> None:
    with pytest.raises(SSHPEError, match=f"{STEM}.zip: result 1: .*{told}.*as 1 more.*predict it again"):
        submission.write(tmp_path / "out", "ours", [result(), wrong, wrong], info)
    assert not (tmp_path / "out").exists()


def test_no_results_and_no_images_are_refused(info: Path, tmp_path: Path) -> None:
    with pytest.raises(SSHPEError, match="results: there are none"):
        submission.write(tmp_path, "ours", [], info)
    info.write_text('{"images": []}')
    with pytest.raises(SSHPEError, match=r"image_info_test-dev2017\.json: images: it lists no image"):
        submission.write(tmp_path, "ours", [result()], info)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", ".hidden"])
def test_a_name_that_is_no_files_is_refused(info: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(SSHPEError, match="a submission cannot be named"):
        submission.write(tmp_path, name, [result()], info)


def archive(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in files.items():
            made.writestr(f"{name}.json", content)
    return path


def test_check_names_what_is_wrong_with_a_file(info: Path, tmp_path: Path) -> None:
    right = tmp_path / f"{STEM}.zip"
    faults = {
        "it holds other.json; put": lambda: archive(right, other="[]"),
        "it holds .*; put": lambda: archive(right, **{STEM: "[]", "more": "[]"}),
        "no JSON": lambda: archive(right, **{STEM: "[{"}),
        "no list of results": lambda: archive(right, **{STEM: "{}"}),
        "there are none": lambda: archive(right, **{STEM: "[]"}),
        "result 0: its fields are not": lambda: archive(right, **{STEM: "[3]"}),
        "no zip file": lambda: right.write_text("x") and right,
        "name it person_keypoints": lambda: archive(tmp_path / "ours.zip", **{STEM: "[]"}),
    }
    for told, make in faults.items():
        with pytest.raises(SSHPEError, match=told):
            submission.check(make(), info)
    with pytest.raises(SSHPEError, match="no zip file"):
        submission.check(tmp_path / STEM.replace("ours", "none").__add__(".zip"), info)
