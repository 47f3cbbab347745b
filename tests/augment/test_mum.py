"""MUM and Pose-MUM: permutations, their algebra, and what the paper says of them."""

import numpy as np
import pytest
import torch

from sshpe_lib.augment import tiles
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.view import View
from sshpe_lib.errors import SSHPEError

SITES = ("layer1", "layer2", "layer3")
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


def test_a_remainder_is_left_unmixed():
    source = PoseMUM(group=4).draw(21, draw()).at_image
    assert (source[..., 20] == 20).all()
    assert not torch.equal(source[..., :20], torch.arange(20).expand(4, 3, 20))


def test_gradient_is_the_inverse_permutation():
    features = torch.randn(8, 3, 8, 6, dtype=torch.float64, requires_grad=True)
    source = PoseMUM().draw(8, draw()).at_image
    assert torch.autograd.gradcheck(lambda x: tiles.permute(x, source), features)


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_probability_that_two_tiles_meet(stages):
    """1 - (3/4)^n for N_G = 4: 0.25, 0.44, 0.58, 0.68 for 1 to 4 stages."""
    batch, met = 4 * 5000, None
    mix = PoseMUM(sites=SITES[: stages - 1], probability=1.0).draw(batch, draw(stages))
    source = None
    for mask in (mix.at_image, *mix.at_stage.values()):
        source = mask if source is None else tiles.compose(source, mask)
        slot = tiles.inverse(source)  # where image b's tile is now
        together = slot[0, 0] == slot[3, 2]
        met = together if met is None else met | together
    assert abs(met.float().mean() - (1 - 0.75**stages)) < 0.017  # 5 standard errors


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


def test_an_image_that_does_not_divide_is_refused():
    with pytest.raises(SSHPEError, match="48x62.*3 columns x 4 rows"):
        PoseMUM().draw(8, draw()).image(torch.randn(8, 3, 62, 48))


def test_ranks_share_the_masks_of_the_global_batch():
    whole = PoseMUM(sites=SITES).draw(16, draw(3))
    for rank in range(2):
        part = PoseMUM(sites=SITES).draw(8, draw(3, rank=rank, world=2))
        assert torch.equal(part.at_image + 8 * rank, whole.at_image[..., 8 * rank : 8 * rank + 8])
        assert part.at_stage.keys() == whole.at_stage.keys()
