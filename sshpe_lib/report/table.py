"""A table of the paper with our numbers beside it, for a notebook, a terminal, or as numbers."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from sshpe_lib.report.entries import Entry, entry, setting
from sshpe_lib.report.results import Study

if TYPE_CHECKING:
    import pandas as pd

TEXT_WIDTH = 100
NOTHING = "–"


@dataclass(frozen=True)
class TableView:
    """A table: HTML in a notebook, text of at most 100 columns in a terminal, numbers in `frame`."""

    study: Study
    entries: tuple[Entry, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """The numbers as a DataFrame: rows of the table, columns (column, quantity), NaN for none."""
        import pandas as pd

        rows = list(dict.fromkeys(one.row for one in self.entries))
        values = {(one.column, name): {} for one in self.entries for name in self._quantities}
        for one in self.entries:
            numbers = {
                "paper": one.paper,
                "paper gain": one.paper_gain,
                "ours": one.ours and one.ours.mean,
                "ours std": one.ours and one.ours.std,
                "gain": one.gain and one.gain.mean,
                "gain std": one.gain and one.gain.std,
                "difference": one.difference,
                "seeds": one.ours.seeds if one.ours else 0,
            }
            for name in self._quantities:
                values[one.column, name][one.row] = numbers[name]
        frame = pd.DataFrame(values, index=pd.Index(rows, name="row"))
        return frame.astype({name: "Int64" if name[1] == "seeds" else float for name in frame.columns})

    @property
    def _quantities(self) -> tuple[str, ...]:
        if self.study.same_data:
            return ("paper", "ours", "ours std", "difference", "seeds")
        return ("paper", "paper gain", "ours", "ours std", "gain", "gain std", "seeds")

    def __repr__(self) -> str:
        return to_text(self.study)

    def _repr_html_(self) -> str:
        return _html(self)

    @property
    def columns(self) -> list[str]:
        """The table's columns that are shown, in its order."""
        return list(dict.fromkeys(one.column for one in self.entries))

    def inside(self, column: str) -> list[Entry]:
        """The entries of one column, baseline first."""
        return [one for one in self.entries if one.column == column]

    @property
    def reasons(self) -> list[str]:
        """Why some cells were not run, each reason once; a cell refers to them by number, from 1."""
        return list(dict.fromkeys(one.not_run for one in self.entries if one.not_run))

    def reason_number(self, one: Entry) -> int:
        """The number, from 1, of the reason why an entry was not run."""
        return self.reasons.index(one.not_run) + 1

    def headings(self, column: str) -> tuple[list[str], list[str]]:
        """The headings of a column under "paper" and under "ours"; the latter empty where it was not run."""
        metric, inside = self.study.table.metric, self.inside(column)
        paper = [metric, "gain"] if any(one.paper_gain is not None for one in inside) else [metric]
        if not any(one.ours for one in inside):
            return paper, []
        if self.study.same_data:
            return [metric], [metric, "− paper", "seeds"]
        return paper, [metric, "gain", "seeds"] if self.study.baselines else [metric, "seeds"]

    def texts(self, one: Entry) -> tuple[list[str], list[str]]:
        """An entry in print, under the headings of its column; ours empty where it was not run."""
        digits = 2 if self.study.same_data else 1
        values = {
            "− paper": _signed(one.difference),
            "gain": one.gain.text(digits, sign=True) if one.gain else NOTHING,
            "seeds": str(one.ours.seeds) if one.ours else "",
            self.study.table.metric: one.ours.text(digits) if one.ours else "",
        }
        paper = {
            "gain": _signed(one.paper_gain),
            self.study.table.metric: NOTHING if one.paper is None else str(one.paper),
        }
        paper_headings, our_headings = self.headings(one.column)
        ours = [values[name] for name in our_headings] if one.ours else []
        return [paper[name] for name in paper_headings], ours

    def ours_heading(self, column: str) -> str:
        """Our profile, and the setting of one column where it was run."""
        experiments = [record.experiment for cell, record in self.study.runs() if cell.column == column]
        return ", ".join(filter(None, (f"profile {self.study.profile}", setting(experiments))))

    def notes(self) -> list[str]:
        """What a reader must know below the table."""
        study, notes = self.study, []
        if study.description:
            notes.append(f"Profile {study.profile}: {study.description}")
        if study.same_data:
            notes.append("− paper: ours minus the paper's, on the same data.")
        elif study.baselines:
            notes.append(
                f"The paper's data and ours differ, so compare the gains and not the {study.table.metric}. "
                f"Gain: over the {study.table.baseline} baseline on the same data; ours seed by seed."
            )
        if any(one.ours and one.ours.std is not None for one in self.entries):
            notes.append("±: standard deviation over seeds.")
        left_out = len(study.table.cells) - len(study.results)
        if left_out:
            notes.append(f"{left_out} of the table's {len(study.table.cells)} cells were not asked for.")
        return [*notes, *study.table.notes]


