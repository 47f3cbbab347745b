"""Makes `papermill table4.ipynb -p decay 0.9` work as typed, and refuses a parameter that the notebook lacks.

papermill imports this module through its entry-point group `papermill.io` before it reads its command line.
Only where the running program is papermill, its click command gets `prepare` in front of it: the arguments
are parsed by then and no kernel has started. papermill tells a terminal, a pipe and a FIFO on standard input
apart only where no output is named, so naming one serves all three. A mistake that only a cell finds, such as a wrong
value of a parameter, is told in one line, too. The Python API stays as it is.
"""

from __future__ import annotations

import ast
import base64
import binascii
import difflib
import os
import stat
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from nbformat import NotebookNode

OUTPUT_FOLDER = Path("executed")
MISTAKES = ("SSHPEError", "BadInput")  # errors that are meant to be read, as a kernel names their classes


class Handler:
    """What papermill asks of an entry in `papermill.io`; this one serves no paths."""

    def read(self, path: str) -> NoReturn:
        self._refuse(path)

    def write(self, buf: str, path: str) -> NoReturn:
        self._refuse(path)

    def listdir(self, path: str) -> NoReturn:
        self._refuse(path)

    def pretty_path(self, path: str) -> str:
        return path

    @staticmethod
    def _refuse(path: str) -> NoReturn:
        raise OSError(f"{path}: sshpe-plugin:// names no notebooks; name a file")


handler = Handler()


def prepare(arguments: dict[str, Any]) -> None:
    """Check papermill's parsed `arguments` and, where no output is named, name `executed/<notebook>.ipynb`.

    Standard input, addresses and path templates (`-`, `s3://...`, `{year}.ipynb`) stay with papermill.
    Parameters are checked whether or not an output is named.

    Raises click.ClickException, one line and exit code 2: no such notebook, an unknown parameter, a parameter
    file that cannot be read, an output that cannot be written: its folder cannot be made, is none or
    takes no files, or it is one itself.
    """
    named = arguments["notebook_path"]
    if not named or named == "-" or "://" in named or "{" in named:
        return
    notebook = Path(named)
    if notebook.is_dir():
        _refuse(f"{named} is a folder; name a notebook in it")
    if not notebook.exists():
        piped = not arguments["output_path"] and stat.S_ISFIFO(os.fstat(0).st_mode)
        hint = f" (a notebook from standard input: papermill - {named})" if piped else ""
        _refuse(f"{named}: no such notebook{hint}")
    if not notebook.is_file() or arguments["help_notebook"]:
        return
    _check_parameters(notebook, arguments)
    if not arguments["output_path"]:
        arguments["output_path"] = str(_default_output(notebook))
        arguments["log_output"] = True  # a cell that trains for minutes shows its progress
    _check_output(arguments["output_path"])


def declared_parameters(notebook: NotebookNode, language: str | None = None) -> list[str] | None:
    """The names that the notebook's cell tagged `parameters` assigns; None for a language other than Python.

    Python's own parser reads the cell: papermill's inspection misses a line with two equal signs. `language`
    overrides the notebook's metadata, as papermill's option does.

    Raises SyntaxError where the cell is not Python.
    """
    spoken = notebook.metadata.get("kernelspec", {}).get("language", "python")
    spoken = language or notebook.metadata.get("language_info", {}).get("name", spoken)
    if spoken.lower() not in ("python", "ipython"):
        return None
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if not cells:
        return []
    source = "\n".join(
        line for line in cells[0].source.splitlines() if not line.lstrip().startswith(("%", "!"))
    )
    names = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return list(dict.fromkeys(node.id for node in names if isinstance(node.ctx, ast.Store)))


