"""Batches on their way from the loader to the networks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.graphs import Replay
from sshpe_lib.parcel import Parcel
from sshpe_lib.streams import taken_over

Made = TypeVar("Made")

# In which a graph's results lie: while the networks work on those of one batch, the next one's are made.
PLACES = 2


class Feed:
    """Brings batches to a device, and has there made of them what needs no network.

    A GPU does both on a stream of its own, from pinned memory, while it works on earlier steps: to copy, to normalise
    and to draw targets keeps few of its units busy, and so do the layers of a small network. It is given the many small
    kernels of that whole, as a CUDA graph, for parcels of a layout that `record` has seen.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._replays: dict[Any, deque[Replay]] = {}  # in turn; by what lies where in the parcels' memory
        self._queued: torch.cuda.Event | None = None  # all that the device was given before the last call

    def __call__(self, prepare: Callable[..., Made], *given: TrainBatch | Parcel) -> Made:
        """What `prepare` makes of what is given, on the device; what is queued there after this call finds it complete.

        What `prepare` reads besides must be there for every stream (as is a `transfer.constant`). Results of a graph
        are good until the next call but one.
        """
        if self._stream is None:
            return self._made(prepare, *given)
        queued = torch.cuda.current_stream(self.device).record_event()
        with torch.cuda.stream(self._stream):
            if self._queued is not None:
                # Whoever reads the results of the last call but one was queued before the last call.
                self._stream.wait_event(self._queued)
            made = self._made(prepare, *given)
        self._queued = queued
        return taken_over(made, self._stream)

    def record(self, prepare: Callable[..., Any], *parcels: Parcel) -> None:
        """Record what `prepare` does with such parcels, for later calls. Nothing else may use the GPU meanwhile."""
        layout = tuple(parcel.content for parcel in parcels)
        there = [parcel.to(self.device).memory for parcel in parcels]

        def run(*memories: Tensor) -> Any:
            return prepare(*(Parcel(*one).open() for one in zip(memories, layout, strict=True)))

        replays = deque(Replay(run) for _ in range(PLACES))
        for replay in replays:
            replay.see(*there)
            replay.record()
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
        self._replays[layout] = replays

    def close(self) -> None:
        """Let the graphs go; all is then prepared without."""
        self._replays.clear()

    def _made(self, prepare: Callable[..., Made], *given: TrainBatch | Parcel) -> Made:
        parcels = [one for one in given if isinstance(one, Parcel)]
        replays = self._replays.get(tuple(parcel.content for parcel in parcels))
        if replays is None or len(parcels) < len(given):
            return prepare(*map(self._there, given))
        replays.rotate()
        return replays[0](*(parcel.memory for parcel in parcels))

    def _there(self, one: TrainBatch | Parcel) -> Any:
        there = one.to(self.device)
        return there.open() if isinstance(there, Parcel) else there
