"""Nothing is asked of a network unless somebody asks for a download."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sshpe_lib import tables
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import run
from sshpe_lib.machine import Machine

QUIET = Machine(threads=1, progress=False, accelerator="cpu")

# Python runs a `sitecustomize` on PYTHONPATH when it starts, in every child, too. Processes of one machine may talk.
SITECUSTOMIZE = """
import os, socket

def refusing(name, of):
    real = getattr(of, name)
    def refuse(*arguments, **named):
        if isinstance(arguments[0], socket.socket) and arguments[0].family == socket.AF_UNIX:
            return real(*arguments, **named)
        with open(os.environ["SSHPE_ASKED"], "a") as file:
            print(name, arguments, named, file=file)
        raise OSError("this machine has no network")
    setattr(of, name, refuse)

for name in ("connect", "connect_ex", "sendto", "sendmsg"):
    refusing(name, socket.socket)
for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "create_connection"):
    refusing(name, socket)
"""

# Commands one after the other, in one process: most of the time of one is that of its imports.
COMMANDS = """
import json, sys
from sshpe_lib.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
"""


class Offline:
    """A machine on which every connection and every question for an address fails, and is written down."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.questions = folder, folder / "asked"
        (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)

    def python(self, *words: str) -> None:
        """Run Python there, in a folder of its own."""
        path = os.pathsep.join([str(self.folder), str(Path(__file__).parents[1])])
        places = {f"SSHPE_{name.upper()}": str(self.folder / name) for name in ("records", "runs", "cache")}
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, capture_output=True, text=True,
            env=os.environ | places | {"PYTHONPATH": path, "SSHPE_ASKED": str(self.questions)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def asked(self) -> str:
        return self.questions.read_text() if self.questions.exists() else ""


@pytest.fixture
def offline(tmp_path: Path) -> Offline:
    return Offline(tmp_path)


@pytest.mark.parametrize(
    "question",
    [
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.getaddrinfo('localhost', 80)",
        "socket.socket().connect(('127.0.0.1', 9))",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'?', ('127.0.0.1', 9))",
        "urllib.request.urlopen('http://127.0.0.1:9')",
    ],
)
def test_a_question_of_a_child_is_noticed(offline: Offline, question: str) -> None:
    ask = f"import contextlib, socket, urllib.request\nwith contextlib.suppress(OSError): {question}"
    offline.python(
        "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}], check=True)"
    )
    assert offline.asked()


def test_training_measuring_and_predicting_ask_nobody(offline: Offline) -> None:
    people = build(SyntheticPeople(images=8), offline.folder / "people", progress=False)
    picture = people.parent / "images" / "000000.png"
    small = ["--profile", "smoke", "--set", "train.steps=2", "--set", "evaluate.times=1"]
    commands = [
        ["run", "table4", "--profile", "smoke", "--row", "0.9", "--workers", "1", "--jobs", "2", "--pack"],
        ["data", "check", people],
        ["train", people, "--val", people, *small, "--output", "made.safetensors"],
        ["evaluate", "made.safetensors", "--annotations", people, "--output", "measured"],
        ["predict", picture, "--weights", "made.safetensors", "--output", "found"],
        ["export", "made.safetensors", "--output", "made.pt2"],
    ]
    words = json.dumps([[str(word) for word in command] for command in commands])
    offline.python("-c", COMMANDS, words)
    assert len(list((offline.folder / "records").glob("*.json"))) >= 2
    assert (offline.folder / "found" / "keypoints.json").exists() and (offline.folder / "made.pt2").exists()
    assert not offline.asked()


def test_an_imagenet_trunk_is_a_download_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSHPE_CACHE", str(tmp_path))
    asked = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    made = tables.experiment(
        "smoke", "supervised", set={"model": {"depth": 18, "output_stride": 16, "init": "imagenet"}}
    )
    with pytest.raises(
        SSHPEError, match=r"resnet18-5c106cde.pth cannot be had .*; bring the file by other means"
    ):
        run(made, QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs")
    assert asked
