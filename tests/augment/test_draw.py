"""One rank's share of what is drawn for all."""

import pytest
import torch

from sshpe_lib.augment import dropping
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.rand_augment import RandAugment
from sshpe_lib.augment.view import Strong, View
from sshpe_lib.errors import SSHPEError


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("rank", "world"), [(1, 1), (-1, 2), (0, 0)])
def test_a_rank_that_is_none_of_the_world_is_refused(rank, world):
    with pytest.raises(
        SSHPEError, match=f"rank {rank} of {world}; ranks count from 0, and world is how many"
    ):
        Draw(generator(), rank, world)


def test_numbers_stay_on_the_cpu_under_another_default_device():
    one, other = Draw(generator()), Draw(generator())
    with torch.device("meta"):
        assert torch.equal(one.rand(2), other.rand(2)) and torch.equal(one.randn(2), other.randn(2))
        assert one.coin(0.5) == other.coin(0.5)


@pytest.mark.parametrize(
    "begin",
    [Strong([RandAugment()]), lambda image, maps, draw: dropping.RandomErasing()(View(image), maps, draw)],
)
def test_images_on_another_device_are_told(begin):
    image = torch.empty(2, 3, 64, 48, device="meta")
    with pytest.raises(
        SSHPEError, match="images are on meta, and what is drawn goes to cpu; .* device='meta'"
    ):
        begin(image, torch.empty(2, 17, 16, 12, device="meta"), Draw(generator()))
