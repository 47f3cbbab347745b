"""Batches on their way from the loader to the device."""

from __future__ import annotations

import torch
from torch.utils._pytree import tree_leaves

from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.parcel import Parcel


class Feed:
    """Brings batches to a device; to a GPU on a stream of its own, from pinned memory, while it works on others."""

    def __init__(self, device: torch.device):
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: TrainBatch | Parcel) -> TrainBatch:
        """The batch on the device; what is queued there after this call finds it complete."""
        if self._stream is None:
            return self._there(batch)
        with torch.cuda.stream(self._stream):
            there = self._there(batch)
        working = torch.cuda.current_stream(self.device)
        working.wait_stream(self._stream)
        for tensor in tree_leaves(there):
            if tensor is not None:
                tensor.record_stream(working)
        return there

    def _there(self, batch: TrainBatch | Parcel) -> TrainBatch:
        there = batch.to(self.device)
        return there.open() if isinstance(there, Parcel) else there
