"""The one exception that users are meant to read, what it tells of others, and the commonest check."""

from __future__ import annotations


class SSHPEError(Exception):
    """A mistake in the user's input, told in one sentence that names the file, the entry and the cure."""


def in_one_line(error: Exception) -> str:
    """What another's exception says, for a sentence of ours: of pydantic's its first fault, and where that is."""
    faults = getattr(error, "errors", None)  # pydantic need not be loaded to say what else is wrong
    if callable(faults):
        return ": ".join([*map(str, faults()[0]["loc"]), faults()[0]["msg"]]).split("\n")[0]
    kind = "" if isinstance(error, SSHPEError) else f"{type(error).__name__}: "
    return f"{kind}{error}".strip().split("\n")[0]


def whole_number(what: str, value: object, least: int) -> int:
    """The value of `what`. Raises SSHPEError where it is no whole number, such as True or 2.0, or below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SSHPEError(f"{what} is {value!r}; give a whole number from {least} on")
    return value
