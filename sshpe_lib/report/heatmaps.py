"""Heatmaps of several networks for the same crops, beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib.errors import SSHPEError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES = 1.35  # of the width of one picture


def heatmaps(images: np.ndarray, answers: Mapping[str, np.ndarray], joints: Sequence[str]) -> Figure:
    """A row a network: the crops in grey under the highest of the joints' heatmaps at every place.

    images: (N, H, W, 3) uint8 RGB; answers: for every network, by its name, heatmaps (N, K, h, w), 1 at a sure joint;
    joints: the names of the K joints shown. The first row is the crops. One scale of colour serves all networks.
    Raises SSHPEError where there is no crop or no network.
    """
    from matplotlib import rc_context
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    from sshpe_lib.report.style import SETTINGS, Plate

    if not len(images) or not answers:
        raise SSHPEError("heatmaps are drawn for one crop and one network at least")
    count, (height, width) = len(images), images.shape[1:3]
    shown = f"{len(joints)} joints" if len(joints) > 1 else joints[0].replace("_", " ")
    highest = {name: maps.max(axis=1) for name, maps in answers.items()}
    top = max(1e-6, *(float(maps.max()) for maps in highest.values()))
    scale = Normalize(0, top)
    grey = images.mean(axis=-1) / 255
    with rc_context(SETTINGS):
        size = (INCHES * count + 0.7, (INCHES * height / width + 0.25) * (1 + len(answers)))
        figure = Plate(figsize=size, layout="constrained")
        grid = figure.subplots(1 + len(answers), count, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        grid[0][0].set_title("people", loc="left")
        for axes, image in zip(grid[0], images, strict=True):
            axes.imshow(image)
        for line, (name, maps) in zip(grid[1:], highest.items(), strict=True):
            line[0].set_title(f"{name}, {shown}", loc="left")
            for axes, under, over in zip(line, grey, maps, strict=True):
                axes.imshow(under, cmap="gray", vmin=0, vmax=1.6)
                axes.imshow(
                    over, cmap="inferno", norm=scale, alpha=np.clip(over / top, 0, 1) ** 0.5,
                    extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="bilinear",
                )  # fmt: skip
        bar = ScalarMappable(scale, "inferno")
        figure.colorbar(bar, ax=grid[1:].ravel().tolist(), shrink=0.6, label="height")
    return figure
