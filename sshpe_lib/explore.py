"""Controls for a notebook: move tiles, sites and decay, and see what Pose-MUM mixes and what its teacher remembers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from sshpe_lib import group
from sshpe_lib.errors import SSHPEError, whole_number
from sshpe_lib.report import meeting, mixing
from sshpe_lib.report.memory import memories

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SITES = ("stem", "layer1", "layer2", "layer3")
DECAYS = (0.999, 0.6)  # a usual teacher's, and the paper's choice, beside the one that is moved


def mix(profile: str = "quick", seed: int = 81) -> widgets.Widget:
    """Sliders for the group, its tiles, the sites and the draw, above the picture that they make.

    Without a site the picture is Figure 1 of Pose-MUM, with one Figure 2. A choice that the method refuses shows why.
    profile: whose people; seed: the first draw. Raises SSHPEError as `group.strong_views`, for the first picture.
    """
    seed = whole_number("seed", seed, 0)
    controls = {
        "people": widgets.IntSlider(4, 2, 6, description="group"),
        "rows": widgets.IntSlider(4, 1, 8, description="rows"),
        "columns": widgets.IntSlider(3, 1, 6, description="columns"),
        "sites": widgets.SelectMultiple(options=SITES, value=(), rows=len(SITES), description="sites"),
        "seed": widgets.IntSlider(seed, 0, max(200, seed), description="draw"),
    }
    return _shown(controls, lambda **choice: _mixed(profile, **choice))


def teacher(decay: float = 0.9) -> widgets.Widget:
    """A slider for the teacher's decay, above the part of the teacher that its last students make."""
    slider = widgets.FloatSlider(
        decay, min=0.0, max=0.999, step=0.001, description="decay", readout_format=".3f"
    )
    return _shown({"decay": slider}, lambda decay: memories(list(dict.fromkeys([decay, *DECAYS]))))


def _mixed(profile: str, people: int, rows: int, columns: int, sites: tuple[str, ...], seed: int) -> Figure:
    chosen: dict[str, Any] = {"group": people, "tiles": (rows, columns), "seed": seed}
    if not sites:
        return mixing.strong_views(group.strong_views(profile, **chosen))
    return meeting.connections(group.connections(profile, sites=sites, **chosen))


def _shown(controls: dict[str, widgets.Widget], draw: Any) -> widgets.Widget:
    """The controls above what `draw` makes of their values, drawn anew when one is moved and let go."""
    picture, told = widgets.Image(format="png"), widgets.HTML()
    for control in controls.values():
        if hasattr(control, "continuous_update"):
            control.continuous_update = False

    def show(_: Any = None) -> None:
        told.value = ""
        picture.value = draw(**{name: control.value for name, control in controls.items()})._repr_png_()

    def again(change: Any) -> None:
        try:
            show(change)
        except SSHPEError as error:
            told.value = f"<b>Not so:</b> {escape(str(error))}"

    for control in controls.values():
        control.observe(again, names="value")
    show()
    return widgets.VBox([widgets.VBox(list(controls.values())), told, picture])
