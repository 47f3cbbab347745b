"""Runs on a cluster: the same records, every failure told, a worker that dies replaced."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dask
import psutil
import pytest
import submitit
from distributed import Client, LocalCluster

from sshpe_lib import checkpoints, cluster, machine, pool, records, study, tables
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


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("", "RuntimeError"),
        ("no such library", "no such library"),
        (
            "Traceback\na.First: one\nThe above was the cause of\nb.c.Second: the other\n  at line 3",
            "the other",
        ),
        ("daemonic processes are not allowed to have children", f"have children ({cluster.NO_LOADERS})"),
    ],
)
def test_of_a_traceback_from_far_away_the_last_error_is_told(told: str, reason: str) -> None:
    assert cluster._reason(RuntimeError(told)).endswith(reason)


def test_only_jobs_that_still_wait_are_cancelled() -> None:
    cancelled = []

    def job(name: str, done: bool) -> SimpleNamespace:
        return SimpleNamespace(done=lambda: done, cancel=lambda check: cancelled.append((name, check)))

    cluster._cancel([job("over", True), job("waiting", False)])
    assert cancelled == [("waiting", False)]


@pytest.mark.parametrize("name", ["dask", "local"])
def test_a_cluster_gives_the_bits_of_one_machine_and_tells_what_failed(
    folder: Path, tmp_path: Path, name: str
) -> None:
    good, bad = smoke("pose-mum+"), smoke("supervised", data__labels=9999)
    with pytest.raises(SSHPEError, match=rf"run {bad.key()} failed: .*9,999 labels are wanted"):
        run_on(Cluster(name), [bad, good, good], QUIET, 3, folder)  # and one record, wanted twice
    (made,) = run_on(Cluster(name), [good], QUIET, 2, folder)
    assert made == records.find(folder, good.key())
    assert made.provenance.checkpoint_sha256 == train(good, QUIET, tmp_path).provenance.checkpoint_sha256


def workers() -> list[psutil.Process]:
    """The processes of Dask's workers on this machine."""
    children = psutil.Process().children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_a_worker_that_dies_is_replaced_and_its_run_goes_on(folder: Path, tmp_path: Path) -> None:
    """Both workers have loader processes, which Dask's are not allowed by default."""
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
    (made,) = run_on(Cluster("dask"), [wanted], replace(QUIET, workers=1), 1, folder)
    killer.join()
    assert killed and 0 < min(killed) < 150
    assert made.provenance.checkpoint_sha256 == alone.provenance.checkpoint_sha256
    assert made.metrics == alone.metrics and made.curve == alone.curve


def test_the_program_asks_dask_for_other_workers_only_as_long_as_its_cluster_lives() -> None:
    before = dask.config.get("distributed.worker.daemon")
    with cluster._workers(1, QUIET):
        assert dask.config.get("distributed.worker.daemon") is False
    assert dask.config.get("distributed.worker.daemon") is before is True


def test_each_worker_has_a_gpu_and_is_reached_from_this_machine_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ["4", "GPU-8f"])
    with cluster._workers(2, Machine(accelerator="cuda")) as workers, Client(workers) as client:
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
        assert sorted(seen.values()) == ["4", "GPU-8f"]
        assert all(address.startswith("tcp://127.0.0.1:") for address in (workers.scheduler_address, *seen))
        limits = [one["memory_limit"] for one in client.scheduler_info()["workers"].values()]
    assert limits == [pytest.approx(psutil.virtual_memory().total / 2, rel=0.5)] * 2


