"""Targets and losses of networks with one output and with many."""

from __future__ import annotations

import pytest
import torch

from sshpe_lib.codec import MSRAHeatmap, UDPHeatmap
from sshpe_lib.data.top_down import CropBatch
from sshpe_lib.losses import heatmap_mse
from sshpe_lib.supervision import Supervision, unit_scales

SIZES = {"input_size": (48, 64), "heatmap_size": (12, 16)}


def people(batch: int = 2, joints: int = 17) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(batch, joints, 2, generator=generator) * torch.tensor([47.0, 63.0])
    visible = (torch.rand(batch, joints, generator=generator) > 0.2).float()
    return torch.randn(batch, 3, 64, 48, generator=generator), points, visible


def batch(points: torch.Tensor, visible: torch.Tensor) -> CropBatch:
    nothing = torch.zeros(len(points), 2)
    return CropBatch(
        torch.zeros(len(points), 3, 64, 48), points, visible, nothing, nothing, torch.arange(len(points))
    )


def outputs(count: int, channels: int = 17) -> list[torch.Tensor]:
    return [
        torch.randn(2, channels, 16, 12, generator=torch.Generator().manual_seed(i)) for i in range(count)
    ]


def test_units_go_from_coarse_to_fine_and_an_earlier_stage_starts_one_wider() -> None:
    one, two = unit_scales(1), unit_scales(2)
    assert len(one) == 4 and len(two) == 8
    assert list(one) == sorted(one, reverse=True) and one[-1] == 1
    assert two[4:] == one and two[1:4] == one[:3] and two[0] > one[0]
    assert min(two[:4]) > 1  # only the last stage ends at the finest Gaussian


def test_the_widths_of_units_are_those_of_udps_rsn() -> None:
    """Its sub-pixel Gaussians, by the kernels they stand for: 15, 11, 9, 7 and 5, the last stage without the first."""
    wide = [1.11 * scale for scale in unit_scales(2)]
    assert wide == pytest.approx([2.6, 2.0, 1.7, 1.41, 2.0, 1.7, 1.41, 1.11])


def test_one_output_is_the_plain_loss() -> None:
    codec, (image, points, visible) = MSRAHeatmap(**SIZES), people()
    teaching = Supervision(codec)
    labeled = teaching.label(image, batch(points, visible))
    target, weight = codec.encode(points, visible)
    (output,) = outputs(1)
    assert torch.equal(labeled.target[0], target) and torch.equal(labeled.weight, weight)
    assert torch.equal(teaching.loss([output], labeled), heatmap_mse(output, target, weight))


def test_a_joint_counts_where_the_finest_target_shows_it() -> None:
    """Six heatmap pixels beside the map, a Gaussian of the finest unit is not seen, and one of the coarsest is."""
    codec, scales = MSRAHeatmap(**SIZES, sigma=1.0), unit_scales(1)
    points, visible = torch.tensor([[[-6 * 4.0, 30.0], [20.0, 30.0]]]), torch.ones(1, 2)
    labeled = Supervision(codec, scales).label(torch.zeros(1, 3, 64, 48), batch(points, visible))
    assert codec.scaled(scales[0]).encode(points, visible)[1].tolist() == [[1, 1]]
    assert labeled.weight.tolist() == [[0, 1]]


@pytest.mark.parametrize("stages", [1, 2])
def test_every_unit_is_taught_and_the_last_of_a_stage_counts_whole(stages: int) -> None:
    codec, (image, points, visible) = UDPHeatmap(**SIZES, sigma=1.0), people()
    teaching = Supervision(codec, unit_scales(stages), hard_keypoints=8)
    labeled = teaching.label(image, batch(points, visible))
    found = outputs(4 * stages)
    expected = torch.zeros(())
    for index, (output, scale) in enumerate(zip(found, unit_scales(stages), strict=True)):
        target, _ = codec.scaled(scale).encode(points, visible)
        last = index % 4 == 3
        share, hard = (1.0, 8) if last else (0.25, None)
        expected = expected + share * codec.loss(output, target, labeled.weight, hard)
        assert torch.equal(labeled.target[index], target)
    torch.testing.assert_close(teaching.loss(found, labeled), expected)


def test_a_wider_target_covers_more() -> None:
    image, points, visible = people()
    labeled = Supervision(MSRAHeatmap(**SIZES, sigma=1.0), unit_scales(1)).label(
        image, batch(points, visible)
    )
    covered = [(target > 0).float().mean().item() for target in labeled.target]
    assert covered == sorted(covered, reverse=True) and covered[0] > covered[-1]


def test_an_output_too_many_is_no_silent_loss() -> None:
    teaching = Supervision(MSRAHeatmap(**SIZES))
    image, points, visible = people()
    labeled = teaching.label(image, batch(points, visible))
    with pytest.raises(ValueError):
        teaching.loss(outputs(2), labeled)
