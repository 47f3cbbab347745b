"""The one exception that users are meant to read."""

from __future__ import annotations


class SSHPEError(Exception):
    """A mistake in the user's input, told in one sentence that names the file, the entry and the cure."""
