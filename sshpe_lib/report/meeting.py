"""Figure 2: which joints of one person share a picture under MUM, and stage by stage under Pose-MUM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib.report.mixing import (
    SMALL,
    WIDTH,
    Group,
    check_colors,
    frame,
    frames,
    joints,
    letter,
    limb,
    panels,
    picture,
    rectangles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALE = 0.65  # how much white is in the colours of other people's tiles
FAINT = 0.3  # how much of its pixels is left of the person under the limbs
LEGEND = 0.3  # inches below the pictures


@dataclass(frozen=True)
class Stage:
    """Where the tiles of a group of N people are from one mix to the next.

    name: "image", or the network stage whose features were mixed. sources: (N, rows, cols), tile (r, c) of
    slot b holds person sources[b, r, c]. together: (N, T, T) bool, which of the T = rows x cols tiles of a
    person, row by row, are in one slot.
    """

    name: str
    sources: np.ndarray
    together: np.ndarray


@dataclass(frozen=True)
class Connections:
    """A group and the stages of one forward pass, the image's first."""

    group: Group
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Meetings:
    """How often two tiles of a person met after 1, 2, ... mixes, in `groups` groups of `group` people.

    measured, expected: (stages,), shares in [0, 1] of all pairs of tiles, and the closed form.
    """

    group: int
    groups: int
    measured: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True)
class Limbs:
    """What became of the limbs of one person up to a stage.

    person: of the group; ends: (limbs, 2), the tiles of both joints; before, now: (limbs,) bool, in one slot
    at an earlier stage, and at this stage for the first time.
    """

    person: int
    ends: np.ndarray
    before: np.ndarray
    now: np.ndarray

    @classmethod
    def of(cls, group: Group, person: int) -> Limbs:
        """The limbs before any mix."""
        tiles = tile_of(group.points[person], group.size, group.tiles)
        ends = tiles[np.array(group.skeleton.limbs)]
        nothing = np.zeros(len(ends), dtype=bool)
        return cls(person, ends, nothing, nothing)

    @property
    def across(self) -> np.ndarray:
        """Which limbs have their joints in two tiles, (limbs,) bool: only those can be parted."""
        return self.ends[:, 0] != self.ends[:, 1]

    def after(self, stage: Stage) -> Limbs:
        """The limbs after one more stage."""
        before = self.before | self.now
        together = stage.together[self.person, self.ends[:, 0], self.ends[:, 1]]
        return replace(self, before=before, now=together & self.across & ~before)

    def kinds(self) -> list[str]:
        """For every limb its name among `looks`."""
        chosen = np.select(
            [~self.across, self.now, self.before], ["within one tile", "joined at this stage", "joined before"],
            "not joined",
        )  # fmt: skip
        return chosen.tolist()

    def summary(self) -> str:
        """How many of the limbs that can be parted were joined at this stage or before."""
        return f"{(self.before | self.now).sum()} of {self.across.sum()} limbs joined"


def connections(made: Connections, person: int = 0) -> Figure:
    """Figure 2: a row for every stage, with what each slot holds and the limbs that one person has kept so far.

    A slot shows the pixels of `person`; the tiles of others have their colours and letters. A limb is solid
    where the tiles of both its joints have shared a slot at this stage or an earlier one, else dashed; a limb
    inside one tile is thin, as nothing can part it.
    Raises SSHPEError for a group of more people than there are colours.
    """
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS

    group = made.group
    check_colors(len(group))
    with rc_context(SETTINGS):
        figure, grid = panels(group.size, len(made.stages), len(group) + 1, below=LEGEND)
        limbs = Limbs.of(group, person)
        for line, stage in zip(grid, made.stages, strict=True):
            limbs = limbs.after(stage)
            line[0].set_title(_stage_title(stage), loc="left")
            for axes, sources in zip(line, stage.sources, strict=False):
                _slot(axes, sources, group, person)
            _skeleton(line[-1], group, person, limbs)
            line[-1].set_title(limbs.summary(), loc="right")
        figure.legend(handles=_legend(), loc="lower center", ncols=4, borderaxespad=0.2, columnspacing=1.2)
    return figure


def tile_of(points: np.ndarray, size: tuple[int, int], tiles: tuple[int, int]) -> np.ndarray:
    """The tile, counted row by row, that holds each point.

    points: (..., 2) in pixels of a crop of `size` (width, height), (x, y); a pixel reaches half a pixel to
    each side of its centre. A point outside the crop belongs to the nearest tile.
    """
    (rows, cols), (width, height) = tiles, size
    col = np.floor((points[..., 0] + 0.5) * cols / width).clip(0, cols - 1)
    row = np.floor((points[..., 1] + 0.5) * rows / height).clip(0, rows - 1)
    return (row * cols + col).astype(int)


