"""Other animals: the kinds differ by how many limbs there are and where they are attached."""

from __future__ import annotations

from sshpe_lib.data.objects.sketch import BODY, BRIGHT, DARK, TRIM, Sketch, step


def lizard(s: Sketch) -> None:
    """From above: four splayed legs and a long tail."""
    up = -90 + s.between(-25, 25)
    hip = 0.8j
    for side in (-1, 1):
        for place, lean in ((hip, 50), (0, -35)):
            reach = s.between(-30, 30)
            bends = (side * (lean + reach), side * s.between(-80, 10) * (1 if lean > 0 else -1))
            s.chain(place, 0 if side > 0 else 180, [0.35, 0.3], bends, 0.08, 0.05)
    s.curve(hip, 90, s.between(-120, 120), 1.4, 0.17, 0.02, steps=8)
    s.limb(hip, 0, 0.17, 0.2)
    s.limb(0, step(0.3, up), 0.15, 0.17, TRIM)
    s.limb(step(0.3, up), step(0.5, up), 0.17, 0.08, TRIM)


def _insect(
    s: Sketch, segments: list[tuple[float, float, int]], legs: int, reach: float, thick: float
) -> float:
    """Round segments from the head down, legs from the second one (or the first, if there are two)."""
    y, middle, span = 0.0, 0.0, 0.0
    centres = []
    for index, (_, length, _) in enumerate(segments):
        y += length
        centres.append(y * 1j)
        if index == min(1, len(segments) - 2):
            middle, span = y, length
        y += length
    for index in range(legs):
        lean = -55 + 110 * index / (legs - 1)
        for side in (-1, 1):
            out = 0 if side > 0 else 180
            knee = s.between(25, 70) * (1 if lean > 0 else -1)
            start = (middle + span * (lean / 80)) * 1j
            lengths = [0.45 * reach, 0.55 * reach * s.between(0.8, 1.2)]
            s.chain(
                start, out, lengths, (side * (lean + s.between(-18, 18)), side * knee), thick, thick / 2, DARK
            )
    for centre, (wide, length, role) in zip(centres, segments, strict=True):
        s.blob(centre, wide, length * 1.1, role=role)
    return y


def ant(s: Sketch) -> None:
    _insect(s, [(0.17, 0.17, BODY), (0.12, 0.24, TRIM), (0.26, 0.36, BODY)], 3, 0.95, 0.045)
    for side in (-1, 1):
        s.chain(0.05j, -90 + 25 * side, [0.3, 0.3], (0, side * s.between(10, 60)), 0.03, 0.02, DARK)


def spider(s: Sketch) -> None:
    _insect(s, [(0.2, 0.2, TRIM), (0.36, 0.36, BODY)], 4, 1.5, 0.045)


def scorpion(s: Sketch) -> None:
    end = _insect(s, [(0.25, 0.22, BODY), (0.24, 0.35, BODY)], 4, 0.65, 0.05)
    s.curve(end * 1j, 90, s.between(120, 240) * s.rng.choice((-1, 1)), 1.5, 0.14, 0.04, TRIM, 7)
    for side in (-1, 1):
        bends = (side * s.between(10, 35), side * s.between(20, 50), -side * s.between(60, 110))
        claw = s.chain(0.1j + 0.15 * side, -90 + 40 * side, [0.2, 0.4, 0.4], bends, 0.06, 0.07)
        s.blob(claw, 0.15, 0.1, s.between(0, 180), TRIM)


def crab(s: Sketch) -> None:
    for side in (-1, 1):
        for lean in (-5, 20, 45, 68):
            bends = (side * (lean + s.between(-12, 12)), side * s.between(10, 60))
            s.chain(0.4 * side + 0.05j, 0 if side > 0 else 180, [0.5, 0.4], bends, 0.06, 0.03)
        bends = (-side * s.between(25, 60), -side * s.between(30, 90))
        claw = s.chain(0.45 * side - 0.1j, 0 if side > 0 else 180, [0.4, 0.35], bends, 0.08, 0.07)
        for turn in (-25, 25):
            s.limb(claw, claw + step(0.28, -90 - 20 * side + turn), 0.09, 0.03, TRIM)
        s.limb(0.15 * side, 0.18 * side - 0.4j, 0.035, 0.05, DARK)
    s.blob(0, s.between(0.55, 0.75), s.between(0.32, 0.42))


