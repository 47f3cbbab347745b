"""Which tiles of a person share a picture: the closed form, frequencies, and a look at the pictures."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from sshpe_lib.augment.meeting import probability_of_meeting, tiles_that_meet
from sshpe_lib.augment.mum import PoseMUM
from tests.augment.helpers import draw

SITES = ("layer1", "layer2", "layer3")
GROUPS = 16_000
BOUND = 5 * 0.5 / GROUPS**0.5  # five standard errors of a share over so many independent groups, at most


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("group", [2, 4])
def test_probability_that_two_tiles_meet(group, stages):
    """1 - (3/4)^n for N_G = 4: 0.25, 0.44, 0.58, 0.68 for 1 to 4 stages."""
    expected = probability_of_meeting(group, stages)
    assert group == 2 or abs(expected - (0.25, 0.44, 0.58, 0.68)[stages - 1]) < 0.005
    assert abs(share_that_met(PoseMUM(group, sites=SITES[: stages - 1], probability=1.0)) - expected) < BOUND


@pytest.mark.parametrize(("choice", "expected"), [("independent", 0.498), ("uniform", 0.487)])
def test_probability_that_two_tiles_meet_by_chance_stages(choice, expected):
    """The image and three sites: 1 - 3/4 (7/8)^3 with fair coins, the mean of 1 to 4 stages with "uniform"."""
    if choice == "independent":
        law = 1 - 0.75 * 0.875**3
    else:
        law = np.mean([probability_of_meeting(4, stages) for stages in (1, 2, 3, 4)])
    assert abs(law - expected) < 0.0005
    assert abs(share_that_met(PoseMUM(sites=SITES, stages=choice, toss="group")) - law) < BOUND


def share_that_met(mum: PoseMUM) -> float:
    """How often two tiles of an image are together at some stage, over the images of many groups."""
    met = torch.stack([together for _, together in tiles_that_meet(mum.draw(mum.group * GROUPS, draw(3)))])
    return met[:, :, 0, 11].any(0).float().mean().item()


def test_tiles_that_meet_are_seen_in_the_same_picture():
    """Against pictures whose tiles carry their image's and their own number."""
    mix = PoseMUM(sites=SITES, probability=1.0).draw(8, draw(2))
    own, tile = torch.arange(8.0).view(8, 1, 1), torch.arange(12.0).view(1, 4, 3)
    picture = mix.image(torch.stack([own.expand(8, 4, 3), tile.expand(8, 4, 3)], dim=1))
    meetings = tiles_that_meet(mix)
    assert [stage for stage, _ in meetings] == ["image", *SITES]
    for stage, together in meetings:
        picture = mix.after_stage(stage, picture)
        expected = torch.zeros(8, 12, 12, dtype=torch.bool)
        for image, tile in picture.flatten(2).long():  # one slot: whose tiles, and which
            for i, s in zip(image.tolist(), tile.tolist(), strict=True):
                for j, t in zip(image.tolist(), tile.tolist(), strict=True):
                    if i == j:
                        expected[i, s, t] = True
        assert torch.equal(together, expected)
    assert any(not torch.equal(before, after) for (_, before), (_, after) in pairwise(meetings))


def test_a_site_that_is_not_mixed_is_left_out():
    mix = PoseMUM(sites=SITES).draw(8, draw(1))
    assert 0 < len(mix.at_stage) < len(SITES)
    assert [stage for stage, _ in tiles_that_meet(mix)] == ["image", *mix.at_stage]


def test_a_site_whose_permutation_moves_nothing_is_a_stage_too():
    mix = PoseMUM(sites=SITES, probability=0.0, toss="group").draw(8, draw())
    (_, first), *others = tiles_that_meet(mix)
    assert len(others) == len(SITES)
    assert all(torch.equal(together, first) for _, together in others)
