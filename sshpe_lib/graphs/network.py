"""The passes of one network as CUDA graphs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from sshpe_lib.graphs.replay import Replay, autocast_of, without_garbage

Forward = Callable[..., Any]
Replays = dict[nn.Module, Forward]
# Of a pass: its images' shape, and whether it is given more than images, so that its parts are replayed.
Kind = tuple[torch.Size, bool]
Made = TypeVar("Made")


@dataclass(frozen=True)
class _Pass:
    """What was seen of a pass with gradients: its kind, its parts and what they got, and its precision."""

    kind: Kind
    parts: dict[nn.Module, tuple]
    autocast: torch.autocast


class Graphs:
    """Replays a network's passes inside `step`, for images of a shape that `recording` has seen.

    Every other call, such as an evaluation's or of an odd batch at an epoch's end, runs as it would without.
    network: its own and its parts' `forward` are replaced; parameters and buffers stay where they are, and must.
    Hooks, as `at_stages` makes them, are recorded with the mask of that moment: give the pass `after_stage=` instead.
    record: records passes with gradients, `torch.cuda.make_graphed_callables` where left out; asked: those without,
    `Replay` where left out.
    """

    def __init__(
        self,
        network: nn.Module,
        record: Callable[..., Any] | None = None,
        asked: Callable[..., Any] | None = None,
    ) -> None:
        self.network, self._record = network, record or torch.cuda.make_graphed_callables
        self._forward: Forward = network.forward
        self._asked = {training: (asked or Replay)(self._forward) for training in (True, False)}
        self._originals: dict[nn.Module, Forward] = {}
        self._replays: dict[Kind, list[Replays]] = {}  # by kind, one for every pass of a step
        self._seen: list[_Pass] | None = None  # while recording
        self._stepping = False
        self._passes: Counter[Kind] = Counter()  # of the step, by kind
        self._now: Replays = {}
        network.forward = self._pass

    @contextmanager
    def step(self) -> Iterator[None]:
        """Inside the block a training step's passes are replayed, in their order."""
        self._stepping, self._passes = True, Counter()
        try:
            yield
        finally:
            self._stepping = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """The passes of the step in the block are looked at, and recorded when it is over and its results are gone.

        Nothing else may use the GPU meanwhile. Batch norms' statistics are left as found; what the step computes is
        worth nothing.
        """
        kept = [buffer.clone() for buffer in self.network.buffers()]
        self._seen = []
        try:
            with self.step():
                yield
            seen, self._seen = self._seen, None
            with without_garbage():
                for one in seen:
                    self._replays.setdefault(one.kind, []).append(self._recorded(one))
                for asked in self._asked.values():
                    asked.record()
        finally:
            self._seen = None
            for buffer, value in zip(self.network.buffers(), kept, strict=True):
                buffer.copy_(value)

    def close(self) -> None:
        """Give the network its own `forward` back and let all recordings go, and with them much of the GPU's memory."""
        for part, own in ((self.network, self._forward), *self._originals.items()):
            if getattr(own, "__self__", None) is part:
                part.__dict__.pop("forward", None)  # that of its class shows again
            else:
                part.forward = own
        self._originals.clear()
        self._replays.clear()
        self._asked.clear()

    def _pass(self, images: Tensor, *more: Any, **named: Any) -> Any:
        if not self._stepping:
            return self._forward(images, *more, **named)
        if not torch.is_grad_enabled():
            if _given(more, named):
                return self._forward(images, *more, **named)
            asked = self._asked[self.network.training]
            return asked(images) if self._seen is None else asked.see(images)
        if not self.network.training:
            return self._forward(images, *more, **named)
        if self._seen is not None:
            return self._see(self._seen, images, *more, **named)
        return self._learn(images, *more, **named)

    def _learn(self, images: Tensor, *more: Any, **named: Any) -> Any:
        """A pass with gradients: of this number in the step, among those of its kind."""
        kind = (images.shape, _given(more, named))
        replays, number = self._replays.get(kind, []), self._passes[kind]
        self._now = replays[number] if number < len(replays) else {}
        self._passes[kind] += 1
        try:
            if self.network in self._now:
                return self._now[self.network](images)
            return self._forward(images, *more, **named)
        finally:
            self._now = {}

    def _see(self, seen: list[_Pass], images: Tensor, *more: Any, **named: Any) -> Any:
        autocast, given = autocast_of(images), _given(more, named)
        if given:
            parts, found = parts_of(self.network, lambda: self._forward(images, *more, **named))
        else:
            parts, found = {self.network: (images.detach(),)}, self._forward(images)
        seen.append(_Pass((images.shape, given), parts, autocast))
        return found

    def _recorded(self, seen: _Pass) -> Replays:
        alone = tuple(_Alone(part, self._replaced(part)) for part in seen.parts)
        with seen.autocast, warnings.catch_warnings():
            # `make_graphed_callables` records on another stream than that of its warm-up, which autograd tells of.
            warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")
            replays = self._record(alone, tuple(seen.parts.values()), allow_unused_input=True)
        for part in alone:
            part.let_go()
        return dict(zip(seen.parts, replays, strict=True))

    def _replaced(self, part: nn.Module) -> Forward:
        """Have the part replay where there is what; returns its own `forward`."""
        if part is self.network:
            return self._forward
        if part in self._originals:
            return self._originals[part]
        original = self._originals[part] = part.forward

        def forward(*arguments: Any, **named: Any) -> Any:
            replay = self._now.get(part)
            if replay is None or not part.training:
                return original(*arguments, **named)
            return replay(*arguments)

        part.forward = forward
        return original


