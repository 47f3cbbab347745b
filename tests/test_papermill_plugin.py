"""The commands as people type them: in a terminal, in a pipe, with a FIFO on standard input."""

from __future__ import annotations

import base64
import importlib
import json
import os
import pkgutil
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import nbformat
import papermill.cli
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import sshpe_lib
from sshpe_lib import papermill_plugin
from sshpe_lib.errors import SSHPEError

PARAMETERS = 'profile: str = "smoke"  # data and sizes\ndecay: float = 0.6  # EMAN decay\nnote = "a=b"'
PYTHON = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
PAPERMILL = str(Path(sys.executable).with_name("papermill"))
ENVIRONMENT = os.environ | {"PYTHONWARNINGS": "default"}


def notebook(parameters: str | None = PARAMETERS, metadata: dict | None = None) -> nbformat.NotebookNode:
    cells = [new_code_cell("import os\nprint(f'{decay=} in {os.getcwd()}')")]
    if parameters is not None:
        cells.insert(0, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    return new_notebook(cells=cells, metadata=PYTHON if metadata is None else metadata)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    nbformat.write(notebook(), tmp_path / "table.ipynb")
    return tmp_path


def run(
    folder: Path, *words: str, program: tuple[str, ...] = (PAPERMILL,), stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run papermill in a pipe; `stdin` is text that comes by a FIFO, or None for no standard input."""
    source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        [*program, *words], cwd=folder, capture_output=True, text=True, timeout=120, env=ENVIRONMENT, **source
    )


def in_terminal(folder: Path, *words: str) -> tuple[int, str]:
    """Run papermill with a terminal on all three streams; its exit code and all that it printed."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [PAPERMILL, *words], cwd=folder, stdin=inner, stdout=inner, stderr=inner, env=ENVIRONMENT
    )
    os.close(inner)
    printed = b""
    while True:
        try:
            block = os.read(outer, 65536)
        except OSError:  # Linux's word for the end of a terminal
            break
        if not block:
            break
        printed += block
    os.close(outer)
    return process.wait(timeout=60), printed.decode()


def injected(path: Path) -> str:
    """The source of the cell that papermill put after the parameters."""
    cells = nbformat.read(path, as_version=4).cells
    return next(c.source for c in cells if "injected-parameters" in c.metadata.get("tags", []))


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, nothing on standard output, one line on standard error that holds the words."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.kernel
def test_terminal(folder: Path) -> None:
    code, printed = in_terminal(folder, "table.ipynb", "-p", "decay", "0.9")
    assert code == 0, printed
    cells = nbformat.read(folder / "executed/table.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].text == f"decay=0.9 in {folder.resolve()}\n"
    assert "executed/table.ipynb" in printed


@pytest.mark.kernel
def test_fifo_on_stdin_through_python_m(folder: Path) -> None:
    before = (folder / "table.ipynb").read_bytes()
    done = run(
        folder, "table.ipynb", "-p", "decay", "0.9", program=(sys.executable, "-m", "papermill"), stdin=""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert (folder / "table.ipynb").read_bytes() == before
    cells = nbformat.read(folder / "executed/table.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].text.startswith("decay=0.9 in ")


def failing(error: str) -> nbformat.NotebookNode:
    made = notebook()
    made.cells[-1].source = f"from sshpe_lib.data.faults import bad_input, SSHPEError\nraise {error}"
    return made


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("SSHPEError('no row 0.95; choose one')", "no row 0.95; choose one"),
        (
            "bad_input('people.json', 'image 3', 'it is gone', 'get it')",
            "people.json: image 3: it is gone; get it",
        ),
    ],
)
def test_a_mistake_that_a_cell_finds_is_one_line(folder: Path, error: str, told: str) -> None:
    nbformat.write(failing(error), folder / "table.ipynb")
    done = run(folder, "table.ipynb", "out.ipynb", "--no-progress-bar")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == f"Error: {told}"
    assert nbformat.read(folder / "out.ipynb", as_version=4).cells[-1].outputs[0].output_type == "error"


@pytest.mark.kernel
def test_a_fault_of_the_notebook_keeps_its_traceback(folder: Path) -> None:
    nbformat.write(failing("ZeroDivisionError"), folder / "table.ipynb")
    done = run(folder, "table.ipynb", "out.ipynb")
    assert done.returncode == 1 and "PapermillExecutionError" in done.stderr


def test_all_errors_that_are_meant_to_be_read_are_known() -> None:
    def below(one: type) -> set[str]:
        return {one.__name__}.union(*map(below, one.__subclasses__()))

    for module in pkgutil.iter_modules(sshpe_lib.__path__, "sshpe_lib."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert below(SSHPEError) == set(papermill_plugin.MISTAKES)


@pytest.mark.parametrize(
    ("program", "stdin"),
    [((PAPERMILL,), None), ((PAPERMILL,), ""), ((sys.executable, "-mpapermill"), None)],
    ids=["pipe", "fifo", "python-m"],
)
def test_pipe(folder: Path, program: tuple[str, ...], stdin: str | None) -> None:
    done = run(folder, "table.ipynb", "-p", "decay", "0.9", "--prepare-only", program=program, stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert injected(folder / "executed/table.ipynb") == "# Parameters\ndecay = 0.9\n"


def test_the_output_folder_is_the_callers(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    done = run(folder / "elsewhere", "../table.ipynb", "--prepare-only")
    assert done.returncode == 0, done.stderr
    assert [p.name for p in folder.rglob("executed/*")] == ["table.ipynb"]
    assert (folder / "elsewhere/executed/table.ipynb").is_file()


def test_a_named_output_is_kept(folder: Path) -> None:
    done = run(folder, "table.ipynb", "out.ipynb", "-p", "decay", "0.9", "--prepare-only", stdin="")
    assert done.returncode == 0, done.stderr
    assert "decay = 0.9" in injected(folder / "out.ipynb")
    assert not (folder / "executed").exists()


def test_standard_streams_stay_papermills(folder: Path) -> None:
    text = (folder / "table.ipynb").read_text()
    piped = run(folder, "--prepare-only", stdin=text)
    assert piped.returncode == 0, piped.stderr
    assert len(json.loads(piped.stdout)["cells"]) == 2
    named = run(folder, "-", "out.ipynb", "--prepare-only", stdin=text)
    assert named.returncode == 0, named.stderr
    assert (folder / "out.ipynb").is_file()
    shown = run(folder, "table.ipynb", "-", "--prepare-only")
    assert shown.returncode == 0, shown.stderr
    assert len(json.loads(shown.stdout)["cells"]) == 2
    assert not (folder / "executed").exists()


def test_help_notebook(folder: Path) -> None:
    done = run(folder, "--help-notebook", "table.ipynb", stdin="")
    assert done.returncode == 0, done.stderr
    assert "decay: float (default 0.6)      EMAN decay" in done.stdout
    assert not (folder / "executed").exists()


def test_an_unknown_parameter_is_refused(folder: Path) -> None:
    done = run(folder, "table.ipynb", "-p", "decya", "0.9", stdin="")
    assert_refused(done, "unknown parameter decya", "did you mean decay?", "profile, decay, note")
    assert [p.name for p in folder.iterdir()] == ["table.ipynb"]


def test_an_unknown_parameter_is_refused_in_a_terminal(folder: Path) -> None:
    code, printed = in_terminal(folder, "table.ipynb", "-p", "decya", "0.9")
    assert code == 2
    assert printed.startswith("Error: unknown parameter decya")
    assert printed.count("\n") == 1


def refusal(*words: str) -> str:
    """What `prepare` says to this command line, which papermill's own parser reads, in this process."""
    context = papermill.cli.papermill.make_context("papermill", list(words))
    with pytest.raises(click.ClickException) as caught:
        papermill_plugin.prepare(context.params)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    return caught.value.message


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "words",
    [
        ("-r", "decya", "0.9"),
        ("-y", "{decay: 0.9, decya: 1}"),
        ("-b", encoded("decya: 0.9")),
        ("-f", "values.yaml"),
    ],
    ids=lambda words: words[0],
)
def test_every_way_to_give_parameters_is_checked(
    folder: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "values.yaml").write_text("decay: 0.9\ndecya: 0.1\n")
    assert refusal("table.ipynb", *words).startswith("unknown parameter decya (did you mean decay?); ")


def test_every_way_to_give_parameters_arrives(folder: Path) -> None:
    (folder / "values.yaml").write_text("profile: quick\ndecay: 0.1\n")
    words = (
        "-b",
        encoded("decay: 0.2"),
        "-f",
        "values.yaml",
        "-f",
        "-",
        "-y",
        "note: y",
        "-p",
        "decay",
        "0.9",
    )
    done = run(folder, "table.ipynb", *words, "--prepare-only", stdin="profile: paper\ndecay: 0.3\n")
    assert done.returncode == 0, done.stderr
    lines = injected(folder / "executed/table.ipynb").splitlines()
    assert sorted(lines[1:]) == ["decay = 0.9", 'note = "y"', 'profile = "paper"']


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tabel.ipynb",), "tabel.ipynb: no such notebook"),
        ((".",), ". is a folder"),
        (("--help-notebook", "tabel.ipynb"), "tabel.ipynb: no such notebook"),
        (("broken.ipynb",), "broken.ipynb is not a notebook"),
        (("magic.ipynb",), "magic.ipynb: the cell tagged parameters is not Python, line 2"),
        (("table.ipynb", "out.ipynb", "-p", "decya", "1"), "unknown parameter decya (did you mean decay?)"),
        (("plain.ipynb", "-p", "decay", "1"), "plain.ipynb declares no parameters"),
        (("table.ipynb", "-f", "no.yaml"), "-f no.yaml cannot be read: No such file"),
        (("table.ipynb", "-y", "a: ["), "-y 'a: [' is not YAML"),
        (("table.ipynb", "-y", "0.9"), "-y '0.9' holds 0.9, not parameters"),
        (("table.ipynb", "-b", "%%"), "-b '%%' is not base64"),
        (("executed/table.ipynb",), "would be overwritten by its own output"),
        (("table.ipynb", "nowhere/out.ipynb"), "nowhere: no such folder; make it, or name another"),
        (("table.ipynb", "."), ". is a folder; name a file for the output"),
    ],
)
def test_bad_input_is_one_clear_line(
    folder: Path, words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "broken.ipynb").write_text("{")
    nbformat.write(notebook("decay = 1\nseeds ="), folder / "magic.ipynb")
    nbformat.write(notebook(None), folder / "plain.ipynb")
    (folder / "executed").mkdir()
    nbformat.write(notebook(), folder / "executed/table.ipynb")
    assert message in refusal(*words)


def test_a_missing_notebook_with_a_fifo_names_the_form_that_reads_it(folder: Path) -> None:
    assert_refused(run(folder, "out.ipynb", stdin="{}"), "no such notebook", "papermill - out.ipynb")


def test_an_output_folder_that_is_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "executed").write_text("")
    assert refusal("table.ipynb").startswith("the folder executed cannot be made (File exists)")


def test_a_folder_where_the_output_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "executed/table.ipynb").mkdir(parents=True)
    assert refusal("table.ipynb") == "executed/table.ipynb is a folder; name a file for the output"


