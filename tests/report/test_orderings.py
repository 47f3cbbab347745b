"""Which pairs of rows stand in the paper's order."""

from __future__ import annotations

import pytest

from sshpe_lib.report.orderings import CLEAR, CONTRARY, LIKELY, UNLIKELY, orderings
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