def _check_parameters(notebook: Path, arguments: dict[str, Any]) -> None:
    given = _given_parameters(arguments)
    known = _declared_in(notebook, arguments["language"])
    if known is None:
        return
    unknown = [name for name in given if name not in known]
    if not unknown:
        return
    close = difflib.get_close_matches(unknown[0], known, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    listing = (
        f"the parameters of {notebook} are {', '.join(known)}"
        if known
        else f"{notebook} declares no parameters"
    )
    _refuse(f"unknown parameter {', '.join(unknown)}{guess}; {listing}")


def _declared_in(notebook: Path, language: str | None) -> list[str] | None:
    from papermill.iorw import load_notebook_node

    try:
        return declared_parameters(load_notebook_node(str(notebook)), language)
    except SyntaxError as error:
        _refuse(f"{notebook}: the cell tagged parameters is not Python, line {error.lineno}: {error.msg}")
    except Exception as error:  # nbformat has a class for each way a file can fail to be a notebook
        _refuse(f"{notebook} is not a notebook that papermill can read: {_one_line(error)}")


def _given_parameters(arguments: dict[str, Any]) -> list[str]:
    """The names of all parameters on the command line, in papermill's order.

    Files are read here once and handed on as YAML text, which papermill treats alike, because a file may be
    standard input.
    """
    blobs = [("-b", _decode(text)) for text in arguments["parameters_base64"]]
    files = [(f"-f {path}", _read(path)) for path in arguments["parameters_file"]]
    texts = [(f"-y {text!r}", text) for text in arguments["parameters_yaml"]]
    names = [str(name) for source, text in blobs + files + texts for name in _mapping(source, text)]
    names += [name for name, _ in arguments["parameters"] + arguments["parameters_raw"]]
    arguments["parameters_file"] = ()
    arguments["parameters_yaml"] = tuple(text for _, text in files + texts)
    return list(dict.fromkeys(names))


def _decode(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        _refuse(f"-b {text!r} is not base64 of YAML text")


def _read(path: str) -> str:
    from papermill.iorw import papermill_io

    try:
        return papermill_io.read(path, [".json", ".yaml", ".yml"])
    except (OSError, UnicodeDecodeError) as error:
        _refuse(f"-f {path} cannot be read: {getattr(error, 'strerror', None) or error}")


def _mapping(source: str, text: str) -> Mapping[Any, Any]:
    import yaml
    from papermill.iorw import NoDatesSafeLoader

    try:
        value = yaml.load(text, Loader=NoDatesSafeLoader) or {}
    except yaml.YAMLError as error:
        _refuse(f"{source} is not YAML: {_one_line(error)}")
    if not isinstance(value, Mapping):
        _refuse(f"{source} holds {value!r}, not parameters; write `name: value`, one a line")
    return value


def _default_output(notebook: Path) -> Path:
    output = OUTPUT_FOLDER / f"{notebook.stem}.ipynb"
    try:
        OUTPUT_FOLDER.mkdir(exist_ok=True)
    except OSError as error:
        _refuse(
            f"the folder {OUTPUT_FOLDER} cannot be made ({error.strerror}); name an output after the notebook"
        )
    if output.exists() and output.samefile(notebook):
        _refuse(f"{notebook} would be overwritten by its own output; name an output after the notebook")
    return output


def _check_output(named: str) -> None:
    """Refuse a file that papermill could not write, which it finds when the notebook begins."""
    if named == "-" or "://" in named or "{" in named:
        return
    output = Path(named)
    if output.is_dir():
        _refuse(f"{named} is a folder; name a file for the output")
    if not output.parent.is_dir():
        _refuse(f"{output.parent}: no such folder; make it, or name another for the output")
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        _refuse(f"{named} cannot be written; name an output in a folder that takes files")


def _one_line(error: Exception) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, width=200, placeholder=" ...")


def _refuse(message: str) -> NoReturn:
    from click import ClickException

    refusal = ClickException(message)
    refusal.exit_code = 2  # type: ignore[misc]  # click's documented way; its types want a subclass
    raise refusal


@contextmanager
def _told_in_one_line() -> Iterator[None]:
    """Inside the block a cell that ended with this package's own error ends papermill with its sentence alone.

    The notebook as far as it was executed, which shows where, is saved by then. Raises click.ClickException.
    """
    from papermill.exceptions import PapermillExecutionError

    try:
        yield
    except PapermillExecutionError as error:
        if error.ename not in MISTAKES:
            raise
        _refuse(error.evalue)


def _program_is_papermill() -> bool:
    """Whether this process was started as `papermill` or `python -m papermill`."""
    if sys.argv[0] == "-m":  # the package is imported before runpy writes the path of its __main__ here
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "papermill"
    return Path(sys.argv[0]).name.removesuffix(".exe") == "papermill"


def _install() -> None:
    """Put `prepare` in front of the click command that papermill defines after this module is imported."""
    from click import Command, Context

    invoke = Command.invoke

    def checked_invoke(command: Command, context: Context) -> Any:
        if getattr(command.callback, "__module__", None) != "papermill.cli":
            return invoke(command, context)
        prepare(context.params)
        with _told_in_one_line():
            return invoke(command, context)

    Command.invoke = checked_invoke  # type: ignore[method-assign, assignment]  # papermill has no hook


if sys.argv and _program_is_papermill():
    _install()
