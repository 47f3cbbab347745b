"""What ran, on what, at which commit."""

from __future__ import annotations

import platform
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

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


def collect(
    fabric: Fabric,
    key: str,
    facts: dict[str, str | int],
    started: datetime,
    seconds: float,
    checkpoint: str,
    precision: str,
    code: tuple[str, bool] | None = None,
) -> Provenance:
    """The provenance of a finished run.

    facts: of its data; seconds: of training and evaluation; checkpoint: `experiment.state_sha256` of the network that
    tables quote, not the hash of a file; code: the `revision` when the run began, as the checkout may move on
    meanwhile; the one of now where left out.
    """
    import torch

    commit, dirty = revision() if code is None else code
    return Provenance(
        commit=commit,
        dirty=dirty,
        versions=versions(),
        device=device_name(fabric.device),
        threads=torch.get_num_threads(),
        world_size=fabric.world_size,
        seconds=round(seconds, 1),
        started=started.isoformat(timespec="seconds"),
        checkpoint_sha256=checkpoint,
        data=facts,
        command=f"sshpe reproduce {key}",
        precision=precision,
        instructions=instructions(fabric.device),
    )


def revision() -> tuple[str, bool]:
    """The commit of the checkout the library lies in, and whether tracked code differs from it."""
    here = Path(__file__).resolve().parent
    try:
        if Path(_git(here, "rev-parse", "--show-toplevel")).resolve() != here.parent:
            return "unknown", False  # installed somewhere in a repository of something else
        commit = _git(here, "rev-parse", "HEAD")
        return commit, bool(
            _git(here.parent, "status", "--porcelain", "--untracked-files=no", "sshpe_lib", "params")
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
