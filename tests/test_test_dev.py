"""From a record to the file for COCO's server: predicted with the network whose result the record quotes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from sshpe_lib import records, tables, test_dev, trained
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate import submission
from sshpe_lib.experiment import run
from sshpe_lib.machine import Machine
from sshpe_lib.records import Record
from sshpe_lib.skeleton import COCO17, Skeleton
from tests import choices, processes

QUIET = Machine(threads=1, progress=False, accelerator="cpu")
IMAGES = {11: (120, 160), 12: (200, 90), 13: (64, 64)}  # (height, width) by id


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Folders of a project: one trained run and its record, and a data set that labels nobody."""
    folder = tmp_path_factory.mktemp("home")
    short = {"train.steps": 2, "evaluate.times": 1}
    run(
        tables.experiment("smoke", "pose-mum+", set=short),
        QUIET,
        records_folder=folder / "records",
        runs_folder=folder / "runs",
    )
    (folder / "images").mkdir()
    draw = np.random.default_rng(0)
    for index, size in IMAGES.items():
        cv2.imwrite(str(folder / "images" / f"{index}.jpg"), draw.integers(0, 255, (*size, 3), np.uint8))
    listed = [{"id": i, "file_name": f"{i}.jpg", "height": h, "width": w} for i, (h, w) in IMAGES.items()]
    (folder / "info.json").write_text(
        json.dumps({"images": listed, "categories": [{"id": 1, "name": "person"}]})
    )
    boxes = [
        (11, 0.9, (10, 10, 50, 90)),
        (11, 0.3, (80, 5, 60, 100)),
        (13, 0.7, (0, 0, 64, 64)),
        (12, 0.1, (5, 5, 9, 70)),
    ]
    detected = [{"image_id": i, "category_id": 1, "score": s, "bbox": list(b)} for i, s, b in boxes]
    (folder / "boxes.json").write_text(json.dumps(detected))
    return folder


@pytest.fixture
def project(home: Path, monkeypatch) -> Path:
    monkeypatch.setenv("SSHPE_RECORDS", str(home / "records"))
    monkeypatch.setenv("SSHPE_RUNS", str(home / "runs"))
    monkeypatch.setenv("SSHPE_DATA", str(home))
    return home


def the_record(home: Path) -> Record:
    return records.only(home / "records", "")


def submit(home: Path, output: Path, key: str = "", name: str = "ours") -> Path:
    return test_dev.submit(
        key or the_record(home).key[:6],
        Path("boxes.json"),
        Path("info.json"),
        Path("images"),
        output,
        name,
        QUIET,
    )


