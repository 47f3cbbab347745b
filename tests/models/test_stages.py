"""Named parts of any module, looked at and changed from outside."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import resnet
from sshpe_lib.models.stages import at_stages


def test_a_foreign_network_is_mixed_as_our_own() -> None:
    """A SimpleBaseline whose parts are hooked answers as the same one asked by `after_stage`."""
    network = resnet.build(18, 17, width=8, deconv_channels=16, output_stride=16, seed=0).eval()
    images = torch.randn(4, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    mum = PoseMUM(sites=("layer1", "layer2"), probability=1.0)
    one, two = (mum.draw(4, Draw(torch.Generator().manual_seed(2))) for _ in range(2))
    own = network(one.image(images), after_stage=one.after_stage)
    with at_stages(network, ["layer1", "layer2", "layer4"], two.after_stage):
        hooked = network(two.image(images))
    assert torch.equal(own, hooked)
    assert not torch.equal(hooked, network(images)), "mixing showed other neighbours to the encoder"
    assert torch.equal(network(images), network(images)), "outside the block nothing is called"


def test_an_unknown_part_is_told_and_leaves_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(SSHPEError, match="Sequential has no part 'layer1'; it has: 0, 1"):
        with at_stages(model, ["0", "layer1"], lambda name, output: output * 0):
            pass
    assert not model[0]._forward_hooks
