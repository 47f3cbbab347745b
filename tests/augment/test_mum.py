"""MUM and Pose-MUM: permutations, their algebra, and what the paper says of them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sshpe_lib.augment import tiles
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.view import Strong, View
from sshpe_lib.errors import SSHPEError

SITES = ("layer1", "layer2", "layer3")
OPTIONS = [(stages, toss) for stages in ("independent", "uniform") for toss in ("batch", "group")]
SHAPES = {"layer1": (8, 64, 48), "layer2": (4, 32, 24), "layer3": (6, 16, 12), "layer4": (5, 8, 6)}


def draw(seed: int = 0, **share) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), **share)


def slow_permute(features: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The definition, tile by tile."""
    rows, cols, batch = source.shape
    height, width = features.shape[2] // rows, features.shape[3] // cols
    mixed = np.empty_like(features)
    for r in range(rows):
        for c in range(cols):
            there = (slice(r * height, (r + 1) * height), slice(c * width, (c + 1) * width))
            for slot in range(batch):
                mixed[(slot, slice(None), *there)] = features[(source[r, c, slot], slice(None), *there)]
    return mixed


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(8, 3, 64, 48), (8, 1, 8, 6), (8, 16, 4, 3), (8, 5, 32, 30)])
def test_permute_is_its_definition(layout, shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=layout)
    source = PoseMUM().draw(8, draw()).at_image
    assert np.array_equal(
        tiles.permute(features, source).numpy(), slow_permute(features.numpy(), source.numpy())
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.bool])
def test_a_map_of_any_kind_is_moved(dtype):
    whole = (torch.randn(8, 6, 8, 6, generator=torch.Generator().manual_seed(1)) > 0).to(dtype)
    source = PoseMUM().draw(8, draw()).at_image
    for features in (
        whole,
        whole[:, 1:4],
        whole.transpose(2, 3).contiguous().transpose(2, 3),
        whole[..., :0],
    ):
        moved = tiles.permute(features, source)
        assert moved.dtype == dtype and moved.is_contiguous()
        assert np.array_equal(moved.float().numpy(), slow_permute(features.float().numpy(), source.numpy()))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [8, 21, 3])
def test_unmix_after_mix_is_the_identity(layout, batch):
    image = torch.randn(batch, 3, 64, 48).contiguous(memory_format=layout)
    mix = PoseMUM().draw(batch, draw())
    mixed = mix.image(image)
    assert batch < 4 or not torch.equal(mixed, image)
    assert torch.equal(mix.after_stage("layer4", mixed), image)


def test_one_gather_undoes_the_whole_stack():
    image = torch.randn(16, 3, 64, 48)
    mix = PoseMUM(sites=SITES, probability=1.0).draw(16, draw())
    assert tuple(mix.at_stage) == SITES
    features = mix.image(image)
    for stage in ("stem", *SITES):
        features = mix.after_stage(stage, features)
    assert torch.equal(mix.after_stage("layer4", features), image)


def test_unmixing_the_stack_in_forward_order_is_wrong():
    """The paper's "reverse order" matters: permutations of a group do not commute."""
    image = torch.arange(16.0)[:, None, None, None].expand(16, 1, 4, 3).contiguous()
    mix = PoseMUM(sites=SITES[:2], probability=1.0).draw(16, draw())
    masks = [mix.at_image, *mix.at_stage.values()]
    features = image
    for mask in masks:
        features = tiles.permute(features, mask)
    forward, backward = features, features
    for mask in masks:
        forward = tiles.permute(forward, tiles.inverse(mask))
    for mask in reversed(masks):
        backward = tiles.permute(backward, tiles.inverse(mask))
    assert torch.equal(backward, image)
    assert (forward != image).float().mean() > 0.5


