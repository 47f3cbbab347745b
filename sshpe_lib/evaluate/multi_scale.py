"""Whole images at several scales: what part of the image each input shows, and one answer from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sshpe_lib.errors import SSHPEError
from sshpe_lib.geometry import crop_matrix
from sshpe_lib.losses import added

STEP = 64  # inputs have sides that are multiples of it


@dataclass(frozen=True)
class Region:
    """The part of an image that an input shows: center and extent (2,) in image px, the input's (width, height).

    unbiased: by distances between pixels, as UDP.
    """

    center: np.ndarray
    extent: np.ndarray
    size: tuple[int, int]
    unbiased: bool = False

    def matrix(self) -> np.ndarray:
        """The map (2, 3) from the image to the input."""
        return crop_matrix(self.center, self.extent, 0.0, self.size, self.unbiased)


def region(
    image_size: tuple[int, int],
    side: int,
    scale: float = 1.0,
    smallest: float = 1.0,
    unbiased: bool = False,
) -> Region:
    """Where an image of (width, height) goes, when its short side becomes `side` at scale 1.

    scale: of this input; smallest: of all of a test. At the smallest the sides are the next multiples of 64, and
    those of the other scales follow from them, so all scales show the same region. The plain region has the image
    in its middle, the unbiased one in its upper left corner. The official code differs: of a long side that is no whole
    number it may take the multiple below.

    Raises:
        SSHPEError: a size, side or scale that is not positive, or a scale below `smallest`.
    """
    short, long = min(image_size), max(image_size)
    if min(short, side, smallest) <= 0 or scale < smallest:
        raise SSHPEError(
            f"an image of {image_size}, input side {side} and scale {scale} of {smallest} or more: all must be "
            "positive, and no scale below the smallest"
        )
    first = int((smallest * side + STEP - 1) // STEP * STEP)
    proportional = first / short * long
    second = int(np.ceil(proportional / STEP) * STEP)
    # whole pixels, but for rounding: 64 x 0.6 / 0.2 is a little less than 192
    sides = np.array([int(round(whole * scale / smallest, 6)) for whole in (first, second)])
    if unbiased:  # distances between pixels have another ratio at every scale: the smallest's holds for all
        extent = np.array([short - 1.0, (second - 1) / (first - 1) * (short - 1.0)])
    else:
        extent = np.array([short, sides[1] / sides[0] * short])
    if image_size[0] >= image_size[1]:  # the height is the short side
        sides, extent = sides[::-1], extent[::-1]
    # half a pixel up to the next whole one, as the references
    center = extent / 2 if unbiased else np.floor(np.array(image_size) / 2 + 0.5)
    return Region(center, extent, (int(sides[0]), int(sides[1])), unbiased)


@dataclass(frozen=True)
class Scale:
    """What a network answered to one scale: a list of maps, coarse to fine, and that to the mirrored input."""

    scale: float
    outputs: Sequence[Tensor]
    mirrored: Sequence[Tensor] | None = None


def aggregate(
    scales: Sequence[Scale],
    flip_order: Sequence[int],
    align_corners: bool = False,
    size: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """One set of heatmaps and tags from all scales.

    The first output of a network holds heatmaps and tags (B, 2K, h, w), the others heatmaps (B, K, ...). Heatmaps are
    averaged over the outputs, at the last one's resolution, over the mirrored answer, and over the scales. Tags come
    from scale 1, or from the only one, side by side with those of the mirrored answer. align_corners: of resizing, as
    UDP; size: (height, width) to which everything is resized, by default that of the largest scale. Returns (B, K, H,
    W) and (B, K, H, W, L), L = 1, or 2 with mirrored answers. Source: `get_multi_stage_outputs` and
    `aggregate_results` of HigherHRNet.

    Raises:
        SSHPEError: no scale, or several without a scale 1.
    """
    ordered = sorted(scales, key=lambda one: -one.scale)
    tagged = [one for one in ordered if one.scale == 1 or len(ordered) == 1]
    if len(tagged) != 1:
        raise SSHPEError("tags are read at scale 1: give it once among the scales, or one scale alone")
    total: Tensor | None = None
    for one in ordered:
        answers = [one_answer(one.outputs, align_corners)]
        if one.mirrored is not None:
            heat, embedding = one_answer(one.mirrored, align_corners)
            order = list(flip_order)
            answers.append((heat.flip(3)[:, order], embedding.flip(3)[:, order]))
        heat = added(heat for heat, _ in answers) / len(answers)
        target = size or (heat.shape[-2:] if total is None else total.shape[-2:])
        total = _resized(heat, target, align_corners) + (0 if total is None else total)
        if one is tagged[0]:
            tags = torch.stack(
                [_resized(embedding, target, align_corners) for _, embedding in answers], dim=-1
            )
    return total / len(ordered), tags  # type: ignore[operator, return-value]  # there is one scale at least


def one_answer(outputs: Sequence[Tensor], align_corners: bool) -> tuple[Tensor, Tensor]:
    """The mean of the heatmaps of all outputs, and the first output's tags, at the last one's resolution.

    outputs: as `Scale`. Returns (B, K, h, w) twice.
    """
    joints, size = outputs[0].shape[1] // 2, outputs[-1].shape[-2:]
    resized = [_resized(output, size, align_corners) for output in outputs]
    heat = added(output[:, :joints] for output in resized) / len(resized)
    return heat, resized[0][:, joints:]


def _resized(maps: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Bilinear; the same maps where they have the size."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=align_corners)
