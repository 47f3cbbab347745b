"""Every notebook: short, stripped, its parameters explained, and run as people type it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from sshpe_lib import records

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PAPERMILL = str(Path(sys.executable).with_name("papermill"))
# What keeps a run on the smoke profile to seconds.
NARROW = {"table4": ("-p", "decay", "0.9", "-p", "seeds", "1")}

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameter_lines(path: Path) -> list[str]:
    """The lines of the cell tagged parameters."""
    tagged = [c for c in nbformat.read(path, 4).cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1, f"{path.name} needs one cell tagged parameters"
    return tagged[0].source.splitlines()


def papermill(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run papermill in a folder, with records and runs of its own; standard input is no terminal."""
    places = {"SSHPE_RECORDS": str(folder / "records"), "SSHPE_RUNS": str(folder / "runs")}
    return subprocess.run(
        [PAPERMILL, *words], cwd=folder, capture_output=True, text=True, timeout=900,
        stdin=subprocess.DEVNULL, env=os.environ | {"PYTHONWARNINGS": "default"} | places | environment,
    )  # fmt: skip


def outputs(path: Path) -> list[NotebookNode]:
    """Every output of an executed notebook; none of them is an error."""
    found = [output for cell in code_cells(nbformat.read(path, 4)) for output in cell.outputs]
    assert not [output for output in found if output.output_type == "error"]
    return found


def test_there_is_a_notebook() -> None:
    assert "table4" in [path.stem for path in NOTEBOOKS]


@each
def test_a_notebook_is_short_and_defines_nothing(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert len(code_cells(notebook)) <= 8
    for cell in code_cells(notebook):
        kinds = {type(node) for node in ast.walk(ast.parse(cell.source))}
        assert not kinds & {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda}, cell.source


@each
def test_a_notebook_is_stripped_and_begins_with_its_title(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    for cell in code_cells(notebook):
        assert (cell.outputs, cell.execution_count) == ([], None)
        assert set(cell.metadata) <= {"tags", "mystnb"}
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}


@each
def test_parameters_are_typed_and_commented(path: Path) -> None:
    for line in parameter_lines(path):
        (statement,) = ast.parse(line).body
        assert isinstance(statement, ast.AnnAssign), f"{path.name}: write a type in {line!r}"
        assert isinstance(ast.literal_eval(statement.value), str | int | float)
        comment = line[statement.end_col_offset :].strip()
        assert comment.startswith("# ") and len(comment) > 10, f"{path.name}: explain {line!r} in a comment"


@each
def test_papermill_explains_every_parameter(path: Path) -> None:
    done = papermill(path.parent, "--help-notebook", path.name)
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    for line in parameter_lines(path):
        statement, comment = line.split("  # ")
        name, kind = statement.split(" = ")[0].split(": ")
        default = statement.split(" = ")[1]
        assert f"{name}: {kind} (default {default}) {comment}" in shown


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A copy of notebooks/ where a notebook has run on the smoke profile, once for all tests, and trained."""

    @cache
    def run(path: Path) -> Path:
        copy = tmp_path_factory.mktemp(path.stem) / "notebooks"
        folder = shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("executed"))
        done = papermill(folder, path.name, *smoke(path))
        assert done.returncode == 0, done.stderr[-3000:]
        return folder

    return run


def smoke(path: Path) -> tuple[str, ...]:
    return ("-p", "profile", "smoke", *NARROW.get(path.stem, ()))


@pytest.mark.kernel
@each
def test_a_notebook_runs_on_the_smoke_profile(path: Path, trained: Callable[[Path], Path]) -> None:
    folder = trained(path)
    shown = [output.data for output in outputs(folder / "executed" / path.name) if "data" in output]
    assert any("image/png" in data for data in shown)
    assert records.read_all(folder / "records")


@pytest.mark.kernel
@each
def test_a_notebook_runs_again_from_its_records(path: Path, trained: Callable[[Path], Path]) -> None:
    folder, again = trained(path), Path("executed") / "again.ipynb"
    done = papermill(folder, path.name, str(again), *smoke(path), SSHPE_TRAINING="forbidden")
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = outputs(folder / "executed" / path.name), outputs(folder / again)
    shown = [[output.data for output in run if "data" in output] for run in (first, second)]
    assert shown[0] == shown[1]  # tables to the letter, figures to the pixel
    assert not [output for output in second if output.output_type == "stream"]  # no warning, no progress bar


@pytest.mark.kernel
def test_table_4_as_typed(trained: Callable[[Path], Path]) -> None:
    path = FOLDER / "table4.ipynb"
    command = "papermill table4.ipynb -p profile smoke -p decay 0.9 -p seeds 1"
    assert command.split() == ["papermill", path.name, *smoke(path)]
    folder = trained(path)
    made = {record.experiment.teacher.decay: record for record in records.read_all(folder / "records")}
    assert set(made) == {None, 0.9}
    pages = [output.data for output in outputs(folder / "executed" / path.name) if "data" in output]
    table, curves, people, runs = pages
    assert "Table 4" in table["text/html"] and ">0.9<" in table["text/html"]
    assert ">0.99<" not in table["text/html"]
    assert "0.9" in table["text/plain"] and "±" not in table["text/plain"]
    assert "image/png" in curves and "image/png" in people
    for record in made.values():
        assert record.key in runs["text/html"]


def test_a_misspelt_parameter_is_refused(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "table4.ipynb", tmp_path)
    done = papermill(tmp_path, "table4.ipynb", "-p", "decya", "0.9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown parameter decya (did you mean decay?)" in done.stderr
    assert "profile, backbone, decay, seeds" in done.stderr
    assert not (tmp_path / "executed").exists() and not (tmp_path / "records").exists()
