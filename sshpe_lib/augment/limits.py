"""What an augmentation's settings may be."""

from __future__ import annotations

from sshpe_lib.errors import SSHPEError


def check_limits(name: str, values: tuple[float, ...], low: float, high: float = float("inf")) -> None:
    """Raises SSHPEError where a value is not between low and high, or the values do not ascend."""
    if not all(low <= value <= high for value in values) or list(values) != sorted(values):
        shown = values[0] if len(values) == 1 else values
        raise SSHPEError(f"{name} is {shown}; give {_range(low, high)}{', ascending' * (len(values) > 1)}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises SSHPEError where the value is none of the choices."""
    if value not in choices:
        raise SSHPEError(f"{name} is {value!r}; choose {' or '.join(map(repr, choices))}")


def _range(low: float, high: float) -> str:
    return f"{low} or more" if high == float("inf") else f"{low} to {high}"
