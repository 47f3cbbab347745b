"""Disks of a few pages, to be filled up or made read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A disk of its own at `place`, `size` as 400k.

    Only root mounts disks, and anybody in a namespace of his own (`unshare -rm make test`): for others the test is
    skipped, or fails where SSHPE_MOUNTS is set, as it is in the nightly job.
    """
    place.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True, text=True
    )
    if mounted.returncode:
        refuse = pytest.fail if os.environ.get("SSHPE_MOUNTS") else pytest.skip
        refuse(f"only root mounts disks ({mounted.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def remount(place: Path, options: str) -> None:
    """Change a disk: size=64m, or ro for read-only."""
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def freeze(place: Path) -> None:
    """Make a folder read-only for whoever looks it up from now on; files that are open for writing forbid a remount."""
    subprocess.run(["mount", "--bind", place, place], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)


def thaw(place: Path) -> None:
    """Take the last `freeze` back."""
    subprocess.run(["umount", place], check=True)
