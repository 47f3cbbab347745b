"""Whole test images with everybody whom a bottom-up network found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

PER_ROW = 4
INCHES = 2.1  # of the width of one image


@dataclass(frozen=True)
class Scene:
    """One test image.

    image: (H, W, 3) uint8 RGB. predicted: (P, K, 3) x, y in image pixels and height, all 0 for a joint that was not
    found. truth: (T, K, 3) x, y and the visibility flag (0: unlabelled, not drawn).
    """

    image: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray
    skeleton: Skeleton


def scenes(pictures: Sequence[Scene]) -> Figure:
    """Whole images with everybody found in them, one colour a person; small rings: the true joints.

    Raises SSHPEError where there is no picture.
    """
    from matplotlib import rc_context
    from matplotlib.lines import Line2D

    from sshpe_lib.report.style import SETTINGS, Plate, color

    if not pictures:
        raise SSHPEError("no pictures to draw: the record holds no test images")
    columns = min(len(pictures), PER_ROW)
    rows = -(-len(pictures) // columns)
    tallest = max(picture.image.shape[0] / picture.image.shape[1] for picture in pictures)
    with rc_context(SETTINGS):
        size = (INCHES * columns, (INCHES * tallest + 0.1) * rows + 0.35)
        figure = Plate(figsize=size, layout="constrained")
        for axes, picture in zip(figure.subplots(rows, columns, squeeze=False).flat, pictures, strict=False):
            axes.imshow(picture.image)
            for number, person in enumerate(picture.predicted):
                _draw_person(axes, person, picture.skeleton, color(number))
            known = picture.truth[picture.truth[..., 2] > 0]
            rings(axes, known[:, :2], 7, (1.3, 0.6))
        for axes in figure.axes:
            axes.set_axis_off()
        person = Line2D(
            [], [], color=color(0), linewidth=2, marker="o", markersize=3, label="a person that was found"
        )
        figure.legend(handles=[person, truth()], loc="outside lower center", ncols=2, handletextpad=0.4)
    return figure


def rings(axes, joints: np.ndarray, size: float, widths: tuple[float, float]) -> None:
    """True joints, (N, 2) px, as rings of black and white lines of these widths, above all else."""
    for shade, width, order in zip(("black", "white"), widths, (4, 5), strict=True):
        axes.scatter(*joints.T, s=size, facecolors="none", edgecolors=shade, linewidths=width, zorder=order)


def truth() -> Line2D:
    """The line of a legend that tells of `rings`."""
    from matplotlib.lines import Line2D

    look = {"marker": "o", "markersize": 4, "markerfacecolor": "none", "markeredgecolor": "black"}
    return Line2D([], [], linestyle="none", label="ground truth", **look)


def _draw_person(axes, person: np.ndarray, skeleton: Skeleton, shade: str) -> None:
    from matplotlib.patheffects import Normal, Stroke

    found = person[:, 2] > 0
    for a, b in skeleton.limbs:
        if found[a] and found[b]:
            (line,) = axes.plot(*person[[a, b], :2].T, color=shade, linewidth=1.6, solid_capstyle="round")
            line.set_path_effects([Stroke(linewidth=2.8, foreground="white", alpha=0.6), Normal()])
    axes.scatter(*person[found, :2].T, s=7, color=shade, zorder=3)


def beside(images: np.ndarray, heatmaps: np.ndarray) -> Figure:
    """Images in one row, and below each the highest of its joints' heatmaps laid over it.

    images: (B, 3, H, W) uint8 RGB; heatmaps: (B, K, h, w) in [0, 1]; arrays or CPU tensors. Raises SSHPEError where
    there are none, or not one set of heatmaps an image.
    """
    from matplotlib import rc_context

    from sshpe_lib.report.style import SETTINGS, Plate

    images, highest = np.asarray(images).transpose(0, 2, 3, 1), np.asarray(heatmaps).max(axis=1)
    if not len(images) or len(images) != len(highest):
        raise SSHPEError(f"{len(images)} images and {len(highest)} sets of heatmaps; give one set an image")
    height, width = images.shape[1:3]
    with rc_context(SETTINGS):
        figure = Plate(figsize=(INCHES * len(images), 2 * INCHES * height / width), layout="constrained")
        upper, lower = figure.subplots(2, len(images), squeeze=False)
        for image, heat, above, below in zip(images, highest, upper, lower, strict=True):
            above.imshow(image)
            below.imshow(image // 2)
            shown = below.imshow(
                heat, cmap="inferno", extent=(-0.5, width - 0.5, height - 0.5, -0.5), vmin=0, vmax=1
            )
            shown.set_alpha(np.clip(heat * 1.5, 0, 1))
            above.set_axis_off()
            below.set_axis_off()
    return figure