@pytest.mark.parametrize("there", ["executed", "executed/table.ipynb"])
def test_an_output_that_takes_no_files(folder: Path, there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as on a checkout that is mounted read-only."""
    monkeypatch.chdir(folder)
    (folder / "executed").mkdir()
    if there != "executed":
        (folder / there).write_text("")
    monkeypatch.setattr(os, "access", lambda path, mode: (str(path), mode) != (there, os.W_OK))
    told = "cannot be written; name an output in a folder that takes files"
    assert refusal("table.ipynb") == f"executed/table.ipynb {told}"
    assert refusal("table.ipynb", "executed/table.ipynb") == f"executed/table.ipynb {told}"


def test_declared_parameters() -> None:
    declared = papermill_plugin.declared_parameters
    assert declared(notebook()) == ["profile", "decay", "note"]
    assert declared(notebook(metadata={})) == ["profile", "decay", "note"]
    assert declared(notebook(None)) == []
    assert declared(notebook("%matplotlib inline\nseeds: list[int] = [\n    0,\n    1,\n]\nx = y = 2")) == [
        "seeds",
        "x",
        "y",
    ]
    assert declared(notebook("a <- 1", metadata={"language_info": {"name": "R"}})) is None
    assert declared(notebook(), "julia") is None


def test_prepare_leaves_addresses_and_templates_alone() -> None:
    for named in (None, "", "-", "s3://bucket/table.ipynb", "{year}.ipynb"):
        arguments = {"notebook_path": named, "output_path": ""}
        papermill_plugin.prepare(arguments)
        assert arguments == {"notebook_path": named, "output_path": ""}


def test_the_python_interface_is_untouched(folder: Path) -> None:
    code = (
        "import click, papermill as pm\n"
        "pm.execute_notebook('table.ipynb', 'out.ipynb', {'decya': 1}, prepare_only=True)\n"
        "print(click.Command.invoke.__module__)"
    )
    done = run(folder, "-c", code, program=(sys.executable,), stdin="")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "click.core\n"
    assert "decya = 1" in injected(folder / "out.ipynb")


def test_this_process_is_not_papermill() -> None:
    assert papermill.cli.papermill.name == "papermill"
    assert click.Command.invoke.__module__ == "click.core"


def test_the_handler_serves_no_paths() -> None:
    for ask in (papermill_plugin.handler.read, papermill_plugin.handler.listdir):
        with pytest.raises(OSError, match="names no notebooks"):
            ask("sshpe-plugin://table")
    with pytest.raises(OSError, match="names no notebooks"):
        papermill_plugin.handler.write("", "sshpe-plugin://table")
