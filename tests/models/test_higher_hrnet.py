"""HigherHRNet and bottom-up HRNet against the official names and outputs, and what every network must keep."""

from __future__ import annotations

import pytest
import torch

from sshpe_lib.errors import SSHPEError
from sshpe_lib.models.cost import count_macs, count_parameters
from sshpe_lib.models.higher_hrnet import HigherHRNet
from sshpe_lib.models.stages import seeded
from tests.models import official

SMALL = {"width": 8, "stem": 8, "modules": (1, 1, 1), "blocks": 1, "seed": 0}


def build(*sizes: int, seed: int, **settings) -> HigherHRNet:
    with seeded(seed):
        return HigherHRNet(*sizes, **settings)


def images(count: int = 2, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "higher", "entry"),
    [
        ("higherhrnet_w32", True, "train"),
        ("higherhrnet_w32", True, "he"),
        ("bottomup_hrnet_w32", False, "train"),
    ],
)
def test_outputs_equal_the_official_network(name: str, higher: bool, entry: str) -> None:
    official.check_output(build(32, higher=higher, seed=0), name, entry, size=(256, 256))


@pytest.mark.parametrize(("name", "higher"), [("higherhrnet_w32", True), ("bottomup_hrnet_w32", False)])
def test_names_shapes_and_order_are_the_official_ones(name: str, higher: bool) -> None:
    with torch.device("meta"):
        assert official.described(HigherHRNet(32, higher=higher).state_dict()) == official.keys(name)


@pytest.mark.parametrize(
    ("arguments", "side", "parameters", "gmacs"),
    [
        ({"width": 32}, 512, 28.65, 46.2),
        ({"width": 48}, 640, 63.83, 149.5),
        ({"width": 32, "higher": False}, 512, 28.54, 40.8),
    ],
)
def test_cost(arguments: dict, side: int, parameters: float, gmacs: float) -> None:
    with torch.device("meta"):
        model = HigherHRNet(**arguments)
    assert round(count_parameters(model) / 1e6, 2) == parameters
    assert round(count_macs(Last(model), (side, side)) / 1e9, 1) == gmacs


class Last(torch.nn.Module):
    def __init__(self, model: HigherHRNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images)[-1]


@pytest.mark.parametrize("keypoints", [14, 17])
@pytest.mark.parametrize("higher", [True, False])
def test_heatmaps_and_tags_come_at_a_quarter_and_heatmaps_at_half(keypoints: int, higher: bool) -> None:
    names = []

    def note(name, features):
        names.append(name)
        return features

    model = build(keypoints=keypoints, higher=higher, **SMALL)
    outputs = model(images(), note)
    shapes = [(2, 2 * keypoints, 16, 24)] + [(2, keypoints, 32, 48)] * higher
    assert [tuple(output.shape) for output in outputs] == shapes
    assert (
        tuple(names)
        == model.stages
        == ("stem", "layer1", "stage2", "stage3", "stage4") + ("decoder",) * higher
    )


@pytest.mark.parametrize("stage", ["stem", "stage4", "decoder"])
def test_after_stage_may_replace_the_features(stage: str) -> None:
    model = build(**SMALL).eval()

    def swap(name, features):
        if name != stage:
            return features
        return [f.flip(0) for f in features] if isinstance(features, list) else features.flip(0)

    with torch.no_grad():
        plain, swapped = model(images()), model(images(), swap)
    torch.testing.assert_close(swapped[1], plain[1].flip(0), rtol=1e-4, atol=1e-9)
    first = plain[0] if stage == "decoder" else plain[0].flip(0)
    torch.testing.assert_close(swapped[0], first, rtol=1e-4, atol=1e-9)


def test_gradient_of_all_outputs_reaches_every_parameter() -> None:
    model = build(**SMALL)
    for parameter in model.parameters():  # the reference's weights are so small that gradients underflow
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter, generator=torch.Generator().manual_seed(1))
    sum(output.square().sum() for output in model(images(4))).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_a_size_that_32_does_not_divide_is_refused() -> None:
    with pytest.raises(SSHPEError, match="HigherHRNet needs multiples of 32"):
        build(**SMALL)(torch.zeros(1, 3, 64, 48))


def test_no_keypoints_are_refused() -> None:
    with pytest.raises(SSHPEError, match="keypoints=0"):
        HigherHRNet(keypoints=0)
