"""Learning curves: AP of student and teacher on the way, and the training losses."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib.errors import SSHPEError
from sshpe_lib.records import Record
from sshpe_lib.report.results import Result, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PER_ROW = 3
TITLE = 30  # characters that fit above a panel
LOSSES = 12  # lines that a panel of losses has room for


def curves(study: Study) -> Figure:
    """A panel of AP for every row (teacher solid, student dashed, baseline dotted), and one of the losses.

    Lines are means over seeds, bands one standard deviation to each side. More rows than `LOSSES` have no losses.
    Raises SSHPEError where nothing was run.
    """
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS, Plate

    shown = _trained(study)
    if not shown:
        raise SSHPEError(f"{study.table.name}: no row was run on the profile {study.profile}, so no curve")
    count = len(shown) + (len(shown) <= LOSSES)
    columns = min(count, PER_ROW)
    rows = -(-count // columns)
    with rc_context(SETTINGS):
        figure = Plate(figsize=(2.8 * columns, 2.1 * rows + 0.8), layout="constrained")
        panels = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
        with_ap = panels[: len(shown)]
        for index, (axes, result) in enumerate(zip(with_ap, shown, strict=True)):
            axes.sharey(panels[0])
            _ap_panel(axes, index, result, study)
        for axes in panels[len(shown) :]:
            _loss_panel(axes, shown, study)
        for axes in with_ap[::columns]:
            axes.set_ylabel("AP (%)")
        low, high = panels[0].get_ylim()
        panels[0].set_ylim(max(low, 0), max(high, 1))
        figure.suptitle(f"{study.table.title}\nprofile {study.profile}, {_seeds(shown)}", fontsize=9)
        figure.legend(handles=_legend(study), loc="outside lower center", ncols=4)
    return figure


def _trained(study: Study) -> list[Result]:
    """The rows that were run, without those that are another test of runs that are there already."""
    run = [result for result in study.rows if result.records]
    shown = {record.key for result in run if not result.cell.multi_scale for record in result.records}
    return [result for result in run if not result.cell.multi_scale or result.records[0].key not in shown]


def band(records: Sequence[Record], name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Steps, mean and standard deviation over seeds of a field of the curve, each (points,).

    Only the steps where every seed has the field count; the deviation (ddof 1) is None for a single seed.
    """
    values = [{p.step: getattr(p, name) for p in r.curve if getattr(p, name) is not None} for r in records]
    steps = sorted(set.intersection(*map(set, values)))
    table = np.array([[one[step] for step in steps] for one in values], dtype=float)
    return np.array(steps), table.mean(0), table.std(0, ddof=1) if len(records) > 1 else None


def _plot(axes: Axes, records: Sequence[Record], name: str, **look) -> None:
    steps, mean, std = band(records, name)
    if not len(steps):
        return  # a network that this method does not have
    axes.plot(steps, mean, **look)
    if std is not None:
        axes.fill_between(steps, mean - std, mean + std, color=look["color"], alpha=0.18, linewidth=0)


def _ap_panel(axes: Axes, index: int, result: Result, study: Study) -> None:
    from sshpe_lib.report.style import GREY, color, marker

    baseline = study.baseline_of(result.cell)
    if baseline is not None and baseline.records:
        _plot(axes, baseline.records, "student_ap", color=GREY, linestyle=":")
    look = {"color": color(index), "marker": marker(index)}
    _plot(axes, result.records, "teacher_ap", linestyle="-", **look)
    _plot(axes, result.records, "student_ap", linestyle="--", markerfacecolor="white", **look)
    _mark_burn_in(axes, result.records[0])
    axes.set_title(
        fill(_name(result, study), TITLE, break_on_hyphens=False), color=color(index), fontweight="bold"
    )
    axes.set_xlabel("step")


def _mark_burn_in(axes: Axes, record: Record) -> None:
    """A line where the teacher starts to teach, if not at once."""
    from sshpe_lib.report.style import GREY

    burn_in = record.experiment.train.burn_in
    if burn_in:
        axes.axvline(burn_in * record.curve[-1].step, color=GREY, linewidth=0.8, linestyle=(0, (6, 3)))


def _loss_panel(axes: Axes, shown: Sequence[Result], study: Study) -> None:
    from sshpe_lib.report.style import GREY, color, marker

    for baseline in study.baselines:
        if baseline.records:
            _plot(axes, baseline.records, "supervised", color=GREY, linestyle=":")
    for index, result in enumerate(shown):
        look = {"color": color(index), "marker": marker(index)}
        _plot(axes, result.records, "supervised", **look)
        _plot(axes, result.records, "consistency", linestyle="--", markerfacecolor="white", **look)
    consistent = any(
        point.consistency is not None for result in shown for one in result.records for point in one.curve
    )
    axes.set(title="loss (dashed: consistency)" if consistent else "loss", yscale="log", xlabel="step")


def _name(result: Result, study: Study) -> str:
    several = len({other.cell.column for other in study.rows if other.records}) > 1
    return f"{result.cell.row}, {result.cell.column}" if several else result.cell.row


def _seeds(shown: Sequence[Result]) -> str:
    count = min(len(result.records) for result in shown)
    return "one seed" if count == 1 else f"mean and standard deviation over {count} seeds"


def _legend(study: Study) -> list:
    from matplotlib.lines import Line2D

    from sshpe_lib.report.style import GREY

    lines = []
    if any("teacher" in record.metrics for _, record in study.runs()):
        lines.append(Line2D([], [], color="black", marker="o", label="teacher"))
    hollow = {"marker": "o", "markerfacecolor": "white", "linestyle": "--"}
    lines.append(Line2D([], [], color="black", label="student", **hollow))
    if any(baseline.records for baseline in study.baselines):
        lines.append(Line2D([], [], color=GREY, linestyle=":", label=study.table.baseline))
    if any(record.experiment.train.burn_in for _, record in study.runs()):
        lines.append(Line2D([], [], color=GREY, linewidth=0.8, linestyle=(0, (6, 3)), label="end of burn-in"))
    return lines
