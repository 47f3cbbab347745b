"""Random numbers for one rank's share of a global batch."""

from __future__ import annotations

import torch
from torch import Tensor

from sshpe_lib.errors import SSHPEError
from sshpe_lib.transfer import sent


class Draw:
    """Draws for the whole global batch and keeps this rank's share.

    The mix a sample meets therefore depends on the seed and the step, and not on how many ranks share the
    batch. `generator` is a CPU generator, and the numbers stay on the CPU, so that a GPU's run sees the same. What
    follows from them alone is best computed there too, and what has become of them sent to `device` together: a GPU
    takes as long for a few numbers as for many.

    Raises:
        SSHPEError: the rank is none of `world`.
    """

    def __init__(
        self, generator: torch.Generator, rank: int = 0, world: int = 1, device: str | torch.device = "cpu"
    ):
        if not 0 <= rank < world:
            raise SSHPEError(
                f"rank {rank} of {world}; ranks count from 0, and world is how many share the batch"
            )
        self.generator, self.rank, self.world, self.device = generator, rank, world, device

    def _share(self, whole: Tensor, count: int) -> Tensor:
        return whole[self.rank * count : (self.rank + 1) * count]

    def rand(self, count: int, *shape: int) -> Tensor:
        """Uniform in [0, 1), (count, ...)."""
        whole = torch.rand(count * self.world, *shape, generator=self.generator, device="cpu")
        return self._share(whole, count)

    def randn(self, count: int, *shape: int) -> Tensor:
        """Standard normal, (count, ...)."""
        whole = torch.randn(count * self.world, *shape, generator=self.generator, device="cpu")
        return self._share(whole, count)

    def coin(self, probability: float) -> bool:
        """One toss for the whole global batch."""
        return torch.rand((), generator=self.generator, device="cpu").item() < probability

    def check(self, images: Tensor) -> None:
        """Raises SSHPEError where the images are not on `device`, so that what is sent could not meet them."""
        device = torch.device(self.device)
        if images.device.type != device.type:
            raise SSHPEError(
                f"the images are on {images.device}, and what is drawn goes to {device}; give Draw "
                f"device={str(images.device)!r}"
            )

    def send(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """What was made of such numbers on the CPU, on `device`."""
        return sent(tensors, self.device)
