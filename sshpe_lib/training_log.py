"""A run's log: losses on the way, a row every so many steps."""

from __future__ import annotations

import csv
from pathlib import Path

from sshpe_lib.errors import SSHPEError
from sshpe_lib.writing import cannot_write, written_whole

FIELDS = ("step", "rate", "loss", "supervised", "consistency")


class TrainingLog:
    """`log.csv` in a run's folder: the losses of all processes, written by the first.

    Every method raises SSHPEError where the file cannot be read or written.
    """

    def __init__(self, folder: Path):
        self.file = folder / "log.csv"

    def add(self, row: dict[str, float]) -> None:
        """A row with a number for each of `FIELDS`."""
        try:
            with self.file.open("a", newline="") as file:
                writer = csv.DictWriter(file, FIELDS)
                if not file.tell():
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise cannot_write(self.file, error) from error

    def clear(self) -> None:
        """Forget all rows."""
        try:
            self.file.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.file, error) from error

    def forget_after(self, step: int) -> None:
        """Keep the rows up to a step, and none that was only half written."""
        if not self.file.exists():
            return
        try:
            with self.file.open(newline="", errors="replace") as file:
                lines = [line for line in file if line.endswith("\n")]
        except OSError as error:
            raise SSHPEError(f"{self.file}: {error.strerror}; make it readable, or delete it") from error
        # By the names of a log's own fields: somebody may have emptied the file meanwhile, and its header with it.
        # Numbers have no quotes, and one in a damaged row would take in all that follows.
        found = csv.DictReader(lines, FIELDS, restkey="more", quoting=csv.QUOTE_NONE)
        whole = (row for row in found if "more" not in row and None not in row.values())
        rows = [row for row in whole if row["step"].isdecimal() and int(row["step"]) <= step]
        with written_whole(self.file, alone=True) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(rows)
