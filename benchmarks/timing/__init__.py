"""How the benchmarks time two forms of one thing: in turn, in one process. A folder, as every file beside it is run."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

NOT_COUNTED = 3  # first calls


def least_cpu(call: Callable[[], object], repeats: int) -> float:
    """Milliseconds of CPU that a call takes, the least of several times."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(1e3 * (time.process_time() - start))
    return min(taken)


def turns(forms: list[Callable[[], object]], repeats: int) -> list[tuple[float, float]]:
    """Best and median milliseconds of each form, called in turn."""
    taken = [[] for _ in forms]
    for _ in range(repeats + NOT_COUNTED):
        for form, times in zip(forms, taken, strict=True):
            start = time.perf_counter()
            form()
            times.append(1e3 * (time.perf_counter() - start))
    return [(min(times[NOT_COUNTED:]), float(np.median(times[NOT_COUNTED:]))) for times in taken]
