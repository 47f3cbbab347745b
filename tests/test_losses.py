"""Losses on heatmaps: equal to the references, and what they leave out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sshpe_lib.errors import SSHPEError
from sshpe_lib.losses import heatmap_mse, offset_mse

GOLDEN = Path(__file__).parent / "goldens" / "data_losses.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


def test_heatmap_mse_equals_the_reference(golden) -> None:
    predicted, target, weight = golden["td_pred"], golden["td_target"], golden["td_weight"][..., 0]
    torch.testing.assert_close(heatmap_mse(predicted, target, weight), golden["joints_mse"])
    torch.testing.assert_close(heatmap_mse(predicted, target), golden["joints_mse_nw"])


def test_the_hardest_keypoints_equal_the_reference(golden) -> None:
    predicted, target, weight = golden["td_pred"], golden["td_target"], golden["td_weight"][..., 0]
    torch.testing.assert_close(heatmap_mse(predicted, target, weight, top=8), golden["joints_ohkm8"])


def test_offset_mse_equals_the_reference(golden) -> None:
    found = offset_mse(golden["off_pred"], golden["off_target"], golden["td_weight"][..., 0])
    torch.testing.assert_close(found, golden["udp_offset_loss_hm"] + golden["udp_offset_loss_os"])


@pytest.mark.parametrize(("loss", "channels"), [(heatmap_mse, 5), (offset_mse, 15)])
def test_top_of_all_is_the_mean_and_fewer_are_more(loss, channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.rand(2, 4, channels, 8, 6, generator=generator)
    every = loss(predicted, target)
    torch.testing.assert_close(loss(predicted, target, None, 5), every)
    values = [loss(predicted, target, None, top).item() for top in (5, 4, 3, 2, 1)]
    assert values == sorted(values) and values[0] < values[-1]


@pytest.mark.parametrize("top", [0, 6])
def test_an_impossible_number_of_hard_keypoints_is_refused(top: int) -> None:
    with pytest.raises(SSHPEError, match=r"no . hardest of 5 keypoints; .*train\.hard_keypoints"):
        heatmap_mse(torch.zeros(1, 5, 2, 2), torch.zeros(1, 5, 2, 2), None, top)


def test_offsets_outside_the_discs_do_not_count() -> None:
    target = torch.zeros(1, 3, 4, 4)
    target[0, 0, 1, 1] = 1
    predicted = target.clone()
    predicted[0, 1:] = 7  # wild offsets everywhere, but for the disc
    predicted[0, 1:, 1, 1] = 0
    assert offset_mse(predicted, target).item() == 0
    predicted[0, 1, 1, 1] = 1
    assert offset_mse(predicted, target).item() == pytest.approx(0.5 / 16)
