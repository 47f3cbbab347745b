"""Test people with their predicted skeletons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib.errors import SSHPEError
from sshpe_lib.report.scenes import Scene, rings, scenes, truth
from sshpe_lib.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PER_ROW = 4
MARGIN = 0.08  # of the box's longer side, shown around it
OUTSIDE = "#DDDDDD"  # where the crop reaches beyond the image
FAINTEST = 0.4  # the opacity of a keypoint of score 0


@dataclass(frozen=True)
class Picture:
    """One test person.

    image: (H, W, 3) uint8 RGB. predicted: (K, 3) x, y in image pixels and the score in [0, 1]. truth: (K, 3)
    x, y and the visibility flag (0: unlabelled, not drawn). box: (4,) x, y, width, height in image pixels.
    """

    image: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray
    box: np.ndarray
    skeleton: Skeleton


def people(pictures: Sequence[Picture] | Sequence[Scene]) -> Figure:
    """Crops of test people with the predicted skeleton: the fainter, the less sure; hollow dots: the truth.

    The person's left side is orange, the right side blue, what is neither green. Whole images are drawn as `scenes`
    draws them.
    Raises SSHPEError where there is no picture.
    """
    if pictures and isinstance(pictures[0], Scene):
        return scenes(pictures)  # type: ignore[arg-type]  # all are of one kind
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS, Plate

    if not pictures:
        raise SSHPEError("no pictures to draw: the record holds no examples")
    columns = min(len(pictures), PER_ROW)
    rows = -(-len(pictures) // columns)
    with rc_context(SETTINGS):
        figure = Plate(figsize=(1.9 * columns, 2.5 * rows + 0.35), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(pictures) :]:
            axes.set_axis_off()
        for axes, picture in zip(grid.flat, pictures, strict=False):
            _draw(axes, picture)  # type: ignore[arg-type]  # no scene, as above
        figure.legend(handles=_legend(), loc="outside lower center", ncols=4, handletextpad=0.4)
    return figure


def rows_of_people(rows: Mapping[str, Sequence[Picture]]) -> Figure:
    """The same people in several rows, one a network, under a row of their true skeletons (Figure 3 of AID).

    rows: what a row is called -> its pictures, in the same order in every row. Drawn as `people` does.
    Raises SSHPEError where there is no row, or a row shows other people than the first.
    """
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS, Plate

    if not rows or not all(rows.values()):
        raise SSHPEError("no pictures to draw: the records hold no examples of these people")
    first, *others = rows.values()
    shown = [picture.truth.tolist() for picture in first]
    if any([picture.truth.tolist() for picture in other] != shown for other in others):
        raise SSHPEError("the rows show different people; give records of one test set")
    everything = {"ground truth": [_true(picture) for picture in first], **rows}
    with rc_context(SETTINGS):
        size = (1.55 * len(first) + 0.3, 2.05 * len(everything) + 0.35)
        figure = Plate(figsize=size, layout="constrained")
        grid = figure.subplots(len(everything), len(first), squeeze=False)
        for line, (name, pictures) in zip(grid, everything.items(), strict=True):
            for axes, picture in zip(line, pictures, strict=True):
                _draw(axes, picture)
            line[0].set_ylabel(name)
        figure.legend(handles=_legend(), loc="outside lower center", ncols=4, handletextpad=0.4)
    return figure


def _true(picture: Picture) -> Picture:
    """A picture whose prediction is the truth; what is not labelled has no place."""
    known = picture.truth[:, 2:] > 0
    points = np.where(known, picture.truth[:, :2], np.nan)
    return replace(picture, predicted=np.hstack([points, known]))


def window(picture: Picture) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of the crop in image pixels (bottom below top, as y points down).

    The box with a margin, in one shape of 3 to 4 for every picture; it may reach beyond the image.
    """
    x, y, width, height = (float(value) for value in picture.box)
    reach = (1 + 2 * MARGIN) * max(height, width * 4 / 3) / 2
    middle_x, middle_y = x + width / 2, y + height / 2
    return middle_x - reach * 3 / 4, middle_x + reach * 3 / 4, middle_y + reach, middle_y - reach


def _colors() -> dict[str, str]:
    from sshpe_lib.report.style import BLUE, GREEN, ORANGE

    return {"left": ORANGE, "right": BLUE, "middle": GREEN}


def _draw(axes: Axes, picture: Picture) -> None:
    from matplotlib.patheffects import Normal, Stroke

    axes.imshow(picture.image)
    axes.grid(False)
    axes.set(xticks=[], yticks=[], facecolor=OUTSIDE)
    axes.spines[:].set_visible(False)
    left, right, bottom, top = window(picture)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    colors, sides = _colors(), picture.skeleton.sides
    opacity = FAINTEST + (1 - FAINTEST) * np.clip(picture.predicted[:, 2], 0, 1)
    points = picture.predicted[:, :2]
    for a, b in picture.skeleton.limbs:
        where = sides[a] if sides[a] == sides[b] else "middle"
        alpha = min(opacity[a], opacity[b])
        (line,) = axes.plot(*points[[a, b]].T, color=colors[where], alpha=alpha)
        line.set(linewidth=2, solid_capstyle="round")
        line.set_path_effects([Stroke(linewidth=3.2, foreground="white", alpha=alpha / 2), Normal()])
    axes.scatter(*points.T, s=9, color=[colors[side] for side in sides], alpha=opacity, zorder=3)
    known = picture.truth[:, 2] > 0
    rings(axes, picture.truth[known, :2], 13, (1.6, 0.8))


def _legend() -> list:
    from matplotlib.lines import Line2D

    colors = _colors()
    lines = [
        Line2D([], [], color=colors[side], linewidth=2, marker="o", markersize=3, label=label)
        for side, label in (("left", "person's left"), ("right", "person's right"), ("middle", "middle"))
    ]
    return [*lines, truth()]
