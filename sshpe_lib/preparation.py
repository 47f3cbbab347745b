"""What a training step makes of a batch without a network: normalised images, targets, information dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.dropping import InformationDropping
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.data.scenes import SceneBatch
from sshpe_lib.data.top_down import CropBatch
from sshpe_lib.methods.step import CrowdLabeled, Labeled, Prepared, Supervised
from sshpe_lib.parcel import Parcel, pack


@dataclass
class Preparation:
    """Prepares batches on whatever device they are; what is drawn for one is drawn before.

    teaching: what labelled people teach; dropping: of information, from labelled images; layout: of a network's memory;
    dtype: of labelled images, which nothing but a network reads.
    """

    teaching: Supervised
    dropping: InformationDropping
    layout: torch.memory_format
    dtype: torch.dtype = torch.float32

    def drawn(self, batch: TrainBatch | Parcel, draw: Draw) -> Parcel:
        """What a call takes beside the batch where information is dropped, for the draw's device."""
        labeled = (batch.content if isinstance(batch, Parcel) else batch).labeled
        count, _, height, width = labeled.image.shape
        numbers = pack(self.dropping.numbers(count, width, height, draw))
        return numbers.pin_memory() if torch.device(draw.device).type == "cuda" else numbers

    def __call__(self, batch: TrainBatch, numbers: Sequence[Sequence[Tensor]] = ()) -> Prepared:
        """The batch as networks learn from it; numbers: what was drawn for it, opened."""
        labeled = self._labeled(batch.labeled)
        labeled = labeled._replace(image=self.dropping.drop(labeled.image, numbers))
        return Prepared(
            labeled, None if batch.unlabeled is None else normalize(self._laid(batch.unlabeled.image))
        )

    def _laid(self, images: Tensor) -> Tensor:
        """A network computes in the layout of its images, whatever that of its weights."""
        return images.contiguous(memory_format=self.layout)

    def _labeled(self, batch: CropBatch | SceneBatch) -> Labeled | CrowdLabeled:
        labeled = self.teaching.label(normalize(self._laid(batch.image), self.dtype), batch)
        # As a network's answers lie, so that the loss reads both in the order of memory. Some of RSN's are one tensor.
        laid = {target: self._laid(target) for target in set(labeled.target)}
        return labeled._replace(target=tuple(laid[target] for target in labeled.target))
