"""Official weights say which network they are of."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter

from sshpe_lib import initial
from sshpe_lib.config import Model
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import rsn
from sshpe_lib.models.recognise import Recognised, recognise
from sshpe_lib.profiles import load_profile
from tests.models import official

HRNET = {"width": 32, "stem": 64, "modules": (1, 4, 3), "blocks": 4}
RESNET = {"width": 64, "deconv_channels": 256, "output_stride": 32}
RSN = {
    "depth": 18, "stages": 1, "width": 64, "unit_channels": 256, "variant": "official", "prm": False, "expansion": 1,
}  # fmt: skip
OFFICIAL = {
    "simplebaseline_r18": Recognised("simple_baseline", RESNET | {"depth": 18}, 17),
    "simplebaseline_r50": Recognised("simple_baseline", RESNET | {"depth": 50}, 17),
    "udp_simplebaseline_r50_offset": Recognised("simple_baseline", RESNET | {"depth": 50}, 51),
    "hrnet_w32": Recognised("hrnet", HRNET | {"wide_fuse": False}, 17),
    "hrnet_w32_offset": Recognised("hrnet", HRNET | {"wide_fuse": False}, 51),
    "udp_hrnet_w32_offset": Recognised("hrnet", HRNET | {"wide_fuse": True}, 51),
    "higherhrnet_w32": Recognised("higher_hrnet", HRNET | {"higher": True}, 17),
    "bottomup_hrnet_w32": Recognised("higher_hrnet", HRNET | {"higher": False}, 17),
    "rsn18": Recognised("rsn", RSN, 17),
    "rsn18_2stage": Recognised("rsn", RSN | {"stages": 2}, 17),
    "udp_rsn18_se_prm": Recognised("rsn", RSN | {"variant": "udp", "prm": True}, 17),
}


def shapes(name: str) -> dict[str, torch.Tensor]:
    """The official tensors without their values."""
    return {key: torch.empty(shape, device="meta") for key, shape, _ in official.keys(name)}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_networks_are_recognised(name: str) -> None:
    assert recognise(shapes(name), "file") == OFFICIAL[name]


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_every_network_of_the_profiles_is_recognised(profile: str) -> None:
    for settings in load_profile(profile).backbones.values():
        model = TypeAdapter(Model).validate_python(settings).architecture
        with torch.device("meta"):
            state = initial.network(model, 17).state_dict()
        found = recognise(state, "file")
        assert found.network == model.network and found.outputs == 17
        own = model.model_dump(exclude={"network", "init", "trunk", "floor"})
        assert found.settings == own


@pytest.mark.parametrize("variant", ["official", "udp"])
def test_an_rsn_of_wider_levels_is_recognised(variant: str) -> None:
    with torch.device("meta"):
        state = rsn.RSN(17, width=16, depth=50, expansion=4, variant=variant).state_dict()
    wanted = {"depth": 50, "width": 16, "expansion": 4, "variant": variant}
    assert recognise(state, "file") == Recognised("rsn", RSN | wanted, 17)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({}, r"file: its tensors \(nothing, ...\) are of no official"),
        (
            {"backbone.conv1.weight": torch.empty(64, 3, 7, 7)},
            r"\(backbone.conv1.weight, ...\) are of no official",
        ),
        (
            {"final_layers.0.weight": torch.empty(34, 32, 1, 1)},
            "it has 'final_layers.0.weight' and lacks 'stage2",
        ),
        ({"deconv_layers.0.weight": torch.empty(4, 4, 4, 4)}, "no SimpleBaseline has layers of"),
        ({"stage0.upsample.up4.res_conv2.conv.weight": torch.empty(17, 8, 3, 3)}, "no RSN has levels of"),
    ],
)
def test_what_is_no_such_network_is_refused(state: dict, told: str) -> None:
    with pytest.raises(SSHPEError, match=told):
        recognise(state, "file")
