"""The gradients of several losses, added up all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def add_up(
    terms: Sequence[Tensor], parameters: Sequence[nn.Parameter], backward: Callable[[Tensor], None]
) -> None:
    """Give parameters the gradients of a sum of terms that have nothing in common but these.

    backward: takes the gradients of one term. Of the sum, autograd would add them up parameter by parameter, in as many
    kernels, which a GPU is given one by one.
    """
    sums: dict[nn.Parameter, Tensor] = {}
    for term in terms:
        for parameter in parameters:
            parameter.grad = None
        backward(term)
        found = {one: one.grad for one in parameters if one.grad is not None}
        both = [one for one in found if one in sums]
        if both:
            torch._foreach_add_([sums[one] for one in both], [found[one] for one in both])
        sums = found | sums
    for parameter, gradient in sums.items():
        parameter.grad = gradient
