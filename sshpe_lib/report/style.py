"""How figures look: colours that colour-blind readers can tell apart, and a figure that needs no backend."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

# The palette of Okabe and Ito (2008), without its yellow, which white paper swallows, and its black, which
# stays with text. Markers tell the same lines apart in a black-and-white print.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
COLORS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#5F5F5F"

SETTINGS: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.dpi": 160,
}


class Plate(Figure):
    """A figure that a notebook shows as the value of a cell, whatever matplotlib backend is active.

    It belongs to no pyplot list, so it is shown once and freed with its last reference.
    """

    def _repr_png_(self) -> bytes:
        image = BytesIO()
        self.savefig(image, format="png")
        return image.getvalue()


def color(index: int) -> str:
    """The colour of the line with this index; it comes again after six lines, with another marker."""
    return COLORS[index % len(COLORS)]


def marker(index: int) -> str:
    """The marker of the line with this index."""
    return MARKERS[index % len(MARKERS)]