def table(study: Study) -> TableView:
    """The paper's table with ours beside it, baselines first."""
    return TableView(study, tuple(entry(result, study) for result in (*study.baselines, *study.results)))


def to_text(study: Study) -> str:
    """The table as text of at most 100 columns: one block for each column of the paper's table."""
    view = table(study)
    lines = _wrapped(study.table.title)
    for column in view.columns:
        lines += ["", *_text_block(view, column)]
        lines += _wrapped(f"paper: {study.table.data_of_paper}")
        lines += _wrapped(f"ours:  {view.ours_heading(column)}")
    lines.append("")
    for number, reason in enumerate(view.reasons, 1):
        lines += _wrapped(f"({number}) {reason}")
    for note in view.notes():
        lines += _wrapped(note)
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _text_block(view: TableView, column: str) -> list[str]:
    from tabulate import tabulate

    paper, ours = view.headings(column)
    headings = [column, *(f"paper {name}" for name in paper)]
    headings += [name if name == "seeds" else f"our {name}" for name in ours or [view.study.table.metric]]
    rows = []
    for one in view.inside(column):
        theirs, mine = view.texts(one)
        rows.append([one.row, *theirs, *(mine or [f"not run ({view.reason_number(one)})"])])
    align = ("left", *("right" for _ in headings[1:]))
    return tabulate(rows, headings, disable_numparse=True, colalign=align).splitlines()


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, TEXT_WIDTH)


def _signed(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.2f}".replace("-", "\u2212")


# Inline, because a notebook page keeps no style sheet of ours; colours are the page's own, light or dark.
_NUMBER = "text-align:right; white-space:nowrap; font-variant-numeric:tabular-nums"
_HEAD = "text-align:center; vertical-align:bottom"
_SOURCE = f"{_HEAD}; font-weight:normal; font-size:smaller"
_LEFT = "text-align:left; white-space:nowrap"
_RULE = "; border-left:1px solid currentColor"


def _html(view: TableView) -> str:
    heads = [[_cell("th", "", _LEFT)] for _ in range(3)]
    for column in view.columns:
        for line, cells in zip(heads, _html_heads(view, column), strict=True):
            line += cells
    rows = dict.fromkeys(one.row for one in view.entries)
    body = [[_cell("th", row, _LEFT), *_html_row(view, row)] for row in rows]
    head, body = ("".join(f"<tr>{''.join(cells)}</tr>" for cells in lines) for lines in (heads, body))
    reasons = [f"<sup>{number}</sup> {escape(reason)}" for number, reason in enumerate(view.reasons, 1)]
    notes = "<br>".join([*reasons, *(escape(note) for note in view.notes())])
    return (
        f'<div style="overflow-x:auto"><p><strong>{escape(view.study.table.title)}</strong></p>'
        f'<table class="table"><thead>{head}</thead><tbody>{body}</tbody></table></div>'
        f'<p style="font-size:smaller">{notes}</p>'
    )


def _html_heads(view: TableView, column: str) -> tuple[list[str], list[str], list[str]]:
    """A column's cells of the three heading lines: its name, whose data, which number."""
    paper, ours = view.headings(column)
    ours = ours or [""]
    sources = [
        _cell("th", f"paper: {view.study.table.data_of_paper}", _SOURCE + _RULE, len(paper)),
        _cell("th", f"ours: {view.ours_heading(column)}", _SOURCE, len(ours)),
    ]
    names = [_cell("th", name, _NUMBER + _RULE * (i == 0)) for i, name in enumerate([*paper, *ours])]
    return [_cell("th", column, _HEAD + _RULE, len(paper) + len(ours))], sources, names


def _html_row(view: TableView, row: str) -> list[str]:
    cells = []
    for column in view.columns:
        paper, ours = view.headings(column)
        one = next((one for one in view.inside(column) if one.row == row), None)
        if one is None:  # the table has no such cell
            cells.append(_cell("td", "", _HEAD + _RULE, len(paper) + max(len(ours), 1)))
            continue
        theirs, mine = view.texts(one)
        cells += [_cell("td", text, _NUMBER + _RULE * (i == 0)) for i, text in enumerate(theirs)]
        cells += [_cell("td", text, _NUMBER) for text in mine]
        if not mine:
            note = f"not run<sup>{view.reason_number(one)}</sup>"
            cells.append(f'<td colspan="{max(len(ours), 1)}" style="{_HEAD}; white-space:nowrap">{note}</td>')
    return cells


def _cell(tag: str, text: str, style: str, span: int = 1) -> str:
    columns = f' colspan="{span}"' if span > 1 else ""
    return f'<{tag}{columns} style="{style}">{escape(text)}</{tag}>'
