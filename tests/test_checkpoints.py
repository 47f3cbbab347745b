"""Checkpoint files: whole or not there, and every fault of one told with its cure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from sshpe_lib import checkpoints
from sshpe_lib.errors import SSHPEError


def state(step: int = 3, steps: int = 3) -> dict:
    return {"key": "k1", "step": step, "steps": steps, "student": {"w": torch.arange(4.0)}}


def test_what_is_written_is_read_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = checkpoints.of(tmp_path)
    checkpoints.write(path, state())
    assert torch.equal(checkpoints.read(path, "k1")["student"]["w"], torch.arange(4.0))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("step", "steps", "over"), [(3, 3, True), (2, 3, False)])
def test_a_run_is_over_at_its_last_step(tmp_path: Path, step: int, steps: int, over: bool) -> None:
    path = checkpoints.of(tmp_path)
    checkpoints.write(path, state(step, steps))
    assert (checkpoints.finished(path, "k1") is not None) == over


def test_a_state_that_counts_no_steps_is_not_over(tmp_path: Path) -> None:
    path = checkpoints.of(tmp_path)
    checkpoints.write(path, {"key": "k1", "student": {}})
    assert checkpoints.finished(path, "k1") is None


def test_a_run_that_never_began_is_not_over(tmp_path: Path) -> None:
    assert checkpoints.finished(checkpoints.of(tmp_path), "k1") is None


@pytest.mark.parametrize("reader", [checkpoints.read, checkpoints.finished])
def test_a_foreign_or_broken_file_is_named_with_the_cure(tmp_path: Path, reader) -> None:
    path = checkpoints.of(tmp_path)
    checkpoints.write(path, state())
    with pytest.raises(
        SSHPEError, match=re.escape(str(path)) + ".*belongs to experiment k1, not k2.*move the file"
    ):
        reader(path, "k2")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SSHPEError, match=re.escape(str(path)) + ".*not a readable checkpoint.*move the file"):
        reader(path, "k1")
    torch.save([1], path)
    with pytest.raises(SSHPEError, match="belongs to experiment None"):
        reader(path, "k1")


def test_tensors_are_read_to_the_device_that_is_asked_for(tmp_path: Path) -> None:
    path = checkpoints.of(tmp_path)
    checkpoints.write(path, state())
    assert checkpoints.read(path, "k1", "meta")["student"]["w"].is_meta


def test_what_a_killed_run_left_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run holds its folder's lock, so nobody else writes there, and every left one has the size of the networks."""
    names, save = [], torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: names.append(file.name) or save(state, file))
    for process in (1, 2):
        monkeypatch.setattr("os.getpid", lambda process=process: process)
        checkpoints.write(checkpoints.of(tmp_path), state())
    assert len(set(names)) == 1


def test_a_damaged_tensor_is_not_taken_for_one(tmp_path: Path) -> None:
    """Torch does not compare the checksums that it writes."""
    path = checkpoints.of(tmp_path)
    checkpoints.write(path, state() | {"student": {"w": torch.ones(5000)}})
    content = path.read_bytes()
    place = content.index(torch.ones(64).numpy().tobytes())
    path.write_bytes(content[: place + 400] + bytes(100) + content[place + 500 :])
    assert torch.load(path, weights_only=True)["student"]["w"].min() == 0
    with pytest.raises(
        SSHPEError, match=r"checkpoint.pt: not a readable checkpoint \(.* in it is damaged\); move"
    ):
        checkpoints.read(path, "k1")


@pytest.mark.parametrize("interrupt", [SystemExit(143), KeyboardInterrupt()], ids=repr)
def test_an_interrupt_while_it_is_written_stays_one(tmp_path: Path, monkeypatch, interrupt) -> None:
    """The archive's own end fails after it, as it is not whole."""
    path = checkpoints.of(tmp_path)
    checkpoints.write(path, state())

    def interrupted(*_) -> None:
        try:
            raise interrupt
        except BaseException:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904  # as torch does, in a context's exit

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(type(interrupt)):
        checkpoints.write(path, state(step=1))
    monkeypatch.undo()
    assert checkpoints.read(path, "k1")["step"] == 3 and [one.name for one in tmp_path.iterdir()] == [
        path.name
    ]
