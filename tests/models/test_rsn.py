"""RSN against the official code's and UDP's names and outputs, and what every network must keep."""

from __future__ import annotations

import pytest
import torch

from sshpe_lib.codec import MSRAHeatmap, highest_pixels
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models.cost import count_macs, count_parameters
from sshpe_lib.models.rsn import RSN, Unit
from tests.models import official

SMALL = {"width": 16, "unit_channels": 16}
KINDS = [
    ("rsn18", {}),
    ("rsn18_2stage", {"stages": 2}),
    ("udp_rsn18_se_prm", {"variant": "udp", "prm": True}),
]
VARIANTS = [
    {}, {"stages": 2}, {"stages": 3, "prm": True}, {"variant": "udp", "prm": True}, {"depth": 50},
    {"expansion": 4}, {"stages": 2, "expansion": 4, "variant": "udp"},
]  # fmt: skip


def images(count: int = 2, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def small(seed: int = 0, **arguments) -> RSN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return RSN(**SMALL | arguments)


# With two images, batch statistics make much of float32's last digits: against a run in float64 one stage moves by
# 8e-4 of the largest output, and two by a tenth of it, so that of those only eval mode can be compared.
@pytest.mark.parametrize(
    ("name", "arguments", "entry"),
    [(*KINDS[0], "train"), (*KINDS[0], "he")]
    + [(*kind, entry) for kind in KINDS[1:] for entry in ("out", "he")],
)
def test_outputs_equal_the_official_network(name: str, arguments: dict, entry: str) -> None:
    official.check_output(RSN(**arguments), name, entry, relative=True)


@pytest.mark.parametrize(("name", "arguments"), KINDS)
def test_names_shapes_and_order_are_the_official_ones(name: str, arguments: dict) -> None:
    with torch.device("meta"):
        assert official.described(RSN(**arguments).state_dict()) == official.keys(name)


@pytest.mark.parametrize(
    ("arguments", "parameters", "gmacs"),
    [
        ({}, 9.16, 2.25),
        ({"stages": 2}, 18.92, 4.57),
        ({"depth": 50}, 19.36, 4.07),
        ({"depth": 50, "stages": 2}, 39.32, 8.22),
        ({"depth": 50, "expansion": 4}, 38.39, 6.96),
    ],
)
def test_cost(arguments: dict, parameters: float, gmacs: float) -> None:
    with torch.device("meta"):
        model = RSN(**arguments)
    assert round(count_parameters(model) / 1e6, 2) == parameters
    # of every unit, which the measured figures count; one that is not read costs nothing here
    assert round(count_macs(EveryUnit(model), (256, 192)) / 1e9, 2) == gmacs


@pytest.mark.parametrize(("stages", "published"), [(1, 6.4), (2, 13.9), (3, 20.7), (4, 29.3)])
def test_four_times_the_channels_cost_what_was_published_for_rsn_50(stages: int, published: float) -> None:
    """Cai et al. 2020, in multiply-accumulates of 2^30, to within a twentieth; the narrow network has three fifths."""
    with torch.device("meta"):
        wide = EveryUnit(RSN(depth=50, stages=stages, expansion=4))
        narrow = EveryUnit(RSN(depth=50, stages=stages))
    assert abs(count_macs(wide, (256, 192)) / 2**30 / published - 1) < 0.05
    assert count_macs(narrow, (256, 192)) / 2**30 < 0.6 * published


class EveryUnit(torch.nn.Module):
    def __init__(self, model: RSN) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images, every_unit=True)[-1]


@pytest.mark.parametrize("arguments", VARIANTS)
def test_units_come_coarse_to_fine_and_the_last_is_the_answer(arguments: dict) -> None:
    model = small(channels=14, **arguments).eval()
    with torch.no_grad():
        units, answer = model(images(), every_unit=True), model(images())
    assert len(units) == 4 * arguments.get("stages", 1)
    assert all(unit.shape == (2, 14, 16, 24) for unit in units)
    assert torch.equal(units[-1], answer)
    assert not any(torch.equal(unit, answer) for unit in units[:-1])


