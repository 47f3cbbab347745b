"""A function without gradients as CUDA graphs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")
Shapes = tuple[torch.Size, ...]

# Runs before a recording, in which libraries choose their algorithms; as in `make_graphed_callables`.
WARM_UP = 3


class Replay(Generic[Made]):
    """A function of tensors, without gradients: a graph for each of the shapes it was seen with."""

    def __init__(self, run: Callable[..., Made]) -> None:
        self._run = run
        self._seen: dict[Shapes, tuple[tuple[Tensor, ...], torch.autocast]] = {}
        self._replays: dict[Shapes, Callable[..., Made]] = {}

    def __call__(self, *given: Tensor) -> Made:
        """Results that the next call overwrites, where they are those of a graph.

        A graph takes tensors in pinned memory too, which must stay as they are until it has them.
        """
        return self._replays.get(_shapes(given), self._run)(*given)

    def see(self, *given: Tensor) -> Made:
        """Run it, to be recorded with such tensors later."""
        if _shapes(given) not in self._replays:
            self._seen[_shapes(given)] = tuple(one.detach() for one in given), autocast_of(given[0])
        return self._run(*given)

    @torch.no_grad()
    def record(self) -> None:
        """Record what was seen."""
        with without_garbage():
            for shapes, (given, autocast) in self._seen.items():
                with autocast:
                    self._replays[shapes] = self._recorded(*(one.clone() for one in given))
        self._seen.clear()

    def _recorded(self, *here: Tensor) -> Callable[..., Made]:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._run(*here)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            made = self._run(*here)

        def replay(*given: Tensor) -> Made:
            for ours, theirs in zip(here, given, strict=True):
                ours.copy_(theirs, non_blocking=True)
            graph.replay()
            return made

        return replay


def _shapes(tensors: tuple[Tensor, ...]) -> Shapes:
    return tuple(tensor.shape for tensor in tensors)


@contextmanager
def without_garbage() -> Iterator[None]:
    """Garbage is collected before the block and not in it.

    It may hold graphs and memory of a GPU, from a training that is over: to free them ends a recording with an error.
    """
    if not gc.isenabled():  # inside another such block
        yield
        return
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def autocast_of(like: Tensor) -> torch.autocast:
    """The precision in force for a device; weights are cast in the recording itself, not kept from elsewhere."""
    kind = like.device.type
    return torch.autocast(
        kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False
    )
