"""The flip test, with networks whose answer is known."""

from __future__ import annotations

import torch

from sshpe_lib.evaluate.flip import flip_test
from sshpe_lib.geometry import flip_heatmaps, flip_images
from sshpe_lib.skeleton import COCO17

ORDER = list(COCO17.flip_order)


def heatmaps() -> torch.Tensor:
    return torch.randn(2, 17, 8, 6, generator=torch.Generator().manual_seed(0))


def test_a_network_that_mirrors_with_its_input_is_left_alone():
    answer = heatmaps()

    def network(images):
        mirrored = images[0, 0, 0, 0] > images[0, 0, 0, -1]
        return flip_heatmaps(answer, ORDER) if mirrored else answer

    images = torch.arange(4.0).expand(2, 3, 4, 4)
    assert torch.equal(flip_test(network, images, ORDER, shift=False), answer)


def test_the_mirrored_answer_is_mirrored_back_swapped_and_averaged():
    images = heatmaps()
    averaged = flip_test(lambda x: x**2, images, ORDER, shift=False)
    assert torch.equal(averaged, (images**2 + images[:, ORDER] ** 2) / 2)


def test_the_shift_moves_the_mirrored_answer_one_pixel_right():
    images = heatmaps()
    seen = []

    def network(x):
        seen.append(x)
        return x

    averaged = flip_test(network, images, ORDER, shift=True)
    shifted = images[:, ORDER].clone()
    shifted[..., 1:] = images[:, ORDER][..., :-1]
    assert torch.equal(averaged, (images + shifted) / 2)
    assert torch.equal(seen[0], flip_images(images)) and torch.equal(seen[1], images)
