"""Progress bars that suit a terminal, a notebook and a log file."""

from __future__ import annotations

import sys

from tqdm import tqdm


def bar(
    total: int | None, description: str, *, start: int = 0, unit: str = "step", show: bool = True
) -> tqdm:
    """A bar with rate and time left, drawn every second in a terminal and every ten seconds elsewhere."""
    return tqdm(
        total=total, initial=start, desc=description, unit=unit, disable=not show, dynamic_ncols=True,
        mininterval=1.0 if sys.stderr.isatty() else 10.0,
    )  # fmt: skip
