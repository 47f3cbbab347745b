"""The official codes' networks, as the goldens hold them: names, shapes, and outputs for a rule of weights."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

GOLDENS = Path(__file__).parent.parent / "goldens"


def keys(name: str) -> list[list]:
    """[name, shape, dtype] of every tensor, in the official order."""
    with gzip.open(GOLDENS / f"{name}.keys.json.gz", "rt") as file:
        return json.load(file)


def described(state: dict[str, torch.Tensor]) -> list[list]:
    """A state dict as `keys` describes one."""
    return [[name, list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in state.items()]


def fill(model: nn.Module, he: bool) -> None:
    """The goldens' rule: every tensor is drawn from a generator seeded with its own name."""
    state = {}
    for name, tensor in model.state_dict().items():
        draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(tensor.shape))
        if not tensor.is_floating_point():
            value = np.zeros(tuple(tensor.shape))
        elif name.endswith("running_var"):
            value = 1 + 0.1 * np.abs(draw)
        elif name.endswith(("running_mean", ".bias")):
            value = 0.1 * draw
        elif tensor.ndim >= 2:
            value = draw * (np.sqrt(2 / np.prod(tensor.shape[1:])) if he else 0.02)
        else:
            value = 1 + 0.1 * draw
        state[name] = torch.from_numpy(np.asarray(value)).to(tensor.dtype)
    model.load_state_dict(state)


def check_output(
    model: nn.Module, name: str, entry: str, relative: bool = False, size: tuple[int, int] = (256, 192)
) -> None:
    """Compare with a golden's entry: "train" (batch statistics), "out" or "he" (eval; "he" with large weights).

    Outputs agree to 1e-3, where `relative` or of "he" to 1e-3 of the largest; size: of the images, (H, W).
    """
    golden = np.load(GOLDENS / f"{name}.npz")
    fill(model, he=entry == "he")
    model.train(entry == "train")
    images = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)
    with torch.no_grad():
        outputs = model(torch.from_numpy(images))

    for index, output in enumerate(outputs if isinstance(outputs, list) else [outputs]):
        maps, kind = output.numpy(), f"{entry}{index}"
        assert maps.shape == tuple(golden[f"{kind}_shape"])
        stride = int(golden[f"{kind}_stride"])
        found = {"sub": maps[:, :, ::stride, ::stride], "mean": maps.mean((2, 3)), "std": maps.std((2, 3))}
        for part, value in found.items():
            expected = golden[f"{kind}_{part}"]
            tolerance = 1e-3 * (np.abs(expected).max() if relative or entry == "he" else 1)
            np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance, err_msg=f"{kind} {part}")
