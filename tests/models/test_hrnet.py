"""HRNet against the official code's and UDP's names and outputs, and what every network must keep."""

from __future__ import annotations

import pytest
import torch

from sshpe_lib.errors import SSHPEError
from sshpe_lib.models.cost import count_macs, count_parameters
from sshpe_lib.models.hrnet import HRNet
from sshpe_lib.models.stages import seeded
from sshpe_lib.models.weights import load_trunk
from tests.models import official

SMALL = {"width": 8, "stem": 8, "modules": (1, 1, 1), "blocks": 1, "seed": 0}
KINDS = [("hrnet_w32", 17, False), ("hrnet_w32_offset", 51, False), ("udp_hrnet_w32_offset", 51, True)]


def build(*sizes: int, seed: int, **settings) -> HRNet:
    with seeded(seed):
        return HRNet(*sizes, **settings)


def images(count: int = 2, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "channels", "wide_fuse", "entry"),
    [(*KINDS[0], "train"), (*KINDS[0], "he"), (*KINDS[1], "train"), (*KINDS[2], "train"), (*KINDS[2], "he")],
)
def test_outputs_equal_the_official_network(name: str, channels: int, wide_fuse: bool, entry: str) -> None:
    official.check_output(build(32, channels, wide_fuse=wide_fuse, seed=0), name, entry)


@pytest.mark.parametrize(("name", "channels", "wide_fuse"), KINDS)
def test_names_shapes_and_order_are_the_official_ones(name: str, channels: int, wide_fuse: bool) -> None:
    with torch.device("meta"):
        found = HRNet(32, channels, wide_fuse=wide_fuse).state_dict()
    assert official.described(found) == official.keys(name)


@pytest.mark.parametrize(
    ("arguments", "size", "parameters", "gmacs"),
    [
        ({"width": 32}, (256, 192), 28.54, 7.65),
        ({"width": 32}, (384, 288), 28.54, 17.20),
        ({"width": 48}, (256, 192), 63.60, 15.69),
        ({"width": 48}, (384, 288), 63.60, 35.31),
        ({"width": 32, "channels": 51, "wide_fuse": True}, (256, 192), 28.59, 7.68),
        ({"width": 48, "channels": 51, "wide_fuse": True}, (256, 192), 63.71, 15.77),
    ],
)
def test_cost(arguments: dict, size: tuple[int, int], parameters: float, gmacs: float) -> None:
    with torch.device("meta"):
        model = HRNet(**arguments)
    assert round(count_parameters(model) / 1e6, 2) == parameters
    assert round(count_macs(model, size) / 1e9, 2) == gmacs


def test_more_modules_are_a_deeper_network_of_the_same_names() -> None:
    with torch.device("meta"):
        plain, deeper = HRNet(48), HRNet(48, modules=(2, 8, 6))
    names = {name: t.shape for name, t in deeper.state_dict().items()}
    last = "stage4.2.fuse_layers.0."  # no longer the last, and then of four outputs
    assert all(names[name] == t.shape for name, t in plain.state_dict().items() if not name.startswith(last))
    assert count_parameters(deeper) > 1.9 * count_parameters(plain)


@pytest.mark.parametrize("wide_fuse", [False, True])
@pytest.mark.parametrize("channels", [14, 51])
def test_shapes_of_every_stage(channels: int, wide_fuse: bool) -> None:
    shapes = {}

    def note(name, features):
        shapes[name] = [tuple(f.shape[1:]) for f in (features if isinstance(features, list) else [features])]
        return features

    maps = build(channels=channels, wide_fuse=wide_fuse, **SMALL)(images(), note)
    assert maps.shape == (2, channels, 16, 24)
    assert torch.isfinite(maps).all()
    assert tuple(shapes) == HRNet.stages
    assert shapes["layer1"] == [(32, 16, 24)]
    assert shapes["stage3"] == [(8, 16, 24), (16, 8, 12), (32, 4, 6)]
    assert shapes["stage4"] == [(32 if wide_fuse else 8, 16, 24)]


