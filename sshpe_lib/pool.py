"""Several experiments side by side, each in a process of its own, with one progress bar."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import torch
from tqdm import tqdm

from sshpe_lib import paths, progress, records
from sshpe_lib.config import Experiment
from sshpe_lib.errors import SSHPEError, in_one_line
from sshpe_lib.experiment import busy, run
from sshpe_lib.machine import Machine, processes
from sshpe_lib.records import Record

_POLL_SECONDS = 0.5
# Runs in threads of one process would share PyTorch's random numbers and its number of threads.
_ONE_RUN = threading.Lock()


@dataclass(frozen=True)
class Task:
    """One run for a machine that knows nothing but the shared folders; calling it trains and returns the key.

    Everything in it is plain, so that it can be pickled. submitit asks for a `checkpoint` where a job is interrupted.
    """

    experiment: dict
    machine: dict
    records_folder: str
    runs_folder: str

    @classmethod
    def of(cls, experiment: Experiment, machine: Machine, records_folder: Path) -> Task:
        """The task of an experiment, with the folders as they are called here."""
        quiet = asdict(replace(machine, progress=False))
        folders = str(Path(records_folder).absolute()), str(paths.runs())
        return cls(experiment.model_dump(mode="json"), quiet, *folders)

    def __call__(self) -> str:
        experiment = Experiment.model_validate(self.experiment)
        folders = {"records_folder": Path(self.records_folder), "runs_folder": Path(self.runs_folder)}
        with _ONE_RUN:
            return run(experiment, Machine(**self.machine), **folders).key

    def checkpoint(self) -> Any:
        """The same again: the run goes on from its own checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@dataclass
class _Worker:
    place: int  # among those at work
    key: str
    steps: int | None
    process: subprocess.Popen
    errors: IO[str]

    @property
    def _pipe(self) -> IO[str]:
        return cast(IO[str], self.process.stdin)

    def give(self, task: Task) -> None:
        """Send the process the task that it waits for; where it is dead already, `end` tells why."""
        with suppress(BrokenPipeError):
            self._pipe.write(json.dumps(asdict(task)) + "\n")
            self._pipe.flush()

    def end(self) -> str | None:
        """Wait for the process; why it failed, if it did."""
        code = self.process.wait()
        with suppress(BrokenPipeError):
            self._pipe.close()  # only now: the process ends where this one does not hold it open any more
        with self.errors:
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or ["no message"]
        return f"run {self.key} failed: {_killed(-code) if code < 0 else lines[-1]}" if code else None


def run_all(
    experiments: Sequence[Experiment], machine: Machine, jobs: int, records_folder: Path
) -> list[Record]:
    """The records of `experiments`, in order; up to `jobs` of them train at the same time, on GPUs each on its own.

    A run that fails does not stop the others: what they computed is recorded, then SSHPEError tells every
    failure; of processes that train one run together, the first failure. An interrupt ends all of them; they go on
    from their checkpoints the next time.
    """
    if jobs <= 1 or len(experiments) <= 1 or processes() > 1:  # those of torchrun train one run together
        return _one_after_another(experiments, machine, records_folder)
    waiting = list(experiments)
    working: list[_Worker] = []
    failures: list[str] = []
    bar, finished_steps = progress.bar(steps_of(experiments), "train", show=machine.progress), 0
    try:
        while waiting or working:
            while waiting and len(working) < jobs:
                experiment = _next(waiting)
                place = min(set(range(jobs)) - {worker.place for worker in working})
                working.append(_start(experiment, place, machine))
                # Only now: one that an interrupt left out of the list would have no task, and end.
                working[-1].give(Task.of(experiment, machine, records_folder))
            time.sleep(_POLL_SECONDS)
            finished = [worker for worker in working if worker.process.poll() is not None]
            # Not polled again: a process that ends in between would be in neither list, its failure untold.
            working = [worker for worker in working if worker.process.returncode is None]
            failures += [message for worker in finished if (message := worker.end())]
            finished_steps += sum(worker.steps or 0 for worker in finished)
            over = len(experiments) - len(waiting) - len(working)
            advance(bar, finished_steps, [worker.key for worker in working], over, len(experiments))
    finally:
        for worker in working:
            worker.process.terminate()
        for worker in working:
            worker.end()
        bar.close()
    if failures:
        raise SSHPEError("; ".join(failures))
    return [records.stored(records_folder, experiment.key()) for experiment in experiments]


