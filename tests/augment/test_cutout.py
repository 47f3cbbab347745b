"""Cutout at random places: the rule in loops, and where its holes fall."""

import numpy as np
import pytest
import torch

from sshpe_lib.augment.cutout import Cutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.view import View
from tests.augment.helpers import DTYPES, LAYOUTS, assert_ranks_share, batch, draw


def slow_cutout(image, places, uniforms, operation):
    result = image.copy()
    height, width = image.shape[2:]
    low, high = operation.half_size
    for b in range(len(image)):
        for place, uniform in zip(places[b], uniforms[b], strict=True):
            x, y = int(place[0] * np.float32(width)), int(place[1] * np.float32(height))
            half = [int((low + int(u * np.float32(high - low + 1))) * width / 192 + 0.5) for u in uniform]
            for row in range(max(y - half[1], 0), min(y + half[1], height)):
                for col in range(max(x - half[0], 0), min(x + half[0], width)):
                    result[b, :, row, col] = 0
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(192, 256), (96, 128), (384, 64)])
@pytest.mark.parametrize("operation", [Cutout(), Cutout(holes=2, half_size=(20, 90))])
def test_it_is_the_rule_in_loops(operation, size, layout, dtype):
    image, heatmaps = batch(size)
    image = image.to(dtype).contiguous(memory_format=layout)
    kept, numbers = image.clone(), draw()
    view, same = operation(View(image), heatmaps, numbers)
    expected = slow_cutout(image.numpy(), *numbers.numbers, operation)
    assert np.array_equal(view.image.numpy(), expected)
    assert (expected == 0).any() and (expected != 0).any()
    assert torch.equal(image, kept) and same is heatmaps
    assert view.image.is_contiguous(memory_format=layout)


def test_holes_are_uniform_over_the_crop():
    """One 2 h wide hole covers a pixel from the centres x - h + 1 to x + h: fewer of them near the border."""
    count, half, width, height = 6000, 4, 48, 32
    view, _ = Cutout(holes=1, half_size=(16, 16))(View(torch.ones(count, 1, height, width)), None, draw())
    share = (view.image[:, 0] == 0).double().mean(0)
    across, down = (
        (torch.arange(length) + half).clamp(max=length - 1)
        - (torch.arange(length) - half + 1).clamp(min=0)
        + 1.0
        for length in (width, height)
    )
    expected = (down[:, None] / height * across / width).double()
    error = (expected * (1 - expected) / count).sqrt()
    assert ((share - expected).abs() < 5 * error).all()
    assert abs(share.mean() - expected.mean()) < 5 * 0.02 / count**0.5


def test_the_heatmaps_have_no_say():
    image, heatmaps = batch((96, 128))
    first, _ = Cutout()(View(image), heatmaps, draw())
    second, _ = Cutout()(View(image), torch.zeros_like(heatmaps), draw())
    third, _ = Cutout()(View(image), heatmaps, draw(1))
    assert torch.equal(first.image, second.image) and not torch.equal(first.image, third.image)


def test_it_keeps_what_happens_to_the_features():
    image, heatmaps = batch((48, 64), count=4)
    mixed, _ = PoseMUM()(View(image), heatmaps, draw())
    view, _ = Cutout()(mixed, heatmaps, draw())
    assert view.after_stage is mixed.after_stage


def test_ranks_share_the_holes_of_the_global_batch():
    assert_ranks_share(Cutout(), *batch((48, 64), count=8))
