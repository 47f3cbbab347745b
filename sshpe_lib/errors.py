"""The one exception that users are meant to read, and the commonest check."""

from __future__ import annotations


class SSHPEError(Exception):
    """A mistake in the user's input, told in one sentence that names the file, the entry and the cure."""


def whole_number(what: str, value: object, least: int) -> int:
    """The value of `what`. Raises SSHPEError where it is no whole number, such as True or 2.0, or below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SSHPEError(f"{what} is {value!r}; give a whole number from {least} on")
    return value
