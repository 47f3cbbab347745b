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
        leaves = _tensors((arguments, named))
        if operation.overloadpacket.__name__ != "_to_copy":
            devices = {leaf.device.type for leaf in leaves if leaf.ndim or leaf.is_meta}
            assert len(devices) < 2, f"{operation} of tensors on {devices}"
        return operation(*arguments, **named or {})


class Made(TorchDispatchMode):
    """Remembers the memory of all that is given and of all that is made."""

    def __init__(self, given: object) -> None:
        super().__init__()
        self.tensors = _tensors(given)  # kept, so that no other memory is taken for theirs

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        made = operation(*arguments, **named or {})
        if not operation.is_view:  # that of a constant, which was there before, makes nothing
            self.tensors += _tensors(made)
        return made


class Without(TorchDispatchMode):
    """Operations that read one of some tensors fail."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        super().__init__()
        self._memory = {_memory_of(tensor) for tensor in tensors}

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        read = {_memory_of(tensor) for tensor in _tensors((arguments, named))}
        assert not read & self._memory, f"{operation} reads what another stream writes"
        return operation(*arguments, **named or {})


def _memory_of(tensor: torch.Tensor) -> int:
    """A name of the memory that a tensor lies in."""
    return tensor.untyped_storage()._cdata


def _tensors(nested: object) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(nested) if isinstance(leaf, torch.Tensor)]
