"""Which of the paper's orderings appear here: every pair of rows of a table, by the paired differences of ours."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from sshpe_lib.report.entries import Spread
from sshpe_lib.report.paired import p_value
from sshpe_lib.report.results import Result, Study, side_by_side

if TYPE_CHECKING:
    import pandas as pd

Ranked = tuple[Result, float]  # and the paper's figure

LEVEL = 0.05
CLEAR, LIKELY, EQUAL, UNLIKELY, CONTRARY = "as in the paper", "same sign", "equal", "other sign", "reversed"


@dataclass(frozen=True)
class Pair:
    """Two rows of one column: the paper's difference, better minus worse there, and ours, in percent points."""

    column: str
    better: str
    worse: str
    paper: float
    ours: Spread
    p: float | None

    @property
    def verdict(self) -> str:
        """CLEAR or CONTRARY where a paired t-test over seeds says so at 5 %; else only the sign of the mean."""
        told_apart = self.p is not None and self.p < LEVEL
        if self.ours.mean == 0:
            return EQUAL
        if self.ours.mean > 0:
            return CLEAR if told_apart else LIKELY
        return CONTRARY if told_apart else UNLIKELY


@dataclass(frozen=True)
class Orderings:
    """Every pair of rows that the paper ranks and that was run here, largest difference of the paper first."""

    study: Study
    pairs: tuple[Pair, ...]

    @property
    def counts(self) -> Counter[str]:
        """Verdict -> number of pairs."""
        return Counter(pair.verdict for pair in self.pairs)

    @property
    def sentence(self) -> str:
        """How many pairs stand in the paper's order, in words."""
        if not self.pairs:
            return f"{self.study.table.name} on {self.study.profile}: no two rows of it were run."
        counts, total = self.counts, len(self.pairs)
        agree = counts[CLEAR] + counts[LIKELY]
        words = (
            f"{agree} of {total} pairs of rows stand in the paper's order, {counts[CLEAR]} of them beyond the"
        )
        words += f" noise of {_seeds(self.pairs)} (p < {LEVEL})"
        others = total - agree
        if not others:
            return f"{words}."
        do = "does" if others == 1 else "do"
        return f"{words}; {others} {do} not, {counts[CONTRARY]} of them beyond the noise."

    @property
    def frame(self) -> pd.DataFrame:
        """A line for every pair, by its two rows."""
        import pandas as pd

        lines = [
            {
                "paper": f"+{pair.paper:.2f}",
                "ours": pair.ours.text(1, sign=True),
                "p": "–" if pair.p is None else f"{pair.p:.2g}",
                "verdict": pair.verdict,
            }
            for pair in self.pairs
        ]
        several = len({pair.column for pair in self.pairs}) > 1
        names = [
            f"{pair.better} over {pair.worse}" + (f", {pair.column}" if several else "")
            for pair in self.pairs
        ]
        return pd.DataFrame(lines, index=pd.Index(names, name="pair"))


def orderings(study: Study) -> Orderings:
    """Compare all rows of each column and amount of labels with one another, the baseline among them.

    Pairs that the paper gives the same figure are left out, and those with a row that was not run here.
    """
    everything = [
        (result, result.cell.paper)
        for result in (*study.baselines, *study.results)
        if result.records and result.cell.paper is not None
    ]
    pairs = [
        _pair(one, other, study) for one, other in combinations(everything, 2) if _comparable(one, other)
    ]
    return Orderings(study, tuple(sorted(pairs, key=lambda pair: -pair.paper)))


def _comparable(one: Ranked, other: Ranked) -> bool:
    same = side_by_side(one[0].cell, other[0].cell)
    return same and len(one[0].records) == len(other[0].records) and one[1] != other[1]


def _pair(one: Ranked, other: Ranked, study: Study) -> Pair:
    (better, high), (worse, low) = sorted((one, other), key=lambda ranked: -ranked[1])
    differences = better.scores(study.table.metric) - worse.scores(study.table.metric)
    return Pair(
        better.cell.column,
        better.cell.row,
        worse.cell.row,
        high - low,
        Spread.of(differences),
        p_value(differences),
    )


def _seeds(pairs: tuple[Pair, ...]) -> str:
    seeds = min(pair.ours.seeds for pair in pairs)
    return "one seed" if seeds == 1 else f"{seeds} seeds"
