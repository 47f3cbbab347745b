"""Nothing is asked of a network unless somebody asks for a download."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sshpe_lib import evaluating, predict, report, study, tables, trained
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import run
from sshpe_lib.machine import Machine
from sshpe_lib.skeleton import COCO17

QUIET = Machine(threads=1, progress=False, accelerator="cpu")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which every connection and every question for an address fails the test."""

    def refuse(*arguments: object, **_: object) -> None:
        pytest.fail(f"it asked the network for {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


def test_training_measuring_predicting_and_reporting_ask_nobody(offline: None, tmp_path: Path) -> None:
    short = {"train.steps": 2, "evaluate.times": 1}
    made = tables.experiment("smoke", "pose-mum+", set=short)
    record = run(made, QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs")
    network = trained.from_record(record, COCO17, tmp_path / "runs")
    evaluating.evaluate(network, machine=QUIET)
    picture = build(SyntheticPeople(images=1), tmp_path, progress=False).parent / "images" / "000000.png"
    assert len(predict.predict(network, [picture], machine=QUIET)) == 1
    shown = study.study(
        "table4", "smoke", row=0.9, machine=QUIET, records_folder=tmp_path / "records", jobs=1
    )
    assert "Table 4" in report.to_text(shown)


def test_an_imagenet_trunk_is_a_download_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSHPE_CACHE", str(tmp_path))
    asked = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    made = tables.experiment(
        "smoke", "supervised", set={"model": {"depth": 18, "output_stride": 16, "init": "imagenet"}}
    )
    with pytest.raises(
        SSHPEError, match=r"resnet18-5c106cde.pth cannot be had .*; bring the file by other means"
    ):
        run(made, QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs")
    assert asked
