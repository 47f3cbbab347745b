"""Processes of torchrun that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightning_fabric import Fabric

from sshpe_lib.machine import Machine, Precision


def second_of_two(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """This process is the second of two of torchrun, the first of which is not there; returns what it asks of Fabric.

    That is, of every Fabric, whether it is of this process alone; one that is not would wait for the other for ever.
    """
    for name, value in {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "RANK": 1, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    asked, fabric = [], Machine.fabric

    def recorded(machine: Machine, precision: Precision, folder: Path, *, alone: bool = False) -> Fabric:
        asked.append(alone)
        return fabric(machine, precision, folder, alone=True)

    monkeypatch.setattr(Machine, "fabric", recorded)
    return asked
