"""What a record says of the code, the machine and the run behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import torch

from sshpe_lib import provenance
from sshpe_lib.records import Provenance

FABRIC = SimpleNamespace(device=torch.device("cpu"), world_size=2)
STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def collect(**code: tuple[str, bool]) -> Provenance:
    return provenance.collect(FABRIC, "abcd", {"labeled": 48}, STARTED, 61.26, "ab" * 32, "32-true", **code)


def test_a_run_is_of_the_code_that_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    began = "a" * 40, True
    monkeypatch.setattr(provenance, "revision", lambda: ("b" * 40, False))  # a commit while it trained
    found = collect(code=began)
    assert (found.commit, found.dirty) == began
    now = collect()
    assert (now.commit, now.dirty) == ("b" * 40, False)


def test_what_is_noted_of_a_run() -> None:
    found = collect()
    assert (found.world_size, found.threads, found.seconds) == (2, torch.get_num_threads(), 61.3)
    assert (found.started, found.command) == ("2026-01-01T00:00:00+00:00", "sshpe reproduce abcd")
    assert (found.checkpoint_sha256, found.data, found.precision) == ("ab" * 32, {"labeled": 48}, "32-true")
    assert found.instructions == torch.backends.cpu.get_cpu_capability()
