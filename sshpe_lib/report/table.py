"""A table of the paper with our numbers beside it, for a notebook, a terminal, or as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sshpe_lib.report.blocks import GAP, Printed, blocks
from sshpe_lib.report.entries import Entry, Gain, entry
from sshpe_lib.report.paired import smallest_ratio
from sshpe_lib.report.results import Study

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TableView:
    """A table: HTML in a notebook, text of at most 100 columns in a terminal, numbers in `frame`."""

    study: Study
    entries: tuple[Entry, ...]

    def __repr__(self) -> str:
        return self.text()

    def text(self, width: int = 100) -> str:
        """The table in lines of at most 100 columns: one block for each column of the paper's table.

        width: columns that titles and notes are folded at.
        """
        from sshpe_lib.report.text import text

        return text(self.printed, width)

    def _repr_html_(self) -> str:
        from sshpe_lib.report.html import html

        return html(self.printed)

    @property
    def printed(self) -> Printed:
        """The table in print, with a second block where it has a reference."""
        table, found = self.study.table, tuple(blocks(self.study, self.entries))
        return Printed(table.title, table.data_of_paper, found, tuple(self.reasons), tuple(self.notes()))

    @property
    def frame(self) -> pd.DataFrame:
        """The numbers as a DataFrame: rows of the table, columns (column, quantity), NaN for none.

        The columns of marks come first, as ("marks", name).
        """
        import pandas as pd

        rows = list(dict.fromkeys(one.row for one in self.entries))
        marks: dict[tuple[str, str], dict] = {("marks", name): {} for name in self.study.table.marks}
        values: dict[tuple[str, str], dict] = {}
        for one in self.entries:
            for name, mark in zip(self.study.table.marks, one.marks, strict=True):
                marks["marks", name][one.row] = mark
            for name, number in (_numbers(one) | _other_numbers(one)).items():
                if name in self._quantities:
                    values.setdefault((one.column, name), {})[one.row] = number
        kinds = {name: "Int64" if name[1] == "seeds" else float for name in values}
        return pd.DataFrame(marks | values, index=pd.Index(rows, name="row")).astype(kinds)

    def lines(self) -> list[dict[str, str | float | int | None]]:
        """The numbers for another program: a line for every cell, with its row, column, marks and quantities."""
        found = []
        for one in self.entries:
            marks = dict(zip(self.study.table.marks, one.marks, strict=True))
            numbers = _numbers(one) | _other_numbers(one)
            plain = {name: numbers.get(name) for name in dict.fromkeys(self._quantities)}
            shown = {name: round(n, 6) if isinstance(n, float) else n for name, n in plain.items()}
            found.append({"row": one.row, "column": one.column} | marks | shown)
        return found

    @property
    def _quantities(self) -> list[str]:
        study = self.study
        names = ["paper", "ours", "ours std", "seeds", *["difference"] * study.same_data]
        for name, there in (("gain", study.baselines), ("lead", study.table.reference)):
            if there:
                names += [f"paper {name}", name, f"{name} std", f"{name} difference", f"{name} p"]
        for metric in study.table.others:
            names += [f"paper {metric}", metric, f"{metric} std"]
        return names

    @property
    def reasons(self) -> list[str]:
        """Why some cells were not run, each reason once; a cell refers to them by number, from 1."""
        return list(dict.fromkeys(one.not_run for one in self.entries if one.not_run))

    def notes(self) -> list[str]:
        """What a reader must know below the table."""
        study, notes, metric = self.study, [], self.study.table.metric
        if study.description:
            notes.append(f"Profile {study.profile}: {study.description}")
        notes += self._amounts()
        if study.same_data:
            notes.append(f"{metric} {GAP}: ours minus the paper's, on the same data.")
        elif self._against and any(one.ours and one.paper is not None for one in self.entries):
            told = "The paper's data and ours differ"
            if study.profile == "paper":
                told = "Our test data is not known to be the paper's"
            notes.append(f"{told}, so compare the gains and not the {metric}.")
        if self._against:
            gain = f"Gain: over {' or '.join(self._against)} on the same data; ours seed by seed."
            gains = [gain for one in self.entries for gain in (one.gain, one.lead) if gain]
            if any(one.difference is not None for one in gains):
                gain += f" Gain {GAP}: our gain minus the paper's, the difference of differences."
            notes.append(gain)
        if any(one.ours and one.ours.std is not None for one in self.entries):
            notes.append("±: standard deviation over seeds.")
        notes += self._test()
        left_out = len(study.table.cells) - len(study.results)
        if left_out:
            notes.append(f"{left_out} of the table's {len(study.table.cells)} cells were not asked for.")
        return [*notes, *study.table.notes]

    @property
    def _against(self) -> list[str]:
        """What the gains of the table are over."""
        baseline = [f"the {self.study.table.baseline} baseline"] if self.study.baselines else []
        reference = self.study.table.reference
        if reference is None or not any(one.lead and one.lead.ours for one in self.entries):
            return baseline
        return [*baseline, reference.name]

    def _amounts(self) -> list[str]:
        """How many labels stand for the paper's amounts, where the table has several; those that are all left out."""
        if self.study.same_data or len({cell.amount for cell in self.study.table.cells if cell.method}) < 2:
            return []
        labels = {cell.amount: record.experiment.data.labels for cell, record in self.study.runs()}
        told = ", ".join(f"{count:,} for {name}" for name, count in labels.items() if count is not None)
        return [f"Labels: {told}."] if told else []

    def _test(self) -> list[str]:
        """What the p values are, and how little they can tell from so few seeds."""
        gains = [gain.ours for one in self.entries for gain in (one.gain, one.lead) if gain and gain.ours]
        if not gains:
            return []
        seeds = min(gain.seeds for gain in gains)
        test = "p: two-sided paired t-test over seeds, against a gain of zero; not corrected for the number of rows."
        if seeds == 1:
            return [f"{test} One seed has no p."]
        return [
            f"{test} {seeds} seeds see little: p < 0.05 needs a mean gain of {smallest_ratio(seeds):.1f} times "
            "its deviation, and a large p does not say that two rows are equal."
        ]


def table(study: Study) -> TableView:
    """The paper's table with ours beside it, baselines first."""
    return TableView(study, tuple(entry(result, study) for result in (*study.baselines, *study.results)))


def to_text(study: Study, width: int = 100) -> str:
    """The table as text, as `TableView.text` has it."""
    return table(study).text(width)


def _numbers(one: Entry) -> dict[str, float | None]:
    """An entry's numbers by the names of `TableView.frame`."""
    numbers = {
        "paper": one.paper,
        "ours": one.ours.mean if one.ours else None,
        "ours std": one.ours.std if one.ours else None,
        "difference": one.difference,
        "seeds": one.ours.seeds if one.ours else 0,
    }
    for name, gain in (("gain", one.gain or Gain()), ("lead", one.lead or Gain())):
        numbers |= {
            f"paper {name}": gain.paper,
            name: gain.ours.mean if gain.ours else None,
            f"{name} std": gain.ours.std if gain.ours else None,
            f"{name} difference": gain.difference,
            f"{name} p": gain.p,
        }
    return numbers


def _other_numbers(one: Entry) -> dict[str, float | None]:
    """The same for the table's other metrics."""
    numbers: dict[str, float | None] = {}
    for metric, (paper, ours) in one.others.items():
        numbers[f"paper {metric}"] = paper
        numbers[metric] = ours.mean if ours else None
        numbers[f"{metric} std"] = ours.std if ours else None
    return numbers
