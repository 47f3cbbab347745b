"""Runs as independent tasks on many machines: Dask's workers, or Slurm's jobs through submitit.

Every machine sees the same folders of records and runs. A run is locked while it trains and goes on from its
checkpoint, so a task can be started twice, die, or be started again, and leaves one record.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sshpe_lib import paths, progress, records
from sshpe_lib.config import Experiment
from sshpe_lib.errors import SSHPEError
from sshpe_lib.machine import Machine
from sshpe_lib.pool import Task, advance, steps_of
from sshpe_lib.records import Record

if TYPE_CHECKING:
    import submitit
    from distributed import SpecCluster

POLL_SECONDS = 1.0
ANSWER_SECONDS = 30  # in which a scheduler must answer
SLOW_FOLDER = 120.0  # seconds that a record may take to be seen from another machine
TIMEOUT_MIN = 24 * 60  # of a job for which no other time is asked; submitit's own are five minutes
NO_LOADERS = "for --workers above 0 start Dask's workers with DASK_DISTRIBUTED__WORKER__DAEMON=False"
MISSING = "a cluster needs further packages; pip install 'sshpe[cluster]'"


@dataclass(frozen=True)
class Cluster:
    """Where runs train.

    name: "dask", workers on this machine; the address of a Dask scheduler, such as tcp://host:8786 (of dask-jobqueue,
    of Kubernetes, of `dask scheduler`); "slurm", submitit's executor for it, or "local", submitit's on this machine.
    options: of submitit, such as timeout_min (a day where left out), slurm_partition or gpus_per_node.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def submitit(self) -> bool:
        """Whether runs are jobs that submitit hands in."""
        return self.name in ("slurm", "local")


def run_on(
    cluster: Cluster, experiments: Sequence[Experiment], machine: Machine, jobs: int, records_folder: Path
) -> list[Record]:
    """The records of `experiments`, in order, trained on a cluster; `jobs` workers where Dask's are on this machine.

    A run that fails does not stop the others: what they computed is recorded, then SSHPEError tells every failure. A
    worker that dies is replaced and its run goes on from its checkpoint. Raises SSHPEError where the packages are not
    installed, the scheduler does not answer or refuses a run, an option is unknown, or "local" has more than `jobs`
    runs, all of which it starts at once.
    """
    tasks = [Task.of(experiment, machine, records_folder) for experiment in experiments]
    start = _submitit if cluster.submitit else _dask
    with start(cluster, tasks, jobs, machine) as futures:
        failures = _wait(futures, experiments, machine.progress)
    if failures:
        raise SSHPEError("; ".join(failures))
    return [_seen(Path(records_folder), experiment.key()) for experiment in experiments]


def _wait(futures: Sequence[Any], experiments: Sequence[Experiment], show: bool) -> list[str]:
    """Wait for all tasks, with a bar of their steps; why some failed."""
    keys = [experiment.key() for experiment in experiments]
    lengths = [experiment.train.steps for experiment in experiments]
    bar = progress.bar(steps_of(experiments), "train", show=show)
    waiting, failures = dict(enumerate(keys)), []
    try:
        while waiting:
            over = [index for index in waiting if futures[index].done()]
            for index in over:
                try:
                    futures[index].result()
                except Exception as error:  # whatever the engine says of a task
                    failures.append(f"run {keys[index]} failed: {_reason(error)}")
                del waiting[index]
            ended = sum(lengths[index] or 0 for index in range(len(keys)) if index not in waiting)
            advance(bar, ended, list(waiting.values()), len(keys) - len(waiting), len(keys))
            if waiting:
                time.sleep(POLL_SECONDS)
    finally:
        bar.close()
    return failures


