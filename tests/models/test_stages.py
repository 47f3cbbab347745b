"""Named parts of any module, looked at and changed from outside."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import resnet
from sshpe_lib.models.stages import at_stages, seeded


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


def test_seeded_weights_do_not_depend_on_the_default_device() -> None:
    with seeded(3):
        expected = torch.rand(4)
    with torch.device("meta"), seeded(3):
        found = torch.rand(4)
    assert torch.equal(found, expected)


def test_an_unknown_part_is_told_and_leaves_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(SSHPEError, match="Sequential has no part 'layer1'; it has: 0, 1"):
        with at_stages(model, ["0", "layer1"], lambda name, output: output * 0):
            pass
    assert not model[0]._forward_hooks


def test_a_string_of_stages_is_refused() -> None:
    with pytest.raises(SSHPEError, match=r"the stages are 'layer1'; give a tuple, \('layer1',\)"):
        with at_stages(nn.Sequential(nn.ReLU()), "layer1", lambda name, output: output):
            pass


class Several(nn.Module):
    """A stage that gives its maps in one thing."""

    def __init__(self, together: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.together = together

    def forward(self, images: Tensor) -> Any:
        return self.together(images, images[..., ::2, ::2] + 1)


class Pair(NamedTuple):
    fine: Tensor
    coarse: Tensor


TOGETHER = [
    lambda fine, coarse: [fine, coarse],
    lambda fine, coarse: (fine, coarse),
    Pair,
    lambda fine, coarse: {"fine": fine, "coarse": coarse},
    lambda fine, coarse: OrderedDict(fine=[fine, coarse]),
]


@pytest.mark.parametrize("together", TOGETHER)
def test_several_maps_of_a_stage_are_mixed_alike_and_stay_together(together: Callable) -> None:
    """The unmix gives back what the image's mix took apart."""
    images = torch.randn(4, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    mix, network = PoseMUM(unmix="0").draw(4, Draw(torch.Generator().manual_seed(2))), Several(together)
    with at_stages(nn.Sequential(network), ["0"], mix.after_stage) as model:
        found = model(mix.image(images))
    torch.testing.assert_close(found, network(images), rtol=0, atol=0)
    assert type(found) is type(network(images))


def test_a_stage_that_gives_more_than_maps_is_refused() -> None:
    network = nn.Sequential(Several(lambda fine, coarse: {"fine": fine, "scale": 2}))
    images = torch.zeros(4, 3, 64, 48)
    mix = PoseMUM(unmix="0").draw(4, Draw(torch.Generator().manual_seed(2)))
    with pytest.raises(SSHPEError, match="takes a stage's maps, one or several, and meets an object of int"):
        with at_stages(network, ["0"], mix.after_stage) as model:
            model(mix.image(images))
