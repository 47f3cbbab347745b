"""Random numbers for one rank's share of a global batch."""

from __future__ import annotations

import torch
from torch import Tensor

from sshpe_lib.transfer import sent


class Draw:
    """Draws for the whole global batch and keeps this rank's share.

    The mix a sample meets therefore depends on the seed and the step, and not on how many ranks share the
    batch. `generator` is a CPU generator; draws are moved to `device` afterwards, so that a CPU and a GPU see
    the same numbers.
    """

    def __init__(
        self, generator: torch.Generator, rank: int = 0, world: int = 1, device: str | torch.device = "cpu"
    ):
        self.generator, self.rank, self.world, self.device = generator, rank, world, device

    def _share(self, whole: Tensor, count: int) -> Tensor:
        return whole[self.rank * count : (self.rank + 1) * count]

    def rand(self, count: int, *shape: int) -> Tensor:
        """Uniform in [0, 1), (count, ...)."""
        return sent(self.rand_on_cpu(count, *shape), self.device)

    def rand_on_cpu(self, count: int, *shape: int) -> Tensor:
        """The same numbers as `rand`, left on the CPU, for what is decided there."""
        return self._share(torch.rand(count * self.world, *shape, generator=self.generator), count)

    def randn(self, count: int, *shape: int) -> Tensor:
        """Standard normal, (count, ...)."""
        whole = torch.randn(count * self.world, *shape, generator=self.generator)
        return sent(self._share(whole, count), self.device)

    def coin(self, probability: float) -> bool:
        """One toss for the whole global batch."""
        return torch.rand((), generator=self.generator).item() < probability
