"""Killed at random moments: nothing finished is lost, nothing half-written is read, and the bits are the same.

SSHPE_KILLS says how many moments; the nightly job takes 50.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sshpe_lib import checkpoints, records
from sshpe_lib.records import Record

KILLS = int(os.environ.get("SSHPE_KILLS", "6"))
EACH = 2  # times that one run is killed before it may end

# Imports once and forks for every run: a kill then hits the work and not the imports, and fifty of them take minutes.
NURSERY = """
import os, sys, traceback
from pathlib import Path
import torch
from sshpe_lib import tables
from sshpe_lib.experiment import run
from sshpe_lib.machine import Machine
experiment = tables.experiment("smoke", "pose-mum+", set={"train.steps": 20, "evaluate.times": 5})
torch.set_num_threads(1)
print("ready", flush=True)
for line in sys.stdin:
    folder = Path(line.strip())
    child = os.fork()
    if child == 0:
        try:
            os.environ["SSHPE_CACHE"] = str(folder / "cache")
            run(experiment, Machine(threads=1, progress=False, pack=True),
                records_folder=folder / "records", runs_folder=folder / "runs")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """A process that does the whole work of a run in a folder: draws people, packs, trains, evaluates, records."""

    def __init__(self, complaints: Path) -> None:
        self.complaints = complaints
        with complaints.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        assert self.answer() == "ready"

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def run(self, folder: Path, kill_after: float | None = None, by: int = signal.SIGKILL) -> int:
        """Exit code of a run, that of the signal where it was killed in time."""
        assert self.process.stdin is not None
        print(folder, file=self.process.stdin, flush=True)
        child = int(self.answer())
        if kill_after is not None:
            time.sleep(kill_after)
            with suppress(ProcessLookupError):  # it had ended
                os.kill(child, by)
        return int(self.answer())


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    made = Nursery(tmp_path_factory.mktemp("nursery") / "stderr")
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, float]:
    """The record of a run that nobody kills, and its seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    assert nursery.run(folder) == 0, nursery.complaints.read_text()
    (record,) = records.read_all(folder / "records")
    return record, time.monotonic() - start


def what_is_there_is_whole(folder: Path) -> None:
    for record in records.read_all(folder / "records") if (folder / "records").exists() else []:
        assert record.metrics
    for path in folder.glob("runs/*/checkpoint.pt"):
        assert checkpoints.read(path, path.parent.name)["step"] > 0


@pytest.mark.parametrize("number", range(-(-KILLS // EACH)))
def test_a_run_that_is_killed_ends_with_the_same_bits(nursery, undisturbed, tmp_path, number):
    expected, seconds = undisturbed
    rng = random.Random(number)
    killed = []
    for _ in range(EACH):
        by = rng.choice([signal.SIGKILL, signal.SIGTERM])
        killed.append(nursery.run(tmp_path, rng.uniform(0, seconds), by))
        assert killed[-1] in (-by, 0)
        what_is_there_is_whole(tmp_path)
    assert nursery.run(tmp_path) == 0, nursery.complaints.read_text()
    (record,) = records.read_all(tmp_path / "records")
    assert record.provenance.checkpoint_sha256 == expected.provenance.checkpoint_sha256
    assert (record.metrics, record.curve, record.examples) == (
        expected.metrics,
        expected.curve,
        expected.examples,
    )
    assert not list((tmp_path / "runs").rglob(".*checkpoint*"))


def test_a_run_whose_disk_fills_up_goes_on_when_there_is_room(nursery, undisturbed, tmp_path):
    expected, _ = undisturbed
    runs = tmp_path / "runs"
    runs.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", runs], capture_output=True
    ).returncode:
        pytest.skip("only root mounts disks")
    try:
        assert nursery.run(tmp_path) == 1
        assert "cannot be written (No space left on device)" in nursery.complaints.read_text()
        what_is_there_is_whole(tmp_path)
        subprocess.run(["mount", "-o", "remount,size=64m", runs], check=True)
        assert nursery.run(tmp_path) == 0
    finally:
        subprocess.run(["umount", runs], check=True)
    (record,) = records.read_all(tmp_path / "records")
    assert record.provenance.checkpoint_sha256 == expected.provenance.checkpoint_sha256
