"""Semi-supervised human pose estimation: an experiment is a value, a run turns it into a record.

The public names below are loaded when first asked for: `import sshpe_lib` stays fast and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sshpe_lib.config import Experiment
    from sshpe_lib.errors import SSHPEError
    from sshpe_lib.experiment import run
    from sshpe_lib.records import Record

__version__ = "0.1.0"
__all__ = ["Experiment", "Record", "SSHPEError", "run"]

_HOMES = {
    "Experiment": "sshpe_lib.config",
    "Record": "sshpe_lib.records",
    "SSHPEError": "sshpe_lib.errors",
    "run": "sshpe_lib.experiment",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
