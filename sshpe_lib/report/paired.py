"""The paired t-test over seeds, and how much it can see."""

from __future__ import annotations

import numpy as np

SAME = 1e-6  # percent points; records keep three decimals, so a smaller spread is the rounding of floats


def p_value(differences: np.ndarray) -> float | None:
    """The two-sided p of Student's paired t-test, from the differences of each seed, (seeds,).

    None below two seeds, and where all seeds differ by the same, so that there is no spread to compare with.
    """
    from scipy import stats

    if len(differences) < 2 or np.ptp(differences) < SAME:
        return None
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def smallest_ratio(seeds: int, level: float = 0.05) -> float:
    """Mean over standard deviation of the seeds' differences from which on p falls below `level`.

    seeds: two or more.
    """
    from scipy import stats

    return float(stats.t.ppf(1 - level / 2, seeds - 1) / np.sqrt(seeds))
