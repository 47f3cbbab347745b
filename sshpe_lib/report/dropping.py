"""Figure 1 of AID: the same people with different ways of dropping information."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib.errors import SSHPEError
from sshpe_lib.report.mixing import GAP, panels, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def dropped_people(columns: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Figure 1 of AID: a row for every person, a column for every way to show them.

    columns: a name and the crops (N, H, W, 3) uint8 RGB, the same people in each; the originals come first.
    Raises SSHPEError where there is no picture, or where the columns' crops differ in shape.
    """
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS

    people, height, width = _shape(columns)
    with rc_context(SETTINGS):
        figure, grid = panels((width, height), people, len(columns), between=GAP)
        for line, (name, images) in zip(grid.T, columns, strict=True):
            line[0].set_title(name)
            for axes, image in zip(line, images, strict=True):
                picture(axes, image)
    return figure


def _shape(columns: Sequence[tuple[str, np.ndarray]]) -> tuple[int, int, int]:
    """The number of people, and the height and width of every crop."""
    if not columns or not len(columns[0][1]):
        raise SSHPEError("no pictures to draw: give a column of one person or more")
    first = columns[0][1].shape
    for name, images in columns:
        if images.shape != first:
            raise SSHPEError(
                f"column {name!r} is {images.shape}, the first {first}; give the same crops to each"
            )
    return first[:3]
