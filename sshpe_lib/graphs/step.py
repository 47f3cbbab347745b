"""Everything of a training step that is recorded as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from sshpe_lib.graphs.network import Graphs


class StepGraphs:
    """The recordings of all networks of a training step, each given once.

    Where they are not `wanted` all runs as it would.
    """

    def __init__(self, networks: Iterable[nn.Module], wanted: bool) -> None:
        self._networks = [Graphs(network) for network in networks] if wanted else []

    @property
    def wanted(self) -> bool:
        """Whether steps are recorded, and not let go yet."""
        return bool(self._networks)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Inside the block the passes of one step are taken, and replayed where they were recorded."""
        with ExitStack() as stack:
            for graphs in self._networks:
                stack.enter_context(graphs.step())
            yield

    def record(self, step: Callable[[], object]) -> None:
        """Record what a step does; nothing else may use the GPU meanwhile, and what it computes is worth nothing."""
        with ExitStack() as stack:
            for graphs in self._networks:
                stack.enter_context(graphs.recording())
            step()

    def close(self) -> None:
        """Let all recordings go; steps are then taken without."""
        for graphs in self._networks:
            graphs.close()
        self._networks.clear()
