"""One run trains in a folder at a time, and to ask whether one does leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from sshpe_lib import folder_lock
from sshpe_lib.errors import SSHPEError
from sshpe_lib.folder_lock import is_locked, locked
from sshpe_lib.machine import Machine

QUIET = Machine(progress=False)


def test_a_folder_is_locked_inside_the_block_and_free_after_it(tmp_path: Path) -> None:
    with locked(tmp_path, QUIET):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    with pytest.raises(KeyError), locked(tmp_path, QUIET):
        raise KeyError
    assert not is_locked(tmp_path)


def test_to_ask_makes_nothing_and_takes_nothing(tmp_path: Path) -> None:
    assert not is_locked(tmp_path) and not list(tmp_path.iterdir())
    (tmp_path / "lock").touch()
    assert not is_locked(tmp_path)
    with FileLock(tmp_path / "lock", timeout=0):
        assert is_locked(tmp_path)


@pytest.mark.parametrize("progress", [True, False])
def test_who_waits_says_so_once(tmp_path: Path, monkeypatch, capsys, progress: bool) -> None:
    other, asked, acquired = FileLock(tmp_path / "lock"), [], folder_lock._acquired
    other.acquire()

    def counted(lock: FileLock, seconds: float) -> bool:
        asked.append(seconds)
        if len(asked) == 4:
            other.release()
        return acquired(lock, min(seconds, 0.01))

    monkeypatch.setattr(folder_lock, "_acquired", counted)
    with locked(tmp_path, Machine(progress=progress)):
        assert is_locked(tmp_path)
    assert asked[:4] == [0, *3 * [folder_lock.SECONDS_BETWEEN_WORDS]]
    told = f"another process trains this experiment; waiting for it ({tmp_path})\n"
    assert capsys.readouterr().out == (told if progress else "")


def test_a_folder_that_cannot_be_locked_is_one_error(tmp_path: Path, monkeypatch) -> None:
    def refused(lock: FileLock, timeout: float) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refused)
    with pytest.raises(SSHPEError, match=r"lock cannot be locked: No locks available; .* SSHPE_RUNS"):
        with locked(tmp_path, QUIET):
            pytest.fail("it was locked")
