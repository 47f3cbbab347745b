"""An augmentation leaves its numbers on the CPU, sends what follows from them together, and waits for no answer.

Shown on tensors without memory (`meta`), from which nothing can be read: whatever looks at a result, or takes a tensor
of the CPU for one of the device, fails. What else a GPU shows: tests/test_gpu.py.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sshpe_lib.augment import dropping
from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.cut_occlude import CutOcclude
from sshpe_lib.augment.cutout import Cutout
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.rand_augment import RandAugment
from sshpe_lib.augment.view import View

OPERATIONS = [
    HardAffine(), HardAffine(legacy=True), HardAffine(unbiased=True),
    JointCutout(), JointCutout(legacy_clamp=True), Cutout(), CutOcclude(), RandAugment(),
    PoseMUM(), PoseMUM(sites=("layer1", "layer2"), toss="group", stages="uniform"),
    dropping.RandomErasing(), dropping.GridMask(fill="black"), dropping.HideAndSeek(legacy_rows=True),
    dropping.InformationCutout(), dropping.InformationCutout(shape="square", probability=0.5),
]  # fmt: skip


class OneDevice(TorchDispatchMode):
    """Operations whose tensors lie on several devices fail, as on a GPU; without memory some do not."""

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        leaves = [leaf for leaf in tree_leaves((arguments, named)) if isinstance(leaf, torch.Tensor)]
        if operation.overloadpacket.__name__ != "_to_copy":
            devices = {leaf.device.type for leaf in leaves if leaf.ndim or leaf.is_meta}
            assert len(devices) < 2, f"{operation} of tensors on {devices}"
        return operation(*arguments, **named or {})


class Counted(Draw):
    """Counts what is sent."""

    sent = 0

    def send(self, *tensors):
        self.sent += 1
        assert all(tensor.device.type == "cpu" for tensor in tensors)
        return super().send(*tensors)


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_it_works_on_a_device_without_looking_there(operation):
    image = torch.empty(8, 3, 64, 48, device="meta").contiguous(memory_format=torch.channels_last)
    draw = Counted(torch.Generator().manual_seed(0), device="meta")
    with OneDevice():
        view, heatmaps = operation(View(image), torch.empty(8, 17, 16, 12, device="meta"), draw)
        assert view.image.is_meta and heatmaps.is_meta and view.image.shape == image.shape
        assert draw.sent <= 2
        if view.after_stage is not None:
            for stage in ("layer1", "layer2", "layer3", "layer4"):
                assert view.after_stage(stage, torch.empty(8, 16, 8, 6, device="meta")).is_meta
