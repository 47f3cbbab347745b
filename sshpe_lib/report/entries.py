"""The numbers of a table's cells: the paper's, ours, and what may be subtracted from what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sshpe_lib.config import Experiment
from sshpe_lib.report.paired import p_value
from sshpe_lib.report.results import Result, Study


@dataclass(frozen=True)
class Spread:
    """A number over seeds: mean and standard deviation (ddof 1; None for one seed, which has none)."""

    mean: float
    std: float | None
    seeds: int

    @classmethod
    def of(cls, values: np.ndarray) -> Spread:
        """The spread of the values of one or more seeds."""
        return cls(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values))

    def text(self, digits: int, sign: bool = False) -> str:
        """Such as "24.1 ± 0.6", or "24.1" for one seed; with `sign`, "+2.8 ± 0.3"."""
        mean = f"{self.mean:+.{digits}f}" if sign else f"{self.mean:.{digits}f}"
        return mean.replace("-", "\u2212") + ("" if self.std is None else f" ± {self.std:.{digits}f}")


@dataclass(frozen=True)
class Gain:
    """What one row has over another of the same column, backbone and amount of labels, in percent points.

    paper: the paper's, on its data; ours: seed by seed, on ours; p: of the paired t-test over seeds. None where
    there is none.
    """

    paper: float | None = None
    ours: Spread | None = None
    p: float | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's: a difference of differences, so the two may stem from different data."""
        return None if self.ours is None or self.paper is None else self.ours.mean - self.paper


@dataclass(frozen=True)
class Entry:
    """One number of the paper and ours, in percent, None where there is none.

    gain: over the table's baseline; lead: over its reference; None for these themselves, and where the table
    has none. difference: ours minus the paper's, which exists on the paper's data only. marks: in the order of
    the table's columns of marks. others: the table's other metrics, the paper's figure and ours.
    """

    row: str
    column: str
    marks: tuple[str, ...] = ()
    paper: float | None = None
    ours: Spread | None = None
    difference: float | None = None
    gain: Gain | None = None
    lead: Gain | None = None
    not_run: str | None = None
    others: Mapping[str, tuple[float | None, Spread | None]] = field(default_factory=dict)


def entry(result: Result, study: Study) -> Entry:
    """The numbers of one cell, or of one baseline."""
    cell, metric, baseline = result.cell, study.table.metric, study.baseline_of(result.cell)
    reference = None if baseline is result else study.reference_of(cell)
    ours = Spread.of(result.scores(metric)) if result.records else None
    difference = None
    if study.same_data and ours is not None and cell.paper is not None:
        difference = ours.mean - cell.paper
    return Entry(
        cell.row,
        cell.column,
        tuple(cell.marks.get(mark, "") for mark in study.table.marks),
        cell.paper,
        ours,
        difference,
        _gain(result, baseline, metric),
        _gain(result, reference, metric),
        result.not_run,
        {name: (cell.others.get(name), _spread(result, name)) for name in study.table.others},
    )


def _spread(result: Result, metric: str) -> Spread | None:
    """Ours of another metric; None where a test set has nobody to measure it on, as records then leave it out."""
    if not all(result.measured(metric) in record.metrics[record.headline] for record in result.records):
        return None
    return Spread.of(result.scores(metric)) if result.records else None


def _gain(result: Result, other: Result | None, metric: str) -> Gain | None:
    if other is None or other is result:
        return None
    mine, theirs = result.cell.paper, other.cell.paper
    paper = None if mine is None or theirs is None else mine - theirs
    if not result.records or len(other.records) != len(result.records):
        return Gain(paper)
    differences = result.scores(metric) - other.scores(metric)
    return Gain(paper, Spread.of(differences), p_value(differences))


def setting(experiments: Sequence[Experiment]) -> str:
    """How a column of ours was measured, such as "100 labels, 64x48, ResNet-18 of width 16, from scratch"."""
    if not experiments:
        return ""
    counts = dict.fromkeys(experiment.data.labels for experiment in experiments)
    words = {f"{' / '.join('all' if count is None else f'{count:,}' for count in counts)} labels": None}
    for experiment in experiments:
        (width, height), model = experiment.data.input_size, experiment.model
        words[f"{height}x{width}"] = None
        words[str(model)] = None
        if model.init != "imagenet":
            words["from scratch" if model.init == "scratch" else f"trunk from {model.init}"] = None
    return ", ".join(words)
