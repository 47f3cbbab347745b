"""What labelled and unlabelled people of whole images teach."""

from __future__ import annotations

import math

import pytest
import torch

from sshpe_lib.codec.crowd import CrowdHeatmap
from sshpe_lib.crowd_supervision import CrowdSupervision
from sshpe_lib.data.scenes import SceneBatch
from sshpe_lib.losses import associative_embedding, masked_mse

SIDE, JOINTS = 64, 17


def teaching(unbiased: bool = False, **weights: float) -> CrowdSupervision:
    codecs = [CrowdHeatmap((SIDE // stride,) * 2, 1.5, unbiased) for stride in (4, 2)]
    return CrowdSupervision(codecs, SIDE, unbiased=unbiased, **weights)


def scene() -> SceneBatch:
    """Two images, one of three and one of no people; half of the second is hidden by a mask."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, 5, JOINTS, 2, generator=generator) * (SIDE - 1)
    visible = (torch.rand(2, 5, JOINTS, generator=generator) > 0.3).float()
    visible[0, 3:], visible[1] = 0, 0
    masks = tuple(torch.ones(2, side, side) for side in (16, 32))
    for mask in masks:
        mask[1, :, : mask.shape[2] // 2] = 0
    return SceneBatch(torch.zeros(2, 3, SIDE, SIDE), points, visible, masks, torch.arange(2))


def outputs(seed: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, channels, side, side, generator=generator).requires_grad_()
        for channels, side in ((2 * JOINTS, 16), (JOINTS, 32))
    ]


@pytest.mark.parametrize("unbiased", [False, True])
def test_targets_are_those_of_the_codecs(unbiased: bool) -> None:
    batch, taught = scene(), teaching(unbiased)
    labeled = taught.label(batch.image, batch)
    for codec, target, mask in zip(taught.codecs, labeled.target, batch.masks, strict=True):
        ratio = (codec.heatmap_size[0] - unbiased) / (SIDE - unbiased)
        assert torch.equal(target, codec.encode(batch.points * ratio, batch.visible))
        assert target.shape == (2, JOINTS, *mask.shape[1:])
    assert labeled.index.shape == (2, 5, JOINTS) and (labeled.index[1] == -1).all()
    assert torch.equal(labeled.index >= 0, batch.visible > 0)


def test_the_loss_is_that_of_higher_hrnet() -> None:
    batch, taught, found = scene(), teaching(push=0.3, pull=0.2), outputs()
    labeled = taught.label(batch.image, batch)
    push, pull = associative_embedding(found[0][:, JOINTS:].flatten(1), labeled.index)
    expected = 0.3 * push.mean() + 0.2 * pull.mean()
    for output, target, mask in zip(found, labeled.target, batch.masks, strict=True):
        expected = expected + masked_mse(output[:, :JOINTS], target, mask).mean()
    loss = taught.loss(found, labeled)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(output.grad.isfinite().all() and output.grad.abs().sum() > 0 for output in found)
    assert (found[1].grad[1, :, :, :16] == 0).all(), "what is hidden teaches nothing"


def test_a_student_that_answers_as_its_teacher_is_consistent() -> None:
    taught, found = teaching(), outputs()
    maps = taught.maps(found)
    assert maps.shape == (2, 2 * JOINTS, 32, 32)
    assert taught.consistency(maps, maps.detach()) == 0


@pytest.mark.parametrize("unbiased", [False, True])
def test_maps_are_resized_by_the_convention(unbiased: bool) -> None:
    """Tags that rise along x: from corner to corner as UDP, else from the middle of the first pixel on."""
    tags = torch.arange(16.0).expand(1, 2 * JOINTS, 16, 16)
    maps = teaching(unbiased).maps([tags, torch.zeros(1, JOINTS, 32, 32)])
    plain = ((torch.arange(32) + 0.5) / 2 - 0.5).clamp(0, 15)
    expected = torch.linspace(0, 15, 32) if unbiased else plain
    torch.testing.assert_close(maps[:, JOINTS:], expected.expand(1, JOINTS, 32, 32))


def test_tags_count_where_the_teacher_sees_joints() -> None:
    taught = teaching(pull=1.0)
    pseudo = torch.zeros(1, 2 * JOINTS, 8, 8)
    pseudo[0, 0, 3, 4] = pseudo[0, 1, 6, 6] = 1.0
    found = pseudo.clone()
    found[0, JOINTS, 3, 4] += (
        2.0  # the tag of one of two joints that are seen: both are 1 from what they share
    )
    assert taught.consistency(found, pseudo).item() == pytest.approx(1 - math.exp(-1))
    found = pseudo.clone()
    found[0, JOINTS, 0, 0] += 2.0  # a tag where nothing is
    assert taught.consistency(found, pseudo) == 0


@pytest.mark.parametrize(
    ("heights", "shares"),
    [
        ((1.0, 0.5), (0.8, 0.2)),
        ((3.0, 0.5), (0.8, 0.2)),  # a height counts as 1 at most
        ((1.0, -0.5), (1.0, 0.0)),  # and not below 0
        ((0.5, 0.5), (0.25, 0.25)),  # where little is seen, it is not made more of
    ],
)
def test_a_tag_counts_as_the_square_of_the_teachers_height(heights, shares) -> None:
    """Two joints, of which one's tag is 2 beside the teacher's."""
    pseudo = torch.zeros(1, 2 * JOINTS, 8, 8)
    pseudo[0, 0, 3, 4], pseudo[0, 1, 6, 6] = heights
    found = pseudo.clone()
    found[0, JOINTS + 1, 6, 6] += 2.0
    common = 2 * shares[1]
    apart = (common, 2 - common)
    expected = sum(share * (1 - math.exp(-(one**2))) for share, one in zip(shares, apart, strict=True))
    assert teaching(pull=1.0).consistency(found, pseudo).item() == pytest.approx(expected, abs=1e-6)


def test_heatmaps_count_by_their_squared_distance() -> None:
    pseudo = taught_maps()
    found = pseudo.clone()
    found[:, :JOINTS] += 0.5
    assert teaching().consistency(found, pseudo).item() == pytest.approx(0.5**2)


def test_tags_may_move_together_from_image_to_image() -> None:
    taught, maps = teaching(pull=1.0), taught_maps()
    found = maps.clone()
    found[:, JOINTS:] += torch.tensor([3.0, -5.0])[:, None, None, None]
    torch.testing.assert_close(taught.consistency(found, maps), torch.zeros(()), rtol=0, atol=1e-9)
    found.requires_grad_()
    taught.consistency(found, maps).backward()
    assert found.grad[:, JOINTS:].sum((1, 2, 3)).abs().max() < 1e-6, "nothing pulls them as one"


def test_tags_that_are_far_away_pull_no_harder_than_all_others() -> None:
    taught, maps = teaching(pull=1.0), taught_maps()
    found = maps.clone()
    found[:, JOINTS:] *= 1000
    assert taught.consistency(found, maps) <= 1


def taught_maps() -> torch.Tensor:
    """A teacher's maps of two images, with several peaks in each."""
    generator = torch.Generator().manual_seed(2)
    maps = torch.rand(2, 2 * JOINTS, 8, 8, generator=generator) ** 4
    maps[:, JOINTS:] = torch.randn(2, JOINTS, 8, 8, generator=generator)
    return maps


def test_another_number_of_outputs_is_refused() -> None:
    batch, taught = scene(), teaching()
    with pytest.raises(ValueError):
        taught.loss(outputs()[:1], taught.label(batch.image, batch))
