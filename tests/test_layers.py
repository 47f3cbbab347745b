"""Imports go down only: the table of layers, checked against the import statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sshpe_lib

PACKAGE = Path(sshpe_lib.__file__).parent
LAYERS = {
    "errors": 0, "paths": 0, "writing": 0, "progress": 0, "skeleton": 0, "seeding": 0,
    "config": 0, "profiles": 0, "recipe": 0, "records": 0, "report": 0, "tables": 0,
    "geometry": 1, "codec": 1, "grouping": 1, "models": 1, "augment": 1, "teacher": 1, "averaging": 1, "losses": 1,
    "transfer": 1, "streams": 1, "modes": 1, "graphs": 1, "parcel": 1,
    "data": 2, "evaluate": 2, "methods": 2, "checkpoints": 2, "supervision": 2, "crowd_supervision": 2,
    "trainer": 3, "training_log": 3, "tally": 3, "machine": 3, "folder_lock": 3, "provenance": 3,
    "feed": 3, "preparation": 3,
    "connection": 4, "experiment": 4, "initial": 4, "parts": 4, "overview": 4, "pool": 4, "bias": 4, "group": 4,
    "plan": 4, "pretrain": 4, "classifier": 4,
    "reproduce": 4, "study": 4, "test_dev": 4, "trained": 4, "predict": 4, "exporting": 4, "evaluating": 4,
    "training": 4, "converting": 4, "zoo": 4, "explore": 4, "side_by_side": 4, "cluster": 4,
    "cli": 5, "cli_data": 5, "cli_weights": 5, "cli_networks": 5, "cli_options": 5, "papermill_plugin": 5, "main__": 6,
}  # fmt: skip
# Layer 1 takes plain arguments: of layer 0 it may know these rooms only.
PLAIN = {"errors", "paths", "writing", "skeleton", "seeding"}
SOURCES = sorted(
    p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py" and "_params" not in p.parts
)


def module_name(source: Path) -> str:
    parts = source.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The first part of a module's name below the package, without the underscore of a private one."""
    return module.split(".")[1].lstrip("_")


def layer(module: str) -> int:
    assert room(module) in LAYERS, f"{module} has no layer: name its room in the table here and in the design"
    return LAYERS[room(module)]


MODULES = {module_name(source) for source in SOURCES}


def imports(source: Path, at_import_time: bool = False) -> Iterator[str]:
    """The modules that a file imports, also inside functions unless `at_import_time`."""
    for node in _nodes(ast.parse(source.read_text()), at_import_time):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}:{node.lineno} imports relatively; write the full name"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def _nodes(tree: ast.AST, at_import_time: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if at_import_time and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _nodes(node, at_import_time)


def inside(source: Path) -> list[str]:
    own = module_name(source)
    return [m for m in imports(source) if m.startswith("sshpe_lib.") and m != own]


@pytest.mark.parametrize("source", SOURCES, ids=module_name)
def test_imports_go_down(source: Path) -> None:
    here = layer(module_name(source))
    up = [m for m in inside(source) if layer(m) > here]
    assert not up, f"layer {here} imports from above: {up}"


@pytest.mark.parametrize("source", SOURCES, ids=module_name)
def test_layer_1_takes_plain_arguments(source: Path) -> None:
    if layer(module_name(source)) == 1:
        assert not [m for m in inside(source) if layer(m) == 0 and room(m) not in PLAIN]


def test_layer_0_imports_no_torch() -> None:
    heavy = {"torch", "torchvision", "cv2", "lightning_fabric"}
    for source in SOURCES:
        if layer(module_name(source)) == 0:
            found = {m.split(".")[0] for m in imports(source, at_import_time=True)} & heavy
            assert not found, f"{source.name} imports {found}"


def test_no_import_cycles() -> None:
    graph = {module_name(s): {m for m in inside(s) if m in MODULES} for s in SOURCES}
    while leaves := {m for m, below in graph.items() if not below & graph.keys()}:
        graph = {m: below for m, below in graph.items() if m not in leaves}
    assert not graph, f"these modules import one another in a circle, or stand above one: {sorted(graph)}"


def test_the_check_sees_an_upward_import(tmp_path: Path) -> None:
    source = tmp_path / "low.py"
    source.write_text("def f():\n    from sshpe_lib.cli import main\n    return main\n")
    assert list(imports(source)) == ["sshpe_lib.cli"]
    assert list(imports(source, at_import_time=True)) == []
