"""The paired test: scipy's value, and no value where there is nothing to test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sshpe_lib.report.paired import p_value, smallest_ratio


def test_p_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    for seeds in (2, 3, 10):
        a, b = rng.normal(1, 1, seeds), rng.normal(0, 1, seeds)
        assert p_value(a - b) == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-12)


def test_p_by_hand() -> None:
    """t = mean / (std / sqrt(3)) = 2 * sqrt(3); the distribution with 2 degrees of freedom has a closed form."""
    t = 2 * np.sqrt(3)
    assert p_value(np.array([1.0, 2.0, 3.0])) == pytest.approx(1 - t / np.sqrt(2 + t**2), rel=1e-12)


@pytest.mark.parametrize(
    "differences", [[0.4], [0.0, 0.0, 0.0], list(np.array([1.3, 2.3, 3.3]) - np.array([1.0, 2.0, 3.0]))]
)
def test_no_p_without_a_spread(differences: list[float]) -> None:
    assert p_value(np.array(differences)) is None


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_smallest_ratio_is_where_p_is_the_level(seeds: int) -> None:
    spread = np.linspace(-1, 1, seeds)
    spread /= spread.std(ddof=1)
    for level in (0.05, 0.01):
        assert p_value(spread + smallest_ratio(seeds, level)) == pytest.approx(level)
    assert p_value(spread + smallest_ratio(seeds) * 1.01) < 0.05
