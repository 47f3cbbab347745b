"""Train a record again and set the two side by side."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout

from sshpe_lib import paths, records
from sshpe_lib.config import Experiment
from sshpe_lib.data import sources
from sshpe_lib.errors import SSHPEError
from sshpe_lib.records import Record
from sshpe_lib.writing import MINUTE, check_writable

if TYPE_CHECKING:
    from sshpe_lib.machine import Machine

# On another processor, thread count or library version, sums are taken in another order, and training
# amplifies the last bit: the two runs then differ as two seeds do. So many standard deviations over the
# experiment's own seeds are allowed, and this many AP points at least: three to four of those that the committed
# records have, pooled.
DEVIATIONS = 4
TOLERANCE = 3.0


@dataclass(frozen=True)
class Comparison:
    """Two records of one experiment; tolerance: AP points by which they may differ on another machine."""

    old: Record
    new: Record
    tolerance: float = TOLERANCE

    @property
    def bit_equal(self) -> bool:
        """Same weights to the last bit, and so the same metrics and curve."""
        same_weights = self.old.provenance.checkpoint_sha256 == self.new.provenance.checkpoint_sha256
        return same_weights and self.old.metrics == self.new.metrics and self.old.curve == self.new.curve

    @property
    def same_machine(self) -> bool | None:
        """Same processor, precision, threads, processes and versions: bit equality is then expected.

        None where all that both note is the same, and one does not note the rest, as records from before it was noted.
        False too where a run went on elsewhere, or with other code: no other run is trained in such parts.
        """
        if self.old.provenance.earlier or self.new.provenance.earlier:
            return False
        changes = self._changes()
        if any(None not in (before, after) for _, before, after in changes):
            return False
        return None if changes else True

    @property
    def agrees(self) -> bool:
        """Bit-equal, or within the tolerance on what is, or may be, another machine."""
        return self.bit_equal or (not self.same_machine and abs(self.new.ap - self.old.ap) <= self.tolerance)

    def describe(self) -> str:
        """One line that says how the two agree, or by how much they do not."""
        head = f"{self.old.key}: AP {self.new.ap:.2f}, recorded {self.old.ap:.2f}"
        if self.bit_equal:
            return f"{head}: bit-equal (weights {self.new.provenance.checkpoint_sha256[:12]})"
        if self.same_machine:
            return f"{head}: DIFFERS, though machine and versions are the same"
        surely = self.same_machine is False
        where = "another machine or other versions" if surely else "what may be another machine"
        changes = [f"{name} {_told(after)}, was {_told(before)}" for name, before, after in self._changes()]
        for which, record in (("recorded", self.old), ("new", self.new)):
            if record.provenance.earlier:
                differ = dict.fromkeys(name for part in record.provenance.earlier for name in part)
                changes.append(f"the {which} run went on with other {', '.join(differ)}")
        verdict = "within" if self.agrees else "DIFFERS by more than"
        return f"{head}: {verdict} the tolerance of {self.tolerance:.1f} AP on {where} ({', '.join(changes)})"

    def _changes(self) -> list[tuple[str, object, object]]:
        """The facts that are not equal: name, old and new value; None where a record does not note it."""
        old, new = self.old.provenance, self.new.provenance
        facts: list[tuple[str, object, object]] = [
            ("device", old.device, new.device),
            ("instructions", old.instructions, new.instructions),
            ("precision", self.old.precision, self.new.precision),
            ("threads", old.threads, new.threads),
            ("processes", old.world_size, new.world_size),
        ]
        packages = sorted({*old.versions, *new.versions})
        facts += [(name, old.versions.get(name), new.versions.get(name)) for name in packages]
        return [(name, before, after) for name, before, after in facts if before != after]


def _told(fact: object) -> object:
    return "not noted" if fact is None else fact


def tolerance(record: Record, folder: Path) -> float:
    """AP points between two trainings of a record on two machines, from its seeds in `folder`; TOLERANCE at least."""
    alike = seedless(record.experiment)
    aps = [one.ap for one in records.read_all(folder) if seedless(one.experiment) == alike]
    return max(TOLERANCE, DEVIATIONS * float(np.std(aps, ddof=1))) if len(aps) > 1 else TOLERANCE


def seedless(experiment: Experiment) -> Experiment:
    """The same for every seed of an experiment, whose first stage has the seed, too."""
    train = experiment.train.model_copy(update={"seed": 0})
    start = None if experiment.start is None else seedless(experiment.start)
    return experiment.model_copy(update={"train": train, "start": start})


def reproduce(
    key: str, machine: Machine | None = None, folder: Path | None = None, keep: bool = False
) -> Comparison:
    """Train the record whose key starts with `key` again, from nothing, and compare.

    The run starts without checkpoints, its first stage too, and leaves none: what an earlier, interrupted
    reproduction left must not be part of this one. With `keep` its last checkpoint becomes the run's
    own, where the two agree. For a run too long for that: `sshpe run` with SSHPE_RECORDS and SSHPE_RUNS at empty
    folders, then `sshpe compare`.

    Raises SSHPEError where no record, or more than one, has such a key, its data is not here, the folder of runs takes
    no files or locks, or several processes of torchrun ask for it.
    """
    folder = folder or paths.records()
    old = records.only(folder, key)
    experiment = sources.pin(old.experiment)
    from sshpe_lib import checkpoints
    from sshpe_lib.experiment import train  # torch is not needed to say that there is no such record
    from sshpe_lib.folder_lock import locked
    from sshpe_lib.machine import Machine, processes

    if processes() > 1:
        raise SSHPEError(
            f"{old.key} is trained again in one process, and torchrun started {processes()}; leave torchrun out, or "
            "give it `sshpe run` with SSHPE_RECORDS and SSHPE_RUNS at empty folders, then `sshpe compare` the records"
        )
    # Now: it reads every record, and one that is broken must not cost a training.
    allowed = tolerance(old, folder)
    check_writable(paths.runs())
    _sweep(paths.runs(), old.key)
    machine = machine or Machine(threads=old.provenance.threads)
    with (
        TemporaryDirectory(dir=paths.runs(), prefix=f"reproduce-{old.key}-") as fresh,
        locked(Path(fresh), machine),
    ):
        run = Path(fresh) / old.key
        run.mkdir()
        new = records.fitting(train(experiment, machine, run))  # as the old one was written
        comparison = Comparison(old, new, allowed)
        if keep and comparison.agrees:
            kept = paths.runs() / old.key
            kept.mkdir(exist_ok=True)
            os.replace(checkpoints.of(run), checkpoints.of(kept))
        return comparison


def _sweep(runs: Path, key: str) -> None:
    """Remove what reproductions left that were killed: nobody holds its lock, and none is about to take it."""
    for folder in runs.glob(f"reproduce-{key}-*"):
        with suppress(Timeout, OSError):  # of one that ends meanwhile, or that is somebody else's
            if time.time() - folder.stat().st_mtime > MINUTE:
                with FileLock(folder / "lock", timeout=0):
                    rmtree(folder)


def compare_folders(committed: Path, fresh: Path) -> list[Comparison]:
    """Every record of `fresh` beside its twin in `committed`.

    Raises SSHPEError where a fresh record has no twin, or there are no fresh records at all.
    """
    comparisons = []
    for new in records.read_all(fresh):
        old = records.find(committed, new.key)
        if old is None:
            raise SSHPEError(
                f"{committed}: no record {new.key} to compare with: its profile has none, or the "
                "experiment has changed since; run its table and commit the new records"
            )
        comparisons.append(Comparison(old, new, tolerance(old, committed)))
    if not comparisons:
        raise SSHPEError(f"{fresh}: no records; run the notebook first")
    return comparisons
