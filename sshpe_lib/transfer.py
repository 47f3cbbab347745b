"""Between the CPU and a GPU without waiting: what a step needs goes there, and its losses come back, on the way."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sshpe_lib.parcel import pack


def sent(tensors: tuple[Tensor, ...], device: torch.device | str) -> tuple[Tensor, ...]:
    """CPU tensors on a device: to a GPU in one copy, without a wait.

    Plain memory would be copied only when a GPU has done all before, and every copy has a wait of its own there.
    """
    device = torch.device(device)
    if device.type != "cuda" or any(tensor.device.type != "cpu" for tensor in tensors):
        return tuple(tensor.to(device) for tensor in tensors)
    return pack(tuple(tensor.contiguous() for tensor in tensors)).pin_memory().to(device).open()


def constant(values: Any, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """`torch.tensor` of numbers in nested tuples; sent to a GPU once, and so not to be changed in place."""
    if device.type == "cpu":
        return torch.tensor(values, dtype=dtype)
    # The type is asked for by name: 1 equals 1.0, but makes another kind of tensor.
    return _kept(values, device, dtype or torch.tensor(values).dtype)


@lru_cache(maxsize=256)
def _kept(values: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # a tensor made in that mode could serve no gradient later
        return torch.tensor(values, dtype=dtype, device=device)


def up_to(length: int, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """`torch.arange(length)`; sent to a GPU once, and so not to be changed in place."""
    return torch.arange(length, dtype=dtype) if device.type == "cpu" else _kept_up_to(length, device, dtype)


@lru_cache(maxsize=256)
def _kept_up_to(length: int, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    with torch.inference_mode(False):
        # Sent, which is waited for, and not made there: another stream may be the next to read it.
        return torch.arange(length, dtype=dtype).to(device)


class Reading:
    """Scalars of a device on their way to the CPU."""

    def __init__(self, scalars: Sequence[Tensor]):
        values = torch.stack([scalar.detach() for scalar in scalars])
        self._done = None
        if values.device.type == "cuda":
            here = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            here.copy_(values, non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record(torch.cuda.current_stream(values.device))
            values = here
        self._values = values

    def values(self) -> list[float]:
        """The numbers, when they are there; what was queued on the device after them is not waited for."""
        if self._done is not None:
            self._done.synchronize()
        return self._values.tolist()
