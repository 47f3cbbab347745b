"""What labelled people of whole images teach: heatmaps at every resolution, and tags that tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sshpe_lib.codec.crowd import CrowdHeatmap
from sshpe_lib.data.scenes import SceneBatch
from sshpe_lib.evaluate.multi_scale import one_answer
from sshpe_lib.losses import associative_embedding, heatmap_mse, masked_mse
from sshpe_lib.methods.step import CrowdLabeled


@dataclass(frozen=True)
class CrowdSupervision:
    """Targets and losses of whole images (HigherHRNet).

    codecs: one for every output of the network, in its order; the first output has tags too. push, pull: weights
    of the two terms of associative embedding. side: of the square input, pixels. unbiased: by UDP's convention.
    """

    codecs: Sequence[CrowdHeatmap]
    side: int
    push: float = 1e-3
    pull: float = 1e-3
    unbiased: bool = False

    def label(self, image: Tensor, batch: SceneBatch) -> CrowdLabeled:
        """Targets for normalised squares (B, 3, S, S) of a batch with the same people."""
        targets = []
        for codec in self.codecs:
            points = batch.points * self._stride(codec)
            targets.append(codec.encode(points, batch.visible))
        first = self.codecs[0]
        index = first.tag_index(batch.points * self._stride(first), batch.visible)
        return CrowdLabeled(image, tuple(targets), batch.masks, index)

    def _stride(self, codec: CrowdHeatmap) -> float:
        """Heatmap pixels in an input pixel."""
        less = 1 if self.unbiased else 0
        return (codec.heatmap_size[0] - less) / (self.side - less)

    def answer(self, student: nn.Module, image: Tensor) -> Sequence[Tensor]:
        """Every output of a student."""
        return student(image)

    def loss(self, outputs: Sequence[Tensor], labeled: CrowdLabeled) -> Tensor:
        """Masked squared errors of all heatmaps, and what pushes and pulls the tags.

        Raises ValueError where the number of outputs is not that of the targets.
        """
        joints = labeled.target[0].shape[1]
        total = torch.zeros((), device=outputs[0].device)
        for output, target, mask in zip(outputs, labeled.target, labeled.masks, strict=True):
            total = total + masked_mse(output[:, :joints].float(), target, mask).mean()
        push, pull = associative_embedding(outputs[0][:, joints:].flatten(1).float(), labeled.index)
        return total + self.push * push.mean() + self.pull * pull.mean()

    def maps(self, outputs: Sequence[Tensor]) -> Tensor:
        """One answer of all outputs, (B, 2K, h, w): heatmaps averaged at the last one's resolution, then tags."""
        return torch.cat(one_answer(outputs, align_corners=self.unbiased), dim=1)

    def consistency(self, found: Tensor, pseudo: Tensor) -> Tensor:
        """What a student's `maps` differ in from a teacher's: in heatmaps, and in tags where the teacher sees joints.

        A tag counts as much as the square of the teacher's heatmap there, so that a faint background, which is large,
        counts for little. Tags mean something relative to each other only, so what all tags of an image have in common
        does not count: nothing else would hold them where they are, and student and teacher would run after each other.
        Neither paper has this term. It has no mask, as Pose-MUM's has none: outside the image and in crowds a student
        finds what its teacher does.
        """
        joints = found.shape[1] // 2
        heat, tags = found[:, :joints].float(), found[:, joints:].float()
        sure = pseudo[:, :joints].clamp(0, 1).square()
        sure = sure / sure.sum((1, 2, 3), keepdim=True).clamp_min(1)
        apart = tags - pseudo[:, joints:]
        apart = apart - (sure * apart).sum((1, 2, 3), keepdim=True)
        # Like push, with an end to what far ones count: tags have no scale, and a young teacher's may lie anywhere.
        spread = (sure * -torch.expm1(-apart.square())).sum((1, 2, 3))
        return 2 * heatmap_mse(heat, pseudo[:, :joints]) + self.pull * spread.mean()
