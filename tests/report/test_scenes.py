"""Whole images with the people found in them."""

from __future__ import annotations

import numpy as np
import pytest

from sshpe_lib.errors import SSHPEError
from sshpe_lib.report.people import people
from sshpe_lib.report.scenes import Scene, beside, scenes
from sshpe_lib.skeleton import COCO17


def scene(found: int, true: int = 2) -> Scene:
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 90, (max(found, true), 17, 2))
    seen = np.ones((max(found, true), 17, 1))
    seen[0, 3] = 0
    keypoints = np.concatenate([points * seen, seen], axis=-1)
    image = np.full((100, 120, 3), 128, np.uint8)
    return Scene(image, keypoints[:found], np.where(keypoints > 0, keypoints, 0)[:true], COCO17)


def test_everybody_has_a_colour_and_a_joint_that_was_not_found_is_not_drawn() -> None:
    figure = scenes([scene(2), scene(0)])
    first, second = figure.axes
    shades = {line.get_color() for line in first.lines}
    assert len(shades) == 2 and not second.lines
    for line in first.lines:
        assert (line.get_xydata() >= 10).all(), "a limb goes to a joint that was not found"
    assert len(first.collections[0].get_offsets()) == 16


def test_people_draws_whole_images_too() -> None:
    assert len(people([scene(1)]).axes) == 1
    with pytest.raises(SSHPEError, match="no test images"):
        scenes([])


def test_heatmaps_lie_below_their_images() -> None:
    images, heatmaps = np.zeros((2, 3, 64, 64), np.uint8), np.zeros((2, 17, 32, 32))
    heatmaps[1, 4, 10, 20] = 1
    figure = beside(images, heatmaps)
    assert len(figure.axes) == 4
    assert figure.axes[3].images[1].get_array()[10, 20] == 1
    assert figure.axes[3].images[1].get_extent() == [-0.5, 63.5, 63.5, -0.5]
    with pytest.raises(SSHPEError, match="2 images and 1 sets"):
        beside(images, heatmaps[:1])
