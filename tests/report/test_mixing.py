"""Figure 1: whose picture stands where, in whose colour, and what is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from sshpe_lib.errors import SSHPEError
from sshpe_lib.report.mixing import Group, StrongViews, joints_covered, rectangles, strong_views
from sshpe_lib.report.style import COLORS
from sshpe_lib.skeleton import LSP14

TILES, SIZE = (4, 3), (24, 32)


def group(people: int = 4, seed: int = 0) -> Group:
    rng = np.random.default_rng(seed)
    width, height = SIZE
    images = rng.integers(0, 256, (people, height, width, 3), dtype=np.uint8)
    points = rng.uniform((0, 0), (width - 1, height - 1), (people, len(LSP14), 2)).astype(np.float32)
    return Group(images, points, LSP14, TILES, f"{people} people")


def views(people: int = 4, seed: int = 0) -> StrongViews:
    """Views that no augmentation made: any pictures, every tile's person drawn."""
    made, rng = group(people, seed), np.random.default_rng(seed + 1)
    pictures = [rng.integers(0, 256, made.images.shape, dtype=np.uint8) for _ in range(2)]
    covered = rng.random(made.images.shape[:3]) < 0.1
    sources = rng.permuted(np.tile(np.arange(people)[:, None, None], (1, *TILES)), axis=0)
    return StrongViews(made, pictures[0], covered, pictures[1], sources, made.images)


def grid(figure: Figure, rows: int) -> np.ndarray:
    return np.array(figure.axes).reshape(rows, -1)


def test_a_row_each_for_the_people_the_cutout_the_mix_and_the_unmix() -> None:
    shown = views()
    axes = grid(strong_views(shown), 4)
    assert axes.shape == (4, 4)
    for line, images in zip(axes, (shown.group.images, shown.cut, shown.mixed, shown.unmixed), strict=True):
        for one, image in zip(line, images, strict=True):
            assert np.array_equal(one.get_images()[0].get_array(), image)
            assert not one.axison


def test_every_tile_is_framed_in_the_colour_of_its_person() -> None:
    shown = views()
    axes = grid(strong_views(shown), 4)
    for slot, one in enumerate(axes[2]):
        colors = [to_hex(patch.get_edgecolor()).upper() for patch in one.patches]
        assert colors == [COLORS[person] for person in shown.sources[slot].flat]
        assert [text.get_text() for text in one.texts] == ["ABCD"[p] for p in shown.sources[slot].flat]
    for row in (0, 1, 3):
        for person, one in enumerate(axes[row]):
            (frame,) = one.patches
            assert to_hex(frame.get_edgecolor()).upper() == COLORS[person]


def test_a_frame_stays_inside_its_tile() -> None:
    shown = views()
    places = rectangles(TILES, SIZE).reshape(-1, 4)
    for place, patch in zip(places, grid(strong_views(shown), 4)[2, 0].patches, strict=True):
        left, top, wide, high = place
        (x, y), width, height = patch.get_xy(), patch.get_width(), patch.get_height()
        assert left < x and top < y and x + width < left + wide and y + height < top + high


def test_small_tiles_have_thinner_frames_and_no_letters() -> None:
    shown = views()
    tiny = shown.sources.repeat(4, axis=1).repeat(4, axis=2)
    few = grid(strong_views(shown), 4)[2, 0]
    many = grid(strong_views(replace(shown, group=replace(shown.group, tiles=(16, 12)), sources=tiny)), 4)[
        2, 0
    ]
    assert (len(few.texts), len(few.patches)) == (12, 12)
    assert (len(many.texts), len(many.patches)) == (0, 192)
    assert many.patches[0].get_linewidth() < few.patches[0].get_linewidth()


def test_rectangles_cover_the_picture_from_edge_to_edge() -> None:
    places = rectangles(TILES, SIZE)
    assert places.shape == (4, 3, 4)
    assert np.allclose(places[0, 0], (-0.5, -0.5, 8, 8))
    assert np.allclose(places[3, 2], (15.5, 23.5, 8, 8))
    assert places[..., 2:].prod(-1).sum() == pytest.approx(24 * 32)


def test_true_limbs_stand_in_the_first_row_only() -> None:
    shown = views()
    axes = grid(strong_views(shown), 4)
    for person, one in enumerate(axes[0]):
        drawn = [line.get_xydata() for line in one.get_lines()]
        assert np.allclose(drawn, shown.group.points[person][np.array(LSP14.limbs)])
        assert np.allclose(one.collections[0].get_offsets(), shown.group.points[person])
    assert not [one.get_lines() for one in axes[1:].flat if one.get_lines()]


def test_covered_joints_are_counted_at_their_pixels() -> None:
    shown = views()
    points = np.rint(shown.group.points).astype(int)
    expected = sum(shown.covered[n, y, x] for n in range(4) for x, y in points[n])
    assert 0 < joints_covered(shown) == expected < 4 * len(LSP14)
    nothing = replace(shown, covered=np.zeros_like(shown.covered))
    assert joints_covered(nothing) == 0
    title = grid(strong_views(nothing), 4)[1, 0].get_title(loc="left")
    assert title == "(a) Joint Cutout: 0% of the pixels and 0 of 56 joints are gone"


def test_the_title_says_what_is_gone() -> None:
    shown = views()
    corner = np.zeros_like(shown.covered)
    corner[:, :16, :12] = True
    shown = replace(shown, covered=corner)
    title = grid(strong_views(shown), 4)[1, 0].get_title(loc="left")
    assert title.startswith("(a) Joint Cutout: 25% of the pixels and ")
    assert f" {joints_covered(shown)} of 56 joints" in title


def test_panels_keep_the_shape_of_a_crop() -> None:
    figure = strong_views(views(people=2))
    figure.draw_without_rendering()
    for one in figure.axes:
        box = one.get_window_extent()
        assert box.height / box.width == pytest.approx(32 / 24, rel=1e-3)
        assert 0 <= box.x0 and box.x1 <= figure.bbox.width and 0 <= box.y0 and box.y1 <= figure.bbox.height


def test_as_many_people_as_there_are_colours() -> None:
    assert len(strong_views(views(people=len(COLORS))).axes) == 4 * len(COLORS)
    with pytest.raises(SSHPEError, match="group is 7; the figure can tell at most 6 people apart"):
        strong_views(views(people=7))


def test_a_notebook_can_show_it_and_the_settings_stay() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    assert strong_views(views(people=2))._repr_png_().startswith(b"\x89PNG\r\n")
    assert dict(matplotlib.rcParams) == before
