"""Checkpoints of runs: written whole or not at all, read with their faults told."""

from __future__ import annotations

from pathlib import Path

import torch

from sshpe_lib.errors import SSHPEError, in_one_line
from sshpe_lib.models import weights
from sshpe_lib.writing import written_whole

CURE = "move the file away to start again"


def of(folder: Path) -> Path:
    """Where a run keeps its checkpoint in its folder."""
    return folder / "checkpoint.pt"


def write(path: Path, state: dict) -> None:
    """Write a state of tensors, numbers and texts, whole or not at all. Raises as `written_whole`."""
    with written_whole(path, alone=True) as partial, partial.open("wb") as file:
        try:
            torch.save(state, file)  # into an open file: with a name, the error of a full disk is lost
        except RuntimeError as error:  # of the end of the archive, after the system's own or an interrupt
            first = error.__context__
            if isinstance(first, OSError | KeyboardInterrupt | SystemExit):
                raise first from None
            raise error from None


def read(path: Path, key: str, device: torch.device | str = "cpu") -> dict:
    """The state in a file. Raises SSHPEError on one that cannot be read or belongs to another experiment."""
    try:
        state = weights.load_plain(path, device, checksums=True)
    except Exception as error:  # torch raises many kinds for a truncated zip or a refused pickle
        raise SSHPEError(f"{path}: not a readable checkpoint ({in_one_line(error)}); {CURE}") from None
    if not isinstance(state, dict) or state.get("key") != key:
        found = state.get("key") if isinstance(state, dict) else None
        raise SSHPEError(f"{path}: belongs to experiment {found}, not {key}; {CURE}")
    return state


def finished(path: Path, key: str) -> dict | None:
    """The state of a run that is over; None where there is none or it is not over. Raises as `read`."""
    if not path.exists():
        return None
    state = read(path, key)
    return state if state.get("step") == state.get("steps", -1) else None