def content(path: Path) -> bytes:
    """The results in a submission."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0])


def test_every_detected_person_is_predicted(project: Path, tmp_path: Path) -> None:
    path = submit(project, tmp_path)
    assert submission.check(path, project / "info.json") == 4
    with zipfile.ZipFile(path) as archive:
        results = json.loads(archive.read(archive.namelist()[0]))
    assert sorted(result["image_id"] for result in results) == [11, 11, 12, 13]
    assert submit(project, tmp_path / "again").read_bytes() == path.read_bytes()


def test_of_several_processes_the_first_writes(project: Path, tmp_path: Path, monkeypatch) -> None:
    asked = processes.second_of_two(monkeypatch)
    assert submit(project, tmp_path) is None and not list(tmp_path.iterdir()) and asked == [False]


def test_the_network_is_the_one_that_the_record_quotes(project: Path) -> None:
    """The teacher of Pose-MUM+, and not the student beside it in the checkpoint."""
    record = the_record(project)
    assert record.headline == "teacher"
    teacher = trained.of_record(record, COCO17).state_dict()
    student = trained.of_record(record.model_copy(update={"headline": "student"}), COCO17).state_dict()
    assert any(not np.array_equal(teacher[name], student[name]) for name in teacher)


def test_a_record_without_a_checkpoint_says_how_to_get_one(
    project: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path))
    with pytest.raises(
        SSHPEError, match=r"no checkpoint of a finished run; train it again: sshpe reproduce \w+ --keep"
    ):
        submit(project, tmp_path)


def test_an_unknown_key_and_other_keypoints_are_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(SSHPEError, match="no record's key starts with 'xyz'"):
        submit(project, tmp_path, "xyz")
    half = Skeleton("half", COCO17.keypoints[:5], (), (), COCO17.sigmas[:5], ())
    with pytest.raises(SSHPEError, match="its student is not a network of the 5 keypoints of half"):
        trained.of_record(the_record(project), half)


def test_a_name_or_folder_that_cannot_be_is_known_before_anything_is_predicted(
    project: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(test_dev.trained, "of_record", lambda *_: pytest.fail("it loaded a network"))
    (tmp_path / "afile").write_text("")
    with pytest.raises(SSHPEError, match="afile/below: cannot be written"):
        submit(project, tmp_path / "afile" / "below")
    with pytest.raises(SSHPEError, match="a submission cannot be named 'my network'"):
        submit(project, tmp_path, name="my network")


def test_a_missing_image_is_named_before_anything_is_predicted(project: Path, tmp_path: Path) -> None:
    with pytest.raises(SSHPEError, match=r"info\.json.*11\.jpg"):
        test_dev.submit(
            the_record(project).key,
            Path("boxes.json"),
            Path("info.json"),
            Path("none"),
            tmp_path,
            "ours",
            QUIET,
        )


def test_a_bottom_up_network_needs_no_boxes(home: Path, tmp_path: Path, monkeypatch) -> None:
    for name in ("records", "runs"):
        monkeypatch.setenv(f"SSHPE_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("SSHPE_DATA", str(home))
    made = tables.experiment("smoke", "udpv1", set={"train.steps": 2, "evaluate.times": 1}, **choices.WHOLE)
    key = run(made, QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs").key
    asked = Path("info.json"), Path("images"), tmp_path, "ours", QUIET
    with pytest.raises(SSHPEError, match="finds people by itself; leave --detections out"):
        test_dev.submit(key, Path("boxes.json"), *asked)
    load = trained.of_record

    def sure(*which):
        """The trained network, but for two steps' worth of modesty: its heatmaps are high enough to be read."""
        network = load(*which)
        for final in network.final_layers:
            final.bias.data[:17] += 0.5
        return network

    monkeypatch.setattr(trained, "of_record", sure)
    path = test_dev.submit(key, None, *asked)
    assert path.name == "person_keypoints_test-dev2017_ours_results.zip"
    with zipfile.ZipFile(path) as archive:
        results = json.loads(archive.read(archive.namelist()[0]))
    assert all(entry["image_id"] in IMAGES and len(entry["keypoints"]) == 51 for entry in results)
    assert made.evaluate.multi_scale == (1, 2)
    single, several = (test_dev.submit(key, None, *asked, scales) for scales in ((1.0,), (1.0, 2.0)))
    assert single.name == "person_keypoints_test-dev2017_ours-scales-1_results.zip"
    assert several.name == "person_keypoints_test-dev2017_ours-scales-1-2_results.zip"
    assert submission.check(single, home / "info.json") and submission.check(several, home / "info.json")
    assert content(several) == content(path) != content(single)
    for wrong in ((0.5, 2.0), (1.0, 1.0), (-1.0, 1.0), (1.0, float("nan")), (1.0, float("inf")), (0.75, 1.0)):
        with pytest.raises(
            SSHPEError, match="--scale .*: give positive scales, each once, with 1 among them"
        ):
            test_dev.submit(key, None, *asked, wrong)


def test_scales_are_told_in_a_name_that_the_server_takes() -> None:
    assert test_dev._named("ours", ()) == "ours"
    assert test_dev._named("ours", (0.5, 1.0, 2.0)) == "ours-scales-0.5-1-2"


def test_a_top_down_network_has_no_scales(project: Path, tmp_path: Path) -> None:
    asked = the_record(project).key, Path("boxes.json"), Path("info.json"), Path("images"), tmp_path
    with pytest.raises(SSHPEError, match="looks at crops, which have one scale; leave --scale out"):
        test_dev.submit(*asked, "ours", QUIET, (1.0,))


def test_a_top_down_network_needs_boxes(project: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SSHPEError, match="looks at detected people; name a detector's results by --detections"
    ):
        test_dev.submit(
            the_record(project).key, None, Path("info.json"), Path("images"), tmp_path, "ours", QUIET
        )
