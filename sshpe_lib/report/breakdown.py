"""Joint by joint, what became of the predictions: good, jitter, inversion, swap, miss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("good", "jitter", "inversion", "swap", "miss")
# Of the palette of Okabe and Ito, which the colour-blind tell apart; none is that of a left or a right limb.
COLORS = ("#009E73", "#F0E442", "#D55E00", "#CC79A7", "#5F5F5F")


def breakdown(shares: np.ndarray, skeleton: Skeleton) -> Figure:
    """One bar a joint, cut into the five kinds; the kinds are those of Ronchi and Perona (2017).

    shares: (K, 5) of every joint's labels, NaN for a joint without any, which has no bar.
    """
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS, Plate

    names = [name.replace("_", " ") for name in skeleton.keypoints]
    with rc_context(SETTINGS):
        figure = Plate(figsize=(6.2, 0.22 * len(names) + 1.0), layout="constrained")
        axes = figure.subplots()
        left = np.zeros(len(names))
        for kind, color, width in zip(KINDS, COLORS, 100 * np.nan_to_num(shares).T, strict=True):
            axes.barh(names, width, left=left, color=color, label=kind, height=0.75)
            left += width
        axes.invert_yaxis()
        axes.set(xlim=(0, 100), xlabel="labelled joints (%)")
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside upper center", ncols=len(KINDS), handlelength=1.0)
    return figure


def breakdown_text(shares: np.ndarray, skeleton: Skeleton) -> str:
    """The same as a table of percentages for a terminal."""
    from tabulate import tabulate

    rows = [
        [name.replace("_", " "), *("–" if np.isnan(share) else f"{100 * share:.0f}" for share in joint)]
        for name, joint in zip(skeleton.keypoints, shares, strict=True)
    ]
    head = ["% of labelled joints", *KINDS]
    align = ("left", *["right"] * len(KINDS))
    return tabulate(rows, head, tablefmt="simple", disable_numparse=True, colalign=align)
