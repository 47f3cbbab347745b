"""The paired t-test over seeds, and how much it can see.

Student's distribution is imported where it is asked for: that takes as long as all else of a report, and `scipy.stats`
four times as long.
"""

from __future__ import annotations

import numpy as np

SAME = 1e-6  # percent points; records keep three decimals, so a smaller spread is the rounding of floats


def p_value(differences: np.ndarray) -> float | None:
    """The two-sided p of Student's paired t-test, from the differences of each seed, (seeds,).

    None below two seeds, and where all seeds differ by the same, so that there is no spread to compare with.
    """
    from scipy.special import stdtr

    count = len(differences)
    if count < 2 or np.ptp(differences) < SAME:
        return None
    t = np.mean(differences) / (np.std(differences, ddof=1) / np.sqrt(count))
    return float(2 * stdtr(count - 1, -abs(t)))


def smallest_ratio(seeds: int, level: float = 0.05) -> float:
    """Mean over standard deviation of the seeds' differences from which on p falls below `level`.

    seeds: two or more.
    """
    from scipy.special import stdtrit

    return float(stdtrit(seeds - 1, 1 - level / 2) / np.sqrt(seeds))
