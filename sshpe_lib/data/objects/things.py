"""Furniture, vehicles, machines and tools: rigid and hinged parts."""

from __future__ import annotations

import math

from sshpe_lib.data.objects.sketch import BODY, BRIGHT, DARK, TRIM, Sketch, step


def _box(s: Sketch, left: float, top: float, right: float, bottom: float, role: int = BODY) -> None:
    s.shape([complex(left, top), complex(right, top), complex(right, bottom), complex(left, bottom)], role)


def chair(s: Sketch) -> None:
    deep = s.between(0.2, 0.35)
    back = complex(s.between(-0.15, 0.05), -s.between(0.7, 1.05))
    for x, y, role in (
        (-0.4 + deep, -0.15, DARK),
        (0.4 + deep, -0.15, DARK),
        (-0.4, 0, TRIM),
        (0.4, 0, TRIM),
    ):
        s.limb(complex(x, y), complex(x * s.between(1, 1.1), y + 0.8), 0.06, role=role)
    seat = [-0.45 + 0j, 0.45 + 0j, 0.45 + deep - 0.18j, -0.4 + deep - 0.18j]
    s.shape(seat)
    for x in (-0.4, 0.4):
        s.limb(x + deep - 0.15j, x + deep + back, 0.05)
    for share in (0.55, 0.95):
        s.limb(-0.4 + deep + share * back, 0.4 + deep + share * back, 0.09)


def table(s: Sketch) -> None:
    deep, tall = s.between(0.25, 0.5), s.between(0.6, 0.9)
    for x, y, role in (
        (-0.7 + deep, -0.2, DARK),
        (0.7 + deep, -0.2, DARK),
        (-0.75, 0, TRIM),
        (0.75, 0, TRIM),
    ):
        s.limb(complex(x, y), complex(x, y + tall), 0.06, 0.045, role)
    s.shape([-0.85 + 0.05j, 0.85 + 0.05j, 0.8 + deep - 0.27j, -0.75 + deep - 0.27j])
    s.shape([-0.85 + 0.05j, 0.85 + 0.05j, 0.85 + 0.15j, -0.85 + 0.15j], DARK)


def desk_lamp(s: Sketch) -> None:
    s.blob(1j, 0.42, 0.12, role=DARK)
    bends = (s.between(-40, 0), s.between(50, 120))
    hinge = s.chain(0.95j, -90, [0.8, 0.75], bends, 0.06, 0.05)
    s.blob(0.95j + step(0.8, -90 + bends[0]), 0.09, role=DARK)
    down = step(1, -90 + sum(bends) + s.between(30, 80))
    side = down * 1j
    s.shape([hinge - 0.12 * side, hinge + 0.12 * side, hinge + 0.45 * down + 0.36 * side,
             hinge + 0.45 * down - 0.36 * side], TRIM)  # fmt: skip
    s.blob(hinge + 0.45 * down, 0.14, role=BRIGHT)


def step_ladder(s: Sketch) -> None:
    spread, wide = s.between(0.25, 0.6), s.between(0.25, 0.4)
    for side in (-1, 1):
        s.limb(spread + side * wide + 0.85j, 0.7 * side * wide - 0.9j, 0.04, role=DARK)
    for side in (-1, 1):
        s.limb(-spread + side * wide + 1j, 0.7 * side * wide - 0.9j, 0.06)
    for k in range(5):
        share = (k + 0.7) / 5.5
        at = (1 - share) * (-spread + 1j) + share * -0.9j
        half = wide * (1 - 0.3 * share)
        s.limb(at - half, at + half, 0.05, role=TRIM)


def umbrella(s: Sketch) -> None:
    s.limb(-0.9j, 0.9j, 0.035, role=DARK)
    s.curve(0.9j, 90, s.rng.choice((-1, 1)) * s.between(150, 210), 0.5, 0.05, 0.05, TRIM, 5)
    wide, high = s.between(0.8, 1.05), s.between(0.5, 0.8)
    arc = [
        complex(-wide * math.cos(math.pi * k / 12), -0.1 - high * math.sin(math.pi * k / 12))
        for k in range(13)
    ]
    scallops = [complex(wide * (1 - k / 4), -0.1 - 0.14 * (k % 2)) for k in range(1, 8)]
    s.shape(arc + scallops)
    for x in (-0.5, 0.5):
        s.limb((-0.1 - high) * 1j, wide * x - 0.12j, 0.02, role=TRIM)


