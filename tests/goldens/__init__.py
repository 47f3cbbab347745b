"""Inputs and outputs of the reference implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent


def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file of this folder."""
    with np.load(FOLDER / name) as file:
        return dict(file)
