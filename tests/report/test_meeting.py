"""Figure 2: which tile a joint is in, when a limb counts as joined, and what the panels show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from sshpe_lib.errors import SSHPEError
from sshpe_lib.report.meeting import (
    PALE,
    Connections,
    Limbs,
    Meetings,
    Stage,
    connections,
    looks,
    meetings,
    tile_of,
)
from sshpe_lib.report.mixing import Group
from sshpe_lib.report.style import COLORS, ORANGE
from sshpe_lib.skeleton import Skeleton
from tests.report.test_mixing import SIZE, TILES, grid, group

CHAIN = Skeleton("chain", ("a", "b", "c", "d"), (), ((0, 1), (1, 2), (2, 3)), (0.1,) * 4, (0, 1))
COUNT = TILES[0] * TILES[1]


def chain() -> Group:
    """Two people whose joints a, b lie in tile 0, c in tile 1, d in tile 11."""
    one = np.array([[1.0, 1.0], [6.0, 6.0], [9.0, 2.0], [20.0, 30.0]], dtype=np.float32)
    images = np.random.default_rng(3).integers(0, 200, (2, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    return Group(images, np.stack([one, one]), CHAIN, TILES, "2 people")


def stage(name: str, slots: list[int]) -> Stage:
    """A stage of two people whose tiles of person 0 are in these slots, those of person 1 in the others."""
    slot = np.array([slots, 1 - np.array(slots)])  # person, tile
    sources = np.argsort(slot, axis=0).reshape(2, *TILES)
    return Stage(name, sources, slot[:, :, None] == slot[:, None, :])


PARTED = [0, 1, *[0] * 9, 1]  # tiles 1 and 11 of person 0 are in slot 1
TOGETHER = [0, 0, *[1] * 10]


def test_a_joint_belongs_to_the_tile_of_its_pixel() -> None:
    edge = np.array([[-0.5, -0.5], [7.4, 7.4], [7.6, 7.4], [7.4, 7.6], [23.4, 31.4]])
    assert tile_of(edge, SIZE, TILES).tolist() == [0, 0, 1, 3, 11]
    assert tile_of(np.array([[-40.0, 3.0], [99.0, 99.0]]), SIZE, TILES).tolist() == [0, 11]
    x, y = np.meshgrid(np.arange(24), np.arange(32))
    tiles = tile_of(np.stack([x, y], -1), SIZE, TILES)
    assert np.array_equal(tiles, np.arange(12).reshape(4, 3).repeat(8, 0).repeat(8, 1))


def test_a_limb_is_joined_once_its_tiles_have_shared_a_slot() -> None:
    limbs = Limbs.of(chain(), person=0)
    assert limbs.across.tolist() == [False, True, True]
    assert limbs.kinds() == ["within one tile", "not joined", "not joined"]
    limbs = limbs.after(stage("image", PARTED))
    assert limbs.kinds() == ["within one tile", "not joined", "joined at this stage"]
    assert limbs.summary() == "1 of 2 limbs joined"
    limbs = limbs.after(stage("layer1", TOGETHER))
    assert limbs.kinds() == ["within one tile", "joined at this stage", "joined before"]
    limbs = limbs.after(stage("layer3", PARTED))  # meets again what it has met
    assert limbs.kinds() == ["within one tile", "joined before", "joined before"]
    assert limbs.summary() == "2 of 2 limbs joined"


def test_a_row_a_stage_with_slots_and_a_skeleton() -> None:
    made = Connections(chain(), (stage("image", PARTED), stage("layer1", TOGETHER)))
    axes = grid(connections(made), 2)
    assert axes.shape == (2, 3)
    titles = [(line[0].get_title(loc="left"), line[-1].get_title(loc="right")) for line in axes]
    assert titles == [
        ("Images mixed: all that MUM does", "1 of 2 limbs joined"),
        ("Pose-MUM: features mixed again after layer1", "2 of 2 limbs joined"),
    ]
    drawn = [
        [(to_hex(o.get_color()).upper(), o.get_linewidth()) for o in line[-1].get_lines()] for line in axes
    ]
    style = {name: (to_hex(look["color"]).upper(), look["linewidth"]) for name, look in looks().items()}
    assert drawn[0] == [style[n] for n in ("within one tile", "not joined", "joined at this stage")]
    assert drawn[1] == [style[n] for n in ("within one tile", "joined at this stage", "joined before")]


def test_never_met_is_the_only_broken_line() -> None:
    broken = [name for name, look in looks().items() if look.get("linestyle", "-") != "-"]
    assert broken == ["not joined"]
    assert looks()["joined at this stage"]["color"] == ORANGE
    (legend,) = connections(Connections(chain(), (stage("image", PARTED),))).legends
    assert [text.get_text() for text in legend.get_texts()] == list(looks())


def test_a_slot_shows_the_persons_pixels_and_the_colours_of_others() -> None:
    made = chain()
    one = stage("image", PARTED)
    slots = grid(connections(Connections(made, (one,))), 1)[0, :2]
    for axes, sources in zip(slots, one.sources, strict=True):
        shown = axes.get_images()[0].get_array()
        whose = sources.repeat(8, 0).repeat(8, 1)
        assert np.array_equal(shown[whose == 0], made.images[0][whose == 0])
        tint = 255 * (PALE + (1 - PALE) * np.array(to_rgb(COLORS[1])))
        assert np.allclose(shown[whose == 1], tint, atol=0.5)
        assert [text.get_text() for text in axes.texts] == ["B"] * int((sources == 1).sum())


def test_a_slot_draws_the_limbs_whose_two_ends_it_holds() -> None:
    made = chain()
    slots = grid(connections(Connections(made, (stage("image", PARTED),))), 1)[0, :2]
    for axes, limb, held in zip(slots, ((0, 1), (2, 3)), ([0, 1], [2, 3]), strict=True):
        (line,) = axes.get_lines()
        assert np.array_equal(line.get_xydata(), made.points[0][list(limb)])
        assert np.array_equal(axes.collections[0].get_offsets(), made.points[0][held])


def test_another_person_can_be_followed() -> None:
    made = group(people=2)
    one = stage("image", PARTED)
    axes = grid(connections(Connections(made, (one,)), person=1), 1)[0]
    whose = one.sources[0].repeat(8, 0).repeat(8, 1)
    assert np.array_equal(axes[0].get_images()[0].get_array()[whose == 1], made.images[1][whose == 1])
    assert [text.get_text() for text in axes[-1].texts] == ["B"]
    assert {text.get_text() for text in axes[0].texts} == {"A"}


def test_too_many_people_are_refused() -> None:
    with pytest.raises(SSHPEError, match="group is 7"):
        connections(Connections(group(people=7), ()))


def test_bars_are_measured_and_lines_expected() -> None:
    made = Meetings(3, 1500, np.array([0.34, 0.55]), np.array([1 / 3, 5 / 9]))
    figure = meetings(made)
    (axes,), (legend,) = figure.axes, figure.legends
    assert [bar.get_height() for bar in axes.patches] == [0.34, 0.55]
    (lines,) = axes.collections
    assert np.allclose([path[:, 1] for path in lines.get_segments()], made.expected[:, None])
    assert [text.get_text() for text in axes.texts] == ["0.333", "0.340", "0.556", "0.550"]
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["closed form, $1 - (1 - 1/3)^n$", "measured in 1,500 groups"]
    assert "groups of 3" in axes.get_title(loc="left")
    assert axes.get_ylim() == (0, 1)


def test_the_values_follow_the_data() -> None:
    made = Meetings(4, 10, np.array([0.2]), np.array([0.25]))
    (axes,) = meetings(replace(made, measured=np.array([0.3]))).axes
    assert [bar.get_height() for bar in axes.patches] == [0.3]
    assert meetings(made)._repr_png_().startswith(b"\x89PNG\r\n")
