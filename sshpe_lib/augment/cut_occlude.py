"""Cut-Occlude: patches around joints of other people, pasted over predicted joints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sshpe_lib.augment import boxes
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.view import View


@dataclass(frozen=True)
class CutOcclude:
    """Joint pasting, as SSPCM (Huang et al. 2023) does it: somebody else's joint hides one's own.

    joints: pastes per image. Each covers a predicted joint of the image, drawn with replacement, by the box of
    a random joint of a random other image of this rank's batch, so what is pasted depends on how many ranks
    share the global batch. An image is never its own source, unless it is alone in the batch: then the patch
    shows another place of itself, or, of the same joint, nothing new. jitter, half_size: as in `JointCutout`;
    both joints are jittered, and the patch has the size of the source's box.
    """

    joints: int = 2
    jitter: float = 0.0
    half_size: tuple[int, int] = (10, 19)

    def __call__(self, view: View, heatmaps: Tensor, draw: Draw) -> tuple[View, Tensor]:
        """image: (B, C, H, W), left as it is; heatmaps: (B, K, h, w), returned as they are.

        The view's image is channels last in memory. Raises ValueError after a mix, where the heatmaps no
        longer tell where a joint is.
        """
        if view.after_stage is not None:
            raise ValueError("cut-occlude must come before a mix: mixed images show parts of several people")
        height, width = view.image.shape[-2:]
        batch, keypoints = heatmaps.shape[:2]
        centers, halves = boxes.joint_boxes(heatmaps, view.image, self.jitter, self.half_size, draw)
        size = torch.tensor([width, height], device=centers.device)
        halves = halves.minimum(size // 2)  # a patch must fit into the image it comes from
        joint, other_joint = boxes.integers(draw.rand(batch, 2, self.joints), keypoints).unbind(1)
        other = self._others(batch, draw)
        target = boxes.pick(centers, joint)
        half = halves[other, other_joint]
        source = centers[other, other_joint].maximum(half).minimum(size - half)
        rows, cols = boxes.cover(target, half, width, height)
        return View(paste(view.image, rows, cols, other, source - target)), heatmaps

    def _others(self, batch: int, draw: Draw) -> Tensor:
        """(B, joints): for every paste another image than the one it covers."""
        own = torch.arange(batch, device=draw.device)[:, None]
        ahead = 1 + boxes.integers(draw.rand(batch, self.joints), max(batch - 1, 1))
        return (own + ahead) % batch


def paste(image: Tensor, rows: Tensor, cols: Tensor, other: Tensor, shift: Tensor) -> Tensor:
    """A channels-last copy of the image in which box n of an image shows the pixels of another image.

    image: (B, C, H, W); rows: (B, N, H) and cols: (B, N, W) of the boxes, bool; other: (B, N) image that box n
    comes from; shift: (B, N, 2) from a pixel to its source, (x, y). A later box covers an earlier one, and
    every pixel comes from `image`, never from a pasted one.
    """
    batch, channels, height, width = image.shape
    x, y = torch.arange(width, device=image.device), torch.arange(height, device=image.device)
    # Which pixel of the batch each pixel shows: itself, or that of the last box that covers it.
    shown = torch.arange(batch * height * width, device=image.device).view(batch, height, width)
    for n in range(rows.shape[1]):
        row = other[:, n, None] * height + y + shift[:, n, 1, None]
        col = x + shift[:, n, 0, None]
        inside = rows[:, n, :, None] & cols[:, n, None, :]
        shown = torch.where(inside, row[:, :, None] * width + col[:, None, :], shown)
    pixels = image.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, shown.flatten())
    return pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)
