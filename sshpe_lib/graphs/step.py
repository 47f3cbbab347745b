"""Everything of a training step that is recorded as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar

from torch import nn

from sshpe_lib.graphs.network import Graphs
from sshpe_lib.graphs.replay import Replay

Made = TypeVar("Made")


class StepGraphs(Generic[Made]):
    """All recordings of a training step: the passes of its networks, and what `label` makes of labelled images.

    Where they are not `wanted` nothing is recorded, and all runs as it would.
    """

    def __init__(self, networks: Iterable[nn.Module], label: Callable[..., Made], wanted: bool) -> None:
        self._networks = [Graphs(network) for network in dict.fromkeys(networks)] if wanted else []
        self._label = label
        self._labels = Replay(label) if wanted else None
        self._recording = False

    @property
    def wanted(self) -> bool:
        """Whether steps are recorded, and not let go yet."""
        return self._labels is not None

    def label(self, *given: Any) -> Made:
        """What `label` makes of tensors, or of tuples of them."""
        if self._labels is None:
            return self._label(*given)
        return self._labels.see(*given) if self._recording else self._labels(*given)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Inside the block the passes of one step are taken, and replayed where they were recorded."""
        with ExitStack() as stack:
            for graphs in self._networks:
                stack.enter_context(graphs.step())
            yield

    def record(self, step: Callable[[], object]) -> None:
        """Record what a step does; nothing else may use the GPU meanwhile, and what it computes is worth nothing."""
        self._recording = True
        with ExitStack() as stack:
            for graphs in self._networks:
                stack.enter_context(graphs.recording())
            step()
        self._recording = False
        if self._labels is not None:
            self._labels.record()

    def close(self) -> None:
        """Let all recordings go; steps are then taken without."""
        for graphs in self._networks:
            graphs.close()
        self._networks.clear()
        self._labels = None
