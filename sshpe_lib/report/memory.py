"""What an averaging teacher remembers: how much of it is the student of so many steps ago."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib.errors import SSHPEError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARE = 0.99  # of the teacher, by which its memory is measured


def memory(decay: float) -> int:
    """Steps whose students make 99 % of a teacher with this decay, tau of Eq. 2 and 3; 1 where it averages nothing.

    The student of k steps ago has the share (1 - tau) tau^k, so the last n have 1 - tau^n.
    Raises SSHPEError for a decay outside [0, 1).
    """
    if not 0 <= decay < 1:
        raise SSHPEError(f"the decay is {decay}; give one from 0 on and below 1, such as 0.6")
    return 1 if decay == 0 else max(1, int(np.ceil(np.log(1 - SHARE) / np.log(decay) - 1e-9)))


def memories(decays: Sequence[float]) -> Figure:
    """For every decay, the part of a teacher that students of the last n steps make, n along the x axis.

    Raises SSHPEError as `memory`.
    """
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS, Plate, color, marker

    longest = max(map(memory, decays))
    steps = np.unique(np.geomspace(1, max(2, longest), 40).round().astype(int))
    with rc_context(SETTINGS):
        figure = Plate(figsize=(7.0, 2.6), layout="constrained")
        axes = figure.subplots()
        for index, decay in enumerate(decays):
            look = {"color": color(index), "marker": marker(index), "markevery": 6}
            count = memory(decay)
            name = f"decay {decay:g}: {SHARE:.0%} in {count:,} step{'s' if count > 1 else ''}"
            axes.plot(steps, 1 - np.power(float(decay), steps), label=name, **look)
        axes.axhline(SHARE, color="black", linewidth=0.8, linestyle=":")
        axes.set(
            xscale="log", xlabel="the last students, steps", ylabel="part of the teacher", ylim=(0, 1.03)
        )
        figure.legend(loc="outside right center")
    return figure
