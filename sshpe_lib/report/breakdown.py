"""Joint by joint, what became of the predictions: good, jitter, inversion, swap, miss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("good", "jitter", "inversion", "swap", "miss")
# Of the palette of Okabe and Ito, which the colour-blind tell apart; none is that of a left or a right limb.
COLORS = ("#009E73", "#F0E442", "#D55E00", "#CC79A7", "#5F5F5F")


def breakdown(
    shares: np.ndarray, skeleton: Skeleton, scores: Mapping[str, np.ndarray] | None = None
) -> Figure:
    """One bar a joint, cut into the five kinds of Ronchi and Perona (2017), beside its scores.

    shares: (K, 5) of every joint's labels, NaN for a joint without any, which has no bar; scores: such as PCK, by name,
    (K,) between 0 and 1, drawn as dots.
    """
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS, Plate, color, marker

    names = [name.replace("_", " ") for name in skeleton.keypoints]
    with rc_context(SETTINGS):
        figure = Plate(figsize=(8.6 if scores else 6.2, 0.22 * len(names) + 1.0), layout="constrained")
        axes, *others = figure.subplots(
            1, 2 if scores else 1, sharey=True, squeeze=False, width_ratios=[5, 3] if scores else None
        )[0]
        left = np.zeros(len(names))
        for kind, shade, width in zip(KINDS, COLORS, 100 * np.nan_to_num(shares).T, strict=True):
            axes.barh(names, width, left=left, color=shade, label=kind, height=0.75)
            left += width
        axes.invert_yaxis()
        axes.set(xlim=(0, 100), xlabel="labelled joints (%)")
        for beside in others:
            for index, (name, values) in enumerate((scores or {}).items()):
                look = {"color": color(index), "marker": marker(index), "linestyle": "none"}
                beside.plot(100 * values, np.arange(len(names)), label=name, **look)
            beside.set(xlim=(0, 102), xlabel="of 100")
            beside.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.0)
        for each in (axes, *others):
            each.grid(axis="y", visible=False)
        axes.legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=len(KINDS),
            handlelength=1.0,
            columnspacing=1.0,
        )
    return figure


def breakdown_text(
    shares: np.ndarray, skeleton: Skeleton, scores: Mapping[str, np.ndarray] | None = None
) -> str:
    """The same as a table of percentages for a terminal."""
    from tabulate import tabulate

    columns = np.column_stack([shares, *(scores or {}).values()])
    rows = [
        [name.replace("_", " "), *("–" if np.isnan(share) else f"{100 * share:.0f}" for share in joint)]
        for name, joint in zip(skeleton.keypoints, columns, strict=True)
    ]
    head = ["% of labelled joints", *KINDS, *(scores or {})]
    return tabulate(
        rows, head, tablefmt="simple", disable_numparse=True, colalign=("left", *["right"] * (len(head) - 1))
    )
