"""Columns out of JSON entries: whole numbers, rows of numbers, and what to say of a wrong value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

# Rows turned into an array at a time, so that one wrong entry sends few others the slow way.
_CHUNK = 4096
# Of a number in a file: pixels, areas and scores are far below, and their products fit float32.
LARGEST = 1e15


def integers(values: list) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers from 0 as (N,) int64, and which are; the others become -1."""
    column = _array(values)
    if column.dtype.kind != "i" or column.ndim != 1:
        whole = [value if type(value) is int and 0 <= value < 2**63 else -1 for value in values]
        column = np.array(whole, dtype=np.int64)
    column = column.astype(np.int64, copy=False).clip(min=-1)
    return column, column >= 0


def numbers(values: list, width: int) -> np.ndarray:
    """(N, width) float64; a row that is not a list of `width` numbers becomes NaN, a number beyond LARGEST infinite."""
    matrix = np.empty((len(values), width))
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        block = _array(chunk)
        rows = matrix[start : start + len(chunk)]
        if block.dtype.kind in "if" and block.shape == rows.shape:
            rows[:] = block
        else:
            for row, value in zip(rows, chunk, strict=True):
                whole = isinstance(value, list) and len(value) == width and all(map(_is_number, value))
                row[:] = value if whole else np.nan
        rows[np.abs(rows) > LARGEST] = np.inf
    return matrix


def column(values: list) -> np.ndarray:
    """(N,) float64; what is no number becomes NaN, a number beyond LARGEST infinite."""
    whole = _array(values)
    if whole.dtype.kind not in "if" or whole.ndim != 1:
        return numbers([[value] for value in values], 1)[:, 0]
    whole = whole.astype(np.float64)
    return np.where(np.abs(whole) > LARGEST, np.inf, whole)


def _array(values: list) -> np.ndarray:
    """The values as NumPy takes them; an array of no numbers where it cannot."""
    try:
        return np.array(values)
    except (ValueError, OverflowError):  # ragged, or beyond 64 bits or the largest float
        return np.array(None)


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def wrong_numbers(entry: Mapping, key: str, width: int) -> str:
    value = entry.get(key)
    if not isinstance(value, list):
        return state(entry, key)
    if len(value) != width:
        return f"{key!r} holds {len(value)} values, not {width}"
    wrong = next(item for item in value if not _is_number(item) or not abs(item) <= LARGEST)
    kind = "a finite number" if not _is_number(wrong) or not np.isfinite(wrong) else f"below {LARGEST:g}"
    return f"{key!r} holds {brief(wrong)}, not {kind}"


def states(entries: Sequence[Mapping], key: str) -> Callable[[int], str]:
    return lambda row: state(entries[row], key)


def state(entry: Mapping, key: str) -> str:
    return f"{key!r} is {brief(entry[key])}" if key in entry else f"it has no {key!r}"


def brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
