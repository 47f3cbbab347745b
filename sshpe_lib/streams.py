"""Queues of a GPU's work: what is given to one runs beside what is given to another, where there is room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

Made = TypeVar("Made")


def taken_over(made: Made, stream: torch.cuda.Stream) -> Made:
    """What was made on a stream, for the current one, which waits for it; tensors in tuples, lists and such."""
    working = torch.cuda.current_stream(stream.device)
    working.wait_stream(stream)
    for leaf in tree_leaves(made):
        if isinstance(leaf, Tensor):
            leaf.record_stream(working)  # its memory is not given to another while this one may read it
    return made


def beside(run: Callable[[], Made], device: torch.device) -> Callable[[], Made]:
    """Have a GPU run something beside what it is given next; the function returned gives what came of it.

    It runs after all that the GPU was given before. What it reads must stay, and stay as it is, until the result is
    asked for. Another device runs it then, and not before.
    """
    if device.type != "cuda":
        return run
    stream = _second(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        made = run()
    return lambda: taken_over(made, stream)


class Pace:
    """Has the CPU wait, at each call, for what a GPU was given before the call `ahead` calls ago."""

    def __init__(self, device: torch.device, ahead: int) -> None:
        self._device, self._ahead = device, ahead
        self._given: deque[torch.cuda.Event] = deque()

    def __call__(self) -> None:
        if self._device.type != "cuda":
            return
        self._given.append(torch.cuda.current_stream(self._device).record_event())
        if len(self._given) > self._ahead:
            self._given.popleft().synchronize()


@lru_cache
def _second(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
