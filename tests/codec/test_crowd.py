"""Heatmaps of many people: equal to the references, independent of order and padding, within their grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sshpe_lib.codec.crowd import CrowdHeatmap
from sshpe_lib.errors import SSHPEError

GOLDEN = Path(__file__).parent.parent / "goldens" / "data_losses.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="module")
def people(golden) -> tuple[torch.Tensor, torch.Tensor]:
    joints = torch.from_numpy(golden["joints"])[None]
    return joints[..., :2], joints[..., 2]


@pytest.mark.parametrize(("unbiased", "name"), [(False, "hm_orig_res64_s2"), (True, "hm_udp_res64_s2")])
def test_heatmaps_equal_the_reference(golden, people, unbiased, name) -> None:
    maps = CrowdHeatmap((64, 64), 2.0, unbiased).encode(*people)[0].numpy()
    np.testing.assert_allclose(maps, golden[name], rtol=0, atol=2e-6)
    np.testing.assert_array_equal(maps > 0, golden[name] > 0)


def test_tags_are_read_where_the_reference_reads_them(golden, people) -> None:
    """It lists a person's joints from the front, and pads with joints that are not there."""
    found, expected = CrowdHeatmap((64, 64)).tag_index(*people)[0], golden["joints_idx"]
    for person, listed in zip(found.tolist(), expected.tolist(), strict=False):
        assert [index for index in person if index >= 0] == [index for index, there in listed if there]
    assert not expected[len(found) :, :, 1].any()


def test_neither_the_order_of_people_nor_padding_matters(people) -> None:
    points, visible = people
    codec = CrowdHeatmap((64, 64), unbiased=True)
    maps = codec.encode(points, visible)
    padded = torch.cat([points.flip(1), torch.full_like(points, torch.nan)], 1)
    shown = torch.cat([visible.flip(1), torch.zeros_like(visible)], 1)
    assert torch.equal(codec.encode(padded, shown), maps)
    assert (codec.tag_index(padded, shown)[:, points.shape[1] :] == -1).all()


def test_samples_do_not_mix(people) -> None:
    points, visible = people
    other = points + 5
    both = CrowdHeatmap((64, 64)).encode(torch.cat([points, other]), torch.cat([visible, visible]))
    for index, alone in enumerate((points, other)):
        assert torch.equal(both[index], CrowdHeatmap((64, 64)).encode(alone, visible)[0])


@pytest.mark.parametrize(
    ("x", "y", "there"),
    [(0, 0, True), (-0.9, 0, True), (-1, 0, False), (47.9, 31.9, True), (48, 5, False), (5, 32, False)],
)
def test_a_joint_counts_where_its_whole_pixel_lies_in_the_map(x, y, there) -> None:
    codec, point, visible = (
        CrowdHeatmap((48, 32)),
        torch.tensor([[[[x, y]]]], dtype=torch.float64),
        torch.ones(1, 1, 1),
    )
    assert codec.encode(point, visible).any().item() == there
    index = codec.tag_index(point, visible).item()
    assert index == (int(y) * 48 + int(x) if there else -1)


def test_a_joint_stands_in_its_row_and_column_of_a_map_that_is_no_square() -> None:
    points = torch.tensor([[[[40.0, 20.0], [3.0, 30.0]]]])
    maps = CrowdHeatmap((48, 32)).encode(points, torch.ones(1, 1, 2))
    assert maps.flatten(2).argmax(-1).tolist() == [[20 * 48 + 40, 30 * 48 + 3]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_people_in_half_precision_are_drawn_in_float32(people, dtype) -> None:
    points, visible = people
    codec = CrowdHeatmap((64, 64), unbiased=True)
    maps = codec.encode(points.to(dtype), visible)
    assert maps.dtype == torch.float32
    assert torch.equal(maps, codec.encode(points.to(dtype).float(), visible))


def test_nobody_gives_empty_maps() -> None:
    assert not CrowdHeatmap((8, 8)).encode(torch.zeros(2, 0, 3, 2), torch.zeros(2, 0, 3)).any()
    assert not CrowdHeatmap((8, 8)).encode(torch.zeros(2, 4, 3, 2), torch.zeros(2, 4, 3)).any()


@pytest.mark.parametrize("arguments", [{"heatmap_size": (0, 4)}, {"sigma": 0.0}])
def test_impossible_settings_are_refused(arguments) -> None:
    with pytest.raises(SSHPEError, match="sizes of at least 1 and a positive sigma"):
        CrowdHeatmap(**arguments)


def test_points_need_not_lie_in_a_row(people) -> None:
    points, visible = people
    apart = points.transpose(1, 2).contiguous().transpose(1, 2)
    assert not apart.is_contiguous()
    codec = CrowdHeatmap((64, 64))
    assert torch.equal(codec.encode(apart, visible), codec.encode(points, visible))
