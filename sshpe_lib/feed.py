"""Batches on their way from the loader to the networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.parcel import Parcel
from sshpe_lib.streams import taken_over

Made = TypeVar("Made")


class Feed:
    """Brings batches to a device, and has there made of them what needs no network.

    A GPU does both on a stream of its own, from pinned memory, while it works on earlier steps: to copy, to normalise
    and to draw targets keeps few of its units busy, and so do the layers of a small network.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: TrainBatch | Parcel, prepare: Callable[[TrainBatch], Made]) -> Made:
        """What `prepare` makes of the batch on the device; what is queued there after this call finds it complete.

        What `prepare` reads besides the batch must be there for every stream (as is a `transfer.constant`).
        """
        if self._stream is None:
            return prepare(self._there(batch))
        with torch.cuda.stream(self._stream):
            made = prepare(self._there(batch))
        return taken_over(made, self._stream)

    def _there(self, batch: TrainBatch | Parcel) -> TrainBatch:
        there = batch.to(self.device)
        return there.open() if isinstance(there, Parcel) else there
