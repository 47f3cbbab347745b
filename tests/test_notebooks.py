"""Every notebook: short, stripped, its parameters explained, and run as people type it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from click.testing import CliRunner
from nbformat import NotebookNode
from papermill import cli

from sshpe_lib import records, tables
from sshpe_lib.data import sources
from sshpe_lib.machine import Machine
from tests import choices

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PAPERMILL = str(Path(sys.executable).with_name("papermill"))
# A table of quotations has no picture, and sliders draw theirs in the reader's notebook.
INSTEAD_OF_PICTURES = {"aid_table2": "text/html", "explore": "application/vnd.jupyter.widget-view+json"}
# Parameters that keep a run on the smoke profile to seconds.
NARROW = {"table1": {"group": 2}, "table4": {"decay": 0.9}, "table5": {"amount": "1K"}}

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
others = pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.stem != "table4"], ids=lambda path: path.stem
)


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


def test_there_is_a_notebook_for_every_table() -> None:
    assert {f"table{number}" for number in range(1, 6)} <= {path.stem for path in NOTEBOOKS}


def test_cells_have_names_of_their_own() -> None:
    for path in NOTEBOOKS:
        names = [cell.id for cell in nbformat.read(path, 4).cells]
        assert len(set(names)) == len(names)


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
def test_the_first_cell_gets_the_library_on_colab_and_does_nothing_elsewhere(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = code_cells(nbformat.read(path, 4))[0]
    assert first.metadata.tags == ["remove-cell"]  # of the book
    ran = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: ran.append(command))
    exec(first.source, {})
    assert ran == []
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    exec(first.source, {})
    assert ran == [[sys.executable, "-m", "pip", "install", "-q", "sshpe"]]


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
    done = CliRunner().invoke(cli.papermill, ["--help-notebook", str(path)])
    assert done.exit_code == 0, done.output
    shown = " ".join(done.output.split())
    for line in parameter_lines(path):
        statement, comment = line.split("  # ")
        name, kind = statement.split(" = ")[0].split(": ")
        default = statement.split(" = ")[1]
        assert f"{name}: {kind} (default {default}) {comment}" in shown


def smoke(path: Path) -> dict[str, str | int | float]:
    """Parameters that run a notebook in seconds: one seed where it has seeds."""
    seeds = {"seeds": 1} if any(line.startswith("seeds:") for line in parameter_lines(path)) else {}
    return {"profile": "smoke"} | NARROW.get(path.stem, {}) | seeds


def typed(path: Path) -> list[str]:
    """The same as words after a notebook's name."""
    return [word for name, value in smoke(path).items() for word in ("-p", name, str(value))]


def train_as_asked(path: Path) -> None:
    """Run the cells of a notebook up to the one that asks for records, in this process.

    A process of its own for every run, which is what a kernel starts, costs seconds each.
    """
    lines = []
    for cell in code_cells(nbformat.read(path, 4)):
        lines.append(cell.source)
        if "parameters" in cell.metadata.get("tags", []):
            lines += [f"{name} = {value!r}" for name, value in smoke(path).items()]
        if "study(" in cell.source:
            exec(compile("\n".join(lines), path.name, "exec"), {})
            return


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of notebooks/ with one folder of records for all of them: what several show is trained once."""
    copy = tmp_path_factory.mktemp("workplace") / "notebooks"
    folder = shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("executed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSHPE_RECORDS", str(folder / "records"))
        patch.setenv("SSHPE_RUNS", str(folder / "runs"))
        patch.setattr(Machine, "jobs_for", lambda machine, runs: 1)
        for chosen in ({}, choices.WHOLE):
            data = tables.experiment("smoke", "udpv1", **chosen).data
            for source in (data.labeled, data.val):
                sources.annotations(source)  # drawn now: a notebook that draws them shows a progress bar
        yield folder


@pytest.mark.kernel
@others
def test_a_notebook_runs_on_the_smoke_profile(path: Path, workplace: Path) -> None:
    train_as_asked(path)
    done = papermill(workplace, path.name, *typed(path), SSHPE_TRAINING="forbidden")
    assert done.returncode == 0, done.stderr[-3000:]
    found = outputs(workplace / "executed" / path.name)
    wanted = INSTEAD_OF_PICTURES.get(path.stem, "image/png")
    assert any(wanted in output.data for output in found if "data" in output)
    assert not [output for output in found if output.output_type == "stream"]  # no warning, no progress bar


@pytest.mark.kernel
def test_table_4_as_typed_trains_and_runs_again_from_its_records(tmp_path: Path) -> None:
    path = FOLDER / "table4.ipynb"
    command = "papermill table4.ipynb -p profile smoke -p decay 0.9 -p seeds 1"
    assert command.split() == ["papermill", path.name, *typed(path)]
    folder = shutil.copytree(FOLDER, tmp_path / "notebooks", ignore=shutil.ignore_patterns("executed"))
    done = papermill(folder, *command.split()[1:])
    assert done.returncode == 0, done.stderr[-3000:]
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

    again = "executed/again.ipynb"
    done = papermill(folder, path.name, again, *typed(path), SSHPE_TRAINING="forbidden")
    assert done.returncode == 0, done.stderr[-3000:]
    found = outputs(folder / again)
    assert [output.data for output in found if "data" in output] == pages  # to the letter and the pixel
    assert not [output for output in found if output.output_type == "stream"]


def test_a_misspelt_parameter_is_refused(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "table4.ipynb", tmp_path)
    done = papermill(tmp_path, "table4.ipynb", "-p", "decya", "0.9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown parameter decya (did you mean decay?)" in done.stderr
    assert "profile, backbone, decay, seeds" in done.stderr
    assert not (tmp_path / "executed").exists() and not (tmp_path / "records").exists()