def car(s: Sketch) -> None:
    roof, nose = s.between(0.35, 0.6), s.between(0.3, 0.55)
    top = -0.1 - roof
    s.shape([-0.7 - 0.1j, complex(-0.5, top), complex(0.3, top), complex(1 - nose, -0.1)], TRIM)
    s.shape([-0.42 - 0.15j, complex(-0.4, top + 0.12), complex(-0.1, top + 0.12), -0.1 - 0.15j], BRIGHT)
    s.shape([-0.02 - 0.15j, complex(-0.02, top + 0.12), complex(0.24, top + 0.12), 0.4 - 0.15j], BRIGHT)
    s.shape([-1 - 0.1j, 0.85 - 0.1j, 1.05 + 0.1j, 1.05 + 0.35j, -1.05 + 0.35j])
    for x in (-0.6, 0.6):
        s.blob(x + 0.35j, 0.22, role=DARK)
        s.blob(x + 0.35j, 0.1, role=BRIGHT)


def bicycle(s: Sketch) -> None:
    size, crank, seat, head = s.between(0.38, 0.5), 0.05 + 0.05j, -0.22 - 0.5j, 0.48 - 0.5j
    back, front = -0.65 + 0j, 0.68 + 0j
    for wheel in (back, front):
        s.ring(wheel, size, 0.045, DARK)
    for a, b in ((back, seat), (back, crank), (crank, seat), (crank, head), (seat, head)):
        s.limb(a, b, 0.04)
    s.limb(front, head - 0.2j, 0.04)
    s.limb(seat - 0.14 - 0.12j, seat + 0.14 - 0.12j, 0.06, role=TRIM)
    s.limb(seat, seat - 0.12j, 0.03)
    s.curve(head - 0.2j, s.between(-60, 20), s.between(0, 120), 0.3, 0.04, 0.04, TRIM, 3)


def aeroplane(s: Sketch) -> None:
    sweep = s.between(0, 50)
    for y, length, wide in ((-0.1, 1.0, 0.16), (0.75, 0.4, 0.1)):
        for side in (-1, 1):
            tip = y * 1j + step(length, 0 if side > 0 else 180) + sweep / 90 * length * 1j
            s.shape(
                [complex(0, y - wide), tip - 0.4j * wide, tip + 0.6j * wide, complex(0, y + wide * 1.3)], TRIM
            )
            if length > 0.5:
                s.limb(tip / 2 + y * 0.5j - 0.18j, tip / 2 + y * 0.5j + 0.05j, 0.07, role=DARK)
    s.limb(-0.8j, 0.85j, 0.15, 0.06)
    s.blob(-0.8j, 0.07, 0.1, role=BRIGHT)


def helicopter(s: Sketch) -> None:
    s.limb(-0.3 - 0.05j, -1.2 - 0.2j, 0.14, 0.05)
    for turn in (0, 90):
        heading = turn + s.between(-30, 30)
        s.limb(-1.2 - 0.2j - step(0.2, heading), -1.2 - 0.2j + step(0.2, heading), 0.03, role=DARK)
    for x in (-0.25, 0.3):
        s.limb(x + 0.2j, x + 0.55j, 0.03, role=DARK)
    s.limb(-0.55 + 0.58j, 0.65 + 0.58j, 0.045, role=DARK)
    s.blob(0.05, 0.52, 0.36)
    s.blob(0.3 - 0.04j, 0.2, 0.2, role=BRIGHT)
    s.limb(0.05 - 0.3j, 0.05 - 0.6j, 0.05, role=DARK)
    tilt = step(s.between(0.8, 1.15), s.between(-15, 15))
    s.limb(0.05 - 0.6j - tilt, 0.05 - 0.6j + tilt, 0.04, role=TRIM)


def sailing_boat(s: Sketch) -> None:
    lean = s.between(-0.1, 0.1)
    s.limb(0.4j, lean - 1.1j, 0.035, role=DARK)
    s.shape([0.06 + 0.3j, lean + 0.04 - 1.05j, s.between(0.5, 0.85) + 0.3j], BRIGHT)
    s.shape([-0.06 + 0.25j, lean - 0.04 - 0.9j, -s.between(0.4, 0.7) + 0.25j], TRIM)
    s.shape([-0.85 + 0.42j, 0.95 + 0.42j, 0.6 + 0.8j, -0.6 + 0.8j])


def digger(s: Sketch) -> None:
    s.limb(-0.6 + 0.75j, 0.35 + 0.75j, 0.16, role=DARK)
    _box(s, -0.75, 0.05, 0.4, 0.55)
    _box(s, -0.1, -0.45, 0.35, 0.1, TRIM)
    _box(s, 0.0, -0.35, 0.28, -0.05, BRIGHT)
    bends = (s.between(-65, -25), s.between(60, 130))
    wrist = s.chain(0.4 + 0.1j, 0, [0.85, 0.7], bends, 0.1, 0.06)
    scoop = sum(bends) + s.between(20, 90)
    a, b = wrist + step(0.4, scoop), wrist + step(0.35, scoop + 60)
    s.shape([wrist, a, (a + b) / 2 + step(0.15, scoop + 30), b], DARK)


