"""Clothes, skin, hair: what a person wears, drawn once per person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sshpe_lib.data.synthetic import texture
from sshpe_lib.data.synthetic.texture import Palette

SHORT_HAIR, LONG_HAIR, TAIL, BALD, CAP, BEANIE = range(6)
LEGS_LONG, LEGS_SHORT, LEGS_SKIRT, LEGS_DRESS = range(4)

_PRINTS = (
    texture.STRIPES,
    texture.RINGS,
    texture.CHECKS,
    texture.SPOTS,
    texture.COARSE,
    texture.PATCHES,
    texture.PLAID,
)


@dataclass(frozen=True)
class Outfit:
    """Materials (rows of the scene's palette) and cuts. Both sides of the body wear the same."""

    skin: int
    lips: int
    white: int
    pupil: int
    hair: int
    shirt: int
    legs: int
    shoes: int
    hat: int
    sleeve: float  # share of the arm that is covered: 0 none, 0.5 to the elbow, 1 to the wrist
    trouser: float  # the same for the leg
    cut: int  # LEGS_*
    head: int  # SHORT_HAIR ...
    loose: float  # cloth radius over limb radius
    hem: float  # how far the shirt hangs below the waist, in trunk lengths
    neckline: float
    glasses: bool
    beard: bool
    gloves: bool
    pack: bool


def _cloth(rng: np.random.Generator, palette: Palette, printed: float, near: np.ndarray | None) -> int:
    """A cloth material, with a print by chance; `near`: a colour to blend with, by camouflage."""
    first = texture.any_colour(rng)
    chance, which, variant, contrast, size, hide = rng.random(6)
    if near is not None and hide < 0.14:
        first = np.clip(near + 40 * (rng.random(3) - 0.5), 0, 255)
    if chance < printed:
        second = texture.any_colour(rng)
        second = first + (second - first) * (0.45 + 0.55 * contrast)
        return palette.add(
            first, second, _PRINTS[int(which * len(_PRINTS))], int(variant * 4), 250 + 750 * size**2
        )
    kind = texture.FOLDS if which < 0.7 else texture.PLAIN
    return palette.add(first, first * (0.45 + 0.4 * contrast), kind, int(variant * 4), 200 + 400 * size)


def sample_outfit(rng: np.random.Generator, palette: Palette, backdrop: np.ndarray) -> Outfit:
    """Draw clothes and add their materials to `palette`; backdrop: (3,) RGB, a colour of the background."""
    tone = texture.skin_colour(rng)
    skin = palette.add(tone, tone * 0.8, texture.PLAIN, int(4 * rng.random()), 300)
    lips = palette.add(tone * (0.72, 0.5, 0.5), tone * (0.7, 0.45, 0.45))
    white = palette.add(np.array([225.0, 222, 216]), np.array([200.0, 200, 200]))
    pupil = palette.add(np.array([26.0, 20, 18]), np.array([40.0, 32, 28]))
    strands = texture.hair_colour(rng)
    hair = palette.add(strands, strands * 0.55 + 10, texture.FOLDS, 3, 700)
    shirt = _cloth(rng, palette, 0.55, backdrop)
    dress_up, cut, head, sleeve, trouser, glasses, beard, gloves, pack = rng.random(9)
    legs = shirt if dress_up < 0.10 else _cloth(rng, palette, 0.25, backdrop)
    shoes = _cloth(rng, palette, 0.1, None)
    hat = _cloth(rng, palette, 0.3, None)
    cuts = (LEGS_LONG, LEGS_SHORT, LEGS_SKIRT, LEGS_DRESS)
    return Outfit(
        skin, lips, white, pupil, hair, shirt, legs, shoes, hat,
        sleeve=_step(sleeve, ((0.16, 0.0), (0.34, 0.30), (0.50, 0.46), (0.60, 0.72), (1.0, 0.98))),
        trouser=_step(trouser, ((0.08, 0.14), (0.30, 0.44), (0.38, 0.7), (1.0, 0.97))),
        cut=cuts[int(np.searchsorted((0.62, 0.84, 0.93), cut))],
        head=int(np.searchsorted((0.40, 0.60, 0.70, 0.77, 0.90), head)),
        loose=1.06 + 0.34 * rng.random() ** 2,
        hem=0.14 + 0.30 * rng.random() ** 2,
        neckline=rng.random(),
        glasses=glasses < 0.14,
        beard=beard < 0.14,
        gloves=gloves < 0.06,
        pack=pack < 0.10,
    )  # fmt: skip


def _step(chance: float, table: tuple[tuple[float, float], ...]) -> float:
    """The value of the first row whose bound exceeds `chance`."""
    return next(value for bound, value in table if chance <= bound)
