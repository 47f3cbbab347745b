"""Figure 1 of AID: whose picture stands where, and under what name."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from sshpe_lib.errors import SSHPEError
from sshpe_lib.report.dropping import dropped_people

NAMES = ("original", "Random Erasing", "Cutout", "Hide-and-Seek", "GridMask")


def columns(people: int = 3, names: tuple[str, ...] = NAMES) -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(name, rng.integers(0, 256, (people, 32, 24, 3), dtype=np.uint8)) for name in names]


def grid(figure: Figure, people: int) -> np.ndarray:
    return np.array(figure.axes).reshape(people, -1)


@pytest.mark.parametrize("people", [1, 3])
def test_a_row_for_a_person_and_a_column_for_a_way(people: int) -> None:
    shown = columns(people)
    axes = grid(dropped_people(shown), people)
    assert axes.shape == (people, len(NAMES))
    assert [one.get_title() for one in axes[0]] == list(NAMES)
    assert not [one.get_title() for one in axes[1:].flat if one.get_title()]
    for person, line in enumerate(axes):
        for one, (_, images) in zip(line, shown, strict=True):
            assert np.array_equal(one.get_images()[0].get_array(), images[person])
            assert not one.axison


@pytest.mark.parametrize("names", [NAMES, NAMES[:2]])
def test_pictures_keep_their_shape_and_titles_have_room(names: tuple[str, ...]) -> None:
    figure = dropped_people(columns(2, names))
    figure.draw_without_rendering()
    titles = []
    for one in figure.axes:
        box = one.get_window_extent()
        assert box.height / box.width == pytest.approx(32 / 24, rel=1e-3)
        assert 0 <= box.x0 and box.x1 <= figure.bbox.width and 0 <= box.y0 and box.y1 <= figure.bbox.height
        if one.get_title():
            titles.append(one.title.get_window_extent())
    assert all(left.x1 < right.x0 for left, right in zip(titles, titles[1:], strict=False))
    assert all(title.y1 <= figure.bbox.height for title in titles)


def test_without_pictures_there_is_no_figure() -> None:
    for nothing in ([], columns(0)):
        with pytest.raises(SSHPEError, match="no pictures to draw"):
            dropped_people(nothing)


def test_columns_show_the_same_people() -> None:
    shown = columns()
    shown[2] = ("Cutout", shown[2][1][:2])
    with pytest.raises(SSHPEError, match="column 'Cutout' is .2, 32, 24, 3., the first .3, 32, 24, 3."):
        dropped_people(shown)


def test_a_notebook_can_show_it_and_the_settings_stay() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    assert dropped_people(columns(1))._repr_png_().startswith(b"\x89PNG\r\n")
    assert dict(matplotlib.rcParams) == before
