"""How long runs take side by side, each on a device of its own."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def makespan(hours: Sequence[float], after: Sequence[int | None], devices: int) -> float:
    """Hours until the last run ends on so many devices, where the runs that most hangs on come first.

    hours: of each run; after: the number of the run that it goes on from, as a second stage from its first, or None.
    No schedule is shorter than the longest chain or than the sum over the devices; this one is at most twice as long
    as the best (Graham, 1969).
    """
    then: list[list[int]] = [[] for _ in hours]
    for run, first in enumerate(after):
        if first is not None:
            then[first].append(run)

    def chain(run: int) -> float:
        return hours[run] + max(map(chain, then[run]), default=0.0)

    ready = [(-chain(run), run) for run, first in enumerate(after) if first is None]
    heapq.heapify(ready)
    busy: list[tuple[float, int]] = []  # (end, run)
    now = 0.0
    while ready or busy:
        while ready and len(busy) < devices:
            run = heapq.heappop(ready)[1]
            heapq.heappush(busy, (now + hours[run], run))
        now, done = heapq.heappop(busy)
        for run in then[done]:
            heapq.heappush(ready, (-chain(run), run))
    return now
