"""How the benchmarks time forms of one thing: in turn, in one process. A folder, as every file beside it is run.

Freed memory is kept: to map fresh pages can take longer than to fill them, and the system does so in some calls and not
in others.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sshpe_lib.plan.measure import gpu_clock

Call = Callable[[], object]

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # where ours runs, and the copy
NOT_COUNTED = 2  # first turns, which allocate
WIDTHS = 38, 8, 25  # of a name, a ratio and a time
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of `mallopt` in malloc.h


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one form: the quartiles of all that were counted."""

    first: float
    median: float
    third: float

    def __str__(self) -> str:
        median, first, third = (three_digits(ms) for ms in (self.median, self.first, self.third))
        return f"{median} ({first} – {third})"


def keep_memory() -> None:
    """Have glibc, where that is the C library, give no memory back and ask for none outside its heap."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def turns(forms: Sequence[Call], repeats: int) -> list[list[float]]:
    """Milliseconds of every counted call of each form, the forms taking turns.

    CPU time of this process and all its threads, which other work on the machine moves little. Where there is a GPU,
    time on the wall until it is done.
    """
    taken: list[list[float]] = [[] for _ in forms]
    for _ in range(repeats + NOT_COUNTED):
        for form, times in zip(forms, taken, strict=True):
            start = clock()
            form()
            times.append(1e3 * (clock() - start))
    return [times[NOT_COUNTED:] for times in taken]


def clock() -> float:
    """Seconds; the GPU has done all it was given."""
    return gpu_clock() if DEVICE.type == "cuda" else time.process_time()


def timing(times: Sequence[float]) -> Timing:
    """The quartiles of some times."""
    return Timing(*np.quantile(times, (0.25, 0.5, 0.75)).tolist())


def median_ms(call: Call, repeats: int) -> float:
    """Milliseconds of one form alone."""
    return timing(turns([call], repeats)[0]).median


def heading(about: str, repeats: int) -> None:
    """Print what is timed, and the head of the lines of `compare`."""
    kind = "on the wall, with a GPU" if DEVICE.type == "cuda" else "of CPU"
    print(f"{about}; ms {kind}, median (quartiles) of {repeats} turns")
    name, ratio, time_ = WIDTHS
    columns = "".join(f"{title:>{time_}}" for title in ("slow form", "ours", "a copy"))
    print(f"{'':{name}}{'slow /':>{ratio}}{'ours /':>{ratio}}{columns}")
    print(f"{'':{name}}{'ours':>{ratio}}{'copy':>{ratio}}")


def compare(name: str, slow: Call, ours: Call, copy: Call | None, repeats: int) -> Timing:
    """Print a line: the slow form, ours, and, where memory bounds it, a plain copy of what it reads or writes.

    Returns ours.
    """
    forms = [slow, ours] if copy is None else [slow, ours, copy]
    timed = [timing(times) for times in turns(forms, repeats)]
    name_, ratio, time_ = WIDTHS
    slow_to_ours = f"{timed[0].median / timed[1].median:.1f}x"
    ours_to_copy = "–" if copy is None else f"{timed[1].median / timed[2].median:.1f}x"
    cells = "".join(f"{one!s:>{time_}}" for one in timed)
    print(f"{name:{name_}}{slow_to_ours:>{ratio}}{ours_to_copy:>{ratio}}{cells}", flush=True)
    return timed[1]


def three_digits(value: float) -> str:
    """A positive number with three digits, or more before the point."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


keep_memory()
