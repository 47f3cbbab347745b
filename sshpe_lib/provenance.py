"""What ran, on what, at which commit."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sshpe_lib.records import Provenance

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PACKAGES = (
    "sshpe",
    "torch",
    "torchvision",
    "lightning-fabric",
    "numpy",
    "opencv-python-headless",
    "pycocotools",
    "faster-coco-eval",
)


def part(fabric: Fabric, started: datetime, precision: str, code: tuple[str, bool]) -> dict[str, Any]:
    """What a run, or one part of it, is trained by: facts of `Provenance` by name, for a checkpoint to keep.

    precision: that training has here; code: the `revision` when it began, as the checkout may move on meanwhile.
    """
    import torch

    commit, dirty = code
    return {
        "started": started.isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": dirty,
        "versions": versions(),
        "device": device_name(fabric.device),
        "threads": torch.get_num_threads(),
        "world_size": fabric.world_size,
        "precision": precision,
        "instructions": instructions(fabric.device),
    }


def collect(
    parts: Sequence[dict[str, Any]], key: str, facts: dict[str, str | int], seconds: float, checkpoint: str
) -> Provenance:
    """The provenance of a finished run.

    parts: each `part` of it, in order; facts: of its data; seconds: of training and evaluation; checkpoint:
    `experiment.state_sha256` of the network that tables quote, not the hash of a file.
    """
    *before, last = parts
    earlier: list[dict[str, Any]] = []
    for one in before:
        other = {name: fact for name, fact in one.items() if name != "started" and fact != last.get(name)}
        if other and other not in earlier:
            earlier.append(other)
    return Provenance(
        **last | {"started": parts[0]["started"], "dirty": any(one["dirty"] for one in parts)},
        seconds=round(seconds, 1),
        checkpoint_sha256=checkpoint,
        data=facts,
        command=f"sshpe reproduce {key}",
        earlier=tuple(earlier),
    )


def revision(*more: str) -> tuple[str, bool]:
    """The commit of the checkout the library lies in, and whether tracked code differs from it.

    more: what counts as code beside the library and its parameters, paths in the checkout.
    """
    here = Path(__file__).resolve().parent
    try:
        if Path(_git(here, "rev-parse", "--show-toplevel")).resolve() != here.parent:
            return "unknown", False  # installed somewhere in a repository of something else
        commit = _git(here, "rev-parse", "HEAD")
        return commit, bool(
            _git(here.parent, "status", "--porcelain", "--untracked-files=no", "sshpe_lib", "params", *more)
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown", False


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def device_name(device) -> str:
    """The name of a torch device's hardware."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def instructions(device) -> str | None:
    """The vector instructions that torch uses on a CPU, such as "AVX2"; None for other devices.

    Processors of one name may differ in them, and with them in speed and in the last bits.
    """
    import torch

    return torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else None
