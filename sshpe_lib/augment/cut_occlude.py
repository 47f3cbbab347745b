"""Cut-Occlude: patches around joints of other people, pasted over predicted joints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sshpe_lib.augment import boxes
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.view import View
from sshpe_lib.transfer import constant


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
        size = constant((width, height), centers.device)
        halves = halves.minimum(size // 2)  # a patch must fit into the image it comes from
        joint, other_joint = boxes.integers(draw.rand(batch, 2, self.joints), keypoints).unbind(1)
        other = self._others(batch, draw)
        target = boxes.pick(centers, joint)
        half = halves[other, other_joint]
        source = centers[other, other_joint].maximum(half).minimum(size - half)
        largest = int(boxes.scaled(torch.tensor(self.half_size[1]), width))
        return View(paste(view.image, target, half, other, source, largest)), heatmaps

    def _others(self, batch: int, draw: Draw) -> Tensor:
        """(B, joints): for every paste another image than the one it covers."""
        own = torch.arange(batch, device=draw.device)[:, None]
        ahead = 1 + boxes.integers(draw.rand(batch, self.joints), max(batch - 1, 1))
        return (own + ahead) % batch


def paste(image: Tensor, target: Tensor, half: Tensor, other: Tensor, source: Tensor, largest: int) -> Tensor:
    """A channels-last copy of the image in which box n of an image shows the pixels of another image.

    image: (B, C, H, W); target, half: (B, N, 2) long, of the boxes; other: (B, N), the image that box n comes from;
    source: (B, N, 2), its centre there, where the box lies inside; largest: no half size is more. A later box covers an
    earlier one, and every pixel comes from `image`, never from a pasted one.
    """
    batch, channels, height, width = image.shape
    pixels = image.permute(0, 2, 3, 1).reshape(-1, channels)
    shown = pixels.clone()
    own = torch.arange(batch, device=image.device)
    size = constant((width, height), image.device)
    first, last = (target - half).clamp(min=0), (target + half).minimum(size) - 1
    outside = (first > last).any(dim=-1)
    # So many pixels for every box, whatever its size, so that nothing waits for a GPU: of a smaller one the last comes
    # again.
    steps = torch.arange(2 * largest, device=image.device)
    for n in range(target.shape[1]):
        x, y = (
            (first[:, n, axis, None] + steps).minimum(last[:, n, axis, None]).clamp(0, length - 1)
            for axis, length in enumerate((width, height))
        )
        across, down = (source - target)[:, n, :, None].unbind(1)
        covered = _places(own, x, y, width, height)
        showing = _places(other[:, n], x + across, y + down, width, height)
        nothing = outside[:, n, None, None]
        new = pixels.index_select(0, torch.where(nothing, covered, showing).flatten())
        kept = shown.index_select(0, covered.flatten())
        nothing = nothing.expand_as(covered).reshape(-1, 1)
        shown.index_copy_(0, covered.flatten(), torch.where(nothing, kept, new))
    return shown.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _places(images: Tensor, x: Tensor, y: Tensor, width: int, height: int) -> Tensor:
    """Where in a batch's row of pixels those of images (B,) at x (B, S) and y (B, T) are: (B, T, S)."""
    return (images[:, None] * height + y)[..., None] * width + x[:, None]
