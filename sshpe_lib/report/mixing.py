"""Figure 1: what Joint Cutout and MUM make of one group of people."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.0  # inches; a line of text stays legible where a page shows the figure at 400 pixels
SMALL = 7.5  # points, for letters in tiles
FRAME = 2.0  # points
MARGIN, GAP, TITLE = 0.05, 0.1, 0.32  # inches: at the edges, between pictures, over a row


@dataclass(frozen=True)
class Group:
    """N people that are mixed with one another, as crops of W x H pixels.

    images: (N, H, W, 3) uint8 RGB. points: (N, K, 2) true joints in crop pixels, (x, y), all inside the crop.
    tiles: the rows and columns that a crop is cut into. description: where the people come from.
    """

    images: np.ndarray
    points: np.ndarray
    skeleton: Skeleton
    tiles: tuple[int, int]
    description: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a crop."""
        return self.images.shape[2], self.images.shape[1]


@dataclass(frozen=True)
class StrongViews:
    """A group and what the student may see of it.

    cut: (N, H, W, 3) uint8 after Joint Cutout; covered: (N, H, W) bool, the pixels it took. mixed: (N, H, W,
    3) after MUM; sources: (N, rows, cols), tile (r, c) of picture b shows person sources[b, r, c]. unmixed:
    (N, H, W, 3), the mixed pictures after the inverse exchange.
    """

    group: Group
    cut: np.ndarray
    covered: np.ndarray
    mixed: np.ndarray
    sources: np.ndarray
    unmixed: np.ndarray


def strong_views(views: StrongViews) -> Figure:
    """Figure 1: a row each for the people, Joint Cutout, MUM, and MUM undone.

    Every person has a colour and a letter, which the frame of a tile names. Raises SSHPEError for a group of
    more people than there are colours.
    """
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS

    group, whole = views.group, np.arange(len(views.group))[:, None, None]
    rows = (
        (f"{group.description} and their true joints", group.images, whole),
        (_cutout_title(views), views.cut, whole),
        ("(b) MUM: people exchange tiles; the frame tells whose a tile is", views.mixed, views.sources),
        ("(b) unmixed, as the features are behind the encoder", views.unmixed, whole),
    )
    check_colors(len(group))
    with rc_context(SETTINGS):
        figure, grid = panels(group.size, len(rows), len(group))
        for line, (title, images, sources) in zip(grid, rows, strict=True):
            line[0].set_title(title, loc="left")
            for axes, image, source in zip(line, images, sources, strict=True):
                picture(axes, image)
                frames(axes, source, group.size)
        for axes, points in zip(grid[0], group.points, strict=True):
            for a, b in group.skeleton.limbs:
                limb(axes, points[[a, b]])
            joints(axes, points)
    return figure


def joints_covered(views: StrongViews) -> int:
    """How many joints of the group lie on a pixel that Joint Cutout took."""
    x, y = np.rint(views.group.points).astype(int).transpose(2, 0, 1)
    return int(views.covered[np.arange(len(views.group))[:, None], y, x].sum())


def _cutout_title(views: StrongViews) -> str:
    count, total = joints_covered(views), views.group.points[..., 0].size
    return (
        f"(a) Joint Cutout: {views.covered.mean():.0%} of the pixels and {count} of {total} joints are gone"
    )


def check_colors(people: int) -> None:
    """Raises SSHPEError where a group is of more people than there are colours to tell them apart."""
    from sshpe_lib.report.style import COLORS

    if people > len(COLORS):
        raise SSHPEError(f"group is {people}; the figure can tell at most {len(COLORS)} people apart")


