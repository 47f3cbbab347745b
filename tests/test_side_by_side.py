"""Teacher and student of one run on the same people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sshpe_lib import cli, records, side_by_side, tables, trained
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import run
from sshpe_lib.machine import Machine
from sshpe_lib.report.heatmaps import heatmaps
from sshpe_lib.skeleton import COCO17
from tests import choices

QUIET = Machine(threads=1, progress=False, accelerator="cpu")
SHORT = {"train.steps": 2, "evaluate.times": 1}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


def trained_one(project: Path, method: str, color: str = "rgb", **chosen) -> records.Record:
    made = tables.experiment("smoke", method, set=SHORT | {"data.color": color}, **chosen)
    return run(made, QUIET, records_folder=project / "records", runs_folder=project / "runs")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The images, answers and joints of every figure that is drawn."""
    noted = []

    def drawn(images: np.ndarray, answers: dict, joints: tuple):
        noted.append((images, answers, joints))
        return heatmaps(images, answers, joints)

    monkeypatch.setattr(side_by_side, "heatmaps", drawn)
    return noted


def test_both_networks_are_drawn(project: Path, seen: list[tuple]) -> None:
    record = trained_one(project, "pose-mum+")
    figure = side_by_side.student_and_teacher(record, 3, runs_folder=project / "runs")
    side_by_side.student_and_teacher(record, 3, "left_wrist", runs_folder=project / "runs")
    (images, everything, joints), (_, one, name) = seen
    width, height = record.experiment.data.input_size
    assert images.shape == (3, height, width, 3) and list(everything) == ["teacher", "student"]
    assert everything["teacher"].shape == (3, 17, height // 4, width // 4) and len(joints) == 17
    assert not np.array_equal(everything["teacher"], everything["student"])
    assert name == ["left_wrist"]
    np.testing.assert_array_equal(one["student"][:, 0], everything["student"][:, joints.index("left_wrist")])
    assert [axes.get_title(loc="left") for axes in figure.axes[::3]][:3] == [
        "people", "teacher, 17 joints", "student, 17 joints",
    ]  # fmt: skip


def test_people_are_drawn_in_their_own_colours(project: Path, seen: list[tuple]) -> None:
    for color in ("rgb", "bgr"):
        record = trained_one(project, "pose-mum+", color)
        side_by_side.student_and_teacher(record, 2, "nose", runs_folder=project / "runs")
    (rgb, _, _), (bgr, _, _) = seen
    np.testing.assert_array_equal(bgr, rgb)


def test_the_networks_see_normalised_crops(project: Path, seen: list[tuple]) -> None:
    record = trained_one(project, "pose-mum+")
    side_by_side.student_and_teacher(record, 2, "nose", runs_folder=project / "runs")
    ((images, answers, _),) = seen
    student = trained.networks(record, COCO17, project / "runs")["student"]
    with torch.no_grad():
        wanted = student(normalize(torch.from_numpy(images).permute(0, 3, 1, 2)))
    np.testing.assert_array_equal(answers["student"], wanted[:, :1].numpy())


@pytest.mark.parametrize(
    ("method", "chosen", "told"),
    [
        ("supervised", {}, "it has no teacher beside its student"),
        ("affine-single", {}, "it has no teacher beside its student"),
        ("udpv1", choices.WHOLE, "reads whole images; name a record of crops"),
    ],
)
def test_a_run_without_both_is_refused(project: Path, method: str, chosen: dict, told: str) -> None:
    record = trained_one(project, method, **chosen)
    with pytest.raises(SSHPEError, match=told):
        side_by_side.student_and_teacher(record, runs_folder=project / "runs")


def test_an_unknown_joint_is_refused(project: Path) -> None:
    with pytest.raises(SSHPEError, match="no keypoint 'tail'; choose one of: nose, "):
        side_by_side.student_and_teacher(trained_one(project, "pose-mum+"), joint="tail")


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(SSHPEError, match="one crop and one network at least"):
        heatmaps(np.zeros((0, 8, 8, 3), np.uint8), {}, ["nose"])


def test_evaluate_draws_them_of_a_record(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = trained_one(project, "pose-mum+")
    for name in ("records", "runs"):
        monkeypatch.setenv(f"SSHPE_{name.upper()}", str(project / name))
    done = CliRunner().invoke(cli.app, ["evaluate", record.key, "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "heatmaps.png").stat().st_size > 10_000
    assert str(tmp_path / "heatmaps.png") in done.output
