"""What a record says of the code, the machine and the run behind it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sshpe_lib import provenance
from sshpe_lib.records import Provenance

FABRIC = SimpleNamespace(device=torch.device("cpu"), world_size=2)
STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def part(**other: object) -> dict:
    return provenance.part(FABRIC, STARTED, "32-true", ("a" * 40, False)) | other


def collect(*parts: dict) -> Provenance:
    return provenance.collect(parts, "abcd", {"labeled": 48}, 61.26, "ab" * 32)


def test_what_is_noted_of_a_run() -> None:
    found = collect(part())
    assert (found.commit, found.dirty, found.earlier) == ("a" * 40, False, ())
    assert (found.world_size, found.threads, found.seconds) == (2, torch.get_num_threads(), 61.3)
    assert (found.started, found.command) == ("2026-01-01T00:00:00+00:00", "sshpe reproduce abcd")
    assert (found.checkpoint_sha256, found.data, found.precision) == ("ab" * 32, {"labeled": 48}, "32-true")
    assert found.instructions == torch.backends.cpu.get_cpu_capability()
    assert found.versions.keys() == {
        "python", "sshpe", "torch", "torchvision", "lightning-fabric", "numpy", "opencv-python-headless",
        "pycocotools", "faster-coco-eval",
    }  # fmt: skip


def test_parts_that_are_alike_are_one() -> None:
    found = collect(part(), part(started="later"))
    assert found == collect(part()) and "earlier" not in found.model_dump(mode="json")


def test_what_parts_had_otherwise_is_told_once_and_in_order() -> None:
    there = part(device="another", threads=9)
    found = collect(there, part(dirty=True), there, part(started="later"))
    assert found.earlier == ({"device": "another", "threads": 9}, {"dirty": True})
    assert found.dirty and found.device == part()["device"]
    assert Provenance.model_validate(found.model_dump(mode="json")) == found


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit, in which the library lies."""
    for name in ("sshpe_lib/provenance.py", "params/table.yaml", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("as committed")
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "all")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "sshpe_lib" / "provenance.py"))
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [
        ("sshpe_lib/provenance.py", True), ("params/table.yaml", True), ("README.md", False),
        ("sshpe_lib/notes.txt", False),
    ],
)  # fmt: skip
def test_only_a_change_of_what_decides_numbers_is_told(checkout: Path, changed: str, dirty: bool) -> None:
    """Records and notebooks change while the table is run, and files beside the code are not part of it."""
    commit, before = provenance.revision()
    assert len(commit) == 40 and not before
    (checkout / changed).write_text("changed")
    assert provenance.revision() == (commit, dirty)
    assert provenance.revision("README.md") == (commit, dirty or changed == "README.md")


def test_without_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.revision() == ("unknown", False)


def test_a_repository_that_the_library_is_only_installed_in_has_no_commit_of_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = checkout / ".venv" / "lib" / "site-packages" / "sshpe_lib"
    installed.mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(installed / "provenance.py"))
    assert provenance.revision() == ("unknown", False)


def test_only_a_cpu_has_instructions() -> None:
    assert provenance.instructions(torch.device("meta")) is None
