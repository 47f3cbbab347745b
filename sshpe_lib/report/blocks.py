"""A table in print, ready to be laid out as text or as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sshpe_lib.report.entries import Entry, Gain, setting
from sshpe_lib.report.results import Study

NOTHING = "–"
GAP = "− paper"  # ends the heading of ours minus the paper's


@dataclass(frozen=True)
class Line:
    """One entry in print: its texts under the paper's headings and under ours; `ours` empty where not run."""

    row: str
    paper: tuple[str, ...]
    ours: tuple[str, ...]
    marks: tuple[str, ...] = ()
    not_run: str | None = None


@dataclass(frozen=True)
class Column:
    """The lines of one column of the paper's table; `ours`, our headings, empty where nothing of it was run.

    measured: our profile, and the setting of this column where it was run.
    """

    name: str
    measured: str
    paper: tuple[str, ...]
    ours: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Block:
    """What is printed as one table: the metric with its gains, what the rows have over the reference, other metrics.

    title: what all of its numbers are, "" for the metric itself.
    """

    columns: tuple[Column, ...]
    marks: tuple[str, ...] = ()
    title: str = ""

    def rows(self) -> list[str]:
        """The names of the lines, each once."""
        return list(dict.fromkeys(line.row for column in self.columns for line in column.lines))


@dataclass(frozen=True)
class Printed:
    """A whole table in print. data: the paper's; reasons: why cells were not run, referred to from 1 on."""

    title: str
    data: str
    blocks: tuple[Block, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    def reason_number(self, line: Line) -> int:
        """The number of the reason why a line was not run."""
        return self.reasons.index(line.not_run) + 1


def blocks(study: Study, entries: Sequence[Entry]) -> list[Block]:
    """The table itself; what rows have over the table's reference, and its other metrics, where it has them.

    Columns that have no row in common stand in blocks of their own, and other metrics in one for every column.
    """
    names = list(dict.fromkeys(one.column for one in entries))
    inside = {name: [one for one in entries if one.column == name] for name in names}
    metric = [_metric(study, name, inside[name]) for name in names]
    found = [Block(columns, study.table.marks) for columns in _together(metric)]
    if study.table.reference is not None:
        leads = {name: [one for one in inside[name] if one.lead] for name in names}
        over = [_leads(study, name, leads[name]) for name in names if leads[name]]
        found += [Block(columns, title=f"over {study.table.reference.name}") for columns in _together(over)]
    if study.table.others:
        several = len(set(study.table.columns())) > 1
        for name in names:
            columns = tuple(_other(study, name, inside[name], metric) for metric in study.table.others)
            found.append(Block(columns, title=f"other metrics, {name}" if several else "other metrics"))
    return found


def _together(columns: Sequence[Column]) -> list[tuple[Column, ...]]:
    """The columns in groups: those with a row in common, directly or by way of others, in one."""
    groups: list[list[Column]] = []
    for column in columns:
        joined = [group for group in groups if any(_rows(column) & _rows(other) for other in group)]
        groups = [group for group in groups if group not in joined]
        groups.append([*(other for group in joined for other in group), column])
    return [tuple(group) for group in sorted(groups, key=lambda group: columns.index(group[0]))]


def _rows(column: Column) -> set[str]:
    return {line.row for line in column.lines}


def digits(study: Study) -> int:
    """Decimals of our numbers: the paper's where the data is the paper's."""
    return 2 if study.same_data else 1


def _metric(study: Study, name: str, inside: Sequence[Entry]) -> Column:
    """A column of the metric with the gains over the baseline."""
    metric, places = study.table.metric, digits(study)
    gained = any(one.gain and one.gain.paper is not None for one in inside)
    paper = (metric, "gain") if gained else (metric,)
    ours = []
    if any(one.ours for one in inside):
        ours = [metric, *[f"{metric} {GAP}"] * study.same_data]
        ours += ["gain", *[f"gain {GAP}"] * gained, "p"] if study.baselines else []
        ours += ["seeds"]
    lines = []
    for one in inside:
        gain = one.gain or Gain()
        theirs = {metric: NOTHING if one.paper is None else str(one.paper), "gain": _signed(gain.paper, 2)}
        mine = {
            metric: one.ours.text(places) if one.ours else "",
            f"{metric} {GAP}": _signed(one.difference, 2),
            **_gain_texts(gain, places),
            "seeds": str(one.ours.seeds) if one.ours else "",
        }
        lines.append(_line(one, [theirs[n] for n in paper], [mine[n] for n in ours], one.marks))
    return Column(name, _measured(study, name), paper, tuple(ours), tuple(lines))


def _leads(study: Study, name: str, inside: Sequence[Entry]) -> Column:
    """A column of what rows have over the reference."""
    leads = [one.lead or Gain() for one in inside]
    gap = [f"gain {GAP}"] * any(lead.paper is not None for lead in leads)
    ours = ["gain", *gap, "p"] if any(lead.ours for lead in leads) else []
    lines = []
    for one, lead in zip(inside, leads, strict=True):
        mine = _gain_texts(lead, digits(study))
        lines.append(_line(one, [_signed(lead.paper, 2)], [mine[n] for n in ours]))
    return Column(name, _measured(study, name), ("gain",), tuple(ours), tuple(lines))


def _other(study: Study, name: str, inside: Sequence[Entry], metric: str) -> Column:
    """A column of another metric, without gains."""
    lines = []
    for one in inside:
        paper, ours = one.others[metric]
        text = ours.text(digits(study)) if ours else NOTHING
        lines.append(_line(one, [NOTHING if paper is None else str(paper)], [text]))
    measured = [metric] if any(one.ours for one in inside) else []
    return Column(metric, _measured(study, name), (metric,), tuple(measured), tuple(lines))


def _measured(study: Study, column: str) -> str:
    shown = [one for one in (*study.baselines, *study.results) if one.cell.column == column]
    experiments = [record.experiment for one in shown for record in one.records]
    return ", ".join(filter(None, (f"profile {study.profile}", setting(experiments))))


def _gain_texts(gain: Gain, places: int) -> dict[str, str]:
    return {
        "gain": gain.ours.text(places, sign=True) if gain.ours else NOTHING,
        f"gain {GAP}": _signed(gain.difference, places),
        "p": NOTHING if gain.p is None else f"{gain.p:#.2g}",
    }


def _line(one: Entry, paper: list[str], ours: list[str], marks: tuple[str, ...] = ()) -> Line:
    return Line(one.row, tuple(paper), tuple(ours) if one.ours else (), marks, one.not_run)


def _signed(value: float | None, places: int) -> str:
    return NOTHING if value is None else f"{value:+.{places}f}".replace("-", "\u2212")
