"""Memory that loader processes share with the training process, and in which batches go round.

To send a batch from process to process, the system makes fresh memory, maps it into both and takes it back: for every
batch thousands of pages, which on some machines takes longer than to copy it. Here the memory is made once, before the
processes are forked, and what is sent is where in it a batch lies.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple

import torch

from sshpe_lib.parcel import ALIGNED, Parcel, pack


class Turn(NamedTuple):
    """A batch that lies in a ring: in which place, how many bytes of it, and the content of its `Parcel`."""

    place: int
    bytes: int
    content: Any


class Ring:
    """So many places for a batch of up to so many bytes; the batch of step n lies in place n modulo their number."""

    def __init__(self, places: int, bytes_each: int) -> None:
        self.places, self.bytes = places, -(-bytes_each // ALIGNED) * ALIGNED
        self._mapped = mmap.mmap(-1, self.places * self.bytes)  # anonymous, and shared with forked processes
        self._memory = torch.frombuffer(self._mapped, dtype=torch.uint8).view(self.places, self.bytes)
        self._pinned = False

    def pin(self) -> bool:
        """Lock the pages, so that a GPU can copy them by itself; False where the system does not."""
        self._pinned = _registered(self._memory)
        return self._pinned

    def put(self, step: int, batch: Any) -> Turn | Parcel:
        """In a loader process: lay a batch into its place. One that is too large becomes a parcel of its own."""
        place = step % self.places
        parcel = pack(batch, self._memory[place])
        if parcel.memory.data_ptr() != self._memory[place].data_ptr():
            return parcel
        return Turn(place, parcel.memory.numel(), parcel.content)

    def open(self, found: Turn | Parcel) -> Parcel:
        """In the training process: what was put, in the ring's memory."""
        if isinstance(found, Parcel):
            return found
        return Parcel(self._memory[found.place, : found.bytes], found.content)

    def __enter__(self) -> Ring:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unlock the pages, when no copy of them is under way; memory is given back when nothing refers to it."""
        if self._pinned:
            torch.cuda.synchronize()
            torch.cuda.cudart().cudaHostUnregister(self._memory.data_ptr())
            self._pinned = False


def _registered(memory: torch.Tensor) -> bool:
    """Lock the pages of a tensor in memory for the GPU, where the system lets us."""
    if int(torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)) == 0:
        return True
    # CUDA remembers the failure, and tells the next kernel of it, whichever that is.
    with suppress(RuntimeError):
        torch.ones(1, device="cuda").add_(1)
    return False
