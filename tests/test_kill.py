"""Killed at any moment: nothing finished is lost, nothing half-written is read, and the bits are the same.

Moments are drawn at random, and every one at which a file is about to appear is taken besides: those last a few
milliseconds and are hardly ever drawn. SSHPE_KILLS says how many are drawn; the nightly job takes 50.
"""

from __future__ import annotations

import fcntl
import json
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

from sshpe_lib import checkpoints, records, tables, writing
from sshpe_lib.experiment import run
from sshpe_lib.machine import Machine
from sshpe_lib.records import Record
from tests.disks import freeze, remount, small_disk, thaw

KILLS = int(os.environ.get("SSHPE_KILLS", "6"))
EACH = 2  # times that one run is killed before it may end
LONG = {"train.steps": 20, "evaluate.times": 5}
SHORT = {
    "data.labeled.images": 24, "data.labels": 8, "data.val.images": 4,
    "train.steps": 4, "train.batch_size": 4, "evaluate.times": 2,
}  # fmt: skip

# Imports once and forks for every run: a kill then hits the work and not the imports, and fifty of them take minutes.
# What is imported on the way only a run knows, and one in this process would start threads, which a fork loses.
NURSERY = """
import importlib, json, os, sys, tempfile, traceback
from contextlib import suppress
from pathlib import Path
import torch
from tests.test_kill import SHORT, note_calls, work
torch.set_num_threads(1)
reader, writer = os.pipe()
if os.fork() == 0:
    with tempfile.TemporaryDirectory() as folder:
        work(Path(folder), SHORT)
    with open(writer, "w") as file:
        file.write(" ".join(sys.modules))
    os._exit(0)
os.close(writer)
with open(reader) as file:
    for module in file.read().split():
        with suppress(Exception):  # a module that makes sense only where it was imported
            importlib.import_module(module)
os.wait()
print("ready", flush=True)
for line in sys.stdin:
    folder, settings, *disturbed = json.loads(line)
    child = os.fork()
    if child == 0:
        try:
            note_calls(Path(folder), *disturbed)
            work(Path(folder), settings)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def work(folder: Path, settings: dict) -> None:
    """The whole of a run: draw people, pack them, train, evaluate, record."""
    os.environ["SSHPE_CACHE"] = str(folder / "cache")
    experiment = tables.experiment("smoke", "pose-mum+", set=settings)
    machine = Machine(threads=1, progress=False, pack=True)
    run(experiment, machine, records_folder=folder / "records", runs_folder=folder / "runs")


def note_calls(folder: Path, at: int | None, read_only: str | None) -> None:
    """Write down, in `calls`, each call that brings a file onto the disk or gives it its name; die in one of them.

    What is about to be brought onto the disk is cut in half then, as if the process had died while it wrote. Where a
    folder `read_only` is named, the process goes on, and from that call on nothing can be written there.
    """
    calls = 0

    def noting(name: str) -> None:
        real = getattr(os, name)

        def call(of: int | str | Path, *arguments: str | Path) -> object:
            nonlocal calls
            calls += 1
            with (folder / "calls").open("a") as file:
                print(name, name_of(of) if isinstance(of, int) else of, file=file)
            if calls == at and read_only:
                freeze(folder / read_only)
            elif calls == at:
                if isinstance(of, int):
                    os.ftruncate(of, os.fstat(of).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(of, *arguments)

        setattr(os, name, call)

    for name in ("fsync", "replace", "rename"):
        noting(name)


def name_of(descriptor: int) -> str:
    """The path of an open file."""
    if hasattr(fcntl, "F_GETPATH"):  # a Mac
        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{descriptor}")


class Nursery:
    """A process that does the work of a run in a folder, in a child for each."""

    def __init__(self, complaints: Path) -> None:
        self.complaints = complaints
        with complaints.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[1],
            )  # fmt: skip
        assert self.answer() == "ready", complaints.read_text()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def run(
        self,
        folder: Path,
        settings: dict,
        kill_after: float | None = None,
        by: int = signal.SIGKILL,
        at: int | None = None,
        read_only: str | None = None,
    ) -> int:
        """Exit code of a run, that of the signal where it was killed in time.

        kill_after: seconds; at: the number of the call, counted from 1, in which it kills itself, or makes a folder
        `read_only`.
        """
        assert self.process.stdin is not None
        folder.mkdir(exist_ok=True)
        print(json.dumps((str(folder), settings, at, read_only)), file=self.process.stdin, flush=True)
        child = int(self.answer())
        if kill_after is not None:
            time.sleep(kill_after)
            with suppress(ProcessLookupError):  # it had ended
                os.kill(child, by)
        return int(self.answer())

    def undisturbed(self, folder: Path, settings: dict) -> Record:
        """The record of a run that nobody kills."""
        assert self.run(folder, settings) == 0, self.complaints.read_text()
        (record,) = records.read_all(folder / "records")
        return record


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    made = Nursery(tmp_path_factory.mktemp("nursery") / "stderr")
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, float]:
    """The record of a run that nobody kills, and its seconds."""
    nursery.undisturbed(tmp_path_factory.mktemp("first"), LONG)  # takes longer than any later one
    start = time.monotonic()
    record = nursery.undisturbed(tmp_path_factory.mktemp("undisturbed"), LONG)
    return record, time.monotonic() - start


@pytest.fixture(scope="module")
def short(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, list[str]]:
    """The record of a short run that nobody disturbs, and its calls that write and rename files."""
    folder = tmp_path_factory.mktemp("short")
    return nursery.undisturbed(folder, SHORT), (folder / "calls").read_text().splitlines()


@pytest.fixture(scope="module")
def hits() -> Iterator[list[bool]]:
    """Whether each kill came in time; one that comes after the end proves nothing."""
    found: list[bool] = []
    yield found
    assert sum(found) >= len(found) // 6, f"of {len(found)} kills only {sum(found)} hit a run"


def what_is_there_is_whole(folder: Path) -> None:
    for record in records.read_all(folder / "records") if (folder / "records").exists() else []:
        assert record.metrics
    for path in folder.glob("runs/*/checkpoint.pt"):
        assert checkpoints.read(path, path.parent.name)["step"] > 0


def assert_the_same(folder: Path, expected: Record) -> None:
    """The folder holds one record, of the same bits as the expected one."""
    (record,) = records.read_all(folder / "records")
    assert record.provenance.checkpoint_sha256 == expected.provenance.checkpoint_sha256
    for measured in ("metrics", "curve", "examples"):
        assert getattr(record, measured) == getattr(expected, measured)


def partials(folder: Path) -> list[Path]:
    """Files and folders that were not finished."""
    return [path for path in folder.rglob(".*") if not path.name.endswith(".lock")]


@pytest.mark.parametrize("number", range(-(-KILLS // EACH)))
def test_a_run_that_is_killed_ends_with_the_same_bits(nursery, undisturbed, hits, tmp_path, number):
    expected, seconds = undisturbed
    rng = random.Random(number)
    for _ in range(EACH):
        by = rng.choice([signal.SIGKILL, signal.SIGTERM])
        code = nursery.run(tmp_path, LONG, rng.uniform(0, seconds), by)
        assert code in (-by, 0)
        hits.append(code == -by)
        what_is_there_is_whole(tmp_path)
    assert nursery.run(tmp_path, LONG) == 0, nursery.complaints.read_text()
    assert_the_same(tmp_path, expected)
    assert not list((tmp_path / "runs").rglob(".*checkpoint*"))


def test_a_run_that_dies_in_any_writing_or_renaming_ends_with_the_same_bits(nursery, short, tmp_path):
    expected, calls = short
    for what in ("rename", "pixels", "done", "checkpoint.pt", f"{expected.key}.json"):
        assert any(what in call for call in calls), (what, calls)
    for number, call in enumerate(calls, 1):
        folder = tmp_path / str(number)
        assert nursery.run(folder, SHORT, at=number) == -signal.SIGKILL
        assert partials(folder) or call.endswith(".pixels")
        what_is_there_is_whole(folder)
        for left in partials(folder):
            os.utime(left, (time.time() - 2 * writing.MINUTE,) * 2)
        assert nursery.run(folder, SHORT) == 0, nursery.complaints.read_text()
        assert_the_same(folder, expected)
        assert not partials(folder), call


@pytest.mark.parametrize(
    ("full", "size", "told"),
    [
        ("runs", "400k", "checkpoint.pt: cannot be written (No space left on device); make room"),
        ("records", "4k", ".json: cannot be written (No space left on device); make room"),
        ("cache", "60k", "synthetic people cannot be written there"),
        ("cache/packed", "500k", "the decoded images take 0.0 GB and 0.0 GB are free; make room"),
        ("cache/packed", "868k", ".done: cannot be written (No space left on device); make room"),
    ],
)
def test_a_run_whose_disk_fills_up_goes_on_when_there_is_room(nursery, short, tmp_path, full, size, told):
    expected, _ = short
    with small_disk(tmp_path / full, size):
        assert nursery.run(tmp_path, SHORT) == 1
        assert told in nursery.complaints.read_text().splitlines()[-1]
        what_is_there_is_whole(tmp_path)
        remount(tmp_path / full, "size=64m")
        assert nursery.run(tmp_path, SHORT) == 0, nursery.complaints.read_text()
        assert_the_same(tmp_path, expected)


@pytest.mark.parametrize(
    ("place", "call", "told"),
    [
        ("runs", "checkpoint.pt", "checkpoint.pt: cannot be written (Read-only file system); make room"),
        ("records", ".json", ".json: cannot be written (Read-only file system); make room"),
        ("cache", "rename", "synthetic people cannot be written there ([Errno 30] Read-only file system"),
        ("cache/packed", ".pixels", ".done: cannot be written (Read-only file system); make room"),
    ],
)
def test_a_run_whose_disk_becomes_read_only_goes_on_when_it_is_not(
    nursery, short, tmp_path, place, call, told
):
    expected, calls = short
    at = next(number for number, one in enumerate(calls, 1) if call in one)
    with small_disk(tmp_path / place, "64m"):
        try:
            assert nursery.run(tmp_path, SHORT, at=at, read_only=place) == 1
            assert told in nursery.complaints.read_text().splitlines()[-1]
            what_is_there_is_whole(tmp_path)
            assert nursery.run(tmp_path, SHORT) == 1  # nor does one begin
            assert "Read-only file system" in nursery.complaints.read_text().splitlines()[-1]
        finally:
            thaw(tmp_path / place)
        assert nursery.run(tmp_path, SHORT) == 0, nursery.complaints.read_text()
        assert_the_same(tmp_path, expected)
