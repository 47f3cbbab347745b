"""What every test shares: one thread, no display, and folders of its own for whatever is written."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

_SCRATCH = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Fix the process before any test imports torch; the workers of pytest-xdist inherit it all.

    Sums depend on the number of threads, and two workers with two threads each would fight over two cores.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    os.environ["MPLBACKEND"] = "agg"
    if not hasattr(config, "workerinput"):
        scratch = Path(tempfile.mkdtemp(prefix="sshpe-tests-"))
        config.stash[_SCRATCH] = scratch
        for name in ("records", "runs", "cache"):
            os.environ[f"SSHPE_{name.upper()}"] = str(scratch / name)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folders that the tests wrote to."""
    if _SCRATCH in config.stash:
        shutil.rmtree(config.stash[_SCRATCH], ignore_errors=True)


@pytest.fixture(scope="session")
def sshpe_data() -> Path:
    """The folder of real photographs; the test is skipped where SSHPE_DATA is unset."""
    from sshpe_lib import paths

    folder = paths.data()
    if folder is None:
        pytest.skip("SSHPE_DATA names no folder of real photographs")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parents[1]
