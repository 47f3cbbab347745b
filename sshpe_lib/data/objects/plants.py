"""Plants: limbs that branch."""

from __future__ import annotations

import math

from sshpe_lib.data.objects.sketch import BODY, BRIGHT, DARK, TRIM, Sketch, step


def conifer(s: Sketch) -> None:
    s.shape([-0.1 + 0.6j, 0.1 + 0.6j, 0.1 + 1.1j, -0.1 + 1.1j], DARK)
    tiers, wide = int(s.rng.integers(2, 5)), s.between(0.45, 0.7)
    for tier in range(tiers):
        y, half = 0.75 - 1.2 * tier / tiers, wide * (1 - 0.65 * tier / tiers)
        s.shape([-half + y * 1j, half + y * 1j, (y - 1.5 / tiers) * 1j], BODY if tier % 2 else TRIM)


def bare_tree(s: Sketch) -> None:
    def grow(at: complex, heading: float, length: float, radius: float, depth: int) -> None:
        end = at + step(length, heading)
        s.limb(at, end, radius, 0.7 * radius)
        for turn in (-32, 30) if depth else ():
            grow(
                end,
                heading + turn + s.between(-18, 18),
                length * s.between(0.6, 0.9),
                0.68 * radius,
                depth - 1,
            )

    grow(1j, -90 + s.between(-8, 8), 0.7, 0.1, 3)


def palm(s: Sketch) -> None:
    crown = s.curve(1j, -90 + s.between(-20, 20), s.between(-35, 35), 1.5, 0.1, 0.06, DARK, 5)
    for index in range(7):
        heading = -200 + 220 * index / 6 + s.between(-12, 12)
        droop = 70 if heading > -90 else -70
        s.curve(crown, heading, droop, s.between(0.55, 0.8), 0.09, 0.02, BODY, 3)
    s.blob(crown, 0.09, role=TRIM)


def cactus(s: Sketch) -> None:
    s.limb(1j, -0.8j, 0.18, 0.17)
    for side in (-1, 1):
        low = s.between(-0.3, 0.6) * 1j
        elbow = low + side * s.between(0.35, 0.55)
        s.limb(low, elbow, 0.11)
        s.limb(elbow, elbow - s.between(0.3, 0.7) * 1j, 0.11, 0.1)
    s.shape([-0.35 + 0.95j, 0.35 + 0.95j, 0.25 + 1.4j, -0.25 + 1.4j], TRIM)


def flower(s: Sketch) -> None:
    top = s.curve(1.2j, -90 + s.between(-15, 15), s.between(-40, 40), 1.3, 0.05, 0.04, DARK, 4)
    for side in (-1, 1):
        s.blob(s.between(0.4, 0.8) * 1j + side * 0.25, 0.28, 0.1, -side * s.between(15, 55), TRIM)
    petals = int(s.rng.integers(5, 9))
    for index in range(petals):
        turn = 360 * index / petals
        s.blob(top + step(0.3, turn), 0.26, 0.7 / petals, turn)
    s.blob(top, 0.15, role=BRIGHT)


def mushroom(s: Sketch) -> None:
    lean = s.between(-0.15, 0.15)
    s.limb(0.85j, lean - 0.1j, s.between(0.13, 0.24), s.between(0.1, 0.18), BRIGHT)
    wide, high = s.between(0.5, 0.75), s.between(0.35, 0.65)
    arc = [
        lean + complex(-wide * math.cos(math.pi * k / 10), -high * math.sin(math.pi * k / 10))
        for k in range(11)
    ]
    s.shape(arc)
    for k in range(4):
        s.blob(lean + (k - 1.5) * 0.27 * wide / 0.6 - s.between(0.12, 0.7) * high * 0.7j, 0.07, role=TRIM)


PLANTS = (conifer, bare_tree, palm, cactus, flower, mushroom)