def centipede(s: Sketch) -> None:
    at, heading, bend = 0j, s.between(60, 120), s.between(-22, 22)
    for index in range(10):
        for side in (-1, 1):
            out = heading + side * s.between(65, 115)
            s.chain(at, out, [0.18, 0.16], (0, side * s.between(0, 50)), 0.03, 0.02, DARK)
        s.blob(at, 0.14, 0.11, heading, TRIM if index == 0 else BODY)
        at += step(0.2, heading)
        heading += bend + s.between(-12, 12)


def flying_bird(s: Sketch) -> None:
    flap = s.between(-50, 35)
    for side in (-1, 1):
        out = 0 if side > 0 else 180
        elbow = 0.1 * side + step(s.between(0.45, 0.65), out + side * flap)
        tip = elbow + step(s.between(0.6, 0.9), out + side * (flap + s.between(10, 60)))
        s.shape([-0.12j, elbow - 0.1j, tip, elbow + 0.25j, 0.25j], TRIM)
    s.limb(-0.25j, 0.4j, 0.16, 0.12)
    s.shape([0.4j, -0.2 + 0.8j, 0.2 + 0.8j])
    s.blob(-0.42j, 0.13)
    s.shape([-0.06 - 0.5j, 0.06 - 0.5j, -0.72j], BRIGHT)


def wading_bird(s: Sketch) -> None:
    for role in (TRIM, DARK):
        bends = (s.between(-15, 25), s.between(-50, -5), s.between(60, 100))
        s.chain(s.between(-0.1, 0.1) + 0.15j, 90, [0.55, 0.6, 0.2], bends, 0.05, 0.03, role)
    s.shape([-0.35 - 0.1j, -0.85 + s.between(0, 0.35) * 1j, -0.2 + 0.25j], TRIM)
    s.blob(0, 0.48, 0.28, s.between(-25, 10))
    bend = s.between(-150, -60)
    head = s.curve(0.35 - 0.1j, s.between(-30, 10), bend, s.between(0.6, 1), 0.12, 0.06, steps=6)
    s.blob(head, 0.12)
    s.limb(head, head + step(s.between(0.35, 0.6), s.between(-5, 50)), 0.05, 0.015, BRIGHT)


def penguin(s: Sketch) -> None:
    for side in (-1, 1):
        s.blob(0.18 * side + 0.72j, 0.2, 0.08, role=BRIGHT)
        out = 90 - side * s.between(5, 60)
        s.limb(0.3 * side - 0.25j, 0.3 * side - 0.25j + step(0.65, out), 0.12, 0.04)
    s.blob(0, 0.4, 0.72)
    s.blob(0.1j + s.between(-0.08, 0.08), 0.28, 0.55, role=BRIGHT)
    head = -0.8j + s.between(-0.1, 0.1)
    s.blob(head, 0.26, 0.24)
    s.limb(head + 0.1, head + step(0.45, s.between(-20, 40)), 0.08, 0.02, TRIM)


def fish(s: Sketch) -> None:
    deep = s.between(0.22, 0.45)
    s.shape([-0.55, -1.0 - deep * 1j, -0.85 + s.between(-0.1, 0.1) * 1j, -1.0 + deep * 1j], TRIM)
    s.shape([-0.35 - 0.7j * deep, -0.2 - 1.6j * deep, 0.25 - 0.8j * deep], TRIM)
    s.blob(0, 0.75, deep)
    s.shape([0.15 + 0.1j, -0.2 + s.between(0.2, 0.5) * 1j, 0.05 + 0.02j], TRIM)
    s.blob(0.5 - 0.25j * deep, 0.07, role=DARK)


