"""What a heatmap loses: the errors by hand, and what UDP leaves of them."""

from __future__ import annotations

import numpy as np
import pytest

from sshpe_lib.bias import Way, random_joints, readings, row_of_joints, ways
from sshpe_lib.codec import MSRAHeatmap, UDPHeatmap
from sshpe_lib.report.bias import Reading, losses, reading_errors

POINTS = random_joints(500)


def mean_errors(codec, **arguments) -> np.ndarray:
    return Way("one", codec, **arguments).errors(POINTS).mean(axis=0)


def test_whole_pixels_lose_half_a_heatmap_pixel_at_most() -> None:
    errors = Way("one", MSRAHeatmap()).errors(np.array([[96.0, 128.0], [97.9, 128.0], [98.1, 129.0]]))
    np.testing.assert_allclose(errors, [[0, 0], [-1.9, 0], [1.9, -1]], atol=1e-9)
    assert np.abs(Way("one", MSRAHeatmap()).errors(POINTS)).max() <= 2


def test_the_mirrored_answer_is_beside_the_joint_unless_distances_are_the_unit() -> None:
    """Mirroring at 191 / 2 in the crop and at 47 / 2 in a map of stride 4 differs by 3 px; the mean of both by half."""
    assert mean_errors(MSRAHeatmap(), flip=True)[0] < -1
    # HRNet's shift by a pixel of the map, 4 px, turns 3 too little into 1 too much, of which half shows
    assert 0 < mean_errors(MSRAHeatmap(), flip=True, shift=True)[0] < 1
    assert abs(mean_errors(UDPHeatmap(), flip=True)[0]) < 0.01
    assert abs(mean_errors(UDPHeatmap(target="offset"), flip=True)[0]) < 0.05


def test_the_flip_test_changes_nothing_where_there_is_no_bias() -> None:
    for codec in (UDPHeatmap(), UDPHeatmap(target="offset")):
        plain, flipped = (Way("one", codec, flip=flip).errors(POINTS) for flip in (False, True))
        np.testing.assert_allclose(flipped, plain, atol=0.02)


def test_a_smaller_kernel_reads_the_smaller_discs_of_a_smaller_crop() -> None:
    sizes, points = ((96, 128), (24, 32)), random_joints(500, (96, 128))
    wide, narrow = (
        np.hypot(*Way("one", UDPHeatmap(*sizes, target="offset", kernel=kernel)).errors(points).T).mean()
        for kernel in (7, 3)
    )
    assert narrow < 0.3 < wide


@pytest.mark.parametrize("size", [(192, 256), (96, 128)])
def test_joints_stand_away_from_the_border(size) -> None:
    for points in (random_joints(100, size), row_of_joints(size)):
        assert (points >= 32 - 1e-9).all() and (points <= np.array(size) - 33).all()
    row = row_of_joints(size, pixels=2, steps=8)
    assert len(row) == 16 and (row[:, 1] == row[0, 1]).all() and np.diff(row[:, 0]) == pytest.approx(0.5)


def test_what_is_lost_is_told_as_mean_largest_and_bias() -> None:
    reading = Reading("MSRA", "none", np.zeros((2, 2)), errors=np.array([[3.0, 4.0], [0.0, 0.0]]))
    (line,) = losses([reading]).to_dict("records")
    assert line == {"mean error": "2.50", "largest": "5.00", "bias along x": "+1.50"}


def test_table_and_figure_show_every_way() -> None:
    made = readings(random_joints(50))
    table = losses(made)
    assert len(table) == len(ways()) and list(table.columns) == ["mean error", "largest", "bias along x"]
    assert table.loc[("UDP, Gaussians", "plain"), "mean error"] == "0.00"
    assert float(table.loc[("whole pixels", "plain"), "bias along x"]) < -1
    figure = reading_errors(readings(row_of_joints()))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "whole pixels",
        "UDP, Gaussians",
        "UDP, offsets",
    ]
    assert [len(axes.get_lines()) for axes in figure.axes] == [
        4,
        3,
        3,
    ]  # a line for every flip test, and one at 0
