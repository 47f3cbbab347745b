"""Several ways to drop information, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.dropping.operation import Dropping


@dataclass(frozen=True)
class InformationDropping:
    """A composition of operations, applied in order; none leave images alone.

    What is drawn is apart from what is done with it, so that a GPU can be given the latter as one graph.
    """

    operations: Sequence[Dropping] = ()

    def numbers(self, batch: int, width: int, height: int, draw: Draw) -> tuple[tuple[Tensor, ...], ...]:
        """What `drop` takes beside so many images, on the CPU: of one form whatever is drawn."""
        return tuple(operation.numbers(batch, width, height, draw) for operation in self.operations)

    def drop(self, image: Tensor, numbers: Sequence[Sequence[Tensor]]) -> Tensor:
        """Normalised images (B, 3, H, W), left as they are, without what `numbers`, on their device, say.

        Raises SSHPEError as `Dropping.drop`.
        """
        for operation, drawn in zip(self.operations, numbers, strict=True):
            image = operation.drop(image, drawn)
        return image
