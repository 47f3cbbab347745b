"""Cut-Occlude: patches around joints of other people, pasted over predicted joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sshpe_lib.augment import boxes
from sshpe_lib.augment.canvas import Canvas, one_by_one, painted
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.limits import check_count, check_heatmaps, check_limits
from sshpe_lib.augment.view import View
from sshpe_lib.errors import SSHPEError
from sshpe_lib.transfer import constant


@dataclass(frozen=True)
class CutOcclude:
    """Joint pasting, as SSPCM (Huang et al. 2023) does it: somebody else's joint hides one's own.

    joints: pastes per image. Each covers a predicted joint of the image, drawn with replacement, by the box of
    a random joint of a random other image of this rank's batch, so what is pasted depends on how many ranks
    share the global batch. An image is never its own source, unless it is alone in the batch: then the patch
    shows another place of itself, or, of the same joint, nothing new. jitter, half_size, unbiased: as in
    `JointCutout`; both joints are jittered, and the patch has the size of the source's box.

    Raises:
        SSHPEError: as `JointCutout`.
    """

    joints: int = 2
    jitter: float = 0.0
    half_size: tuple[int, int] = (10, 19)
    unbiased: bool = False

    def __post_init__(self) -> None:
        check_count("cut-occlude's joints", self.joints)
        check_limits("cut-occlude's jitter", (self.jitter,), 0)
        check_limits("cut-occlude's half_size", tuple(self.half_size), 1)

    def __call__(self, view: View, heatmaps: Tensor, draw: Draw) -> tuple[View, Tensor]:
        """image: (B, C, H, W), left as it is; heatmaps: (B, K, h, w), returned as they are.

        Raises SSHPEError after a mix, where the heatmaps no longer tell where a joint is, or where these are not
        floating or of another number of images.
        """
        check_heatmaps("cut-occlude", heatmaps, view.image)
        if view.after_stage is not None:
            raise SSHPEError("cut-occlude must come before a mix: mixed images show parts of several people")
        height, width = view.image.shape[-2:]
        batch, keypoints = heatmaps.shape[:2]
        moved, halves = boxes.joint_boxes(batch, keypoints, width, self.jitter, self.half_size, draw)
        # A patch must fit into the image it comes from.
        halves = halves.minimum(torch.tensor((width, height)) // 2)
        joint, other_joint = boxes.integers(draw.rand(batch, 2, self.joints), keypoints).unbind(1)
        other = self._others(batch, draw)
        half = halves[other, other_joint]
        joint, other_joint, other, moved, half = draw.send(joint, other_joint, other, moved, half)
        centers = (boxes.peaks(heatmaps, width, height, self.unbiased) + moved).long()
        size = constant((width, height), centers.device)
        source = centers[other, other_joint].maximum(half).minimum(size - half)
        largest = boxes.largest_half(self.half_size, width)
        return View(paste(view.image, boxes.pick(centers, joint), half, other, source, largest)), heatmaps

    def _others(self, batch: int, draw: Draw) -> Tensor:
        """(B, joints): for every paste another image than the one it covers."""
        own = torch.arange(batch)[:, None]
        ahead = 1 + boxes.integers(draw.rand(batch, self.joints), max(batch - 1, 1))
        return (own + ahead) % batch


def paste(image: Tensor, target: Tensor, half: Tensor, other: Tensor, source: Tensor, largest: int) -> Tensor:
    """A copy of the image in which box n of an image shows the pixels of another image.

    image: (B, C, H, W), in either memory layout, which the copy keeps; target, half: (B, N, 2) long, of the boxes;
    other: (B, N), the image that box n comes from; source: (B, N, 2), its centre there, where the box lies inside;
    largest: no half size is more. A later box covers an earlier one, and every pixel comes from `image`, never from a
    pasted one.
    """
    channels, height, width = image.shape[1:]
    if one_by_one(image):
        return _paste_one_by_one(image, target, half, other, source)
    pixels = image.permute(0, 2, 3, 1).reshape(-1, channels)
    shown = Canvas(image)
    pixel, inside = boxes.along(target, half, largest, (width, height))
    covered = shown.places(pixel, inside)
    # What is shown outside of a box goes nowhere: any place will do.
    x, y = (
        there.clamp(0, length - 1)
        for there, length in zip(
            (pixel + (source - target)[..., None]).unbind(2), (width, height), strict=True
        )
    )
    showing = ((other[..., None] * height + y) * width)[..., :, None] + x[..., None, :]
    for n in range(target.shape[1]):
        new = pixels.index_select(0, showing[:, n].flatten())
        shown.pixels.index_copy_(0, covered[:, n].flatten(), new)
    return shown.image()


def _paste_one_by_one(image: Tensor, target: Tensor, half: Tensor, other: Tensor, source: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    covered = boxes.corners(target, half, (width, height))
    patches = torch.cat([covered, source - target, other[..., None]], dim=-1).tolist()
    originals = image.permute(0, 2, 3, 1).numpy()

    def paste_all(number: int, pixels: np.ndarray) -> None:
        for left, top, right, bottom, x, y, of in patches[number]:
            if left < right and top < bottom:
                pixels[top:bottom, left:right] = originals[of, top + y : bottom + y, left + x : right + x]

    return painted(image, paste_all)
