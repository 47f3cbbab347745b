"""What a report is drawn from: the cells of a table with their records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sshpe_lib.config.published import EXPECTED
from sshpe_lib.errors import SSHPEError
from sshpe_lib.records import MULTI_SCALE, Record
from sshpe_lib.tables import Cell, Table


@dataclass(frozen=True)
class Result:
    """A cell and its records, one a seed; or the reason why this profile does not run it."""

    cell: Cell
    records: tuple[Record, ...] = ()
    not_run: str | None = None

    def measured(self, metric: str) -> str:
        """What records call a metric of this cell."""
        return metric + MULTI_SCALE if self.cell.multi_scale else metric

    def scores(self, metric: str) -> np.ndarray:
        """A metric in percent of the headline network, (seeds,); of the test at several scales where the cell says so.

        Raises SSHPEError where a record lacks it.
        """
        metric = self.measured(metric)
        for record in self.records:
            if metric not in record.metrics[record.headline]:
                known = ", ".join(record.metrics[record.headline])
                raise SSHPEError(f"record {record.key} has no metric {metric!r}; it has: {known}")
        return np.array([record.metrics[record.headline][metric] for record in self.records])


@dataclass(frozen=True)
class Study:
    """Everything a table, its curves and its pictures are drawn from.

    baselines: the table's baseline method, once for every column, backbone and amount of labels among the
    results; description: the profile's own words on its data.
    """

    table: Table
    profile: str
    seeds: int
    results: tuple[Result, ...]
    baselines: tuple[Result, ...] = ()
    description: str = ""

    @property
    def same_data(self) -> bool:
        """Whether these numbers are known to be measured on the paper's own data, so that the two may be subtracted.

        The profile `paper` takes whatever file has the name of COCO's: the records tell how many it holds.
        """
        records = [record for _, record in self.runs()]
        return self.profile == "paper" and bool(records) and all(map(_tested_on_all, records))

    @property
    def rows(self) -> tuple[Result, ...]:
        """The results; the baselines where they alone were asked for."""
        return self.results or self.baselines

    def baseline_of(self, cell: Cell) -> Result | None:
        """The baseline of a cell's column, backbone and amount of labels; None where the table has none."""
        return next((one for one in self.baselines if side_by_side(one.cell, cell)), None)

    def reference_of(self, cell: Cell) -> Result | None:
        """The table's reference for a cell's column, backbone and amount; None where it is not among the results."""
        if self.table.reference is None:
            return None
        method = self.table.reference.method
        beside = (one for one in self.table.cells if one.method == method and side_by_side(one, cell))
        first = next(beside, None)  # others of its method, as of a longer schedule, are no references
        return next((one for one in self.results if one.cell == first), None)

    def runs(self) -> Iterator[tuple[Cell, Record]]:
        """Every record once, baselines first, with the first cell that shows it."""
        seen = set()
        for result in (*self.baselines, *self.results):
            for record in result.records:
                if record.key not in seen:
                    seen.add(record.key)
                    yield result.cell, record

    @property
    def best(self) -> Record:
        """The first seed of the row with the highest mean. Raises SSHPEError where nothing was run."""
        run = [result for result in self.rows if result.records]
        if not run:
            raise SSHPEError(f"{self.table.name}: no row was run on the profile {self.profile}")
        return max(run, key=lambda result: result.scores(self.table.metric).mean()).records[0]


def side_by_side(one: Cell, other: Cell) -> bool:
    """Whether two cells share network, labels, input, protocol and test, and so may be set against each other."""
    shared = ("column", "backbone", "amount", "size", "protocol", "multi_scale")
    return all(getattr(one, name) == getattr(other, name) for name in shared)


def _tested_on_all(record: Record) -> bool:
    """Whether a record was tested on as many people, or images, as the published file of that name holds.

    False where that cannot be told: of a file that is not listed, and of detected boxes, which are as many as they are.
    """
    val = record.experiment.data.val
    if val.kind != "coco" or val.detections:
        return False
    expected = EXPECTED.get(Path(val.annotations).name)
    if expected is None:
        return False
    return record.provenance.data.get("val") == (
        expected.images if record.experiment.bottom_up else expected.people
    )