def test_a_worker_of_several_threads_is_refused(folder: Path) -> None:
    """Runs in one process would draw from the same random numbers."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None, processes=False) as others,
        pytest.raises(SSHPEError, match="a worker has 2 threads.*start Dask's workers with --nthreads 1"),
    ):
        run_on(Cluster(others.scheduler_address), [smoke("supervised")], QUIET, 1, folder)


def test_runs_in_threads_of_one_process_wait_for_one_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may join later than it is asked how many threads it has."""
    beside = []

    def run(experiment, *_, **__):
        beside.append(threading.active_count())
        assert pool._ONE_RUN.locked()
        return fakes.record(experiment)

    monkeypatch.setattr(pool, "run", run)
    with pool._ONE_RUN:
        thread = threading.Thread(target=Task.of(smoke("supervised"), QUIET, folder))
        thread.start()
        thread.join(0.1)
        assert not beside and thread.is_alive()
    thread.join()
    assert len(beside) == 1


def test_what_this_processor_lacks_is_not_told_of_a_cluster(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(machine, "cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr(cluster, "run_on", lambda cluster, made, *_: [fakes.record(one) for one in made])
    table = tables.load_table("table4")
    asked = {"row": "0.6", "column": "ResNet-18", "seeds": 1, "records_folder": folder}
    mine = Machine(accelerator="cpu")
    study.study(table, "quick", machine=mine, cluster=Cluster("slurm"), **asked)
    assert "on slurm" in (told := capsys.readouterr().out) and "bfloat16" not in told


def test_workers_that_others_started_without_leave_for_loader_processes_are_told(folder: Path) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as others,
        pytest.raises(
            SSHPEError, match=r"\(for --workers above 0 .* DASK_DISTRIBUTED__WORKER__DAEMON=False\)$"
        ),
    ):
        run_on(Cluster(others.scheduler_address), [smoke("supervised")], replace(QUIET, workers=1), 1, folder)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A Slurm that takes two jobs and no third; what it was asked."""
    asked = SimpleNamespace(parameters={}, cancelled=[])

    class Executor:
        def __init__(self, folder: Path, cluster: str) -> None:
            self.jobs = 0

        def update_parameters(self, **parameters: object) -> None:
            asked.parameters = parameters

        def submit(self, task: Task) -> SimpleNamespace:
            self.jobs += 1
            if self.jobs > 2:
                raise submitit.core.utils.FailedJobError(
                    "sbatch: error: ...\nsbatch: error: QOSMaxSubmitJobPerUser"
                )
            number = self.jobs
            return SimpleNamespace(done=lambda: False, cancel=lambda check: asked.cancelled.append(number))

    monkeypatch.setattr(submitit, "AutoExecutor", Executor)
    return asked


def test_where_slurm_takes_no_further_job_those_before_are_cancelled(
    folder: Path, slurm: SimpleNamespace
) -> None:
    wanted = [smoke("supervised", train__seed=seed) for seed in range(4)]
    with pytest.raises(
        SSHPEError, match=r"^slurm: run 3 of 4 is not taken \(sbatch: error: QOSMax.*cancelled$"
    ):
        run_on(Cluster("slurm"), wanted, QUIET, 1, folder)
    assert slurm.cancelled == [1, 2]


@pytest.mark.parametrize(("options", "minutes"), [({}, 24 * 60), ({"timeout_min": 30, "mem_gb": 8}, 30)])
def test_a_job_of_slurm_has_a_day_or_what_is_asked(
    folder: Path, slurm: SimpleNamespace, options: dict, minutes: int
) -> None:
    with pytest.raises(SSHPEError):
        run_on(Cluster("slurm", options), [smoke("supervised")] * 3, QUIET, 1, folder)
    assert slurm.parameters == {"name": "sshpe"} | options | {"timeout_min": minutes}


def test_local_starts_no_more_runs_than_may_train_at_the_same_time(folder: Path) -> None:
    with pytest.raises(
        SSHPEError, match="local starts all 3 runs at once, and 2 may train .* choose --cluster dask"
    ):
        run_on(Cluster("local"), [smoke("supervised")] * 3, QUIET, 2, folder)
    assert not (folder.parent / "runs").exists()


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
        (Cluster("local", {"timeout_min": "long"}), "local: submitit refuses .*timeout_min.* expected type"),
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
