"""CUDA graphs: the passes of a training step are recorded once, and then given to the GPU whole.

A pass of a ResNet-18 is some hundred kernels, one of an HRNet-W32 some thousand, and on a fast GPU it takes longer to
give them one by one than to run them. What is recorded are the largest parts of a network that take and give tensors
alone; between them features can be mixed as ever. A part that runs twice in a step, on labelled and on unlabelled
images, is recorded twice, as what it keeps for its gradient lies in one place. Values are those of the passes without
graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

Forward = Callable[..., Any]
Captured = dict[nn.Module, Forward]

WARM_UP = (
    3  # passes before a recording, in which libraries choose their algorithms; as in `make_graphed_callables`
)


class Graphs:
    """Replays a network's passes inside `step`, for images of a shape that `recording` has seen.

    Every other call, such as an evaluation's or of an odd batch at an epoch's end, runs as it would without.
    network: its own and its parts' `forward` are replaced; parameters and buffers stay where they are, and must.
    learning: records parts for passes with gradients, as `torch.cuda.make_graphed_callables`; asking: a whole pass
    without.
    """

    def __init__(
        self,
        network: nn.Module,
        learning: Callable[..., Any] = torch.cuda.make_graphed_callables,
        asking: Callable[[Forward, Tensor], Forward] | None = None,
    ) -> None:
        self.network, self._record_parts, self._record_whole = network, learning, asking or recorded
        self._forward: Forward = network.forward
        self._originals: dict[nn.Module, Forward] = {}
        self._learning: dict[torch.Size, list[Captured]] = {}  # by shape, one for every pass of a step
        self._asking: dict[tuple[torch.Size, bool], Forward] = {}  # without gradients; by shape and mode
        self._stepping = self._recording = False
        self._passes = 0
        self._now: Captured = {}
        network.forward = self._pass  # type: ignore[method-assign]

    @contextmanager
    def step(self) -> Iterator[None]:
        """Inside the block a training step's passes are replayed, in their order."""
        self._stepping, self._passes = True, 0
        try:
            yield
        finally:
            self._stepping = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Inside the block a step's passes are recorded; nothing else may use the GPU meanwhile.

        Batch norms' statistics are left as found; what the step computes is worth nothing.
        """
        kept = [buffer.clone() for buffer in self.network.buffers()]
        self._recording = True
        try:
            with self.step():
                yield
        finally:
            self._recording = False
            for buffer, value in zip(self.network.buffers(), kept, strict=True):
                buffer.copy_(value)

    def _pass(self, images: Tensor, *more: Any, **named: Any) -> Any:
        if not self._stepping:
            return self._forward(images, *more, **named)
        if torch.is_grad_enabled():
            return self._learn(images, *more, **named)
        if more or named:
            return self._forward(images, *more, **named)
        return self._ask(images)

    def _learn(self, images: Tensor, *more: Any, **named: Any) -> Any:
        """A pass with gradients: part by part, those of this pass of the step."""
        captured = (
            self._learning.setdefault(images.shape, [])
            if self._recording
            else self._learning.get(images.shape)
        )
        if captured is None or not self.network.training:
            return self._forward(images, *more, **named)
        if self._passes == len(captured) and self._recording:
            captured.append(self._recorded_parts(images, *more, **named))
        self._now = captured[self._passes] if self._passes < len(captured) else {}
        self._passes += 1
        try:
            return self._forward(images, *more, **named)
        finally:
            self._now = {}

    def _ask(self, images: Tensor) -> Any:
        """A pass without gradients, all of it at once."""
        key = images.shape, self.network.training
        if self._recording and key not in self._asking:
            with _casts_not_kept():
                self._asking[key] = self._record_whole(self._forward, images)
        return self._asking.get(key, self._forward)(images)

    def _recorded_parts(self, images: Tensor, *more: Any, **named: Any) -> Captured:
        parts = parts_of(self.network, lambda: self._forward(images, *more, **named))
        alone = tuple(_Alone(part, self._replaced(part)) for part in parts)
        samples = tuple(
            tree_map(lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad), arguments)
            for arguments in parts.values()
        )
        with _casts_not_kept():
            graphed = self._record_parts(alone, samples, allow_unused_input=True)
        return dict(zip(parts, graphed, strict=True))

    def _replaced(self, part: nn.Module) -> Forward:
        """Have the part replay where there is what; returns its own `forward`."""
        if part in self._originals:
            return self._originals[part]
        original = self._originals[part] = part.forward

        def forward(*arguments: Any, **named: Any) -> Any:
            graphed = self._now.get(part)
            if graphed is None or not part.training:
                return original(*arguments, **named)
            return graphed(*arguments)

        part.forward = forward  # type: ignore[method-assign]
        return original


def recorded(forward: Forward, images: Tensor) -> Forward:
    """A pass without gradients as one graph, for images of this shape."""
    given = images.detach().clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            forward(given)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = forward(given)

    def replay(images: Tensor) -> Any:
        given.copy_(images)
        graph.replay()
        return tree_map(torch.clone, found)  # the next replay writes there

    return replay


class _Alone(nn.Module):
    """One part of a network as a module of its own, whose `forward` a recording may replace."""

    def __init__(self, part: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.part, self._forward = part, forward

    def forward(self, *arguments: Any) -> Any:
        return self._forward(*arguments)


def parts_of(network: nn.Module, run: Callable[[], object]) -> dict[nn.Module, tuple]:
    """The largest parts of a network that can be recorded, in the order of their calls in `run`, and what they got.

    A part has parameters, is called once, and takes and gives tensors, or lists of them.
    """
    calls: dict[nn.Module, list[tuple | None]] = {}

    def note(part: nn.Module, arguments: tuple, named: dict, output: Any) -> None:
        leaves = tree_leaves((arguments, output))
        sound = not named and all(isinstance(leaf, Tensor) for leaf in leaves)
        calls.setdefault(part, []).append(arguments if sound else None)

    handles = [
        part.register_forward_hook(note, with_kwargs=True)
        for part in network.modules()
        if part is not network
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    chosen = set(_largest(network, calls))
    # A call is noted when it ends, and of two parts neither of which holds the other, the first ends first.
    return {part: given[0] for part, given in calls.items() if part in chosen}  # type: ignore[misc]


def _largest(module: nn.Module, calls: dict[nn.Module, list[tuple | None]]) -> Iterator[nn.Module]:
    for child in module.children():
        once = calls.get(child, [])
        if len(once) == 1 and once[0] is not None and next(child.parameters(), None) is not None:
            yield child
        else:
            yield from _largest(child, calls)


@contextmanager
def _casts_not_kept() -> Iterator[None]:
    """Weights are cast in the recording itself: a copy that autocast kept from elsewhere would grow old."""
    kept = torch.is_autocast_cache_enabled()
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(kept)
