"""The jobs of the night: they name what is there, their tools are pinned, and records come round in turn."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from sshpe_lib import paths, records
from sshpe_lib.data import sources
from tests import tonight


@pytest.fixture
def jobs(repository: Path) -> dict[str, str]:
    """The commands of every job."""
    workflow = yaml.safe_load((repository / ".github/workflows/nightly.yml").read_text())
    return {
        name: "\n".join(step["run"] for step in job["steps"] if "run" in step)
        for name, job in workflow["jobs"].items()
    }


def test_every_test_that_is_named_is_there(jobs: dict[str, str], repository: Path) -> None:
    commands = "\n".join(jobs.values())
    files = set(re.findall(r"tests/\w+\.py", commands))
    modules = {f"tests/{name}.py" for name in re.findall(r"-m tests\.(\w+)", commands)}
    assert {"tests/test_kill.py", "tests/tonight.py"} <= files | modules
    for file in files | modules:
        assert (repository / file).is_file(), file
    for file, test in re.findall(r"(tests/\w+\.py)::(\w+)", commands):
        assert f"def {test}(" in (repository / file).read_text()


def test_what_is_installed_besides_the_constraints_is_pinned(jobs: dict[str, str]) -> None:
    installed = re.findall(r"pip install (?!--)(\S+)$", "\n".join(jobs.values()), re.MULTILINE)
    assert {name.partition("==")[0] for name in installed} == {"atheris", "pip-audit"}
    assert all(re.fullmatch(r"[a-z-]+==[\d.]+", name) for name in installed)


def test_contributors_are_told_of_every_job(jobs: dict[str, str], repository: Path) -> None:
    told = re.findall(r"^\| `(\w+)` \|", (repository / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert set(told) == set(jobs)


def test_every_kind_of_record_comes_round_and_needs_nothing_but_the_checkout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSHPE_RECORDS")
    keys = [record.key for record in tonight.candidates()]
    nights = [
        tonight.chosen(date(2026, 1, 1) + timedelta(number))
        for number in range(-(-len(keys) // tonight.COUNT))
    ]
    assert all(len(set(night)) == tonight.COUNT for night in nights)
    assert {key for night in nights for key in night} == set(keys)
    for key in keys:
        record = records.stored(paths.records(), key)
        assert sources.pin(record.experiment).key() == key and record.experiment.start is None
