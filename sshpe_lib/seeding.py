"""One root seed, many named streams.

A stream's seed is a hash of its names, so what one sample draws depends on (seed, epoch, index) and never on
the worker, the rank, or what was drawn before it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(*names: int | str) -> int:
    """A 63-bit seed from any sequence of integers and strings, the same on every machine."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def numpy_stream(*names: int | str) -> np.random.Generator:
    """A fresh NumPy generator for the stream with these names."""
    return np.random.default_rng(derive(*names))


def torch_stream(*names: int | str) -> torch.Generator:
    """A fresh CPU torch generator for the stream with these names."""
    import torch

    return torch.Generator().manual_seed(derive(*names))
