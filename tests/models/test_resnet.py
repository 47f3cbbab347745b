"""SimpleBaseline against the official code's names and outputs, and what every network must keep."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sshpe_lib.errors import SSHPEError
from sshpe_lib.models._torchvision import import_torchvision
from sshpe_lib.models.cost import count_macs, count_parameters
from sshpe_lib.models.resnet import DEPTHS, SimpleBaseline, build
from tests.models import official

SMALL = {"width": 16, "deconv_channels": 32, "seed": 0}
# (H, W), output stride, width
SMALL_INPUTS = [
    ((64, 48), 16, 16),
    ((64, 48), 16, 32),
    ((96, 72), 8, 16),
    ((96, 72), 8, 32),
    ((128, 96), 32, 16),
]


@pytest.mark.parametrize("entry", ["train", "he"])
@pytest.mark.parametrize("depth", [18, 50])
def test_outputs_equal_the_official_network(depth: int, entry: str) -> None:
    official.check_output(build(depth, seed=0), f"simplebaseline_r{depth}", entry)


def test_outputs_with_offsets_equal_those_of_udps_network() -> None:
    official.check_output(build(50, 51, seed=0), "udp_simplebaseline_r50_offset", "train")


@pytest.mark.parametrize("depth", [18, 50])
def test_names_shapes_and_order_are_the_official_ones(depth: int) -> None:
    with torch.device("meta"):
        assert official.described(SimpleBaseline(depth).state_dict()) == official.keys(
            f"simplebaseline_r{depth}"
        )


@pytest.mark.parametrize("depth", DEPTHS)
def test_trunk_is_torchvisions_and_tail_is_the_official_one(depth: int) -> None:
    with torch.device("meta"):
        trunk = getattr(import_torchvision("models.resnet"), f"resnet{depth}")().state_dict()
        found = official.described(SimpleBaseline(depth).state_dict())
    tail = official.keys(f"simplebaseline_r{50 if depth >= 50 else 18}")
    tail = [entry for entry in tail if entry[0].startswith(("deconv_layers.", "final_layer."))]
    assert len(tail) == 20
    assert found == official.described({n: t for n, t in trunk.items() if not n.startswith("fc.")}) + tail


@pytest.mark.parametrize(
    ("depth", "parameters", "gmacs"),
    [(18, 15.38, 2.90), (50, 34.00, 5.43), (101, 52.99, 9.06), (152, 68.64, 12.70)],
)
def test_cost(depth: int, parameters: float, gmacs: float) -> None:
    with torch.device("meta"):
        model = SimpleBaseline(depth)
    assert round(count_parameters(model) / 1e6, 2) == parameters
    assert round(count_macs(model, (256, 192)) / 1e9, 2) == gmacs


def test_counting_leaves_the_model_alone() -> None:
    model = build(18, output_stride=16, **SMALL)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_macs(model, (64, 48))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_macs_of_layers_worked_out_by_hand() -> None:
    grouped = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3), nn.ConvTranspose2d(6, 4, 4, 2, 1)
    )
    # 4x4 outputs of 6 channels from 1 channel and 9 taps; 4x4 inputs of 6 channels to 4 channels and 16 taps
    assert count_macs(grouped, (8, 8)) == 16 * 6 * 9 + 16 * 6 * 4 * 16


@pytest.mark.parametrize(("size", "output_stride", "width"), SMALL_INPUTS)
@pytest.mark.parametrize("keypoints", [14, 17])
def test_shape_and_finite(size: tuple[int, int], output_stride: int, width: int, keypoints: int) -> None:
    model = build(18, keypoints, width=width, deconv_channels=32, output_stride=output_stride, seed=1)
    shapes = {}

    def note(name: str, features: torch.Tensor) -> torch.Tensor:
        shapes[name] = tuple(features.shape[1:])
        return features

    heatmaps = model(torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)), note)
    height, wide = size
    assert heatmaps.shape == (2, keypoints, height // 4, wide // 4)
    assert torch.isfinite(heatmaps).all()
    assert shapes["layer4"] == (8 * width, height // output_stride, wide // output_stride)
    assert shapes["decoder"] == (32, height // 4, wide // 4)


def test_widths_double_from_layer_to_layer() -> None:
    model = build(50, output_stride=16, **SMALL)
    assert model.conv1.out_channels == 16
    widths = [getattr(model, f"layer{n}")[-1].bn3.num_features for n in (1, 2, 3, 4)]
    assert widths == [64, 128, 256, 512]


@pytest.mark.parametrize("depth", DEPTHS)
def test_gradient_reaches_every_parameter(depth: int) -> None:
    model = build(depth, width=8, deconv_channels=8, output_stride=16, seed=0)
    images = torch.randn(4, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    model(images).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_after_stage_is_called_once_per_stage_in_order() -> None:
    model = build(18, output_stride=16, **SMALL).eval()
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    called = []

    def note(name: str, features: torch.Tensor) -> torch.Tensor:
        called.append(name)
        return features

    with torch.no_grad():
        assert torch.equal(model(images, note), model(images))
    assert tuple(called) == SimpleBaseline.stages


@pytest.mark.parametrize("stage", SimpleBaseline.stages)
def test_after_stage_may_replace_the_features(stage: str) -> None:
    model = build(18, output_stride=16, **SMALL).eval()
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        swapped = model(images, lambda name, features: features.flip(0) if name == stage else features)
        torch.testing.assert_close(swapped, model(images).flip(0), rtol=1e-5, atol=1e-7)
        assert not torch.equal(swapped, model(images))


def test_seed_decides_the_weights_and_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, again = (build(18, output_stride=16, **SMALL).state_dict() for _ in range(2))
    other = build(18, output_stride=16, **SMALL | {"seed": 1}).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if first[name].ndim == 4]
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_initial_scales() -> None:
    model = build(18, seed=0)
    for layer in (model.final_layer, *(m for m in model.deconv_layers if isinstance(m, nn.ConvTranspose2d))):
        assert layer.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert not model.final_layer.bias.any()
    conv = model.layer4[1].conv2.weight
    assert conv.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)


def test_channels_last_gives_the_same_heatmaps() -> None:
    model = build(18, output_stride=16, **SMALL).eval()
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(images)
        found = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * expected.abs().max().item())


def test_bf16_autocast_trains() -> None:
    model = build(18, output_stride=16, **SMALL)
    images = torch.randn(4, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        heatmaps = model(images)
    assert heatmaps.dtype == torch.bfloat16
    heatmaps.float().square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize(
    ("size", "output_stride", "told"),
    [
        ((64, 48), 32, "64x48.*multiples of 32; choose another input size, or output_stride=16"),
        ((96, 72), 16, "96x72.*multiples of 16; choose another input size, or output_stride=8"),
        ((50, 50), 8, "50x50.*multiples of 8; choose another input size, or pad the crop"),
    ],
)
def test_a_size_that_the_strides_do_not_divide_is_refused(size, output_stride: int, told: str) -> None:
    model = build(18, output_stride=output_stride, **SMALL)
    with pytest.raises(SSHPEError, match=told):
        model(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("shape", [(64,), (3, 64, 64), (1, 4, 64, 64)])
def test_images_of_another_kind_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SSHPEError, match=r"\(B, 3, H, W\)"):
        build(18, **SMALL)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"depth": 20}, "18, 34, 50, 101, 152"),
        ({"output_stride": 4}, "32, 16, 8"),
        ({"keypoints": 0}, "keypoints=0"),
        ({"width": 0}, "width=0"),
        ({"deconv_channels": -1}, "deconv_channels=-1"),
    ],
)
def test_an_impossible_network_is_refused(arguments: dict[str, int], told: str) -> None:
    with pytest.raises(SSHPEError, match=told):
        SimpleBaseline(**arguments)


def test_torchvision_is_imported_on_first_use_only() -> None:
    """In a fresh interpreter, warnings being errors: importing is free of effects, building imports."""
    code = (
        "import sys\n"
        "from sshpe_lib.models.resnet import SimpleBaseline\n"
        "assert 'torchvision' not in sys.modules\n"
        "SimpleBaseline(18, width=8, deconv_channels=8)\n"
        "import torchvision.transforms.v2\n"
    )
    root = Path(__file__).parent.parent.parent
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=root, timeout=120)
