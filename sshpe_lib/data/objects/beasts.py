"""Beasts: the kinds differ by the proportions and joints of the same parts."""

from __future__ import annotations

from typing import NamedTuple

from sshpe_lib.data.objects.sketch import BODY, BRIGHT, DARK, TRIM, Sketch, step


class _Build(NamedTuple):
    """Proportions of a four-legged animal, in body lengths; it looks to the right."""

    body: float  # radius
    legs: float  # length
    leg: float  # radius
    neck: float
    rise: float  # heading of the neck, degrees above the horizon
    head: float  # length
    tail: float
    knee: float = 25  # bend of the hind knee, degrees


def _four_legs(s: Sketch, build: _Build) -> tuple[complex, complex, complex]:
    """Body, four jointed legs, neck and head. Returns the skull, the muzzle's end and the hip."""
    hip, shoulder = 0j, 1 + s.between(-0.12, 0.06) * 1j
    body, legs = build.body * s.between(0.85, 1.2), build.legs * s.between(0.85, 1.15)
    for near in (False, True):
        role = BODY if near else TRIM
        for place, knee in ((hip, build.knee), (shoulder, -0.4 * build.knee)):
            swing = s.between(-32, 32)
            start = place + s.between(-0.06, 0.06) + 0.5j * body
            bends = (-swing - 0.6 * knee, knee * s.between(0.7, 1.8), -knee * s.between(0, 0.8))
            s.chain(
                start,
                90,
                [0.42 * legs, 0.4 * legs, 0.18 * legs],
                bends,
                1.5 * build.leg,
                0.8 * build.leg,
                role,
            )
    s.curve(
        hip - body / 2, 180 - s.between(-30, 60), -s.between(-60, 60), build.tail, build.leg, build.leg / 2
    )
    s.limb(hip, shoulder, body * s.between(0.8, 1), body)
    rise = build.rise + s.between(-25, 20)
    nape = s.curve(shoulder, -rise, s.between(-15, 25), build.neck, 0.75 * body, 0.4 * body, steps=3)
    muzzle = nape + step(build.head, s.between(-5, 45))
    s.limb(nape, muzzle, 0.42 * build.head, 0.25 * build.head)
    s.blob(nape + 0.1 * build.head * (1 - 1j), 0.08 * build.head, role=DARK)
    return nape, muzzle, hip


def horse(s: Sketch) -> None:
    nape, _, hip = _four_legs(s, _Build(0.24, 0.95, 0.055, 0.6, 55, 0.42, 0.1, 30))
    s.curve(hip - 0.2, 130, s.between(-40, 20), 0.7, 0.07, 0.03, DARK)
    s.curve(nape, 125, s.between(-10, 20), 0.55, 0.1, 0.07, DARK, 4)
    s.shape([nape - 0.08 - 0.05j, nape - 0.02 - 0.3j, nape + 0.08 - 0.08j])


def dog(s: Sketch) -> None:
    nape, muzzle, hip = _four_legs(s, _Build(0.2, 0.55, 0.06, 0.22, 50, 0.34, 0.05))
    s.curve(hip - 0.12 - 0.05j, s.between(200, 260), s.between(0, 110), 0.55, 0.06, 0.03)
    s.limb(nape - 0.05, nape + step(0.26, s.between(80, 150)), 0.09, 0.05, TRIM)
    s.blob(muzzle + 0.05, 0.05, role=DARK)


def cat(s: Sketch) -> None:
    nape, _, hip = _four_legs(s, _Build(0.18, 0.5, 0.05, 0.14, 40, 0.14, 0.05, 40))
    s.curve(hip - 0.1, s.between(150, 240), s.between(-120, 160), 1.1, 0.05, 0.045, steps=7)
    s.blob(nape, 0.19)
    for side in (-1, 1):
        s.shape([nape + side * 0.16 - 0.05j, nape + side * 0.17 - 0.34j, nape + side * 0.02 - 0.16j])
        s.blob(nape + side * 0.07 - 0.03j, 0.03, role=BRIGHT)


def elephant(s: Sketch) -> None:
    nape, muzzle, _ = _four_legs(s, _Build(0.42, 0.8, 0.13, 0.2, 20, 0.4, 0.35, 8))
    s.curve(muzzle, s.between(60, 110), s.between(-110, 60), 0.9, 0.14, 0.05, steps=7)
    s.blob(nape - 0.12 + 0.1j, 0.22, 0.34, s.between(-25, 25), TRIM)
    s.curve(muzzle - 0.1 + 0.1j, 50, -60, 0.4, 0.05, 0.01, BRIGHT, 3)


def giraffe(s: Sketch) -> None:
    nape, _, _ = _four_legs(s, _Build(0.22, 1.2, 0.05, 1.35, 70, 0.3, 0.45, 15))
    for side in (-1, 1):
        s.limb(nape, nape + step(0.2, -90 + 18 * side), 0.025, 0.04, DARK)


def deer(s: Sketch) -> None:
    nape, _, hip = _four_legs(s, _Build(0.2, 0.95, 0.04, 0.45, 62, 0.28, 0.08, 30))
    s.blob(hip - 0.2 - 0.05j, 0.08, role=BRIGHT)
    for side in (-1, 1):
        fork = s.chain(nape, -90 + 22 * side, [0.25, 0.2], [0, s.between(-20, 20)], 0.035, 0.03, TRIM)
        for turn in (-45, 0, 40):
            s.limb(fork, fork + step(s.between(0.15, 0.3), -90 + turn), 0.025, 0.012, TRIM)


def kangaroo(s: Sketch) -> None:
    hip = 0j
    s.curve(hip, s.between(120, 160), s.between(20, 70), 1.3, 0.18, 0.04, steps=6)
    lean = s.between(50, 85)
    shoulder = hip + step(0.9, -lean)
    for role in (TRIM, BODY):
        bends = (s.between(-35, 10), s.between(55, 105), -s.between(70, 110))
        s.chain(hip, 70, [0.5, 0.55, 0.5], bends, 0.2, 0.05, role)
        s.chain(shoulder, s.between(40, 90), [0.25, 0.25], (0, s.between(-80, 0)), 0.06, 0.04, role)
    s.limb(hip, shoulder, 0.32, 0.16)
    nape = shoulder + step(0.3, -lean)
    s.limb(shoulder, nape, 0.13, 0.09)
    s.limb(nape, nape + step(0.28, s.between(0, 40)), 0.12, 0.06)
    s.limb(nape, nape + step(0.3, -100), 0.06, 0.03)


BEASTS = (horse, dog, cat, elephant, giraffe, deer, kangaroo)