def test_tiles_stay_in_place_and_in_their_group():
    source = PoseMUM(group=4).draw(12, draw()).at_image
    assert torch.equal(source.sort(-1).values, torch.arange(12).expand(4, 3, 12))
    assert torch.equal(source // 4, (torch.arange(12) // 4).expand(4, 3, 12))


def test_every_tile_has_its_own_uniform_permutation():
    source = PoseMUM(group=4).draw(4 * 6000, draw()).at_image % 4
    counts = torch.stack([(source == image).float().view(4, 3, -1, 4).mean(2) for image in range(4)])
    assert (counts - 0.25).abs().max() < 0.03  # 5 standard errors of a fair share of 6000
    assert not torch.equal(source[0, 0], source[0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_of_one_group_is_mixed(seed):
    assert not torch.equal(PoseMUM(group=4).draw(4, draw(seed)).at_image, torch.arange(4).expand(4, 3, 4))


def test_a_remainder_is_left_unmixed():
    source = PoseMUM(group=4).draw(21, draw()).at_image
    assert (source[..., 20] == 20).all()
    assert not torch.equal(source[..., :20], torch.arange(20).expand(4, 3, 20))


def test_gradient_is_the_inverse_permutation():
    features = torch.randn(8, 3, 8, 6, dtype=torch.float64, requires_grad=True)
    source = PoseMUM().draw(8, draw()).at_image
    assert torch.autograd.gradcheck(lambda x: tiles.permute(x, source), features)
    assert torch.autograd.gradgradcheck(lambda x: tiles.permute(x, source), features)


def test_gradients_go_back_where_the_features_came_from():
    mix = PoseMUM(sites=SITES, probability=1.0).draw(8, draw())
    composed = mix.at_image
    for stage, shape in SHAPES.items():
        features, weight = torch.randn(2, 8, *shape)
        moved = mix.after_stage(stage, features.requires_grad_())
        (moved * weight).sum().backward()
        source = mix.at_stage[stage] if stage in SITES else tiles.inverse(composed)
        composed = tiles.compose(composed, source)
        assert np.array_equal(moved.detach().numpy(), slow_permute(features.detach().numpy(), source.numpy()))
        assert torch.equal(features.grad, tiles.permute(weight, tiles.inverse(source)))
    assert torch.equal(composed, torch.arange(8).expand(4, 3, 8))


def test_the_default_options_draw_what_they_always_drew():
    """Numbers of the first version: committed records rely on this stream of random numbers."""
    generator = torch.Generator().manual_seed(4)
    mix = PoseMUM(sites=SITES).draw(8, Draw(generator))
    assert mix.at_image[0, 0].tolist() == [0, 3, 2, 1, 7, 4, 5, 6]
    assert mix.at_image[3, 2].tolist() == [3, 0, 1, 2, 4, 5, 6, 7]
    assert list(mix.at_stage) == ["layer3"]
    assert mix.at_stage["layer3"][1, 1].tolist() == [3, 0, 2, 1, 7, 6, 5, 4]
    assert torch.rand((), generator=generator).item() == 0.7640557885169983  # nothing more was drawn
    generator = torch.Generator().manual_seed(0)
    mum = PoseMUM().draw(8, Draw(generator)).at_image
    assert mum[0, 0].tolist() == [1, 3, 2, 0, 4, 7, 6, 5]
    assert mum[3, 2].tolist() == [2, 0, 3, 1, 6, 7, 4, 5]
    assert torch.rand((), generator=generator).item() == 0.7496575117111206
    digits = ["".join(s[-1] for s in PoseMUM(sites=SITES).draw(4, draw(seed)).at_stage) for seed in range(8)]
    assert digits == ["13", "23", "2", "123", "3", "2", "", "2"]


@pytest.mark.parametrize("batch", [8, 21, 3])
@pytest.mark.parametrize(("stages", "toss"), OPTIONS)
@pytest.mark.parametrize("unmix", ["layer2", "layer4", "decoder"])
def test_the_whole_way_is_the_identity_for_every_option(stages, toss, batch, unmix):
    order = ("stem", "layer1", "layer2", "layer3", "layer4", "decoder")
    sites = order[: order.index(unmix)]
    mum = PoseMUM(sites=sites, unmix=unmix, stages=stages, toss=toss)
    image = torch.randn(batch, 3, 32, 24)
    for seed in range(6):
        view, _ = mum(View(image), torch.zeros(batch, 17, 8, 6), draw(seed))
        features = view.image
        for stage in order:
            features = view.after_stage(stage, features)
            if stage == unmix:
                assert torch.equal(features, image)
        assert torch.equal(features, image)


@pytest.mark.parametrize("toss", ["batch", "group"])
def test_uniform_stages_are_uniform_in_number_and_then_in_choice(toss):
    """0, 1, 2 and 3 of three sites in a quarter of the passes each; subsets of one size equally often."""
    mum, passes = PoseMUM(sites=SITES, stages="uniform", toss=toss, tiles=(1, 2)), 4000
    if toss == "batch":
        numbers = draw(1)
        mixed = [mum.draw(2, numbers).at_stage for _ in range(passes)]
        chosen = torch.tensor([[site in stages for site in SITES] for stages in mixed])
    else:
        chosen = groups_mixed(PoseMUM(sites=SITES, stages="uniform", toss=toss), passes)
    for count in range(4):
        among = chosen[chosen.sum(1) == count]
        assert abs(len(among) / passes - 0.25) < 5 * (0.1875 / passes) ** 0.5
        share = count / 3  # of the passes with this many sites, each site takes part in as many
        error = (share * (1 - share) / len(among)) ** 0.5
        assert ((among.float().mean(0) - share).abs() <= 5 * error).all()


def groups_mixed(mum: PoseMUM, groups: int, seed: int = 1) -> torch.Tensor:
    """(groups, sites): where a group's mask is not the identity, which a draw of 12 tiles never is."""
    batch = mum.group * groups
    mix = mum.draw(batch, draw(seed))
    assert tuple(mix.at_stage) == mum.sites
    moved = torch.stack([(mask != torch.arange(batch)).any(0).any(0) for mask in mix.at_stage.values()], -1)
    return moved.view(groups, mum.group, -1).any(1)


def test_every_group_tosses_its_own_coins():
    groups = 6000
    chosen = groups_mixed(PoseMUM(sites=SITES, probability=0.3, toss="group"), groups).float()
    assert ((chosen.mean(0) - 0.3).abs() < 5 * (0.21 / groups) ** 0.5).all()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert abs((chosen[:, one] * chosen[:, other]).mean() - 0.09) < 5 * (0.09 * 0.91 / groups) ** 0.5
    neighbours = (chosen[::2] * chosen[1::2]).mean(0)
    assert ((neighbours - 0.09).abs() < 5 * (0.09 * 0.91 / (groups / 2)) ** 0.5).all()


@pytest.mark.parametrize(("probability", "mixed"), [(0.0, False), (1.0, True)])
def test_a_group_that_is_not_mixed_keeps_its_arrangement(probability, mixed):
    mum = PoseMUM(sites=SITES, probability=probability, toss="group")
    features = torch.randn(21, 2, 16, 12)
    mix = mum.draw(21, draw())
    for site in SITES:
        assert torch.equal(mix.after_stage(site, features), features) != mixed
        assert (mix.at_stage[site][..., 20] == 20).all()  # the remainder


@pytest.mark.parametrize("option", ["stages", "toss"])
def test_an_unknown_option_is_refused(option):
    with pytest.raises(SSHPEError, match=f"{option} is 'sometimes'; choose '.*' or '.*'"):
        PoseMUM(**{option: "sometimes"})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"sites": "layer1"}, r"sites are 'layer1'; give a tuple, \('layer1',\)"),
        ({"sites": ("layer1", "layer1")}, "name each stage once"),
        ({"sites": ("layer1", "layer4")}, "mixes after layer1, layer4 and unmixes after layer4; name each"),
        ({"group": 4.0}, "group is 4.0; give a whole number, 1 or more"),
        ({"group": 0}, "group is 0; give a whole number, 1 or more"),
        ({"tiles": 4}, "tiles are 4; give two numbers, rows and columns"),
        ({"tiles": (4, 3, 2)}, r"tiles are \(4, 3, 2\); give two numbers, rows and columns"),
        ({"tiles": (4, 0)}, "number of tiles is 0; give a whole number, 1 or more"),
        ({"probability": 2}, "probability is 2; give 0 to 1"),
        ({"probability": float("nan")}, "probability is nan; give 0 to 1"),
    ],
)
def test_settings_that_the_configuration_refuses_are_refused(settings, told):
    with pytest.raises(SSHPEError, match=f"Pose-MUM.*{told}"):
        PoseMUM(**settings)


