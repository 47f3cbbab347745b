"""The lock of a run's folder, in which one run trains at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from sshpe_lib.errors import SSHPEError
from sshpe_lib.machine import Machine

SECONDS_BETWEEN_WORDS = 60.0


@contextmanager
def locked(folder: Path, machine: Machine) -> Iterator[None]:
    """Inside the block nobody else trains in the folder; of the processes of torchrun the first holds the lock.

    Raises SSHPEError where the folder cannot be locked.
    """
    lock, seconds = FileLock(folder / "lock"), 0.0
    try:
        # The others are told again and again, as their wait for a message has an end.
        while not machine.agreed(partial(_acquired, lock, seconds)):
            if machine.progress and not seconds:
                print(f"another process trains this experiment; waiting for it ({folder})", flush=True)
            seconds = SECONDS_BETWEEN_WORDS
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether another process trains in the folder now. Raises SSHPEError where it cannot be locked."""
    lock = FileLock(folder / "lock")
    if not Path(lock.lock_file).exists():
        return False
    if not _acquired(lock, 0):
        return True
    lock.release()
    return False


def _acquired(lock: FileLock, seconds: float) -> bool:
    """Whether this process has the lock, within so many seconds."""
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    except OSError as error:
        raise SSHPEError(
            f"{lock.lock_file} cannot be locked: {error.strerror or error}; keep runs where files can be locked "
            "(NFS needs its lock daemon), for which SSHPE_RUNS names a folder"
        ) from error
    return True
