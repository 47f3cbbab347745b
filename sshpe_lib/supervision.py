"""What labelled people teach: targets for every output of a network, and the loss on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from sshpe_lib.codec import Codec
from sshpe_lib.data.top_down import CropBatch
from sshpe_lib.losses import added, heatmap_mse
from sshpe_lib.methods.step import Labeled

# Sizes of the Gaussians that supervise RSN's units, by the kernels of its official code, from coarse to fine, as
# the unbiased variant gives them (standard deviations in heatmap pixels; two have half a thousandth more there). An
# earlier stage starts one kernel wider.
KERNELS = {15: 2.6, 11: 2.0, 9: 1.7, 7: 1.41, 5: 1.11}
COARSE_SHARE = 0.25  # of a unit that is not a stage's last, in the loss


def unit_scales(stages: int) -> tuple[float, ...]:
    """How wide the targets of RSN's units are, relative to the last one's, stage by stage from coarse to fine."""
    sizes = [size / KERNELS[5] for size in KERNELS.values()]
    return (*sizes[:-1] * (stages - 1), *sizes[1:])


@dataclass(frozen=True)
class Supervision:
    """Targets and loss of labelled people for networks of one output or of many.

    scales: how wide an output's targets are relative to the codec's, in the order of the network's outputs; the
    last output is the one that predicts. A network with several has four a stage, coarse to fine, whose last
    counts whole and whose others count a quarter (Cai et al. 2020). hard_keypoints: in a stage's last output only
    so many keypoints of a person count, those with the largest loss (OHKM); None counts all.
    """

    codec: Codec
    scales: Sequence[float] = (1.0,)
    hard_keypoints: int | None = None

    def label(self, image: Tensor, batch: CropBatch) -> Labeled:
        """Targets for normalised crops (B, 3, H, W) of a batch with the same people."""
        encoded = {
            scale: self.codec.scaled(scale).encode(batch.points, batch.visible)
            for scale in dict.fromkeys(self.scales)
        }
        targets = tuple(encoded[scale][0] for scale in self.scales)
        return Labeled(image, targets, encoded[self.scales[-1]][1])

    def answer(self, student: nn.Module, image: Tensor) -> Sequence[Tensor]:
        """Every output of a student, coarse to fine."""
        return (student(image),) if len(self.scales) == 1 else student(image, every_unit=True)

    def loss(self, outputs: Sequence[Tensor], labeled: Labeled) -> Tensor:
        """The labelled loss of all outputs. Raises ValueError where their number is not that of the targets."""
        terms = []
        for index, (output, target) in enumerate(zip(outputs, labeled.target, strict=True)):
            last = index == len(outputs) - 1 or (index + 1) % 4 == 0
            hard = self.hard_keypoints if last else None
            loss = self.codec.loss(output, target, labeled.weight, hard)
            terms.append(loss if last else COARSE_SHARE * loss)
        return added(terms)

    def maps(self, outputs: Tensor) -> Tensor:
        """The heatmaps of a network's last output, (B, K, h, w)."""
        return outputs

    def consistency(self, found: Tensor, pseudo: Tensor) -> Tensor:
        """The loss L of Eq. 1 of Pose-MUM between a student's heatmaps and a teacher's."""
        return heatmap_mse(found, pseudo)