def go(view: View) -> None:
    """Through the stages of a ResNet."""
    for stage, shape in SHAPES.items():
        view.after_stage(stage, torch.empty(4, *shape))


@pytest.mark.parametrize("probability", [0.0, 1.0])
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"sites": ("layer4",), "unmix": "layer1"}, "unmixes after layer1, and the network came to layer1;"),
        ({"sites": ("layer1", "layer4"), "unmix": "layer3"}, "came to layer1, layer2, layer3; name stages"),
        ({"sites": ("layer2", "layer1")}, "mixes after layer2, layer1 and .* the network came to layer1;"),
        ({"sites": ("layr1",)}, "came to layer1, layer2, layer3, layer4; name stages of the network"),
    ],
)
def test_a_stage_out_of_order_is_refused_when_it_comes(settings, told, probability):
    """Whether or not this pass would mix there, so that a mistake shows in the first."""
    view, _ = PoseMUM(**settings, probability=probability)(View(torch.empty(4, 3, 64, 48)), None, draw())
    with pytest.raises(SSHPEError, match=told):
        go(view)


def test_a_site_that_comes_again_after_the_unmix_is_refused():
    mix = PoseMUM(sites=("layer1",), unmix="layer2").draw(4, draw())
    features = torch.empty(4, 1, 4, 3)
    mix.after_stage("layer2", mix.after_stage("layer1", features))
    with pytest.raises(SSHPEError, match="came to layer1, layer2, layer1; name stages"):
        mix.after_stage("layer1", features)


@pytest.mark.parametrize(("sites", "unmix"), [((), "layerr4"), (("layer1",), "decoder")])
def test_a_pass_without_the_unmix_is_refused_when_it_is_over(sites, unmix):
    view, _ = PoseMUM(sites=sites, unmix=unmix)(View(torch.empty(4, 3, 64, 48)), None, draw())
    go(view)
    with pytest.raises(SSHPEError, match=f"unmixes after {unmix}, and the network came to layer1, .*layer4;"):
        view.finish()


