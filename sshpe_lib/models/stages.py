"""What every network here has: named stages that a caller may look at or change, and sizes that are checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from sshpe_lib.errors import SSHPEError

Features = TypeVar("Features", Tensor, list[Tensor])  # one map, or those of several branches


class AfterStage(Protocol):
    """What a caller makes of the features of a named stage; what it returns takes their place."""

    def __call__(self, name: str, features: Features, /) -> Features: ...


def keep(name: str, features: Features) -> Features:
    """The `after_stage` that changes nothing."""
    return features


@contextmanager
def at_stages(model: nn.Module, stages: Iterable[str], after_stage: AfterStage) -> Iterator[nn.Module]:
    """Inside the block `after_stage` is called after named parts of any module, as the networks here call theirs.

    stages: names of submodules, such as ("layer1", "layer4") of torchvision's ResNet; what `after_stage(name, output)`
    returns takes the output's place. A part that runs several times in one pass is seen each time.

    Raises:
        SSHPEError: the module has no part of that name, or `stages` is a string.
    """
    if isinstance(stages, str):
        raise SSHPEError(f"the stages are {stages!r}; give a tuple, ({stages!r},)")
    handles = []
    try:
        for name in stages:
            try:
                part = model.get_submodule(name)
            except AttributeError:
                known = ", ".join(name for name, _ in model.named_children()) or "none"
                raise SSHPEError(f"{type(model).__name__} has no part {name!r}; it has: {known}") from None
            handles.append(
                part.register_forward_hook(lambda _, __, output, name=name: after_stage(name, output))
            )
        yield model
    finally:
        for handle in handles:
            handle.remove()


def belongs(name: str, modules: Iterable[str]) -> bool:
    """Whether a tensor of a state dict is part of one of the modules."""
    return any(name.startswith(f"{module}.") for module in modules)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights drawn inside depend on `seed` alone; torch's global generator is left as found."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # another device has numbers of its own
        torch.default_generator.manual_seed(seed)
        yield


def check_sizes(**sizes: int) -> None:
    """Raises SSHPEError for a size below 1, with its name."""
    for name, value in sizes.items():
        if value < 1:
            raise SSHPEError(f"{name}={value}; it must be at least 1")


def check_images(
    images: Tensor, multiple: int, network: str, cure: str = "choose another input size"
) -> None:
    """Raises SSHPEError where images are not (B, 3, H, W) with sides that are multiples of `multiple`."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise SSHPEError(f"images have shape {tuple(images.shape)}; {network} takes (B, 3, H, W)")
    height, width = images.shape[-2:]
    if height % multiple or width % multiple:
        raise SSHPEError(
            f"images are {height}x{width} (HxW), but {network} needs multiples of {multiple}; {cure}"
        )
