"""Runs on a cluster: the same records, every failure told, a worker that dies replaced."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from sshpe_lib import checkpoints, cluster, pool, records, study, tables
from sshpe_lib.cluster import Cluster, run_on
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import train
from sshpe_lib.machine import Machine
from sshpe_lib.pool import Task
from tests import fakes

QUIET = Machine(threads=1, progress=False, accelerator="cpu")


def smoke(method: str, **settings):
    return tables.experiment("smoke", method, set={k.replace("__", "."): v for k, v in settings.items()})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of records; that of runs is beside it."""
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.1)
    return tmp_path / "records"


@pytest.mark.parametrize("name", ["dask", "local"])
def test_a_cluster_gives_the_bits_of_one_machine_and_tells_what_failed(
    folder: Path, tmp_path: Path, name: str
) -> None:
    good, bad = smoke("pose-mum+"), smoke("supervised", data__labels=9999)
    with pytest.raises(SSHPEError, match=rf"run {bad.key()} failed: .*9,999 labels are wanted"):
        run_on(Cluster(name), [bad, good, good], QUIET, 2, folder)  # and one record, wanted twice
    (made,) = run_on(Cluster(name), [good], QUIET, 2, folder)
    assert made == records.find(folder, good.key())
    assert made.provenance.checkpoint_sha256 == train(good, QUIET, tmp_path).provenance.checkpoint_sha256


def workers() -> list[psutil.Process]:
    """The processes of Dask's workers on this machine."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_a_worker_that_dies_is_replaced_and_its_run_goes_on(folder: Path, tmp_path: Path) -> None:
    wanted = smoke("supervised", train__steps=150, evaluate__times=5)
    alone = train(wanted, QUIET, tmp_path / "alone")
    killed = []

    def kill() -> None:
        saved = checkpoints.of(tmp_path / "runs" / wanted.key())
        while not saved.exists():
            time.sleep(0.02)
        for worker in workers():
            worker.send_signal(signal.SIGKILL)
            killed.append(checkpoints.read(saved, wanted.key())["step"])

    killer = threading.Thread(target=kill)
    killer.start()
    (made,) = run_on(Cluster("dask"), [wanted], QUIET, 1, folder)
    killer.join()
    assert killed and 0 < min(killed) < 150
    assert made.provenance.checkpoint_sha256 == alone.provenance.checkpoint_sha256
    assert made.metrics == alone.metrics and made.curve == alone.curve


def test_a_table_is_trained_on_a_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def train_there(where, experiments, machine, jobs, records_folder):
        asked.append((where, len(experiments), jobs, records_folder))
        return [fakes.record(one) for one in experiments]

    monkeypatch.setattr(cluster, "run_on", train_there)
    monkeypatch.setattr(pool, "run_all", lambda *_: pytest.fail("trained on this machine"))
    where = Cluster("slurm", {"timeout_min": 60})
    study.study("table4", "smoke", machine=QUIET, jobs=3, cluster=where, records_folder=folder)
    assert asked == [(where, 6, 3, folder)]


def test_a_task_is_plain_and_starts_again_where_slurm_interrupts_it(folder: Path) -> None:
    task = Task.of(smoke("supervised"), QUIET, folder)
    assert pickle.loads(pickle.dumps(task)) == task
    again = task.checkpoint()
    assert again.function == task and again.args == ()


def test_a_record_may_be_seen_late_but_not_never(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, looks = fakes.record(smoke("supervised")), []

    def find(_: Path, key: str):
        looks.append(key)
        return made if len(looks) > 3 else None

    monkeypatch.setattr(records, "find", find)
    assert cluster._seen(folder, made.key) == made and len(looks) == 4
    looks.clear()
    monkeypatch.setattr(cluster, "SLOW_FOLDER", 0.0)
    with pytest.raises(
        SSHPEError, match="its run is over, and the record is not seen here .* share this folder"
    ):
        cluster._seen(folder, made.key)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (Cluster("clodu"), "no cluster 'clodu'; choose dask, slurm or local"),
        (Cluster("tcp://127.0.0.1:1"), "tcp://127.0.0.1:1: no Dask scheduler answers"),
        (Cluster("dask", {"timeout_min": 5}), "dask takes none"),
        (Cluster("local", {"slrm_partition": "gpu"}), "local: submitit refuses"),
        (Cluster("slurm"), "slurm: submitit refuses"),
    ],
)
def test_a_cluster_that_is_not_there_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, where: Cluster, told: str
) -> None:
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    monkeypatch.setenv("PATH", os.fspath(folder))  # no srun
    with pytest.raises(SSHPEError, match=told):
        run_on(where, [smoke("supervised")], QUIET, 1, folder)


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("local", "submitit")])
def test_packages_that_are_missing_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SSHPEError, match=r"pip install 'sshpe\[cluster\]'"):
        run_on(Cluster(name), [smoke("supervised")], QUIET, 1, folder)