def _given(more: tuple, named: dict[str, Any]) -> bool:
    """Whether a pass was given more than images."""
    return any(value is not None for value in (*more, *named.values()))


class _Alone(nn.Module):
    """One part of a network as a module of its own, whose `forward` a recording may replace."""

    def __init__(self, part: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.part, self._forward = part, forward
        self._made: Any = None

    def forward(self, *arguments: Any) -> Any:
        self._made = self._forward(*arguments)
        return self._made

    def let_go(self) -> None:
        """Take the gradients' graph from what was made last, in the recording, whose replays only read its memory.

        While it lived, the parameters' gradients would be added up on the stream of the recording.
        """
        for tensor in tree_leaves(self._made):
            tensor.detach_()
        self._made = None


def parts_of(network: nn.Module, run: Callable[[], Made]) -> tuple[dict[nn.Module, tuple], Made]:
    """The largest parts of a network that can be recorded, in the order of their calls in `run`, and what they got.

    A part has parameters, is called once, and takes and gives tensors, or lists of them. Also returns what `run` does.
    What a part got is detached: a recording fails while the graph of other gradients of its parameters lives.
    """
    calls: dict[nn.Module, list[tuple | None]] = {}

    def note(part: nn.Module, arguments: tuple, named: dict, output: Any) -> None:
        leaves = tree_leaves((arguments, output))
        sound = not named and all(isinstance(leaf, Tensor) for leaf in leaves)
        calls.setdefault(part, []).append(tree_map(_leaf, arguments) if sound else None)

    handles = [
        part.register_forward_hook(note, with_kwargs=True)
        for part in network.modules()
        if part is not network
    ]
    try:
        found = run()
    finally:
        for handle in handles:
            handle.remove()
    chosen = set(_largest(network, calls))
    # A call is noted when it ends, and of two parts neither of which holds the other, the first ends first.
    return {part: given[0] for part, given in calls.items() if part in chosen}, found  # type: ignore[misc]


def _largest(module: nn.Module, calls: dict[nn.Module, list[tuple | None]]) -> Iterator[nn.Module]:
    for child in module.children():
        once = calls.get(child, [])
        if len(once) == 1 and once[0] is not None and next(child.parameters(), None) is not None:
            yield child
        else:
            yield from _largest(child, calls)


def _leaf(tensor: Tensor) -> Tensor:
    """A copy of its own that wants a gradient as the tensor does."""
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)
