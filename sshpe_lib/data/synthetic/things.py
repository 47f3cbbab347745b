"""Things behind and in front of the people: limb-like bars, boxes, balls, posts and stick figures."""

from __future__ import annotations

import numpy as np

from sshpe_lib.data.synthetic import texture
from sshpe_lib.data.synthetic.person import Part, Person
from sshpe_lib.data.synthetic.shapes import Outlines, Shapes
from sshpe_lib.data.synthetic.texture import Palette

_FAR = 1e6  # a camera distance without perspective: things are laid out in the image plane
_PRINTS = (texture.STRIPES, texture.RINGS, texture.CHECKS, texture.COARSE, texture.PATCHES, texture.PLAID)


def clutter(
    rng: np.random.Generator, palette: Palette, height: int, width: int, difficulty: float = 1.0
) -> Outlines:
    """Things behind the people, some limb-like, some skin-coloured, now and then a stick figure.

    At most ten; `difficulty`, 0..1, lowers that number and the stick figure's chance.
    """
    shapes = Shapes()
    size = min(height, width)
    for count in range(int(rng.integers(1, 2 + round(9 * difficulty)))):
        x, y, kind, angle, long, thick, skin, taper = rng.random(8).tolist()
        centre = np.array([x * width, y * height, 0.0])
        look = (_material(rng, palette, skin < 0.22), 20.0 - count)
        if kind < 0.50:  # limb-like
            radius = size * (0.015 + 0.05 * thick**2)
            half = size * (0.06 + 0.24 * long) * _direction(angle)
            _bar(shapes, centre, half, radius, *look, taper=0.5 + 0.5 * taper)
        elif kind < 0.78:  # a box or a post, most often upright
            half = (
                size * (0.08 + 0.5 * long) * _direction(0.5 + 0.02 * (angle - 0.5) if taper < 0.7 else angle)
            )
            _bar(shapes, centre, half, size * (0.03 + 0.22 * thick), *look, box=True)
        else:
            axes = size * np.array([0.04 + 0.12 * long, 0.04 + 0.12 * thick, 0.1])
            shapes.ball(centre, np.eye(3), axes, look[0], Part.OTHER, look[1])
    if rng.random() < 0.16 * difficulty:
        _stick_figure(rng, shapes, palette, height, width)
    return shapes.project(_FAR, np.array(palette.grain))


def occluders(
    rng: np.random.Generator,
    palette: Palette,
    people: list[Person],
    height: int,
    width: int,
    difficulty: float = 1.0,
) -> Outlines | None:
    """Things in front of the people, most often over somebody's limb; None where there are none.

    At full `difficulty` 45 % of the images have at least one, 15 % two; at 0 none has.
    """
    count = int(np.searchsorted((1 - 0.45 * difficulty, 1 - 0.15 * difficulty), rng.random()))
    shapes = Shapes()
    for _ in range(count):
        who, which, kind, angle, long, thick, skin, jitter_x, jitter_y = rng.random(9).tolist()
        person = people[int(who * len(people))]
        x0, y0, x1, y1 = person.outlines.bounds()
        size = min(max(x1 - x0, y1 - y0), 1.2 * max(height, width))
        aim = person.keypoints[5 + int(12 * which)]
        centre = np.array(
            [aim[0] + size * 0.12 * (jitter_x - 0.5), aim[1] + size * 0.12 * (jitter_y - 0.5), 0.0]
        )
        look = (_material(rng, palette, skin < 0.2), 0.0)
        if kind < 0.30:  # a table, a rail, a post: it goes on beyond the person
            half = size * _direction((0.0 if long < 0.6 else 0.5) + 0.03 * (angle - 0.5))
            _bar(shapes, centre, half, size * (0.012 + 0.06 * thick), *look, box=True)
        elif kind < 0.55:
            half = size * (0.05 + 0.10 * long) * _direction(angle)
            _bar(shapes, centre, half, size * (0.05 + 0.08 * thick), *look, box=True)
        elif kind < 0.80:  # limb-like
            half = size * (0.08 + 0.16 * long) * _direction(angle)
            _bar(shapes, centre, half, size * (0.015 + 0.03 * thick), *look, taper=0.8)
        else:
            axes = size * np.array([0.04 + 0.09 * long, 0.04 + 0.09 * thick, 0.1])
            shapes.ball(centre, np.eye(3), axes, look[0], Part.OTHER, look[1])
    return shapes.project(_FAR, np.array(palette.grain)) if count else None


def _direction(angle: float) -> np.ndarray:
    """A direction in the image; angle: in half turns from the x axis."""
    return np.array([np.cos(np.pi * angle), np.sin(np.pi * angle), 0.0])


def _bar(
    shapes: Shapes, centre: np.ndarray, half: np.ndarray, radius: float, material: int, depth: float,
    taper: float = 1.0, box: bool = False,
) -> None:  # fmt: skip
    """A bar from centre - half to centre + half, rounded, or with flat ends and almost flat where a box."""
    cap, bulge = (0.05, 0.35) if box else (1.0, 1.0)
    ends = (centre - half, centre + half)
    shapes.tube(*ends, radius, radius * taper, material, Part.OTHER, depth, cap, bulge)


def _material(rng: np.random.Generator, palette: Palette, like_skin: bool) -> int:
    first = texture.skin_colour(rng) if like_skin else texture.any_colour(rng)
    other = texture.any_colour(rng)
    which, variant, contrast, size, printed = rng.random(5).tolist()
    if printed < 0.4 and not like_skin:
        kind, share = _PRINTS[int(which * len(_PRINTS))], 0.2 + 0.8 * contrast
    else:
        kind, share = texture.FOLDS, 0.2
    return palette.add(first, first + share * (other - first), kind, int(4 * variant), 1.0 + 3.0 * size)


def _stick_figure(
    rng: np.random.Generator, shapes: Shapes, palette: Palette, height: int, width: int
) -> None:
    """A sign-like figure of straight strokes and a disc: a person in outline only, in one flat colour."""
    x, y, size, *bend = rng.random(7).tolist()
    material = palette.add(texture.any_colour(rng), texture.any_colour(rng))
    unit = height * (0.05 + 0.06 * size)
    neck = np.array([x * width, y * height * 0.7, 0.0])
    hip = neck + (0, 2.0 * unit, 0)
    strokes = [(neck, hip)]
    for root, reach, turns in ((neck, 1.6, bend[:2]), (hip, 2.0, bend[2:])):
        for sign, turn in zip((-1, 1), turns, strict=True):
            strokes.append((root, root + reach * unit * _direction(0.5 + 0.4 * sign * turn)))
    for a, b in strokes:
        shapes.tube(a, b, 0.22 * unit, 0.22 * unit, material, Part.OTHER, 1.0, 1.0, 0.0)
    shapes.ball(neck - (0, 0.9 * unit, 0), np.eye(3), np.full(3, 0.5 * unit), material, Part.OTHER, 1.0)