def panels(
    size: tuple[int, int], rows: int, columns: int, between: float = TITLE, below: float = 0.0
) -> tuple[Figure, np.ndarray]:
    """A figure of rows x columns crops of a (width, height), with room for a title over the first row.

    between: inches between rows, for a title over each; below: left for a legend.
    """
    from sshpe_lib.report.style import Plate

    width, height = size
    wide = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns
    high = wide * height / width
    total = TITLE + rows * high + (rows - 1) * between + MARGIN + below
    figure = Plate(figsize=(WIDTH, total))
    grid = figure.subplots(
        rows, columns, squeeze=False,
        gridspec_kw={
            "left": MARGIN / WIDTH, "right": 1 - MARGIN / WIDTH, "wspace": GAP / wide,
            "top": 1 - TITLE / total, "bottom": (MARGIN + below) / total, "hspace": between / high,
        },
    )  # fmt: skip
    return figure, grid


def letter(person: int) -> str:
    """The name of a person of a group: A, B, ..."""
    return ascii_uppercase[person]


def picture(axes: Axes, image: np.ndarray) -> None:
    """An image without axes; the centre of its first pixel is (0, 0)."""
    axes.imshow(image, interpolation="nearest")
    axes.set_axis_off()


def rectangles(tiles: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Left, top, width and height of every tile in crop pixels, (rows, cols, 4); pixel edges are at -0.5."""
    (rows, cols), (width, height) = tiles, size
    top, left = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    wide, high = width / cols, height / rows
    return np.stack([left * wide - 0.5, top * high - 0.5, 0 * left + wide, 0 * top + high], axis=-1)


def frames(axes: Axes, sources: np.ndarray, size: tuple[int, int]) -> None:
    """A frame around every tile in the colour of its person, and the person's letter where there is room.

    sources: (rows, cols) people, (1, 1) for a whole picture; size: width and height of the picture in pixels.
    """
    from sshpe_lib.report.style import color

    room = points_per_pixel(axes) * min(size[0] / sources.shape[1], size[1] / sources.shape[0]) > 3 * SMALL
    for place, person in zip(rectangles(sources.shape, size).reshape(-1, 4), sources.flat, strict=True):
        left, top = frame(axes, place, person)
        if room:
            box = {"facecolor": color(person), "edgecolor": "none", "pad": 1.2}
            look = {"ha": "left", "va": "top", "fontsize": SMALL, "color": "white", "fontweight": "bold"}
            axes.text(left + 0.013 * size[0], top + 0.013 * size[0], letter(person), bbox=box, **look)


def frame(axes: Axes, place: np.ndarray, person: int) -> tuple[float, float]:
    """A frame just inside a tile, so that the frames of neighbours lie side by side.

    place: left, top, width and height in data coordinates. Returns the frame's left and top.
    """
    from matplotlib.patches import Rectangle

    from sshpe_lib.report.style import color

    line = min(FRAME, 0.06 * place[2] * points_per_pixel(axes))  # thinner around small tiles
    inset = line / 2 / points_per_pixel(axes)
    left, top, wide, high = place + inset * np.array([1, 1, -2, -2])
    look = {"facecolor": "none", "edgecolor": color(person), "linewidth": line, "joinstyle": "miter"}
    axes.add_patch(Rectangle((left, top), wide, high, **look))
    return left, top


def points_per_pixel(axes: Axes) -> float:
    """How many points of the figure a pixel of the picture in these axes measures."""
    return axes.bbox.width / axes.figure.dpi * 72 / np.ptp(axes.get_xlim())


def limb(
    axes: Axes,
    ends: np.ndarray,
    color: str = "white",
    rim: str = "black",
    linewidth: float = 1.4,
    **look: object,
) -> None:
    """A line between two joints, (2, 2) in crop pixels, with a thin rim that sets it off the picture."""
    from matplotlib.patheffects import Normal, Stroke

    (line,) = axes.plot(*ends.T, color=color, linewidth=linewidth, **{"solid_capstyle": "round"} | look)
    line.set_path_effects([Stroke(linewidth=linewidth + 1.2, foreground=rim), Normal()])


def joints(axes: Axes, points: np.ndarray) -> None:
    """Joints, (K, 2) in crop pixels, as dots."""
    axes.scatter(*points.T, s=9, color="white", edgecolors="black", linewidths=0.6, zorder=3)
