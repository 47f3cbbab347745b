"""Where a network's weights start."""

import pytest
import torch
from pydantic import ValidationError

from sshpe_lib import initial, paths, seeding, tables
from sshpe_lib.config import RSN, HigherHRNet, HRNet, SimpleBaseline
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import published
from sshpe_lib.models.stages import seeded

SMALL = {"width": 8, "deconv_channels": 16, "output_stride": 16}


HIGH = {"init": "scratch", "width": 8, "stem": 8, "modules": (1, 1, 1), "blocks": 1}


@pytest.mark.parametrize(
    "model",
    [
        SimpleBaseline(init="scratch", **SMALL),
        HRNet(network="hrnet", **HIGH),
        HigherHRNet(network="higher_hrnet", **HIGH),
        RSN(network="rsn", width=16, unit_channels=16),
    ],
    ids=str,
)
def test_scratch_is_decided_by_the_seed_and_the_global_generator_is_left_alone(model):
    before = torch.get_rng_state()
    one, two, other = (initial.build(model, 17, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if one[name].ndim == 4)


def test_weights_are_drawn_from_a_stream_of_their_own():
    """The bits that every record from scratch rests on."""
    model = SimpleBaseline(init="scratch", **SMALL)
    with seeded(seeding.derive(5, "init")):
        expected = initial.network(model, 17).state_dict()
    made = initial.build(model, 17, 5).state_dict()
    assert all(torch.equal(made[name], tensor) for name, tensor in expected.items())


def test_imagenet_weights_fill_the_trunk_and_leave_the_head(tmp_path, monkeypatch):
    """A file in torchvision's layout, where `fetch` would put it; fresh parts are those of scratch."""
    monkeypatch.setenv("SSHPE_CACHE", str(tmp_path))
    from sshpe_lib.models._torchvision import import_torchvision

    trunk = import_torchvision("models.resnet").resnet18().state_dict()
    monkeypatch.setattr(published, "fetch", lambda *_: tmp_path / "resnet18.pth")
    torch.save(trunk, tmp_path / "resnet18.pth")
    made = initial.build(SimpleBaseline(init="imagenet"), 17, 0).state_dict()
    scratch = resnet_state()
    assert torch.equal(made["layer4.1.conv2.weight"], trunk["layer4.1.conv2.weight"])
    assert torch.equal(made["final_layer.weight"], scratch["final_layer.weight"])
    assert torch.equal(made["deconv_layers.0.weight"], scratch["deconv_layers.0.weight"])


def resnet_state() -> dict:
    return initial.build(SimpleBaseline(init="scratch"), 17, 0).state_dict()


@pytest.mark.parametrize("width", [32, 48])
@pytest.mark.parametrize(("kind", "network"), [(HRNet, "hrnet"), (HigherHRNet, "higher_hrnet")])
def test_the_published_trunk_is_that_of_the_width(kind, network, width):
    found = initial.trunk_of(kind(network=network, width=width))
    assert found is published.IMAGENET_HRNET[width] and f"w{width}" in found.name.lower()


def test_a_trunk_that_was_never_made_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "params", lambda: tmp_path)
    with pytest.raises(SSHPEError, match="objects-r18-w8-s16.safetensors.*python -m sshpe_lib.pretrain"):
        initial.build(SimpleBaseline(init="objects", trunk="0" * 16, **SMALL), 17, 0)


def test_a_shipped_trunk_is_the_one_that_the_experiment_names():
    """The trunk of the profile quick fills all but the decoder and the head; another digest is refused."""
    model = tables.experiment("quick", "supervised").model
    made, scratch = (
        initial.build(m, 17, 0).state_dict()
        for m in (model, model.model_copy(update={"init": "scratch", "trunk": None}))
    )
    assert not torch.equal(made["layer4.1.conv2.weight"], scratch["layer4.1.conv2.weight"])
    assert torch.equal(made["deconv_layers.0.weight"], scratch["deconv_layers.0.weight"])
    with pytest.raises(SSHPEError, match="sha256 .* but model.trunk is 0000000000000000"):
        initial.build(model.model_copy(update={"trunk": "0" * 16}), 17, 0)


def test_init_and_trunk_belong_together():
    with pytest.raises(ValidationError, match="goes with model.init"):
        SimpleBaseline(init="objects")
    with pytest.raises(ValidationError, match="goes with model.init"):
        SimpleBaseline(init="scratch", trunk="0" * 16)
