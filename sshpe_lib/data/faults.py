"""One fault of a data file, told so that it can be mended: file, entry, problem, cure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sshpe_lib import paths
from sshpe_lib.errors import SSHPEError


@dataclass(frozen=True)
class Fault:
    """What is wrong with one entry of one file; one that is not `fatal` is reported, and training goes on."""

    file: Path
    entry: str
    problem: str
    cure: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.file}: {self.entry}: {self.problem}; {self.cure}"


class BadInput(SSHPEError):
    """The error that a fault becomes where it stops the work; it keeps the fault for those who collect."""

    def __init__(self, fault: Fault, more: int = 0):
        fault = replace(fault, cure=_cure(fault))
        rest = f" (and {more:,} more: `sshpe data check {fault.file}` lists them)" if more else ""
        super().__init__(f"{fault}{rest}")
        self.fault, self.more = fault, more

    def __reduce__(self) -> tuple[type[BadInput], tuple[Fault, int]]:
        """An exception is made again of its text, which is no fault: so that it may go from process to process."""
        return BadInput, (self.fault, self.more)


def _cure(fault: Fault) -> str:
    """The fault's own; for drawn people, which nobody can copy or download again, to have them drawn anew."""
    if paths.drawn() not in fault.file.parents:
        return fault.cure
    folder = paths.drawn() / fault.file.relative_to(paths.drawn()).parts[0]
    return f"delete the folder {folder}, and its people are drawn again"


def bad_input(file: Path | str, entry: str, problem: str, cure: str) -> BadInput:
    """The error of one fault, to be raised."""
    return BadInput(Fault(Path(file), entry, problem, cure))


def refuse(faults: list[Fault]) -> None:
    """Raise the first fatal fault, saying how many more there are; do nothing where none is fatal."""
    fatal = [fault for fault in faults if fault.fatal]
    if fatal:
        raise BadInput(fatal[0], more=len(fatal) - 1)


@dataclass
class FaultList:
    """Collects the faults of one file whose entries are the rows of a table; `entry` names a row."""

    file: Path
    entry: Callable[[int], str]
    faults: list[Fault] = field(default_factory=list)

    def add(
        self, rows: np.ndarray, problem: str | Callable[[int], str], cure: str, *, fatal: bool = True
    ) -> None:
        """One fault for every True of `rows`, (N,) bool; `problem` is a text, or a text for each row."""
        for row in np.flatnonzero(rows).tolist():
            text = problem if isinstance(problem, str) else problem(row)
            self.faults.append(Fault(self.file, self.entry(row), text, cure, fatal))
