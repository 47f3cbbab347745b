"""The one exception that users are meant to read, what it tells of others, and the commonest check."""

from __future__ import annotations

from typing import TypeGuard


class SSHPEError(Exception):
    """A mistake in the user's input, told in one sentence that names the file, the entry and the cure."""


def in_one_line(error: Exception) -> str:
    """What another's exception says, for a sentence of ours: of pydantic's its first fault, and where that is."""
    faults = getattr(error, "errors", None)  # pydantic need not be loaded to say what else is wrong
    if callable(faults):
        return ": ".join([*map(str, faults()[0]["loc"]), faults()[0]["msg"]]).split("\n")[0]
    kind = "" if isinstance(error, SSHPEError) else f"{type(error).__name__}: "
    return f"{kind}{error}".strip().split("\n")[0]


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number, as True and 2.0 are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def whole_number(what: str, value: object, least: int) -> int:
    """The value of `what`. Raises SSHPEError where it is no whole number, such as True or 2.0, or below `least`."""
    if not is_whole(value) or value < least:
        raise SSHPEError(f"{what} is {value!r}; give a whole number from {least} on")
    return value
