"""What a network costs: parameters and multiply-accumulates."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Methods, and the functions over them that a mode is told of first, and then not of what they call.
DRAWN = {
    Tensor.normal_, Tensor.uniform_, Tensor.zero_, Tensor.fill_,
    nn.init.normal_, nn.init.uniform_, nn.init.constant_, nn.init.kaiming_uniform_,
}  # fmt: skip


class Undrawn(TorchFunctionMode):
    """Inside it weights are not drawn, for a network without storage: that takes longer than to make it."""

    def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        named = named or {}
        return next(iter((*given, *named.values()))) if function in DRAWN else function(*given, **named)


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, trainable or not; buffers such as running means are not counted."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, size: tuple[int, int]) -> int:
    """Multiply-accumulates of one forward pass on one image of `size` = (H, W).

    Convolutions, transposed convolutions and linear layers are counted, at the work they need: a transposed
    convolution by its *input* positions. (Published figures often count it by its output, four times as much
    at stride 2.) Batch norm, activations and resizing are left out. Runs on a copy without storage, so the
    model's mode, buffers and hooks stay as they are.
    """
    total = 0

    def count(
        module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        nonlocal total
        per_channel = module.weight.numel() // module.weight.shape[0]
        # weight is (out, in/groups, k, k), but (in, out/groups, k, k) in a transposed convolution
        applied = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += applied.numel() * per_channel

    shadow = copy.deepcopy(model).to("meta").eval()
    for module in shadow.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            module.register_forward_hook(count)
        elif isinstance(module, nn.BatchNorm2d):
            module.forward = nn.Identity().forward  # type: ignore[method-assign]  # most of the time, and no shape changes
    with torch.no_grad():
        shadow(torch.empty(1, 3, *size, device="meta"))
    return total
