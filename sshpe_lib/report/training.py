"""Figures 3 and 4: AP and training loss on the way, the methods of a study over one another."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sshpe_lib.errors import SSHPEError
from sshpe_lib.records import Record
from sshpe_lib.report.curves import band
from sshpe_lib.report.results import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE = 88  # letters of a title
STUDENT = {"linestyle": "--", "linewidth": 1.0, "markerfacecolor": "white", "zorder": 1.5}
MILESTONE = {"linewidth": 0.9, "linestyle": ":"}
BURN_IN = {"linewidth": 0.8, "linestyle": (0, (6, 3))}


def training(study: Study) -> Figure:
    """Figures 3 and 4: test AP over training loss, a colour for every row that was run.

    AP: solid the network that a table quotes, dashed the student beside its teacher. Loss: the total of Eq.
    1, the mean since the evaluation before. Lines are means over seeds, bands one standard deviation to each
    side of the solid ones. The x axis counts epochs, or steps where `steps_of_epoch` has none. A run that goes on
    from another one starts where that one ended.
    Raises SSHPEError where nothing was run.
    """
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS, Plate, color, marker

    runs = [(result.cell.row, result.records) for result in study.rows if result.records]
    if not runs:
        raise SSHPEError(f"{study.table.name}: no row was run on the profile {study.profile}, so no curve")
    everything = [record for _, records in runs for record in records]
    epoch = steps_of_epoch(everything)
    unit = epoch or 1
    with rc_context(SETTINGS):
        figure = Plate(figsize=(6.0, 5.4), layout="constrained")
        ap, loss = figure.subplots(2, 1, sharex=True)
        for index, (_, records) in enumerate(runs):
            look: dict[str, object] = {"color": color(index), "marker": marker(index)}
            quoted = records[0].headline
            _plot(ap, records, f"{quoted}_ap", unit, look)
            if quoted == "teacher":
                _plot(ap, records, "student_ap", unit, look | STUDENT, shade=False)
            _plot(loss, records, "loss", unit, look)
        for axes in (ap, loss):
            _mark_schedules(axes, [records[0] for _, records in runs], unit)
        ap.set(ylabel="test AP (%)", ylim=(0, max(ap.get_ylim()[1], 1)))
        loss.set(ylabel="training loss × 1000", xlabel=_unit(everything[0], epoch))
        loss.yaxis.set_major_formatter(lambda value, _: f"{1000 * value:g}")
        figure.suptitle(_title(study, everything), fontsize=9, x=0.01, ha="left")
        names = [name for name, _ in runs]
        figure.legend(handles=_legend(names, everything), loc="outside lower center", ncols=4)
    return figure


def steps_of_epoch(records: Sequence[Record]) -> int | None:
    """Steps in one pass over the unlabelled pool, the measure of a run's length whatever its burn-in.

    None where a record does not tell its pool, where the records differ, or where a run ends within one pass.
    """
    found = {-(-int(r.provenance.data.get("unlabeled", 0)) // r.experiment.train.batch_size) for r in records}
    (steps, *others) = found
    if others or not steps or any(record.curve[-1].step < steps for record in records):
        return None
    return steps


def _plot(
    axes: Axes,
    records: Sequence[Record],
    name: str,
    unit: int,
    look: Mapping[str, object],
    shade: bool = True,
) -> None:
    steps, mean, std = band(records, name)
    epochs = (_before(records[0]) + steps) / unit
    axes.plot(epochs, mean, **look)
    if shade and std is not None:
        axes.fill_between(
            epochs, mean - std, mean + std, color=look["color"], alpha=0.15, linewidth=0, zorder=1
        )


def _before(record: Record) -> int:
    """Steps of the stages that a run goes on from."""
    return int(record.provenance.data.get("start_steps", 0))


def _mark_schedules(axes: Axes, records: Sequence[Record], unit: int) -> None:
    """Lines where the learning rate of any run falls and where a burn-in ends."""
    from sshpe_lib.report.style import GREY

    falls = {
        (_before(record) + fraction * record.curve[-1].step) / unit
        for record in records
        for fraction in record.experiment.train.milestones
    }
    for epoch in sorted(falls):
        axes.axvline(epoch, color=GREY, **MILESTONE)
    train = records[0].experiment.train
    if train.burn_in:
        axes.axvline(train.burn_in * records[0].curve[-1].step / unit, color=GREY, **BURN_IN)


def _unit(record: Record, epoch: int | None) -> str:
    if epoch is None:
        return "step"
    people = record.provenance.data["unlabeled"]
    return f"epoch (a pass over {people:,} unlabelled people in {epoch:,} steps)"


def _title(study: Study, everything: Sequence[Record]) -> str:
    seeds = len({record.experiment.train.seed for record in everything})
    spread = "one seed" if seeds == 1 else f"{seeds} seeds (mean and standard deviation)"
    words = (study.table.title, f"Profile {study.profile}, {spread}: {study.description}")
    return "\n".join(textwrap.fill(line, LINE) for line in words)


def _legend(rows: Sequence[str], everything: Sequence[Record]) -> list:
    from matplotlib.lines import Line2D

    from sshpe_lib.report.style import GREY, color, marker

    lines = [
        Line2D([], [], color=color(index), marker=marker(index), label=row) for index, row in enumerate(rows)
    ]
    if any(record.headline == "teacher" for record in everything):
        lines.append(Line2D([], [], color="black", marker="o", label="student", **STUDENT))
    lines.append(Line2D([], [], color=GREY, label="learning rate ÷ 10", **MILESTONE))
    if everything[0].experiment.train.burn_in:
        lines.append(Line2D([], [], color=GREY, label="end of burn-in", **BURN_IN))
    return lines
