"""Drawn signs and plain constructions: what tells them apart is where their strokes meet."""

from __future__ import annotations

import cmath
import math

from sshpe_lib.data.objects.sketch import BODY, BRIGHT, DARK, TRIM, Sketch, step

# Strokes on a grid 2 wide and 3 high, y down.
_STROKES = {
    "A": ((0 + 3j, 1 + 0j, 2 + 3j), (0.4 + 1.9j, 1.6 + 1.9j)),
    "E": ((2 + 0j, 0j, 0 + 3j, 2 + 3j), (0 + 1.5j, 1.7 + 1.5j)),
    "H": ((0j, 0 + 3j), (2 + 0j, 2 + 3j), (0 + 1.5j, 2 + 1.5j)),
    "K": ((0j, 0 + 3j), (2 + 0j, 0 + 1.6j), (0.6 + 1.2j, 2 + 3j)),
    "X": ((0j, 2 + 3j), (2 + 0j, 0 + 3j)),
    "Y": ((0j, 1 + 1.4j, 2 + 0j), (1 + 1.4j, 1 + 3j)),
    "4": ((1.4 + 3j, 1.4 + 0j, 0 + 2.1j, 2 + 2.1j),),
    "arrow": ((1 + 3j, 1 + 0j), (0.1 + 1j, 1 + 0j, 1.9 + 1j)),
}


def _letter(s: Sketch, name: str) -> None:
    """Strokes with shaken joints, in one or two materials."""
    radius, shake, trim = s.between(0.14, 0.32), s.between(0, 0.2), s.chance(0.3)
    shift = {p: complex(*(s.rng.random(2) - 0.5)) * 2 * shake for line in _STROKES[name] for p in line}
    for index, line in enumerate(_STROKES[name]):
        s.strokes([p + shift[p] for p in line], radius, TRIM if trim and index else BODY)


def letter_a(s: Sketch) -> None:
    _letter(s, "A")


def letter_e(s: Sketch) -> None:
    _letter(s, "E")


def letter_h(s: Sketch) -> None:
    _letter(s, "H")


def letter_k(s: Sketch) -> None:
    _letter(s, "K")


def letter_x(s: Sketch) -> None:
    _letter(s, "X")


def letter_y(s: Sketch) -> None:
    _letter(s, "Y")


def digit_4(s: Sketch) -> None:
    _letter(s, "4")


def arrow(s: Sketch) -> None:
    _letter(s, "arrow")


def star(s: Sketch) -> None:
    count, inner = int(s.rng.integers(5, 8)), s.between(0.35, 0.6)
    turns = [math.pi * (k / count - 0.5) for k in range(2 * count)]
    s.shape([cmath.rect(1 if k % 2 == 0 else inner, turn) for k, turn in enumerate(turns)])


def starfish(s: Sketch) -> None:
    for k in range(5):
        s.curve(
            0j, 72 * k - 90 + s.between(-15, 15), s.between(-70, 70), s.between(0.8, 1.1), 0.22, 0.06, BODY, 4
        )
    s.blob(0, 0.2, role=TRIM)


def truss(s: Sketch) -> None:
    """A bridge of triangles."""
    bays, high = int(s.rng.integers(3, 5)), s.between(0.4, 0.7)
    low = [complex(k, 0) for k in range(bays + 1)]
    top = [complex(k + 0.5, -high) for k in range(bays)]
    for k in range(bays):
        s.strokes([low[k], top[k], low[k + 1]], 0.06, TRIM)
    s.strokes(low, 0.09)
    s.strokes(top, 0.07)


def pylon(s: Sketch) -> None:
    """A mast of crossed struts with three pairs of arms."""
    foot, tall = s.between(0.35, 0.6), s.between(1.0, 1.4)
    levels = [(1.2, foot), (0.5, 0.6 * foot), (-0.2, 0.34 * foot), (-tall, 0.06)]
    for (y, half), (above, less) in zip(levels, levels[1:], strict=False):
        s.strokes([complex(-half, y), complex(less, above)], 0.035, TRIM)
        s.strokes([complex(half, y), complex(-less, above)], 0.035, TRIM)
        for side in (-1, 1):
            s.limb(complex(side * half, y), complex(side * less, above), 0.05)
    for y, reach in ((-0.2, 0.6), (-0.55, 0.5), (-0.9, 0.38)):
        reach *= s.between(0.8, 1.2)
        s.limb(complex(-reach, y), complex(reach, y), 0.045)


def wheel(s: Sketch) -> None:
    spokes, turn = int(s.rng.integers(5, 9)), s.between(0, 360)
    for k in range(spokes):
        s.limb(0, step(0.9, turn + 360 * k / spokes), 0.05, role=TRIM)
    s.ring(0, 0.9, s.between(0.06, 0.13))
    s.blob(0, 0.16, role=DARK)


def gear(s: Sketch) -> None:
    teeth, turn = int(s.rng.integers(7, 11)), s.between(0, 90)
    for k in range(teeth):
        heading = step(1, turn + 360 * k / teeth)
        s.shape([heading * p for p in (0.6 - 0.17j, 1 - 0.11j, 1 + 0.11j, 0.6 + 0.17j)])
    s.ring(0, 0.56, 0.2)


def windmill(s: Sketch) -> None:
    s.shape([-0.38 + 1.2j, 0.38 + 1.2j, 0.2 - 0.3j, -0.2 - 0.3j])
    s.shape([-0.25 - 0.28j, 0.25 - 0.28j, -0.6j], DARK)
    turn, hub = s.between(0, 90), -0.35j
    for k in range(4):
        heading = step(1, turn + 90 * k)
        s.limb(hub, hub + 0.95 * heading, 0.03, role=DARK)
        s.shape([hub + heading * p for p in (0.25, 0.95, 0.95 + 0.2j, 0.25 + 0.2j)], BRIGHT)
    s.blob(hub, 0.07, role=TRIM)


def house(s: Sketch) -> None:
    high = s.between(0.4, 0.8)
    s.shape([-0.7 + 0j, 0.7 + 0j, 0.7 + 0.9j, -0.7 + 0.9j])
    s.shape([-0.85 + 0j, 0.85 + 0j, s.between(-0.2, 0.2) - high * 1j], TRIM)
    s.shape([-0.15 + 0.9j, -0.15 + 0.4j, 0.15 + 0.4j, 0.15 + 0.9j], DARK)
    for x in (-0.45, 0.45):
        s.shape([x - 0.13 + 0.2j, x + 0.13 + 0.2j, x + 0.13 + 0.5j, x - 0.13 + 0.5j], BRIGHT)


SIGNS = (
    letter_a, letter_e, letter_h, letter_k, letter_x, letter_y, digit_4, arrow, star, starfish, truss, pylon,
    wheel, gear, windmill, house,
)  # fmt: skip