@pytest.mark.parametrize("arguments", VARIANTS)
def test_gradient_of_every_unit_reaches_every_parameter(arguments: dict) -> None:
    model = small(**arguments)
    sum(unit.square().sum() for unit in model(images(4), every_unit=True)).backward()
    # a bias in front of batch norm has no effect, and a gradient of rounding only
    without = [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []
    idle = [n for n, p in model.named_parameters() if p.ndim > 1 and not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize("stages", [1, 2])
def test_after_stage_is_called_once_per_stage_and_may_replace_the_features(stages: int) -> None:
    model = small(stages=stages).eval()
    called = []

    def note(name: str, features: torch.Tensor) -> torch.Tensor:
        called.append(name)
        return features

    with torch.no_grad():
        plain = model(images())
        assert torch.equal(model(images(), note), plain)
        assert tuple(called) == model.stages == ("stem", *(f"stage{i}" for i in range(stages)))
        for stage in (model.stages[0], model.stages[-1]):
            swapped = model(images(), lambda name, f, stage=stage: f.flip(0) if name == stage else f)
            torch.testing.assert_close(swapped, plain.flip(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stages", [1, 2])
def test_a_new_network_answers_nearly_nothing(stages: int) -> None:
    """Its loss starts at that of blank maps, and not at sixty times as much, as with batch norms of scale 1."""
    model = small(stages=stages).train()
    for unit in model(images(8), every_unit=True):
        assert unit.std() < 0.01
    heads = [module.res_conv2.bn for module in model.modules() if isinstance(module, Unit)]
    assert len(heads) == 4 * stages and all(head.weight.eq(1 / 255).all() for head in heads)


def test_the_same_draws_give_the_same_weights() -> None:
    first, again, other = (small(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if first[name].ndim == 4)


def test_the_pixel_below_a_moved_keypoint_is_the_nearest() -> None:
    points = torch.tensor([[[x, x + 7] for x in range(10, 30)]])
    shown = torch.zeros(20, 3, 64, 64)
    shown[torch.arange(20), :, points[0, :, 1], points[0, :, 0]] = 1
    seen: list[torch.Tensor] = []
    model = small(floor=True).eval()
    model.top.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        found = model(shown)
        torch.testing.assert_close(found, small().eval()(seen[0]))
    nearest, _ = MSRAHeatmap((64, 64), (16, 16)).encode(points.float(), torch.ones(1, 20))
    below = seen[0][:, 0].nonzero()[:, [2, 1]] // 4
    assert torch.equal(below[None].float(), highest_pixels(nearest)[0])


def test_channels_last_gives_the_same_maps() -> None:
    model = small().eval()
    with torch.no_grad():
        expected = model(images())
        found = model.to(memory_format=torch.channels_last)(images().to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_bf16_autocast_trains() -> None:
    model = small()
    with torch.autocast("cpu", torch.bfloat16):
        units = model(images(4), every_unit=True)
    sum(unit.float().square().mean() for unit in units).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_size_that_32_does_not_divide_is_refused() -> None:
    with pytest.raises(SSHPEError, match="RSN needs multiples of 32"):
        small()(torch.zeros(1, 3, 64, 48))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"depth": 34}, "depths: 18, 50"),
        ({"variant": "other"}, "variants: official, udp"),
        ({"stages": 0}, "stages=0"),
        ({"channels": 0}, "channels=0"),
        ({"unit_channels": 0}, "unit_channels=0"),
        ({"width": 2}, "channels of a branch=0"),
        ({"expansion": 2}, "expansions: 1, 4"),
    ],
)
def test_an_impossible_network_is_refused(arguments: dict, told: str) -> None:
    with pytest.raises(SSHPEError, match=told):
        RSN(**arguments)
