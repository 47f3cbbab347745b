"""Importing is fast and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

import sshpe_lib


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints for `code`."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=120, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light() -> None:
    loaded = json.loads(python("import sys, json, sshpe_lib; print(json.dumps(sorted(sys.modules)))"))
    heavy = {
        "torch",
        "torchvision",
        "cv2",
        "numpy",
        "pandas",
        "matplotlib",
        "seaborn",
        "scipy",
        "pydantic",
        "click",
    }
    assert not heavy & set(loaded)
    assert [m for m in loaded if m.startswith("sshpe_lib.")] == []


def test_layer_0_and_the_plugin_load_no_torch() -> None:
    rooms = ("config", "errors", "papermill_plugin", "paths", "records", "seeding", "skeleton")
    heavy = ("torch", "cv2", "matplotlib", "papermill", "IPython")
    code = f"""
        import importlib, json, sys
        for name in {rooms!r}:
            importlib.import_module(f"sshpe_lib.{{name}}")
        print(json.dumps([name for name in {heavy!r} if name in sys.modules]))
    """
    assert json.loads(python(code)) == []


@pytest.mark.parametrize("name", sshpe_lib.__all__)
def test_public_names_load_when_asked_for(name: str) -> None:
    assert name in dir(sshpe_lib)
    assert getattr(sshpe_lib, name).__name__ == name


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sshpe_lib.nothing


# Third-party packages do change the process when first imported (torch adds warning filters, for one), so
# they come first; what differs after that is ours.
SNAPSHOT = """
import importlib, json, logging, os, pkgutil, random, signal, sys, warnings
for name in (
    "torch", "cv2", "numpy", "scipy.io", "pandas", "matplotlib.pyplot", "seaborn", "pydantic", "yaml",
    "typer", "rich.console", "rich.progress", "tqdm.auto", "lightning_fabric", "lightning_fabric.loggers",
    "filelock", "pycocotools.cocoeval", "papermill", "nbformat", "safetensors.torch", "tabulate",
):
    importlib.import_module(name)
import cv2, matplotlib, numpy, torch
import sshpe_lib

def state():
    return {
        "torch random state": torch.get_rng_state().tolist(),
        "numpy random state": repr(numpy.random.get_state()),
        "python random state": repr(random.getstate()),
        "torch threads": torch.get_num_threads(),
        "torch defaults": repr((torch.get_default_dtype(), torch.is_grad_enabled())),
        "torch determinism": torch.are_deterministic_algorithms_enabled(),
        "opencv threads": cv2.getNumThreads(),
        "working directory": os.getcwd(),
        "environment": dict(os.environ),
        "warning filters": [repr(f) for f in warnings.filters],
        "matplotlib backend": matplotlib.get_backend(),
        "matplotlib settings": repr({k: v for k, v in matplotlib.rcParams.items() if k != "backend"}),
        "logging": repr((logging.root.handlers, logging.root.level)),
        "search path": list(sys.path),
        "signal handlers": repr([signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]),
        "files": sorted(os.listdir()),
    }

before = state()
names = [m.name for m in pkgutil.walk_packages(sshpe_lib.__path__, "sshpe_lib.")]
changed = {}
for name in names:
    importlib.import_module(name)
    after = state()
    changed |= {f"{name}: {key}": 1 for key in before if before[key] != after[key]}
    before = after
print(json.dumps({"names": names, "changed": sorted(changed)}))
"""


def test_importing_any_module_changes_nothing() -> None:
    report = json.loads(python(SNAPSHOT, MPLBACKEND="svg").splitlines()[-1])
    assert "sshpe_lib.papermill_plugin" in report["names"]
    assert len(report["names"]) >= 10
    assert report["changed"] == []