@pytest.mark.parametrize("stage", HRNet.stages)
def test_after_stage_may_replace_the_features(stage: str) -> None:
    model = build(**SMALL).eval()

    def swap(name, features):
        if name != stage:
            return features
        return [f.flip(0) for f in features] if isinstance(features, list) else features.flip(0)

    with torch.no_grad():
        plain = model(images())
        torch.testing.assert_close(model(images(), swap), plain.flip(0), rtol=1e-4, atol=1e-9)
        assert not torch.equal(plain, plain.flip(0))


@pytest.mark.parametrize("wide_fuse", [False, True])
def test_gradient_reaches_every_parameter(wide_fuse: bool) -> None:
    model = build(wide_fuse=wide_fuse, **SMALL | {"modules": (1, 2, 2), "blocks": 2})
    for parameter in model.parameters():  # the reference's weights are so small that gradients underflow
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter, generator=torch.Generator().manual_seed(1))
    model(images(4)).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_branches_are_not_written_by_the_exchange() -> None:
    """Every term of a sum may be a branch that another output reads as well."""
    model = build(**SMALL | {"modules": (2, 2, 2)}).eval()
    module = model.stage3[0]
    branches = [torch.randn(1, 8 * 2**i, 16 // 2**i, 16 // 2**i) for i in range(3)]
    with torch.no_grad():
        whole = module(list(branches))
        alone = [module._exchange(paths, [b(x) for b, x in zip(module.branches, branches, strict=True)])
                 for paths in module.fuse_layers]  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(whole, alone, strict=True))


def test_initial_scales() -> None:
    model = build(32, seed=0)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 10_000:
            assert module.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert not model.final_layer.bias.any()


TRUNK = {"stem": 8, "modules": (1, 1, 2), "blocks": 1}


def imagenet_file(width: int) -> dict[str, torch.Tensor]:
    """What the published files hold: a trunk whose last exchange has all four outputs, and a classifier."""
    whole = HRNet(width, **TRUNK).state_dict()
    kept = {name: t for name, t in whole.items() if not name.startswith(("final_layer", "stage4.1"))}
    # the module before the last one is of the same kind, and has all outputs
    last = {
        name.replace("stage4.0", "stage4.1"): t for name, t in kept.items() if name.startswith("stage4.0")
    }
    extra = (
        "incre_modules.0.0.conv1.weight",
        "downsamp_modules.0.0.bias",
        "final_layer.0.weight",
        "classifier.bias",
    )
    return kept | last | {name: torch.ones(2) for name in extra}


@pytest.mark.parametrize("wide_fuse", [False, True])
def test_load_trunk_takes_all_but_the_classifier_and_what_it_reads(wide_fuse: bool) -> None:
    model = build(8, **TRUNK, wide_fuse=wide_fuse, seed=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    file = imagenet_file(8)
    loaded = load_trunk(model, file)
    own = [name for name in before if name not in loaded]
    assert {name.split(".")[0] for name in own} == (
        {"final_layer", "stage4"} if wide_fuse else {"final_layer"}
    )
    assert all(name.startswith(("final_layer.", "stage4.1.fuse_layers.")) for name in own)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, file[name] if name in loaded else before[name]), name


def test_load_trunk_refuses_another_width() -> None:
    with pytest.raises(SSHPEError, match="HRNet's trunk: .* of another shape"):
        load_trunk(build(12, **TRUNK, seed=0), imagenet_file(8))


def test_channels_last_gives_the_same_maps() -> None:
    model = build(**SMALL).eval()
    with torch.no_grad():
        expected = model(images())
        found = model.to(memory_format=torch.channels_last)(images().to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize("size", [(64, 48), (40, 64)])
def test_a_size_that_32_does_not_divide_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(SSHPEError, match=r"HRNet needs multiples of 32"):
        build(**SMALL)(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64)])
def test_images_of_another_kind_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SSHPEError, match=r"\(B, 3, H, W\)"):
        build(**SMALL)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"width": 0}, "width=0"),
        ({"stem": -1}, "stem=-1"),
        ({"blocks": 0}, "blocks=0"),
        ({"channels": 0}, "channels=0"),
        ({"modules": (1, 4)}, "three numbers"),
        ({"modules": (1, 0, 3)}, "three numbers"),
    ],
)
def test_an_impossible_network_is_refused(arguments: dict, told: str) -> None:
    with pytest.raises(SSHPEError, match=told):
        HRNet(**arguments)
