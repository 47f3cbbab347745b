"""In which order the numbers of images, maps and weights lie in memory."""

from __future__ import annotations

import torch
from torch import nn


def layout_of(network: nn.Module, channels_last: bool, device: torch.device | str) -> torch.memory_format:
    """Channels last where that is wanted and the network can learn so on the device; planes otherwise.

    An x86 CPU's gradient of a strided 1x1 convolution of few channels, such as a narrow ResNet's shortcuts, is written
    beside its memory there: wrong numbers, or the end of the process. Source: uxlfoundation/oneDNN#6035, of the oneDNN
    in PyTorch 2.13.
    """
    least = _fewest_channels() if torch.device(device).type == "cpu" else 0
    narrow = any(
        isinstance(part, nn.Conv2d)
        and part.kernel_size == (1, 1)
        and part.stride != (1, 1)
        and part.in_channels < least
        for part in network.modules()
    )
    return torch.channels_last if channels_last and not narrow else torch.contiguous_format


def _fewest_channels() -> int:
    """That are right in one block of what oneDNN computes at once; 0 where it has no such blocks."""
    found = torch.cpu.get_capabilities()
    return 16 if found.get("avx512_f") else 8 if found.get("avx2") else 0