def _one_after_another(
    experiments: Sequence[Experiment], machine: Machine, records_folder: Path
) -> list[Record]:
    made: dict[str, Record] = {}
    left, failures = list(experiments), []
    while left:
        experiment = _next(left)
        key = experiment.key()
        try:
            made[key] = run(experiment, machine, records_folder=records_folder)
        except (SSHPEError, torch.OutOfMemoryError) as error:
            if processes() > 1:
                raise  # the others may not have failed: they would wait for this one in their next step
            failures.append(f"run {key} failed: {in_one_line(error)}")
    if failures:
        raise SSHPEError("; ".join(failures))
    return [made[experiment.key()] for experiment in experiments]


def steps_of(experiments: Sequence[Experiment]) -> int | None:
    """Steps of several runs; None where one counts epochs, whose steps are known to the run alone."""
    known = [steps for experiment in experiments if (steps := experiment.train.steps) is not None]
    return sum(known) if len(known) == len(experiments) else None


def _next(waiting: list[Experiment]) -> Experiment:
    """Take out the first that no other process trains now, the first of all where they are all in work.

    Another `sshpe run` of the same table then goes on with what is left, and does not wait. Processes that train one
    run together keep one order.
    """
    free = 0
    if processes() == 1:
        free = next((place for place, one in enumerate(waiting) if not _busy(one)), 0)
    return waiting.pop(free)


def _busy(experiment: Experiment) -> bool:
    """Whether to wait for it; not where its folder cannot be locked, which its own run tells."""
    try:
        return busy(experiment)
    except SSHPEError:
        return False


def advance(bar: tqdm, ended: int, working: Sequence[str], over: int, count: int) -> None:
    """Show how far several runs are: steps of those that ended and of those at work, by key; how many are over."""
    steps = ended + sum(map(_logged_steps, working))
    bar.set_postfix_str(f"{over} of {count} runs done", refresh=False)
    bar.update(max(0, steps - bar.n))


def _logged_steps(key: str) -> int:
    """The last step in the log of the run of `key`; 0 where it has not begun."""
    try:
        last = (paths.runs() / key / "log.csv").read_text().rstrip().rsplit("\n", 1)[-1]
        return int(last.split(",", 1)[0])
    except (OSError, ValueError):  # no log, or its header only
        return 0


def _start(experiment: Experiment, place: int, machine: Machine) -> _Worker:
    errors = tempfile.TemporaryFile("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "sshpe_lib.pool"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors,
        text=True, env=os.environ | {"SSHPE_CACHE": str(paths.cache())} | machine.environment(place),
    )  # fmt: skip
    return _Worker(place, experiment.key(), experiment.train.steps, process, errors)


def _killed(number: int) -> str:
    """What to tell of a process that a signal ended; the system's own kill means in most cases that memory ran out."""
    return f"killed by signal {number}" + ("; too little memory?" if number == signal.SIGKILL else "")


def _end_with_the_starting_process() -> None:
    """Wait until nobody holds the other end of stdin any more, as after a SIGKILL, and end this process.

    Its run goes on from its checkpoint the next time, and its loader processes see that it is gone.
    """
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """A task, as a line of JSON on stdin, in a process that `run_all` started."""
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        sys.exit("the process that started this one is gone")
    task = Task(**json.loads(line))
    threading.Thread(target=_end_with_the_starting_process, daemon=True).start()
    try:
        task()
    except SSHPEError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
