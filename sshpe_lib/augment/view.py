"""The student's view of a batch: what a strong augmentation makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from sshpe_lib.augment.draw import Draw
from sshpe_lib.models.stages import AfterStage


@dataclass(frozen=True)
class View:
    """Images to look at, (B, C, H, W), and what to do to the network's features after each named stage.

    finish: to be called when the network's pass is over; raises SSHPEError where stages that count were missing in it.
    """

    image: Tensor
    after_stage: AfterStage | None = None
    finish: Callable[[], None] | None = None


class Operation(Protocol):
    """One augmentation: moves the view and, where it moves geometry, the pseudo heatmaps with it."""

    def __call__(self, view: View, heatmaps: Tensor, draw: Draw) -> tuple[View, Tensor]: ...


@dataclass(frozen=True)
class Strong:
    """A composition of operations, applied in order (Table 3's check marks are this list)."""

    operations: Sequence[Operation]

    def __call__(self, image: Tensor, heatmaps: Tensor, draw: Draw) -> tuple[View, Tensor]:
        """image: (B, C, H, W) normalised; heatmaps: (B, K, h, w) of the teacher. Returns the view and its target.

        Raises SSHPEError as the operations, and where the images are not on the draw's device.
        """
        draw.check(image)
        view = View(image)
        for operation in self.operations:
            view, heatmaps = operation(view, heatmaps, draw)
        return view, heatmaps
