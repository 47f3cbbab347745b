"""What must hold on a GPU, shown without one."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Steps:
    """A stand-in for the loader, for a trainer that is given its batches."""

    steps, burn_in = 10**9, 0


class OneDevice(TorchDispatchMode):
    """Operations whose tensors lie on several devices fail, as on a GPU; without memory some do not."""

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        leaves = [leaf for leaf in tree_leaves((arguments, named)) if isinstance(leaf, torch.Tensor)]
        if operation.overloadpacket.__name__ != "_to_copy":
            devices = {leaf.device.type for leaf in leaves if leaf.ndim or leaf.is_meta}
            assert len(devices) < 2, f"{operation} of tensors on {devices}"
        return operation(*arguments, **named or {})
