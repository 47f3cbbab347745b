"""Checkpoints of runs: written whole or not at all, read with their faults told."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from sshpe_lib.errors import SSHPEError

CURE = "move the file away to start again"


def of(folder: Path) -> Path:
    """Where a run keeps its checkpoint in its folder."""
    return folder / "checkpoint.pt"


def write(path: Path, state: dict) -> None:
    """Write a state of tensors, numbers and texts (temporary file, then rename)."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def read(path: Path, key: str, device: torch.device | str = "cpu") -> dict:
    """The state in a file. Raises SSHPEError on one that cannot be read or belongs to another experiment."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a truncated zip or a refused pickle
        raise SSHPEError(f"{path}: not a readable checkpoint ({type(error).__name__}); {CURE}") from None
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
