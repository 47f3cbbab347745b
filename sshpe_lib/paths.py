"""The folders that sshpe reads and writes, each with the environment variable that moves it.

In a checkout everything stays inside the checkout; an installed wheel reads the copy of `params/` that it
carries and writes below the user's home.
"""

from __future__ import annotations

import os
from pathlib import Path

from sshpe_lib.errors import SSHPEError

_PACKAGE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """The root of the source tree that this package is imported from, or None for an installed wheel."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "params").is_dir() else None


def params() -> Path:
    """The folder of profiles, tables and committed weights: of the checkout, else the wheel's copy."""
    root = checkout()
    return root / "params" if root else _PACKAGE / "_params"


def records() -> Path:
    """The folder of records.

    `SSHPE_RECORDS`, else `book/records` of the checkout, else `~/.local/share/sshpe/records`.
    """
    root = checkout()
    return _folder("SSHPE_RECORDS", root / "book" / "records" if root else "~/.local/share/sshpe/records")


def runs() -> Path:
    """The folder of checkpoints and logs.

    `SSHPE_RUNS`, else `runs` of the checkout, else `~/.cache/sshpe/runs`.
    """
    root = checkout()
    return _folder("SSHPE_RUNS", root / "runs" if root else "~/.cache/sshpe/runs")


def cache() -> Path:
    """The folder of files that can be made again, such as rendered people.

    `SSHPE_CACHE`, else `~/.cache/sshpe`.
    """
    return _folder("SSHPE_CACHE", "~/.cache/sshpe")


def drawn() -> Path:
    """The folder of drawn people, each set of them in a folder of its own."""
    return cache() / "synthetic"


def data() -> Path | None:
    """The folder of real photographs named by `SSHPE_DATA`, or None where the variable is unset.

    Raises SSHPEError where the variable names something that is not a folder.
    """
    if not os.environ.get("SSHPE_DATA"):
        return None
    folder = _folder("SSHPE_DATA", "")
    if not folder.is_dir():
        raise SSHPEError(
            f"SSHPE_DATA={folder} is not a folder; name the folder that holds the data sets, or unset it"
        )
    return folder


def _folder(variable: str, default: Path | str) -> Path:
    folder = Path(os.environ.get(variable) or default)
    try:
        return folder.expanduser().absolute()
    except RuntimeError:
        raise SSHPEError(f"{variable}={folder}: no home is known for its ~; name the whole path") from None
