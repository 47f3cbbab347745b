"""Files are written whole or not at all, and a disk that refuses is one sentence."""

import errno
import os
import platform
import subprocess
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sshpe_lib import checkpoints, writing
from sshpe_lib.errors import SSHPEError
from sshpe_lib.writing import check_writable, write_picture, written_whole
from tests import disks


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own of 256 KiB."""
    with disks.small_disk(tmp_path / "small", "256k"):
        yield tmp_path / "small"


def test_a_file_takes_its_place_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    for text in ("first", "second"):
        with written_whole(path) as partial:
            assert partial.parent == path.parent
            partial.write_text(text)
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["file.txt"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyError), written_whole(path) as partial:
        partial.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_what_a_killed_process_left_is_written_over(tmp_path):
    path = tmp_path / "file.txt"
    with written_whole(path, alone=True) as partial:
        name = partial
        partial.write_text("new")
    name.write_text("of a process that was killed")
    with written_whole(path, alone=True) as partial:
        assert partial == name
        partial.write_text("newer")
    assert path.read_text() == "newer" and os.listdir(tmp_path) == ["file.txt"]


def left(path: Path, process: int, machine: str = platform.node(), seconds: float = 0) -> Path:
    """A file that a process left of `path`, so many seconds ago."""
    made = path.with_name(f".{path.name}.{machine}-{process}-1.tmp")
    made.write_text("half")
    os.utime(made, (time.time() - seconds,) * 2)
    return made


def test_what_killed_processes_left_goes_and_what_others_may_still_write_stays(tmp_path):
    path = tmp_path / "file[1].txt"
    dead = subprocess.Popen(["true"])
    dead.wait()
    gone = [left(path, dead.pid, seconds=90), left(path, os.getpid(), "elsewhere", seconds=2 * writing.DAY)]
    kept = [
        left(path, os.getpid(), seconds=90),
        left(path, dead.pid, "elsewhere", seconds=90),
        left(tmp_path / "other.txt", dead.pid, seconds=90),
    ]
    mine = tmp_path / ".file[1].txt.notes.tmp"  # no writer's name
    mine.touch()
    os.utime(mine, (0, 0))
    with written_whole(path) as partial:
        partial.write_text("new")
    assert not any(file.exists() for file in gone)
    assert all(file.exists() for file in [*kept, mine])

    just_now = left(path, dead.pid)  # of a container that has this machine's name and processes of its own
    with written_whole(path) as partial:
        partial.write_text("newer")
    assert just_now.exists() and path.read_text() == "newer"


def test_what_somebody_elses_process_still_writes_stays(tmp_path, monkeypatch):
    def refused(process, signal):
        raise PermissionError

    theirs = left(tmp_path / "file.txt", 12345, seconds=90)
    monkeypatch.setattr(os, "kill", refused)
    with written_whole(tmp_path / "file.txt") as partial:
        partial.write_text("new")
    assert theirs.exists()


def test_threads_of_one_process_do_not_write_over_one_another(tmp_path):
    path, names = tmp_path / "file.txt", []

    def write(text):
        with written_whole(path) as partial:
            names.append(partial)
            partial.write_text(text)

    with written_whole(path) as partial:
        partial.write_text("last")
        other = threading.Thread(target=write, args=("first",))
        other.start()
        other.join()
        assert path.read_text() == "first" and names != [partial]
    assert path.read_text() == "last"


def test_a_disk_that_fills_up_is_one_error(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SSHPEError, match=r"file.txt: cannot be written \(No space left.*make room"):
        with written_whole(path) as partial:
            partial.write_text("new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_keeps_the_last_checkpoint(small_disk):
    path = small_disk / "checkpoint.pt"
    checkpoints.write(path, {"key": "k", "step": 1, "weights": torch.ones(20_000)})
    for size in (50_000, 200_000, 20_000_000):
        with pytest.raises(SSHPEError, match="checkpoint.pt: cannot be written"):
            checkpoints.write(path, {"key": "k", "step": 2, "weights": torch.ones(size)})
    assert checkpoints.read(path, "k")["step"] == 1
    assert os.listdir(small_disk) == ["checkpoint.pt"]


def test_a_folder_that_cannot_be_written_to_is_known_before(small_disk, tmp_path):
    check_writable(small_disk / "new")
    disks.remount(small_disk, "ro")
    with pytest.raises(SSHPEError, match="Read-only file system"):
        check_writable(small_disk / "new")
    (tmp_path / "file").touch()
    with pytest.raises(SSHPEError, match=r"file/folder: cannot be written \(Not a directory\)"):
        check_writable(tmp_path / "file" / "folder")


def test_a_picture_on_a_full_disk_is_an_error(tmp_path):
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    write_picture(tmp_path / "a.png", image)
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], image)
    (tmp_path / "b.png").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        write_picture(tmp_path / "b.png", image)
