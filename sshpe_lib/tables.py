"""Tables: the YAML of params/ turned into cells, and cells into experiments."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field, model_validator

from sshpe_lib import paths
from sshpe_lib.config import Experiment, Frozen
from sshpe_lib.errors import SSHPEError
from sshpe_lib.profiles import load_methods, load_profile, load_schedules, read_yaml, validated
from sshpe_lib.recipe import Maker, Recipe, experiment

__all__ = ["Cell", "Reference", "Table", "cell_experiments", "experiment", "load_table", "names"]

SETTINGS = ("devices", "methods", "schedules")  # files of params/ that are no tables


class Cell(Recipe):
    """One number of a table: where it stands, what the paper says, which experiment makes it here.

    multi_scale: the number is that of the run's test at several scales. others: the paper's figures of the table's
    other metrics.
    """

    row: str
    column: str
    multi_scale: bool = False
    marks: dict[str, str] = {}  # mark column -> what stands there, such as ✓
    paper: float | None = None
    others: dict[str, float] = {}


class Reference(Frozen):
    """The method that a table sets its other rows against, and what the paper calls it."""

    method: str
    name: str


class Table(Frozen):
    """A table of the paper: its cells, and what they are set against.

    baseline: the method that gains are counted from, shown beside the cells; baseline_paper: column -> the
    paper's figure of it, or amount of labels -> figure where a column has several. reference: the rows that
    the paper compares its own with, among the cells. marks: the columns of marks, such as Table 3's. others: the
    metrics beside the first one. protocol: the profile's settings for a paper whose training is another. unmeasured:
    why nobody but the paper can measure this table. file: which it was read from.
    """

    name: str
    file: Path | None = Field(None, exclude=True)
    title: str
    citation: str
    data_of_paper: str
    metric: str = "AP"
    others: tuple[str, ...] = ()
    protocol: str | None = None
    unmeasured: str | None = None
    baseline: str | None = None
    baseline_paper: dict[str, float | dict[str, float]] = {}
    reference: Reference | None = None
    marks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cells: tuple[Cell, ...]

    def place(self, cell: Cell) -> str:
        """Where a cell stands, for a message: the table's file, its row and column."""
        return f"{self.file or self.name}: row {cell.row!r}, column {cell.column!r}"

    def columns(self) -> list[str]:
        return list(dict.fromkeys(cell.column for cell in self.cells))

    def rows(self) -> list[str]:
        return list(dict.fromkeys(cell.row for cell in self.cells))

    def baseline_cell(self, cell: Cell) -> Cell:
        """The baseline beside a cell: its column, backbone, amount and size; its row names what varies there."""
        beside = [one for one in self.cells if one.column == cell.column]
        varying = [
            getattr(cell, name)
            for name in ("backbone", "amount", "size")
            if len({getattr(one, name) for one in beside}) > 1
        ]
        figure = self.baseline_paper.get(cell.column)
        if isinstance(figure, dict):
            figure = figure.get(cell.amount)
        elif varying:
            figure = None  # one figure cannot be that of several baselines
        return Cell(
            row=", ".join([self.baseline, *varying]),  # type: ignore[list-item]  # asked where there is a baseline
            column=cell.column, method=self.baseline,
            backbone=cell.backbone, amount=cell.amount, size=cell.size, protocol=cell.protocol, paper=figure,
        )  # fmt: skip

    def baselines(self, cells: Sequence[Cell]) -> list[Cell]:
        """The table's baseline method for every column, backbone, amount of labels and size among `cells`."""
        found: list[Cell] = []
        for cell in map(self.baseline_cell, cells if self.baseline is not None else ()):
            if cell not in found:
                found.append(cell)
        return found

    @property
    def every_cell(self) -> list[Cell]:
        """All that is run of the table: its baselines, then its cells."""
        return [*self.baselines(self.cells), *self.cells]

    @model_validator(mode="after")
    def _names_agree(self) -> Table:
        if not self.cells:
            raise ValueError("cells is empty; give it a cell at least, with row, column and method")
        places = [(cell.row, cell.column) for cell in self.cells]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"cells lists row {place[0]!r} of column {place[1]!r} twice; name one anew")
        unknown = {mark for cell in self.cells for mark in cell.marks} - set(self.marks)
        if unknown:
            raise ValueError(f"cells are marked {sorted(unknown)}, which marks does not list; add them there")
        beyond = {name for cell in self.cells for name in cell.others} - set(self.others)
        if beyond:
            raise ValueError(
                f"cells have figures of {sorted(beyond)}, which others does not list; add them there"
            )
        strange = self.baseline_paper.keys() - set(self.columns())
        if strange:
            raise ValueError(f"baseline_paper names {sorted(strange)}; the columns are {self.columns()}")
        if self.reference and self.reference.method not in {cell.method for cell in self.cells}:
            raise ValueError(f"reference.method is {self.reference.method!r}, which is no cell's method")
        return self


def names(folder: Path | None = None) -> list[str]:
    """The tables of params/, or of another folder, sorted: every YAML file beside the settings that they share."""
    return sorted(
        path.stem for path in (folder or paths.params()).glob("*.yaml") if path.stem not in SETTINGS
    )


def load_table(name: str | Path, folder: Path | None = None) -> Table:
    """The table params/NAME.yaml, or the one in a file. Raises SSHPEError where it is missing or wrong."""
    name = str(name)
    path = Path(name) if name.endswith(".yaml") else (folder or paths.params()) / f"{name}.yaml"
    if not os.path.exists(path):  # False for a name that no file can have, too
        raise SSHPEError(f"no table {path}; choose one of: {', '.join(names(folder))}")
    return validated(Table, {"name": path.stem} | read_yaml(path) | {"file": path}, path)


def cell_experiments(
    table: Table, profile: str, seeds: int, cells: Sequence[Cell] | None = None
) -> Iterator[tuple[Cell, tuple[Experiment, ...] | str]]:
    """Every cell with its experiments, seed by seed, or the reason why the profile does not run it.

    cells: such as baselines too; the table's own where left out.
    Raises SSHPEError that names the table's file and the cell, for a wrong setting and for a name that is unknown.
    """
    maker = Maker(profile, load_profile(profile), load_methods(), load_schedules(), table.protocol)
    for cell in table.cells if cells is None else cells:
        reason = maker.not_run(cell)
        if cell.method is not None and maker.misspelt(cell):
            raise SSHPEError(f"{table.place(cell)}: {reason}")
        if cell.method is not None and table.unmeasured:
            reason = table.unmeasured
        try:
            wanted = reason or tuple(maker.experiment(cell, seed) for seed in range(seeds))
        except SSHPEError as error:
            raise SSHPEError(f"{table.place(cell)}: {error}") from None
        yield cell, wanted
