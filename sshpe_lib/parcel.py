"""Tensors on their way from process to process, or to a GPU: all of them in one piece of memory.

Every tensor that goes from process to process is a file to open and to map, and one more copy to a GPU. Of a batch of
twelve tensors that takes longer than a step on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

ALIGNED = 64  # bytes; a multiple of every number's size


class Place(NamedTuple):
    """Where a tensor lies in a parcel."""

    first: int
    bytes: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Parcel:
    """memory: (N,) uint8; content: tuples in tuples, as they were, with places for tensors."""

    memory: Tensor
    content: Any

    def pin_memory(self) -> Parcel:
        return Parcel(self.memory.pin_memory(), self.content)

    def to(self, device: torch.device | str) -> Parcel:
        """The parcel on `device`, copied asynchronously where its memory is pinned."""
        return Parcel(self.memory.to(device, non_blocking=True), self.content)

    def open(self) -> Any:
        """What was packed, its tensors in the parcel's memory."""
        return _each(self.content, Place, self.at)

    def at(self, place: Place) -> Tensor:
        """What lies in a place of this parcel."""
        part = self.memory[place.first : place.first + place.bytes].view(place.dtype)
        return part.as_strided(place.shape, place.stride)


def pack(content: Any, memory: Tensor | None = None) -> Parcel:
    """One parcel of dense CPU tensors in tuples, with their layouts; in the memory (N,) given, if large enough."""
    placed: list[tuple[Tensor, Place]] = []
    first = 0

    def place(tensor: Tensor) -> Place:
        nonlocal first
        found = Place(first, tensor.nbytes, tensor.dtype, tuple(tensor.shape), tensor.stride())
        first += -(-tensor.nbytes // ALIGNED) * ALIGNED
        placed.append((tensor, found))
        return found

    places = _each(content, Tensor, place)
    here = torch.empty(first, dtype=torch.uint8) if memory is None or first > len(memory) else memory[:first]
    parcel = Parcel(here, places)
    for tensor, found in placed:
        parcel.at(found).copy_(tensor)
    return parcel


def _each(content: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """The same tuples in tuples, with all of one kind changed. PyTorch's own trees take several times as long."""
    if isinstance(content, kind):
        return change(content)
    if isinstance(content, tuple):
        parts = [_each(part, kind, change) for part in content]
        return type(content)(*parts) if hasattr(content, "_fields") else tuple(parts)
    return content
