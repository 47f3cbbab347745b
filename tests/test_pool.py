"""Runs side by side: the same records, every failure told, nothing finished lost."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
import torch
from filelock import FileLock
from tqdm import tqdm

from sshpe_lib import machine, pool, records, tables
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import train
from sshpe_lib.machine import Machine
from sshpe_lib.pool import run_all
from tests import fakes

QUIET = Machine(threads=1, progress=False)


def smoke(method: str, **settings):
    return tables.experiment("smoke", method, set={k.replace("__", "."): v for k, v in settings.items()})


def test_side_by_side_gives_the_bits_of_one_after_another(tmp_path, monkeypatch):
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    wanted = [smoke("supervised"), smoke("pose-mum+")]
    made = run_all(wanted, QUIET, 2, tmp_path / "records")
    assert [record.key for record in made] == [experiment.key() for experiment in wanted]
    alone = train(wanted[1], QUIET, tmp_path / "alone")
    assert made[1].provenance.checkpoint_sha256 == alone.provenance.checkpoint_sha256


def test_a_failing_run_is_told_and_the_other_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    good, bad = smoke("supervised"), smoke("supervised", data__labels=9999)
    with pytest.raises(SSHPEError, match=rf"run {bad.key()} failed: .*9,999 labels"):
        run_all([bad, good], QUIET, 2, tmp_path / "records")
    assert records.find(tmp_path / "records", good.key()) is not None


@pytest.mark.parametrize("staged", [False, True], ids=["the run itself", "the run it starts from"])
def test_what_another_process_trains_is_left_for_later(tmp_path, monkeypatch, staged: bool):
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    first, second = smoke("supervised"), smoke("supervised", train__seed=1)
    if staged:
        wanted = [
            tables.experiment("smoke", "aid-cutout", schedule="S3", protocol="aid", backbone="hrnet-w32"),
            second,
        ]
        taken = wanted[0].start
    else:
        wanted, taken = [first, second], first
    folder = tmp_path / "runs" / taken.key()
    folder.mkdir(parents=True)
    lock, order = FileLock(folder / "lock"), []

    def run(experiment, *_, **__):
        order.append(experiment)
        lock.release(force=True)
        return fakes.record(experiment)

    monkeypatch.setattr(pool, "run", run)
    with lock:
        made = run_all(wanted, QUIET, 1, tmp_path / "records")
    assert order == wanted[::-1]
    assert [record.key for record in made] == [experiment.key() for experiment in wanted]
    order.clear()
    run_all(wanted, QUIET, 1, tmp_path / "records")
    assert order == wanted


def test_steps_are_known_where_every_run_counts_them():
    one, other = smoke("supervised", train__steps=3), smoke("mum", train__steps=4)
    epochs = smoke("mum", train__steps=None, train__epochs=2)
    assert pool.steps_of([one, other]) == 7
    assert pool.steps_of([one, epochs]) is None and pool.steps_of([]) == 0


def test_a_bar_shows_the_steps_that_logs_tell(tmp_path, monkeypatch):
    """It never goes back, as where a run that ended had more steps in its log than were counted."""
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path))
    for key, log in (("a", "step,loss\n1,0.5\n12,0.4\n"), ("b", "step,loss\n"), ("c", "")):
        (tmp_path / key).mkdir()
        (tmp_path / key / "log.csv").write_text(log)
    bar = tqdm(total=100, file=io.StringIO())
    pool.advance(bar, 30, ["a", "b", "c", "none"], 1, 5)
    assert bar.n == 42 and bar.postfix == "1 of 5 runs done"
    pool.advance(bar, 41, [], 5, 5)
    assert bar.n == 42


def test_a_task_is_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = pool.Task.of(smoke("supervised"), Machine(threads=3), Path("records"))
    assert task.records_folder == str(tmp_path / "records")
    assert task.machine["threads"] == 3 and not task.machine["progress"]
    assert json.loads(json.dumps(asdict(task))) == asdict(task)


def test_one_after_another_too_a_failing_run_is_told_and_the_others_are_kept(tmp_path, monkeypatch):
    good, bad, worse = (smoke("supervised", train__seed=seed) for seed in range(3))

    def run(experiment, *_, **__):
        if experiment != good:
            raise SSHPEError(f"seed {experiment.train.seed} is unlucky")
        return fakes.record(experiment)

    monkeypatch.setattr(pool, "run", run)
    told = f"run {bad.key()} failed: seed 1 is unlucky; run {worse.key()} failed: seed 2 is unlucky"
    with pytest.raises(SSHPEError, match=f"^{told}$"):
        run_all([bad, worse, good], QUIET, 1, tmp_path)
    assert [record.key for record in run_all([good], QUIET, 1, tmp_path)] == [good.key()]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_that_cannot_be_locked_fails_its_own_run_alone(tmp_path, monkeypatch, jobs: int):
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    good, bad = smoke("supervised"), smoke("supervised", train__seed=1)
    (tmp_path / "runs" / bad.key() / "lock").mkdir(parents=True)
    with pytest.raises(SSHPEError, match=rf"^run {bad.key()} failed: .*lock cannot be locked"):
        run_all([bad, good], QUIET, jobs, tmp_path / "records")
    assert records.find(tmp_path / "records", good.key()) is not None


def test_processes_that_train_together_end_at_the_first_failure(tmp_path, monkeypatch):
    asked = []

    def run(experiment, *_, **__):
        asked.append(experiment)
        raise SSHPEError("the disk of this one is full")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(pool, "run", run)
    with pytest.raises(SSHPEError, match="^the disk of this one is full$"):
        run_all([smoke("supervised"), smoke("mum")], QUIET, 1, tmp_path)
    assert len(asked) == 1


def test_processes_that_train_together_keep_one_order(tmp_path, monkeypatch):
    """Each would see another run in work elsewhere, and wait for the others in a run of its own."""
    wanted, asked = [smoke("supervised"), smoke("mum")], []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(pool, "busy", lambda one: one == wanted[0])
    monkeypatch.setattr(pool, "run", lambda one, *_, **__: asked.append(one) or fakes.record(one))
    run_all(wanted, QUIET, 1, tmp_path)
    assert asked == wanted


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9; too little memory\\?"),
        ("import os; os.kill(os.getpid(), 15)", "killed by signal 15"),
        ("import sys; sys.exit('no such library')", "no such library"),
    ],
)
def test_a_process_that_dies_before_it_has_its_task_is_a_failed_run(tmp_path, monkeypatch, code, told):
    wanted = smoke("supervised"), smoke("mum")

    class Dead(subprocess.Popen):
        def __init__(self, words, **how):
            super().__init__([sys.executable, "-c", code], **how)
            self.wait()  # nobody reads what it is sent

    monkeypatch.setattr(subprocess, "Popen", Dead)
    expected = "; ".join(f"run {one.key()} failed: {told}" for one in wanted)
    with pytest.raises(SSHPEError, match=f"^{expected}$"):
        run_all(wanted, QUIET, 2, tmp_path)


def test_a_run_that_fails_while_the_others_are_counted_is_told(tmp_path, monkeypatch):
    """It works when it is asked first, and is over when it is asked again."""
    wanted = smoke("supervised"), smoke("mum")

    class Late(subprocess.Popen):
        asked = 0

        def __init__(self, words, **how):
            super().__init__([sys.executable, "-c", "import sys; sys.exit('no such library')"], **how)

        def poll(self):
            self.asked += 1
            return None if self.asked == 1 else self.wait()

    monkeypatch.setattr(subprocess, "Popen", Late)
    expected = "; ".join(f"run {one.key()} failed: no such library" for one in wanted)
    with pytest.raises(SSHPEError, match=f"^{expected}$"):
        run_all(wanted, QUIET, 2, tmp_path)


def test_no_more_runs_than_asked_for_are_at_work_together(tmp_path, monkeypatch):
    started, beside = [], []

    class Counted(subprocess.Popen):
        def __init__(self, words, **how):
            beside.append(sum(one.returncode is None for one in started))
            started.append(self)
            super().__init__([sys.executable, "-c", "import sys; sys.exit('no such library')"], **how)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    with pytest.raises(SSHPEError, match="no such library"):
        run_all([smoke("supervised"), smoke("mum"), smoke("pose-mum+")], QUIET, 2, tmp_path)
    assert len(started) == 3 and max(beside) == 1


def test_every_run_has_a_gpu_and_the_next_one_that_which_became_free(tmp_path, monkeypatch):
    started = []

    class Placed(subprocess.Popen):
        def __init__(self, words, env, **how):
            started.append((env["CUDA_VISIBLE_DEVICES"], self))
            seconds = 60 if len(started) == 2 else 0
            code = f"import sys, time; time.sleep({seconds}); sys.exit('over')"
            super().__init__([sys.executable, "-c", code], **how)
            if len(started) == 4:
                started[1][1].kill()  # at work until now

    monkeypatch.setattr(subprocess, "Popen", Placed)
    monkeypatch.setattr(machine, "gpus", lambda: ["2", "5"])
    wanted = [smoke("supervised", train__seed=seed) for seed in range(4)]
    with pytest.raises(SSHPEError, match="over"):
        run_all(wanted, Machine(accelerator="cuda", progress=False), 2, tmp_path)
    assert [name for name, _ in started] == ["2", "5", "2", "2"]


def test_a_gpu_without_memory_left_fails_its_own_run_alone(tmp_path, monkeypatch):
    good, bad = smoke("supervised"), smoke("supervised", train__seed=1)

    def run(experiment, *_, **__):
        if experiment == bad:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore about it")
        asked.append(experiment)
        return fakes.record(experiment)

    asked = []
    monkeypatch.setattr(pool, "run", run)
    with pytest.raises(
        SSHPEError,
        match=rf"^run {bad.key()} failed: OutOfMemoryError: CUDA out of memory\. Tried .* 9 GiB\.$",
    ):
        run_all([bad, good], QUIET, 1, tmp_path)
    assert asked == [good]


def test_sigterm_ends_the_runs_that_the_command_started(tmp_path: Path) -> None:
    folders = {"SSHPE_RECORDS": str(tmp_path / "records"), "SSHPE_RUNS": str(tmp_path / "runs")}
    command = subprocess.Popen(
        [sys.executable, "-m", "sshpe_lib", "run", "table4", "--profile", "smoke", "--jobs", "2", "--workers", "1"],
        env=os.environ | folders, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    started: list[psutil.Process] = []
    try:
        while len(list(tmp_path.glob("runs/*/log.csv"))) < 2:  # both train
            assert command.poll() is None, command.communicate()[1]
            time.sleep(0.05)
        runs = psutil.Process(command.pid).children()
        started += psutil.Process(command.pid).children(recursive=True)
        command.terminate()
        time.sleep(0.01)
        command.terminate()  # `timeout` does so
        assert command.wait(30) == 128 + signal.SIGTERM
        assert len(runs) >= 2 and not any(run.is_running() for run in runs)
        assert not psutil.wait_procs(started, timeout=20)[1]  # loader processes see that their run is gone
    finally:
        for process in [command, *started]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        command.communicate()


def test_runs_end_though_the_process_that_started_them_was_killed(tmp_path: Path) -> None:
    wanted = [
        smoke(method, train__steps=1_000_000).model_dump(mode="json") for method in ("supervised", "mum")
    ]
    code = f"""
from pathlib import Path
from sshpe_lib.config import Experiment
from sshpe_lib.machine import Machine
from sshpe_lib.pool import run_all
wanted = [Experiment.model_validate(one) for one in {wanted!r}]
run_all(wanted, Machine(threads=1, progress=False), 2, Path({str(tmp_path / "records")!r}))
"""
    environment = os.environ | {"SSHPE_RUNS": str(tmp_path / "runs")}
    starter = subprocess.Popen([sys.executable, "-c", code], env=environment)
    runs: list[psutil.Process] = []
    try:
        while len(list(tmp_path.glob("runs/*/log.csv"))) < 2:  # both train
            assert starter.poll() is None
            time.sleep(0.05)
        runs = psutil.Process(starter.pid).children()
        assert len(runs) == 2
        starter.kill()
        assert not psutil.wait_procs(runs, timeout=20)[1]
    finally:
        for process in [starter, *runs]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        starter.wait()
