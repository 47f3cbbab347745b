"""Which pairs of rows stand in the paper's order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sshpe_lib.report.orderings import CLEAR, CONTRARY, EQUAL, LIKELY, UNLIKELY, orderings
from sshpe_lib.report.paired import smallest_ratio
from sshpe_lib.report.results import side_by_side
from sshpe_lib.tables import Cell
from tests import fakes

# Table 4, ResNet-18: 0.6 is the paper's best, then 0.9, 0.5, 0.99, 0.999; the baseline 31.5.
ROWS = ("0.6", "0.9", "0.5", "0.99", "0.999", "supervised")
STEADY = [0.0, 0.1, -0.1]


def ranked(**aps: float):
    """Rows by their decay, such as d09=22, that hardly move between seeds; the others lie at 10."""
    values = {name.replace("d0", "0."): ap for name, ap in aps.items()}
    share = {row: place for place, row in enumerate(ROWS, 1)}  # no two rows move alike

    def ap(cell, seed):
        return round(values.get(cell.row, 10) + STEADY[seed] * share[cell.row], 3)

    return fakes.study(seeds=3, ap=ap)


def verdicts(study) -> dict[tuple[str, str], str]:
    return {(pair.better, pair.worse): pair.verdict for pair in orderings(study).pairs}


def test_every_ranked_pair_of_a_column_is_there_once() -> None:
    made = orderings(ranked())
    assert {(pair.better, pair.worse) for pair in made.pairs} == {
        (one, other) for i, one in enumerate(ROWS) for other in ROWS[i + 1 :]
    }
    assert made.pairs[0].paper == pytest.approx(46.9 - 31.5)  # the largest difference comes first


def test_a_steady_difference_is_told_apart_and_noise_is_not() -> None:
    found = verdicts(ranked(d06=20, d099=15, d0999=15))
    assert found["0.6", "0.99"] == CLEAR
    assert found["0.99", "supervised"] == CLEAR
    assert verdicts(ranked(d06=10, d0999=20))["0.6", "0.999"] == CONTRARY


@pytest.mark.parametrize(("lead", "verdict"), [(1.0, LIKELY), (-1.0, UNLIKELY)])
def test_a_mean_within_the_noise_has_a_sign_only(lead, verdict) -> None:
    noise = [0.0, 3.0, -3.0]
    study = fakes.study(seeds=3, ap=lambda cell, seed: 20 + (lead + noise[seed]) * (cell.row == "0.6"))
    assert verdicts(study)["0.6", "0.9"] == verdict


def test_rows_that_are_equal_here_do_not_stand_in_the_papers_order() -> None:
    made = orderings(fakes.study(seeds=3, ap=lambda cell, seed: 20.0))
    assert set(made.counts) == {EQUAL} and made.sentence.startswith("0 of 15 pairs")
    assert made.sentence.endswith("; 15 do not, 0 of them beyond the noise.")


def test_one_seed_tells_nothing_apart() -> None:
    made = orderings(fakes.study(seeds=1))
    assert set(made.counts) <= {LIKELY, UNLIKELY}
    assert "0 of them beyond the noise of one seed" in made.sentence
    assert (made.frame["p"] == "–").all()


def test_the_sentence_counts() -> None:
    made = orderings(ranked(d06=20, d09=19, d05=18, d099=17, d0999=16))
    assert made.counts == {CLEAR: 15}
    assert made.sentence.startswith("15 of 15 pairs of rows stand in the paper's order, 15 of them beyond")
    assert len(made.frame) == 15


def test_a_pair_is_told_apart_below_five_percent_only() -> None:
    spread = np.linspace(-1, 1, 3)
    for level, verdict in ((0.06, LIKELY), (0.04, CLEAR)):
        lead = 20 + spread / spread.std(ddof=1) + smallest_ratio(3, level)
        study = fakes.study(seeds=3, ap=lambda cell, seed, lead=lead: lead[seed] if cell.row == "0.6" else 20)
        (pair,) = [one for one in orderings(study).pairs if (one.better, one.worse) == ("0.6", "0.9")]
        assert pair.p == pytest.approx(level) and pair.verdict == verdict


def test_rows_of_one_figure_or_of_other_seeds_are_not_ranked() -> None:
    study = ranked()
    first, second, *rest = study.results
    same = replace(second, cell=second.cell.model_copy(update={"paper": first.cell.paper}))
    fewer = replace(second, records=second.records[:2])
    for changed in (same, fewer):
        made = orderings(replace(study, results=(first, changed, *rest)))
        pairs = [{pair.better, pair.worse} for pair in made.pairs]
        assert {first.cell.row, second.cell.row} not in pairs
        assert len(pairs) == (14 if changed is same else 10)


def test_the_sentence_tells_the_fewest_seeds() -> None:
    study = ranked()
    fewer = [replace(one, records=one.records[:2]) for one in study.results[:2]]
    assert "noise of 3 seeds" in orderings(study).sentence
    made = orderings(replace(study, results=(*fewer, *study.results[2:])))
    assert {pair.ours.seeds for pair in made.pairs} == {2, 3} and "noise of 2 seeds" in made.sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("column", "another"), ("backbone", "resnet101"), ("amount", "5K"), ("size", "384x288"), ("protocol", "aid"),
        ("multi_scale", True),
    ],
)  # fmt: skip
def test_cells_are_set_against_each_other_where_all_but_the_method_is_the_same(name, value) -> None:
    one = Cell(row="a", column="here", method="mum")
    assert side_by_side(one, Cell(row="b", column="here", method="supervised", paper=3.0))
    assert not side_by_side(one, one.model_copy(update={name: value}))
