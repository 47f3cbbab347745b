"""What PyTorch does around a call, asked or turned off: a graph that is traced, and autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def is_traced() -> bool:
    """Whether a graph is made of what is called, which must not look at numbers, nor leave PyTorch's operations."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def without_autocast(device: torch.device) -> AbstractContextManager:
    """A block in which matrices and grids on a device keep their precision, as training's bfloat16 would not have it.

    Where autocast is off the block does nothing, and a traced graph holds nothing of it.
    """
    kind = device.type
    # Tensors without memory ("meta") have none to ask about.
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else nullcontext()
