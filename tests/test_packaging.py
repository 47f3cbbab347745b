"""pyproject.toml, environment.yml, constraints.txt, CITATION.cff and the package agree."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import sshpe_lib
from sshpe_lib import paths
from sshpe_lib.errors import SSHPEError

# What torch pulls in on some machines only: CUDA libraries and their compiler.
UNPINNED = re.compile(r"^(nvidia-|cuda-|triton)")


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def pins(repository: Path) -> dict[str, Version]:
    lines = (repository / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


@pytest.fixture(scope="module")
def environment(repository: Path) -> dict[str, Any]:
    return yaml.safe_load((repository / "environment.yml").read_text())


def requirements(project: dict[str, Any]) -> list[Requirement]:
    lines = project["dependencies"] + [
        r for extra in project["optional-dependencies"].values() for r in extra
    ]
    return [r for r in map(Requirement, lines) if r.name != project["name"]]


def test_every_dependency_is_pinned_within_its_bounds(
    project: dict[str, Any], pins: dict[str, Version]
) -> None:
    for requirement in requirements(project):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not in constraints.txt"
        assert pin in requirement.specifier, (
            f"constraints.txt pins {requirement.name} {pin}, out of {requirement}"
        )


def test_what_the_dependencies_need_is_pinned_too(project: dict[str, Any], pins: dict[str, Version]) -> None:
    todo, seen = requirements(project), set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, *sorted(requirement.extras)) in seen or UNPINNED.match(name):
            continue
        seen.add((name, *sorted(requirement.extras)))
        assert name in pins, f"{name} is needed and not in constraints.txt"
        assert pins[name] in requirement.specifier, (
            f"constraints.txt pins {name} {pins[name]}, out of {requirement}"
        )
        for below in map(Requirement, metadata.requires(name) or []):
            extras = requirement.extras or {""}
            if below.marker is None or any(below.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(below)


def test_pins_are_exact_and_fit_any_machine(repository: Path, pins: dict[str, Version]) -> None:
    for line in (repository / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line
    assert all(pin.local is None for pin in pins.values())
    assert "sshpe" not in pins


def test_environment_yml(project: dict[str, Any], environment: dict[str, Any]) -> None:
    assert environment["name"] == project["name"]
    assert environment["channels"] == ["conda-forge"]
    *conda, pip = environment["dependencies"]
    versions = dict(line.split("=") if "=" in line else (line, "") for line in conda)
    assert set(versions) == {"python", "pip"}
    assert Version(versions["python"]) in SpecifierSet(project["requires-python"])
    assert pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}


def test_every_imported_package_is_declared(repository: Path, project: dict[str, Any]) -> None:
    import ast
    import sys

    declared = {canonicalize_name(r.name) for r in requirements(project)}
    homes = metadata.packages_distributions()
    for source in (repository / "sshpe_lib").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {m.split(".")[0] for m in modules} - sys.stdlib_module_names - {"sshpe_lib"}:
                owners = {canonicalize_name(name) for name in homes.get(top, [])}
                assert owners & declared, (
                    f"{source.name} imports {top}; pyproject.toml does not name its package"
                )


def test_entry_points_are_installed() -> None:
    entries = metadata.distribution("sshpe").entry_points
    assert {(e.group, e.name, e.value) for e in entries} == {
        ("console_scripts", "sshpe", "sshpe_lib.cli:main"),
        ("papermill.io", "sshpe-plugin://", "sshpe_lib.papermill_plugin:handler"),
    }
    for entry in entries:
        assert entry.load() is not None


def test_one_version_everywhere(repository: Path) -> None:
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert metadata.version("sshpe") == sshpe_lib.__version__ == citation["version"]
    newest = re.search(r"^## (\S+)", (repository / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == sshpe_lib.__version__


def test_workflows_cover_the_pythons_that_are_promised(repository: Path, project: dict[str, Any]) -> None:
    workflow = yaml.safe_load((repository / ".github/workflows/ci.yml").read_text())
    tested = {one["python"] for one in workflow["jobs"]["test"]["strategy"]["matrix"]["include"]}
    promised = {c.rpartition(" ")[2] for c in project["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert tested == promised
    allowed = SpecifierSet(project["requires-python"])
    assert all(Version(version) in allowed for version in promised)
    newest = max(map(Version, promised))
    assert Version(f"{newest.major}.{newest.minor + 1}") not in allowed


def test_both_papers_are_cited(repository: Path, project: dict[str, Any]) -> None:
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    papers = {paper["identifiers"][0]["value"]: paper for paper in citation["references"]}
    assert set(papers) == {"arXiv:2203.07837", "arXiv:2008.07139"}
    assert all(paper["authors"] and paper["title"] and paper["year"] for paper in papers.values())
    assert citation["license"] == project["license"] == "MIT"
    assert (repository / "LICENSE").read_text().startswith("MIT License")


def test_the_readme_commands_exist(repository: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "reproduce", "test", "book", "lint", "bench", "clean"} <= targets
    named = set(re.findall(r"(?:^|`|&& )make ([a-z]+)", (repository / "README.md").read_text(), re.MULTILINE))
    assert {"reproduce", "test"} <= named <= targets


class TestPaths:
    def test_in_a_checkout(self, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("RECORDS", "RUNS", "CACHE", "DATA"):
            monkeypatch.delenv(f"SSHPE_{name}", raising=False)
        assert paths.checkout() == repository
        assert paths.params() == repository / "params"
        assert paths.records() == repository / "book/records"
        assert paths.runs() == repository / "runs"
        assert paths.cache() == Path.home() / ".cache/sshpe"
        assert paths.data() is None

    def test_in_an_installed_wheel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("RECORDS", "RUNS"):
            monkeypatch.delenv(f"SSHPE_{name}")
        monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "sshpe_lib")
        assert paths.checkout() is None
        assert paths.params() == tmp_path / "sshpe_lib/_params"
        assert paths.records() == Path.home() / ".local/share/sshpe/records"
        assert paths.runs() == Path.home() / ".cache/sshpe/runs"

    @pytest.mark.parametrize("name", ["records", "runs", "cache", "data"])
    def test_the_environment_moves_them(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(f"SSHPE_{name.upper()}", str(tmp_path))
        assert getattr(paths, name)() == tmp_path

    def test_home_is_understood(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSHPE_RUNS", "~/runs")
        assert paths.runs() == Path.home() / "runs"

    def test_data_that_is_no_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSHPE_DATA", str(tmp_path / "missing"))
        with pytest.raises(SSHPEError, match=r"SSHPE_DATA=.*missing is not a folder"):
            paths.data()