def snake(s: Sketch) -> None:
    at, heading, turn = 0j, s.between(0, 360), 1
    for _ in range(s.rng.integers(3, 5)):
        at = s.curve(at, heading, turn * s.between(110, 220), s.between(0.7, 1.1), 0.1, 0.1, steps=5)
        heading += turn * 165
        turn = -turn
    s.limb(at, at + step(0.2, heading), 0.14, 0.08, TRIM)


def octopus(s: Sketch) -> None:
    for index in range(8):
        heading = 20 + 140 * index / 7
        s.curve(0.2j, heading, s.between(-130, 130), s.between(0.9, 1.3), 0.1, 0.03, BODY, 5)
    s.blob(-0.2j, 0.36, 0.48)
    for side in (-1, 1):
        s.blob(0.15 * side, 0.07, role=BRIGHT)


def butterfly(s: Sketch) -> None:
    wide, lean = s.between(0.6, 1), s.between(-0.1, 0.1)
    for side in (-1, 1):
        s.blob(side * wide * 0.5 + 0.38j, 0.38 * wide, 0.3, side * 40, TRIM)
        s.blob(side * wide * 0.58 - 0.25j, 0.52 * wide, 0.36, -side * 35, BODY)
        s.blob(side * wide * 0.62 - 0.28j, 0.2 * wide, 0.15, role=BRIGHT)
        s.curve(-0.45j, -90 + 20 * side, side * 40, 0.4, 0.02, 0.02, DARK, 3)
    s.limb(lean - 0.45j, lean + 0.5j, 0.08, 0.05, DARK)


def turtle(s: Sketch) -> None:
    for side in (-1, 1):
        for y, lean, length in ((-0.3, -40, 0.6), (0.35, 45, 0.42)):
            out = (0 if side > 0 else 180) + side * (lean + s.between(-30, 30))
            s.limb(0.3 * side + y * 1j, 0.3 * side + y * 1j + step(length, out), 0.13, 0.08, TRIM)
    s.limb(0j, step(0.85, -90 + s.between(-25, 25)), 0.14, 0.16, TRIM)
    s.limb(0j, 0.7j, 0.1, 0.02, TRIM)
    s.blob(0, 0.46, 0.56)
    for index in range(5):
        s.blob(step(0.27, 72 * index - 90), 0.1, role=DARK)


def snail(s: Sketch) -> None:
    s.limb(-0.7 + 0.5j, 0.5 + 0.5j, 0.06, 0.13)
    head = s.curve(0.5 + 0.48j, -10, -s.between(40, 80), 0.4, 0.13, 0.11, steps=3)
    for turn in (-25, 15):
        s.limb(head, head + step(0.28, -70 + turn + s.between(-10, 10)), 0.025, 0.035)
    s.blob(-0.1 + 0.05j, 0.48, role=TRIM)
    s.ring(-0.07 + 0.08j, 0.3, 0.035, DARK)
    s.ring(-0.05 + 0.1j, 0.13, 0.035, DARK)


def rabbit(s: Sketch) -> None:
    s.blob(-0.62 + 0.15j, 0.13, role=BRIGHT)
    for role in (TRIM, BODY):
        s.chain(-0.3 + 0.2j, 60, [0.35, 0.35], (s.between(-50, 10), s.between(-70, -20)), 0.16, 0.06, role)
        s.chain(0.35 + 0.2j, 90, [0.25, 0.2], (s.between(-25, 25), s.between(-30, 30)), 0.08, 0.05, role)
    s.limb(-0.28, 0.3 - 0.02j, 0.36, 0.26)
    head = 0.55 + s.between(-0.5, -0.3) * 1j
    for turn in (-14, 12):
        s.curve(head, -105 + turn + s.between(-25, 15), s.between(-50, 20), 0.6, 0.08, 0.06, TRIM, 3)
    s.blob(head, 0.23, 0.2, 20)
    s.blob(head + 0.08 - 0.04j, 0.035, role=DARK)


ANIMALS = (
    lizard, ant, spider, scorpion, crab, centipede, flying_bird, wading_bird, penguin, fish, snake, octopus,
    butterfly, turtle, snail, rabbit,
)  # fmt: skip
