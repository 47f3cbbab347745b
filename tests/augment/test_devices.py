"""An augmentation leaves its numbers on the CPU, sends what follows from them together, and waits for no answer.

Shown on tensors without memory (`meta`), from which nothing can be read: whatever looks at a result, or takes a tensor
of the CPU for one of the device, fails. Of whole steps: tests/test_devices.py.
"""

import pytest
import torch

from sshpe_lib.augment import dropping
from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.cut_occlude import CutOcclude
from sshpe_lib.augment.cutout import Cutout
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.rand_augment import RandAugment
from sshpe_lib.augment.view import View
from tests.devices import OneDevice

OPERATIONS = [
    HardAffine(), HardAffine(legacy=True), HardAffine(unbiased=True),
    JointCutout(), JointCutout(legacy_clamp=True), JointCutout(unbiased=True),
    Cutout(), CutOcclude(), CutOcclude(unbiased=True), RandAugment(),
    PoseMUM(), PoseMUM(sites=("layer1", "layer2"), toss="group", stages="uniform"),
    dropping.RandomErasing(), dropping.GridMask(fill="black"), dropping.HideAndSeek(legacy_rows=True),
    dropping.InformationCutout(), dropping.InformationCutout(shape="square", probability=0.5),
]  # fmt: skip


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
