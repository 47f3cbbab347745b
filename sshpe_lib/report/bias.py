"""What the two conventions of heatmaps lose: a table and a picture of where joints are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Reading:
    """Joints, and where a codec reads them from the answers of a perfect network.

    name: the codec; test: its flip test, "none", "plain" or "shifted"; points: (N, 2), and errors: (N, 2), where
    each was read less where it is; crop px.
    """

    name: str
    test: str
    points: np.ndarray
    errors: np.ndarray


def losses(readings: Sequence[Reading]) -> pd.DataFrame:
    """A line a reading: mean and largest distance to the joint, and the mean error along x, the bias; crop px."""
    import pandas as pd

    distances = [np.hypot(*reading.errors.T) for reading in readings]
    frame = pd.DataFrame(
        {
            "heatmaps": [reading.name for reading in readings],
            "flip test": [reading.test for reading in readings],
            "mean error": [f"{distance.mean():.2f}" for distance in distances],
            "largest": [f"{distance.max():.2f}" for distance in distances],
            "bias along x": [_signed(reading.errors[:, 0].mean()) for reading in readings],
        }
    )
    return frame.set_index(["heatmaps", "flip test"])


def reading_errors(readings: Sequence[Reading]) -> Figure:
    """The error along x of joints on a line along x: a panel for every codec, a line for every flip test."""
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS, Plate, color

    names = list(dict.fromkeys(reading.name for reading in readings))
    tests = list(dict.fromkeys(reading.test for reading in readings))
    with rc_context(SETTINGS):
        figure = Plate(figsize=(7.2, 2.6), layout="constrained")
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            axes.axhline(0, color="black", linewidth=0.8)
            for reading in (one for one in readings if one.name == name):
                index = tests.index(reading.test)
                x = reading.points[:, 0] - reading.points[0, 0]
                style = {"color": color(index), "linestyle": ("-", "--", ":")[index % 3]}
                axes.plot(x, reading.errors[:, 0], label=f"flip test: {reading.test}", **style)
            axes.set_title(name, loc="left")
            axes.set_xlabel("joint along x (crop px)")
        panels[0].set_ylabel("read too far right (crop px)")
        handles = {
            label: h for axes in panels for h, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(tests))
    return figure


def _signed(value: float) -> str:
    """With two decimals, and no sign for what rounds to nothing."""
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0.00"