def _reason(error: Exception) -> str:
    """One line of what went wrong: of a traceback from far away, its last error."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    raised = [found[1] for line in lines if (found := re.match(r"[\w.]+\.[A-Z]\w+: (.+)", line))]
    reason = raised[-1] if raised else lines[-1]
    return f"{reason} ({NO_LOADERS})" if "daemonic processes" in reason else reason


def _seen(folder: Path, key: str) -> Record:
    """The record that another machine wrote, once this one sees it. Raises SSHPEError where it does not in time."""
    deadline = time.monotonic() + SLOW_FOLDER
    while (found := records.find(folder, key)) is None:
        if time.monotonic() > deadline:
            raise SSHPEError(
                f"{records.path_of(folder, key)}: its run is over, and the record is not seen here after "
                f"{SLOW_FOLDER:g} seconds; let all machines share this folder (SSHPE_RECORDS)"
            )
        time.sleep(POLL_SECONDS)
    return found


@contextmanager
def _dask(cluster: Cluster, tasks: Sequence[Task], jobs: int, machine: Machine) -> Iterator[Sequence[Any]]:
    """Tasks that Dask was given; what still waits when the block is over is ended."""
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise SSHPEError(MISSING) from None
    if cluster.options:
        raise SSHPEError(
            f"options are submitit's; {cluster.name} takes none: set up the scheduler with {sorted(cluster.options)}"
        )
    own = cluster.name == "dask"
    if not own and "://" not in cluster.name:
        raise SSHPEError(
            f"no cluster {cluster.name!r}; choose dask, slurm or local, or give a Dask scheduler's address such as "
            "tcp://host:8786"
        )
    with ExitStack() as opened:
        count = max(1, min(jobs, len(tasks)))
        address = opened.enter_context(_workers(count, machine)) if own else cluster.name
        try:
            client = opened.enter_context(Client(address, timeout=ANSWER_SECONDS))
        except (OSError, ValueError) as error:
            raise SSHPEError(f"{cluster.name}: no Dask scheduler answers ({error})") from None
        threads = max(client.nthreads().values(), default=1)
        if threads > 1:
            raise SSHPEError(
                f"{cluster.name}: a worker has {threads} threads, and a run needs a process to itself; start Dask's "
                "workers with --nthreads 1"
            )
        # A task is impure: it is never taken for one with equal arguments that ran before.
        futures = [client.submit(task, pure=False) for task in tasks]
        opened.callback(client.cancel, futures)
        yield futures


@contextmanager
def _workers(count: int, machine: Machine) -> Iterator[SpecCluster]:
    """Dask's workers on this machine, on GPUs each on its own.

    They may have loader processes, which Dask forbids by default, and are reached from this machine alone.
    """
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    here = {"host": "127.0.0.1", "port": 0}
    alike = here | {"nthreads": 1, "memory_limit": 1 / count}
    wanted = {
        place: {"cls": Nanny, "options": alike | {"env": machine.environment(place)}}
        for place in range(count)
    }

    # As long as the cluster lives: a worker that takes the place of a dead one is set up as the first was.
    with dask.config.set({"distributed.worker.daemon": False}):
        # No dashboard: it would open a port that nobody asked for.
        with SpecCluster(wanted, {"cls": Scheduler, "options": here | {"dashboard": False}}) as workers:
            yield workers


@contextmanager
def _submitit(cluster: Cluster, tasks: Sequence[Task], jobs: int, _: Machine) -> Iterator[Sequence[Any]]:
    """The same of submitit, whose jobs are machines of their own."""
    try:
        import submitit
    except ModuleNotFoundError:
        raise SSHPEError(MISSING) from None
    if cluster.name == "local" and len(tasks) > jobs:
        raise SSHPEError(
            f"local starts all {len(tasks)} runs at once, and {jobs} may train at the same time (--jobs); choose "
            "--cluster dask, or ask for fewer runs"
        )
    try:
        executor = submitit.AutoExecutor(folder=paths.runs() / "submitit", cluster=cluster.name)
        executor.update_parameters(**{"name": "sshpe", "timeout_min": TIMEOUT_MIN} | dict(cluster.options))
    except (RuntimeError, NameError, ValueError, AssertionError) as error:
        raise SSHPEError(f"{cluster.name}: submitit refuses ({error})") from None
    handed: list[submitit.Job] = []
    try:
        for task in tasks:
            try:
                handed.append(executor.submit(task))
            except Exception as error:  # whatever the scheduler says
                raise SSHPEError(
                    f"{cluster.name}: run {len(handed) + 1} of {len(tasks)} is not taken ({_reason(error)}); those "
                    "before it are cancelled"
                ) from None
        yield handed
    finally:
        _cancel(handed)


def _cancel(handed: Sequence[submitit.Job]) -> None:
    for job in handed:
        if not job.done():
            job.cancel(check=False)  # one that cannot be cancelled does not keep the others