def meetings(made: Meetings) -> Figure:
    """How often two tiles of a person meet after 1, 2, ... mixes: measured, and the closed form."""
    from matplotlib import rc_context

    from sshpe_lib.report.style import BLUE, SETTINGS, Plate

    stages = np.arange(1, len(made.measured) + 1)
    with rc_context(SETTINGS):
        figure = Plate(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(stages, made.measured, width=0.5, color=BLUE, label=f"measured in {made.groups:,} groups")
        formula = rf"closed form, $1 - (1 - 1/{made.group})^n$"
        axes.hlines(made.expected, stages - 0.35, stages + 0.35, color="black", linewidth=1.6, label=formula)
        for stage, measured, expected in zip(stages, made.measured, made.expected, strict=True):
            look = {"textcoords": "offset points", "ha": "center"}
            axes.annotate(f"{expected:.3f}", (stage, expected), xytext=(0, 3), va="bottom", **look)
            axes.annotate(
                f"{measured:.3f}", (stage, expected), xytext=(0, -4), va="top", color="white", **look
            )
        axes.set_xticks(stages, ["1\n(MUM)", *map(str, stages[1:])])
        axes.set(xlabel="mixes n, the image's included", ylabel="pairs that met", ylim=(0, 1))
        axes.grid(axis="x", visible=False)
        figure.legend(loc="outside lower center", ncols=2)
        axes.set_title(f"Probability that two tiles of a person meet, groups of {made.group}", loc="left")
    return figure


def _stage_title(stage: Stage) -> str:
    if stage.name == "image":
        return "Images mixed: all that MUM does"
    return f"Pose-MUM: features mixed again after {stage.name}"


def _slot(axes: Axes, sources: np.ndarray, group: Group, person: int) -> None:
    """What one slot holds, (rows, cols) people, with the joints of `person` in it and the limbs between them."""
    rows, cols = group.tiles
    width, height = group.size
    whose = sources.repeat(height // rows, axis=0).repeat(width // cols, axis=1)
    picture(axes, np.where((whose == person)[..., None], group.images[person], _pale()[whose]))
    for place, other in zip(rectangles(group.tiles, group.size).reshape(-1, 4), sources.flat, strict=True):
        if other == person:
            frame(axes, place, person)
        else:
            _other(axes, place, other)
    points = group.points[person]
    here = (sources == person).flat[tile_of(points, group.size, group.tiles)]
    for a, b in group.skeleton.limbs:
        if here[a] and here[b]:
            limb(axes, points[[a, b]])
    joints(axes, points[here])


def _other(axes: Axes, place: np.ndarray, person: int) -> None:
    """The letter of another person in the middle of a tile that ends in white lines."""
    from matplotlib.patches import Rectangle

    left, top, wide, high = place
    axes.add_patch(Rectangle((left, top), wide, high, facecolor="none", edgecolor="white"))
    axes.text(left + wide / 2, top + high / 2, letter(person), ha="center", va="center", fontsize=SMALL)


def _pale() -> np.ndarray:
    """The colours of people, mixed with white, (colours, 3) uint8."""
    from matplotlib.colors import to_rgb

    from sshpe_lib.report.style import COLORS

    full = np.array([to_rgb(name) for name in COLORS])
    return np.rint(255 * (PALE + (1 - PALE) * full)).astype(np.uint8)


def _skeleton(axes: Axes, group: Group, person: int, limbs: Limbs) -> None:
    """The person, faint, and every limb in the look of what became of it so far."""
    picture(axes, (FAINT * group.images[person] + (1 - FAINT) * 255).astype(np.uint8))
    frames(axes, np.array([[person]]), group.size)
    points = group.points[person]
    for ends, kind in zip(group.skeleton.limbs, limbs.kinds(), strict=True):
        axes.plot(*points[list(ends)].T, **looks()[kind])
    axes.scatter(*points.T, s=5, color="black", zorder=3)


def looks() -> dict[str, dict]:
    """How a limb is drawn, by what became of it; the names are the legend's."""
    from sshpe_lib.report.style import GREY, ORANGE

    return {
        "within one tile": {"color": GREY, "linewidth": 0.8},
        "joined at this stage": {"color": ORANGE, "linewidth": 2.6},
        "joined before": {"color": "black", "linewidth": 1.8},
        "not joined": {"color": "black", "linewidth": 1.2, "linestyle": (0, (1, 1.5))},
    }


def _legend() -> list:
    from matplotlib.lines import Line2D

    return [Line2D([], [], label=name, **look) for name, look in looks().items()]
