"""What the evaluation of a top-down and of a bottom-up network have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.statistics import Protocol, statistics
from sshpe_lib.skeleton import Skeleton


def _of_one_rank(tensor: Tensor) -> Tensor:
    """The sum over the ranks where there is one."""
    return tensor


@dataclass(frozen=True, kw_only=True)
class Evaluation(ABC):
    """Networks predict everybody in the test data, and the predictions are measured with COCO's OKS AP.

    ground_truth: the parsed COCO file; visibility: measure on visible and on occluded joints alone, too; protocol:
    whose statistics; progress: show a bar. Only `predict` touches the device; `rank` and `world` share the test data,
    and `reduce` sums a tensor over the ranks.
    """

    ground_truth: dict
    visibility: bool = False
    protocol: Protocol = "coco"
    progress: bool = False
    device: torch.device | str = "cpu"
    autocast: Callable[[], AbstractContextManager] = nullcontext
    rank: int = 0
    world: int = 1
    reduce: Callable[[Tensor], Tensor] = _of_one_rank

    def __call__(self, networks: Mapping[str, nn.Module]) -> dict[str, dict[str, float]]:
        """AP, AP50, AP75, APM, APL and AR of every network, in percent; with `visibility` AP-vis and AP-invis too."""
        predictions = self.predict(networks)
        return {name: self.measure(self.results(predicted)) for name, predicted in predictions.items()}

    @property
    @abstractmethod
    def skeleton(self) -> Skeleton:
        """That of the people in the test data."""

    @abstractmethod
    def predict(self, networks: Mapping[str, nn.Module]) -> Mapping[str, Any]:
        """For every network what `results` reads, in image pixels; modes and devices of networks are left as found."""

    @abstractmethod
    def results(self, predicted: Any) -> list[dict]:
        """COCO results of what a network predicted."""

    def measure(self, results: list[dict]) -> dict[str, float]:
        """COCO statistics of COCO results, in percent; a size that no person has is left out."""
        sigmas = self.skeleton.sigmas
        return statistics(self.ground_truth, results, sigmas, self.visibility, self.protocol)

    def alone(self, **changes: Any) -> Self:
        """The same with `changes` of its fields, by this process alone and not shared with the other ranks."""
        return replace(self, rank=0, world=1, reduce=_of_one_rank, **changes)


@contextmanager
def answering(networks: Mapping[str, nn.Module], device: torch.device | str) -> Iterator[None]:
    """Inside the block the networks are on the device and in evaluation mode; afterwards as they were found.

    Raises SSHPEError for a network whose weights are not float32, as images are.
    """
    for name, network in networks.items():
        other = next((one.dtype for one in network.parameters() if one.dtype != torch.float32), None)
        if other is not None:
            raise SSHPEError(
                f"the weights of {name!r} are {other}, and images are float32; give its `.float()`"
            )
    homes = [(network, _device_of(network)) for network in networks.values()]
    # One by one: a batch norm that is frozen among others that learn stays so.
    modes = [(part, part.training) for network in networks.values() for part in network.modules()]
    try:
        for network in networks.values():
            network.to(device).eval()
        yield
    finally:
        for network, home in homes:
            network.to(home)
        for part, training in modes:
            part.training = training


def _device_of(network: nn.Module) -> torch.device | None:
    """Where its weights are; None for a network without any, which is nowhere."""
    return next((weight.device for weight in network.parameters()), None)