def test_a_pass_that_broke_off_is_no_part_of_the_next():
    """It came to the unmix and was never finished; the next one may mix at its sites again."""
    mix = PoseMUM(sites=("layer1",)).draw(4, draw())
    for _ in range(2):
        mix.image(torch.empty(4, 3, 64, 48))
        for stage in ("layer1", "layer4"):
            mix.after_stage(stage, torch.empty(4, *SHAPES[stage]))
    mix.finish()


def test_a_view_may_be_looked_at_again():
    image = torch.randn(4, 3, 64, 48)
    view, _ = PoseMUM(sites=SITES, probability=1.0)(View(image), None, draw())
    for _ in range(2):
        features = view.image
        for stage in SHAPES:
            features = view.after_stage(stage, features)
        view.finish()
        assert torch.equal(features, image)


def test_a_second_mix_is_refused():
    with pytest.raises(SSHPEError, match="mixed twice"):
        Strong([PoseMUM(), PoseMUM()])(torch.empty(4, 3, 64, 48), torch.empty(4, 17, 16, 12), draw())


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((6, 3, 64, 48), "drawn for 4 images and meets 6; draw one for every batch"),
        ((3, 64, 48), r"\(B, C, H, W\), and meets \(3, 64, 48\)"),
    ],
)
def test_images_that_the_mix_was_not_drawn_for_are_refused(shape, told):
    mix = PoseMUM().draw(4, draw())
    for move in (mix.image, lambda images: mix.after_stage("layer4", images)):
        with pytest.raises(SSHPEError, match=told):
            move(torch.empty(shape))


def test_sites_are_tossed_independently():
    tosses = [set(PoseMUM(sites=SITES).draw(4, draw(seed)).at_stage) for seed in range(400)]
    for site in SITES:
        assert 0.4 < np.mean([site in toss for toss in tosses]) < 0.6
    assert len({frozenset(toss) for toss in tosses}) == 8  # every subset occurs


def test_mum_is_pose_mum_without_sites():
    view, heatmaps = PoseMUM()(View(torch.randn(8, 3, 64, 48)), torch.zeros(8, 17, 16, 12), draw())
    for stage, shape in SHAPES.items():
        features = torch.randn(8, *shape)
        assert torch.equal(view.after_stage(stage, features), features) == (stage != "layer4")


def test_branches_share_one_permutation():
    mix = PoseMUM().draw(8, draw())
    mix.image(torch.randn(8, 3, 64, 48))
    fine, coarse = torch.randn(8, 2, 16, 12), torch.randn(8, 4, 8, 6)
    both = mix.after_stage("layer4", [fine, coarse])
    assert torch.equal(both[0], mix.after_stage("layer4", fine))
    assert torch.equal(both[1], mix.after_stage("layer4", coarse))


def test_maps_that_do_not_divide_are_resized_and_keep_their_size():
    features = torch.randn(8, 3, 8, 6)
    source = PoseMUM(tiles=(4, 4)).draw(8, draw()).at_image
    assert tiles.permute(features, source).shape == features.shape
    constant = torch.arange(8.0)[:, None, None, None].expand(8, 1, 2, 2).contiguous()  # smaller than the grid
    assert tiles.permute(constant, source).shape == constant.shape


def test_maps_that_do_not_divide_are_mixed_at_the_next_smaller_size():
    maps = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    swapped = torch.tensor([1, 0]).expand(4, 3, 2)
    smaller = F.interpolate(maps.flip(0), (8, 6), mode="bilinear", align_corners=False)
    expected = F.interpolate(smaller, (9, 7), mode="bilinear", align_corners=False)
    torch.testing.assert_close(tiles.permute(maps, swapped), expected)


def test_an_image_that_does_not_divide_is_refused():
    with pytest.raises(SSHPEError, match="48x62.*3 columns x 4 rows"):
        PoseMUM().draw(8, draw()).image(torch.randn(8, 3, 62, 48))


@pytest.mark.parametrize(("stages", "toss"), OPTIONS)
def test_ranks_share_the_masks_of_the_global_batch(stages, toss):
    mum = PoseMUM(sites=SITES, stages=stages, toss=toss)
    whole = mum.draw(16, draw(3))
    for rank in range(2):
        part = mum.draw(8, draw(3, rank=rank, world=2))
        share = slice(8 * rank, 8 * rank + 8)
        assert torch.equal(part.at_image + 8 * rank, whole.at_image[..., share])
        assert part.at_stage.keys() == whole.at_stage.keys()
        for site, mask in part.at_stage.items():
            assert torch.equal(mask + 8 * rank, whole.at_stage[site][..., share])
