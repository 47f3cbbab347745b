"""A function without gradients as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

Made = TypeVar("Made")

# Runs before a recording, in which libraries choose their algorithms; as in `make_graphed_callables`.
WARM_UP = 3


class Replay(Generic[Made]):
    """A function of tensors, or tuples of them, without gradients: a graph for each of the shapes it was seen with."""

    def __init__(self, run: Callable[..., Made]) -> None:
        self._run = run
        self._seen: dict[tuple[torch.Size, ...], tuple[tuple, torch.autocast]] = {}
        self._replays: dict[tuple[torch.Size, ...], Callable[..., Made]] = {}

    def __call__(self, *given: Any) -> Made:
        """Results that the next call overwrites, where they are those of a graph."""
        return self._replays.get(_shapes(given), self._run)(*given)

    def see(self, *given: Any) -> Made:
        """Run it, to be recorded with such tensors later."""
        if _shapes(given) not in self._replays:
            self._seen[_shapes(given)] = tree_map(torch.detach, given), autocast_of(tree_leaves(given)[0])
        return self._run(*given)

    @torch.no_grad()
    def record(self) -> None:
        """Record what was seen."""
        for shapes, (given, autocast) in self._seen.items():
            with autocast:
                self._replays[shapes] = self._recorded(tree_map(torch.clone, given))
        self._seen.clear()

    def _recorded(self, here: tuple) -> Callable[..., Made]:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._run(*here)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            made = self._run(*here)
        places = tree_leaves(here)

        def replay(*given: Any) -> Made:
            for mine, theirs in zip(places, tree_leaves(given), strict=True):
                mine.copy_(theirs)
            graph.replay()
            return made

        return replay


def _shapes(tensors: tuple) -> tuple[torch.Size, ...]:
    return tuple(tensor.shape for tensor in tree_leaves(tensors))


def autocast_of(like: Tensor) -> torch.autocast:
    """The precision in force for a device; weights are cast in the recording itself, not kept from elsewhere."""
    kind = like.device.type
    return torch.autocast(
        kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False
    )