def robot_arm(s: Sketch) -> None:
    _box(s, -0.35, 0.8, 0.35, 1.05, DARK)
    bends = (s.between(-50, 10), s.between(-20, 95), s.between(-60, 80))
    at, heading = 0.8j, -90.0
    for length, bend, thick in zip((0.7, 0.6, 0.35), bends, (0.14, 0.11, 0.08), strict=True):
        s.blob(at, thick * 1.4, role=TRIM)
        heading += bend
        s.limb(at, at + step(length, heading), thick, 0.8 * thick)
        at += step(length, heading)
    open_ = s.between(15, 45)
    for side in (-1, 1):
        s.chain(at, heading, [0.16, 0.18], (side * open_, -side * open_), 0.05, 0.04, DARK)


def hammer(s: Sketch) -> None:
    s.limb(0.95j, -0.6j, 0.1, 0.06, TRIM)
    s.limb(-0.3 - 0.7j, 0.15 - 0.7j, 0.17, 0.13)
    s.shape([0.15 - 0.83j, s.between(0.45, 0.7) - 0.66j, 0.15 - 0.57j])


def scissors(s: Sketch) -> None:
    half = s.between(6, 38)
    for side in (-1, 1):
        tip = step(s.between(0.95, 1.05), -90 + side * half)
        normal = step(0.07, side * half)
        s.shape([normal, tip, -normal - 0.1 * tip], BRIGHT if side > 0 else BODY)
        handle = step(0.45, 90 + side * (half + 5))
        s.limb(0, handle, 0.06, role=TRIM)
        s.ring(handle + step(0.2, 90 + side * half), 0.2, 0.055, TRIM)
    s.blob(0, 0.06, role=DARK)


def key(s: Sketch) -> None:
    s.ring(-0.7j, s.between(0.24, 0.36), 0.1)
    s.limb(-0.4j, 1j, 0.07)
    side = s.rng.choice((-1, 1))
    for y in (0.62, 0.78, 0.94)[: s.rng.integers(2, 4)]:
        s.limb(y * 1j, complex(side * s.between(0.2, 0.34), y), 0.06)


def spanner(s: Sketch) -> None:
    s.limb(-0.6j, 0.7j, 0.1)
    s.ring(0.85j, 0.2, 0.09)
    turn = s.between(-20, 20)
    for side in (-1, 1):
        s.chain(-0.62j, -90 + turn, [0.25, 0.3], (side * 60, -side * 70), 0.11, 0.08)


def rake(s: Sketch) -> None:
    s.limb(1.2j, -0.55j, 0.045, role=TRIM)
    wide, teeth = s.between(0.35, 0.55), int(s.rng.integers(4, 7))
    s.limb(-wide - 0.55j, wide - 0.55j, 0.06)
    for k in range(teeth):
        x = -wide + 2 * wide * k / (teeth - 1)
        s.limb(x - 0.55j, x - 0.95j, 0.05, 0.02)


def spectacles(s: Sketch) -> None:
    size = s.between(0.26, 0.36)
    for side in (-1, 1):
        s.blob(side * 0.42, size, role=BRIGHT)
        s.ring(side * 0.42, size, 0.05)
        hinge = side * (0.42 + size) - 0.05j
        s.limb(hinge, hinge + complex(side * s.between(0.05, 0.25), -s.between(0.35, 0.6)), 0.04, 0.05, TRIM)
    s.limb(-0.42 + size, 0.42 - size, 0.05)


def teapot(s: Sketch) -> None:
    s.ring(-0.6 + 0.05j, 0.28, 0.06, TRIM)
    s.curve(0.35 + 0.25j, s.between(-25, 0), -s.between(30, 70), 0.75, 0.14, 0.06, TRIM, 4)
    s.blob(0, 0.55, s.between(0.4, 0.55))
    s.blob(-0.42j, 0.32, 0.1, role=TRIM)
    s.blob(-0.56j, 0.08, role=DARK)


THINGS = (
    chair, table, desk_lamp, step_ladder, umbrella, car, bicycle, aeroplane, helicopter, sailing_boat, digger,
    robot_arm, hammer, scissors, key, spanner, rake, spectacles, teapot,
)  # fmt: skip
