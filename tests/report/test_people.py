"""Pictures of test people: what is drawn where, in which colour, how faint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba

from sshpe_lib import report
from sshpe_lib.errors import SSHPEError
from sshpe_lib.report import Picture
from sshpe_lib.report.people import FAINTEST, MARGIN, rows_of_people, window
from sshpe_lib.report.style import BLUE, GREEN, ORANGE
from sshpe_lib.skeleton import COCO17, KNOWN, LSP14, Skeleton


def picture(skeleton: Skeleton = COCO17, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(10, 50, (len(skeleton), 3))
    predicted[:, 2] = rng.uniform(0, 1, len(skeleton))
    truth = np.hstack([predicted[:, :2] + 1, rng.integers(0, 3, (len(skeleton), 1))])
    image = rng.integers(0, 256, (80, 60, 3), dtype=np.uint8)
    return Picture(image, predicted, truth, np.array([8.0, 10.0, 40.0, 60.0]), skeleton)


def test_limbs_join_the_predicted_keypoints_in_the_colour_of_their_side() -> None:
    shown = picture()
    drawn = report.people([shown]).axes[0].get_lines()
    assert len(drawn) == len(COCO17.limbs)
    colors = {}
    for line, limb in zip(drawn, COCO17.limbs, strict=True):
        assert np.array_equal(line.get_xydata(), shown.predicted[list(limb), :2])
        colors[tuple(COCO17.keypoints[end] for end in limb)] = line.get_color()
    assert colors["left_ankle", "left_knee"] == ORANGE
    assert colors["right_ankle", "right_knee"] == BLUE
    assert colors["left_hip", "right_hip"] == colors["nose", "left_eye"] == GREEN


def test_the_less_certain_the_fainter() -> None:
    shown = picture()
    shown.predicted[:, 2] = np.linspace(-0.2, 1.2, len(COCO17))  # a heatmap's peak may leave [0, 1]
    axes = report.people([shown]).axes[0]
    certain = FAINTEST + (1 - FAINTEST) * np.clip(shown.predicted[:, 2], 0, 1)
    for line, (a, b) in zip(axes.get_lines(), COCO17.limbs, strict=True):
        assert line.get_alpha() == pytest.approx(min(certain[a], certain[b]))
    dots = axes.collections[0]
    assert np.allclose(dots.get_facecolors()[:, 3], certain)
    assert to_hex(dots.get_facecolors()[5]).upper() == ORANGE  # the left shoulder


def test_the_truth_is_hollow_and_only_what_is_labelled() -> None:
    shown = picture()
    known = shown.truth[shown.truth[:, 2] > 0, :2]
    assert 0 < len(known) < len(COCO17)
    _, outer, inner = report.people([shown]).axes[0].collections
    for dots, color in ((outer, "black"), (inner, "white")):
        assert np.array_equal(dots.get_offsets(), known)
        assert len(dots.get_facecolors()) == 0
        assert np.array_equal(dots.get_edgecolors(), [to_rgba(color)])


@pytest.mark.parametrize("box", [(8, 10, 40, 60), (0, 0, 90, 20), (5, 5, 2, 50)])
def test_the_window_holds_the_box_in_one_shape(box: tuple[float, ...]) -> None:
    left, right, bottom, top = window(replace(picture(), box=np.array(box)))
    x, y, width, height = box
    assert (right - left) / (bottom - top) == pytest.approx(3 / 4)
    assert (left + right) / 2 == pytest.approx(x + width / 2)
    assert (top + bottom) / 2 == pytest.approx(y + height / 2)
    assert left <= x and top <= y and right >= x + width and bottom >= y + height
    assert max(width / (right - left), height / (bottom - top)) == pytest.approx(1 / (1 + 2 * MARGIN))


def test_pixels_and_keypoints_share_coordinates() -> None:
    shown = picture()
    axes = report.people([shown]).axes[0]
    (image,) = axes.get_images()
    assert np.array_equal(image.get_array(), shown.image)
    assert image.get_extent() == [-0.5, 59.5, 79.5, -0.5]  # the centre of the first pixel is (0, 0)
    assert (*axes.get_xlim(), *axes.get_ylim()) == window(shown)


@pytest.mark.parametrize(("count", "panels"), [(1, 1), (4, 4), (5, 8), (8, 8)])
def test_pictures_fill_rows_of_four(count: int, panels: int) -> None:
    axes = report.people([picture(seed=seed) for seed in range(count)]).axes
    assert len(axes) == panels
    assert [bool(one.get_images()) for one in axes] == [i < count for i in range(panels)]
    assert all(not one.axison for one in axes[count:])


@pytest.mark.parametrize("skeleton", KNOWN, ids=lambda skeleton: skeleton.name)
def test_any_skeleton_is_drawn(skeleton: Skeleton) -> None:
    figure = report.people([picture(skeleton)])
    assert len(figure.axes[0].get_lines()) == len(skeleton.limbs)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_sides_come_from_names() -> None:
    thrice = {side: [side] * 3 for side in ("left", "right")}
    own = [*thrice["right"], *thrice["left"], *thrice["right"], *thrice["left"], "middle", "middle"]
    assert list(LSP14.sides) == own


def test_the_legend_explains_what_is_drawn() -> None:
    (legend,) = report.people([picture()]).legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["person's left", "person's right", "middle", "ground truth"]


def test_no_pictures_is_an_error() -> None:
    with pytest.raises(SSHPEError, match="no pictures to draw"):
        report.people([])


def test_rows_show_the_same_people_under_their_true_skeletons() -> None:
    people = [picture(seed=seed) for seed in range(3)]
    others = [replace(one, predicted=one.predicted + 1) for one in people]
    figure = rows_of_people({"without": people, "with": others})
    grid = np.array(figure.axes).reshape(3, 3)
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["ground truth", "without", "with"]
    for column, (one, other) in enumerate(zip(people, others, strict=True)):
        truth, first, second = (axes.collections[0].get_offsets() for axes in grid[:, column])
        known = one.truth[:, 2] > 0
        assert np.array_equal(truth[known], one.truth[known, :2])
        assert np.ma.getmaskarray(truth)[~known].all()  # what is not labelled is not drawn
        assert np.array_equal(first, one.predicted[:, :2]) and np.array_equal(second, other.predicted[:, :2])


def test_rows_of_other_people_or_of_none_are_refused() -> None:
    with pytest.raises(SSHPEError, match="show different people"):
        rows_of_people({"without": [picture(seed=0)], "with": [picture(seed=1)]})
    for rows in ({}, {"without": []}):
        with pytest.raises(SSHPEError, match="no pictures"):
            rows_of_people(rows)
