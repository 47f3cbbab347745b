"""torchvision, importable beside a torch build that its compiled operators do not fit."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import torch
from torch import library

from sshpe_lib.errors import SSHPEError

# What `import torchvision` looks up while it registers shapes; nothing in this library calls either.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision(submodule: str = "models.resnet") -> ModuleType:
    """Import `torchvision.<submodule>`, also where torch is CPU-only and torchvision was built for CUDA.

    The registry's torchvision needs the CUDA libraries for its own operators; without them its import stops
    at a missing `torchvision::nms`. Declaring the operator is enough for networks and transforms.
    `torchvision.ops` and `torchvision.io` stay unusable there, and say so when called.

    Raises:
        SSHPEError: torchvision is not installed.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        raise SSHPEError("torchvision is not installed; install the version that constraints.txt pins")
    _provide_operators(Path(spec.submodule_search_locations[0]))
    return importlib.import_module(f"torchvision.{submodule}")


@functools.cache  # a Library withdraws its operators when it is collected, so it must be kept
def _provide_operators(package: Path) -> library.Library | None:
    """Load torchvision's compiled operators, or declare the two that its import looks up."""
    for compiled in (*package.glob("_C*.so"), *package.glob("_C*.pyd")):
        try:
            torch.ops.load_library(compiled)
        except OSError:
            continue
    if hasattr(torch.ops.torchvision, "nms"):
        return None
    fragment = library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        fragment.define(schema)
    return fragment
