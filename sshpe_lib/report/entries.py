"""The numbers of a table's cells: the paper's, ours, and what may be subtracted from what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sshpe_lib.config import Experiment
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
class Entry:
    """One number of the paper and ours: metrics and differences in percent points, None where there is none.

    gain: ours over our own baseline, seed by seed; paper_gain: the paper's over the paper's own baseline;
    difference: ours minus the paper's, which exists on the paper's data only.
    """

    row: str
    column: str
    paper: float | None = None
    paper_gain: float | None = None
    ours: Spread | None = None
    gain: Spread | None = None
    difference: float | None = None
    not_run: str | None = None


def entry(result: Result, study: Study) -> Entry:
    """The numbers of one cell, or of one baseline, which has no gain over itself."""
    cell, metric, baseline = result.cell, study.table.metric, study.baseline_of(result.cell)
    if baseline is result:
        baseline = None
    paper_gain = gain = difference = ours = None
    if baseline is not None and None not in (cell.paper, baseline.cell.paper):
        paper_gain = cell.paper - baseline.cell.paper
    if result.records:
        ours = Spread.of(result.scores(metric))
        if baseline is not None and len(baseline.records) == len(result.records):
            gain = Spread.of(result.scores(metric) - baseline.scores(metric))
        if study.same_data and cell.paper is not None:
            difference = ours.mean - cell.paper
    return Entry(cell.row, cell.column, cell.paper, paper_gain, ours, gain, difference, result.not_run)


def setting(experiments: Sequence[Experiment]) -> str:
    """How a column of ours was measured, such as "100 labels, 64x48, width 16, from scratch"."""
    words = {}
    for experiment in experiments:
        (width, height), model = experiment.data.input_size, experiment.model
        words[f"{experiment.data.labels:,} labels"] = None
        words[f"{height}x{width}"] = None
        if model.width != type(model)().width:
            words[f"width {model.width}"] = None
        if model.init != "imagenet":
            words["from scratch" if model.init == "scratch" else f"trunk from {model.init}"] = None
    return ", ".join(words)
