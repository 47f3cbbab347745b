"""Runs side by side: never more than there are devices, and a second stage after its first."""

import numpy as np
import pytest

from sshpe_lib.plan.schedule import makespan


@pytest.mark.parametrize(
    ("hours", "after", "devices", "expected"),
    [
        ([3, 1, 2], [None] * 3, 1, 6),
        ([3, 1, 2], [None] * 3, 2, 3),
        ([3, 1, 2], [None] * 3, 64, 3),
        ([2, 2], [None, 0], 8, 4),  # a second stage waits, whatever there is
        ([1, 1, 1, 3], [None, None, None, 2], 2, 4),  # the run that another waits for goes first
        ([1, 1, 1, 3], [None, 0, 0, 0], 2, 4),  # and of those that waited the longest
        ([], [], 4, 0),
    ],
)
def test_known_schedules(hours, after, devices, expected):
    assert makespan(hours, after, devices) == expected


def test_no_schedule_beats_its_bounds_or_is_more_than_twice_as_long():
    rng = np.random.default_rng(0)
    for _ in range(50):
        count, devices = rng.integers(1, 20), rng.integers(1, 9)
        hours = rng.uniform(0.1, 5, count)
        after = [int(rng.integers(run)) if run and rng.random() < 0.5 else None for run in range(count)]
        ends = np.zeros(count)
        for run in range(count):
            ends[run] = hours[run] + (0 if after[run] is None else ends[after[run]])
        bound = max(hours.sum() / devices, ends.max())
        found = makespan(hours, after, int(devices))
        assert bound - 1e-9 <= found <= 2 * bound
        assert found <= hours.sum() + 1e-9
