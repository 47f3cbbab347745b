"""Poses: what arms, legs, trunk and the whole body do, drawn from families and kept within joint limits."""

from __future__ import annotations

import numpy as np

from sshpe_lib.data.synthetic.body import JOINTS, LIMITS, Point, rotations

# Arm families: weight, then mean and spread of (shoulder flexion, axial, abduction, elbow flexion), degrees.
_ARMS = (
    (18, (0, 10, 9, 12), (12, 22, 7, 14)),  # hanging
    (10, (20, 5, 8, 55), (30, 20, 8, 30)),  # swinging, carrying
    (8, (-18, 55, 38, 95), (10, 15, 10, 14)),  # hand on the hip
    (6, (38, 62, 6, 105), (12, 12, 8, 15)),  # folded across the chest
    (8, (155, 0, 20, 18), (18, 35, 14, 22)),  # straight up
    (7, (5, 0, 88, 12), (18, 40, 16, 16)),  # out to the side
    (6, (5, -65, 85, 88), (15, 15, 18, 25)),  # bent up at the side
    (7, (75, 30, 35, 125), (22, 22, 18, 15)),  # hand to the head
    (9, (82, 5, 6, 20), (20, 30, 14, 22)),  # reaching forward
    (4, (-32, 35, 12, 45), (10, 25, 8, 25)),  # behind the back
    (7, (45, 25, 12, 80), (18, 20, 10, 25)),  # holding something in front
    (10, (50, 0, 55, 60), (55, 45, 50, 45)),  # anything
)

# Leg families: weight, spine flexion, then for the leading and the other leg the mean of
# (hip flexion, axial, abduction, knee flexion, ankle flexion), and one spread for both, degrees.
_LEGS = (
    (22, 2, (1, -8, 4, 4, 0), (1, -8, 4, 4, 0), (4, 9, 4, 5, 4)),  # standing
    (8, 3, (14, -12, 9, 22, 0), (-2, -8, 3, 3, 0), (7, 9, 4, 9, 6)),  # weight on one leg
    (14, 5, (28, -3, 2, 12, -4), (-14, -3, 2, 26, 12), (8, 6, 3, 9, 8)),  # walking
    (9, 14, (58, -2, 2, 80, 8), (-14, -2, 2, 38, 22), (14, 6, 4, 20, 10)),  # running
    (12, 6, (86, -4, 9, 86, 2), (86, -4, 9, 86, 2), (10, 10, 8, 20, 8)),  # sitting
    (6, 30, (106, -12, 18, 124, -8), (106, -12, 18, 124, -8), (12, 12, 10, 13, 8)),  # crouching
    (5, 10, (88, -5, 8, 92, 0), (-2, 0, 4, 98, 35), (10, 8, 6, 14, 8)),  # on one knee
    (6, 12, (72, -3, 6, 74, 0), (-20, -3, 4, 22, 20), (12, 8, 5, 15, 8)),  # lunging
    (5, -4, (84, -6, 12, 24, 18), (0, -10, 4, 8, 0), (20, 10, 14, 22, 10)),  # kicking
    (6, 2, (6, -14, 28, 8, 0), (6, -14, 28, 8, 0), (10, 10, 8, 12, 6)),  # legs apart
    (4, 0, (62, -36, 38, 118, 25), (0, -8, 4, 5, 0), (18, 10, 12, 14, 10)),  # one knee out
    (5, 52, (30, -5, 6, 10, 0), (30, -5, 6, 10, 0), (18, 8, 6, 12, 5)),  # bending down
    (5, 10, (50, -8, 18, 60, 8), (40, -8, 18, 60, 8), (42, 18, 20, 45, 16)),  # anything
)  # fmt: skip


def _pick(rng: np.random.Generator, families: tuple) -> tuple:
    """One family, by weight."""
    left = rng.random() * sum(family[0] for family in families)
    for family in families:
        left -= family[0]
        if left < 0:
            break
    return family


def sample_angles(rng: np.random.Generator) -> np.ndarray:
    """Draw a pose: (13, 3) anatomical joint angles in degrees, within LIMITS."""
    angles = np.zeros((JOINTS, 3))
    _, stoop, leading, other, spread = _pick(rng, _LEGS)
    leads_left = rng.random() < 0.5
    for side, mean in ((0, leading if leads_left else other), (1, other if leads_left else leading)):
        flexion, axial, abduction, knee, ankle = rng.standard_normal(5) * spread + mean
        angles[Point.L_HIP + side] = flexion, axial, abduction
        angles[Point.L_KNEE + side, 0] = abs(knee)
        angles[Point.L_ANKLE + side, 0] = ankle
    left_arm = _pick(rng, _ARMS)
    right_arm = left_arm if rng.random() < 0.45 else _pick(rng, _ARMS)
    for side, (_, mean, spread) in ((0, left_arm), (1, right_arm)):
        flexion, axial, abduction, elbow = rng.standard_normal(4) * spread + mean
        angles[Point.L_SHOULDER + side] = flexion, axial, abduction
        angles[Point.L_ELBOW + side, 0] = abs(elbow)
    trunk = rng.standard_normal(6)
    angles[Point.SPINE] = stoop + 8 * trunk[0], 11 * trunk[1], 7 * trunk[2]
    angles[Point.NECK] = 10 * trunk[3] - 0.25 * stoop, 24 * trunk[4], 8 * trunk[5]
    return np.clip(angles, LIMITS[..., 0], LIMITS[..., 1])


def sample_root(rng: np.random.Generator, difficulty: float = 1.0) -> np.ndarray:
    """Draw how the body stands to the camera, (3, 3): any yaw, some tilt, sometimes lying or inverted.

    `difficulty`, 0..1, scales how often the body is turned away, lies, leans or is upside down.
    """
    chance, front, side, how = rng.random(4)
    lying, inverted, leaning, above = (difficulty * share for share in (0.07, 0.10, 0.20, 0.25))
    tilt, pitch, lean = rng.standard_normal(3)
    yaw = 55 * (2 * front - 1) if chance < 1 - 0.55 * difficulty else 360 * front
    roll, over = 4 * tilt, 8 + 11 * pitch
    if how < lying:  # lying: the body's axis along the image's width, seen from its front, back or side
        roll = (90 if side < 0.5 else -90) + 18 * tilt
    elif how < inverted:  # upside down: handstand, diving
        roll = 180 + 18 * tilt
    elif how < leaning:  # falling, leaning, rotated camera
        roll = 26 * tilt
    elif how < above:  # seen from above, or leaning towards the camera
        over = 38 + 10 * pitch
    turn, stand = rotations(np.deg2rad([[0.0, yaw, 0.0], [over, 0.0, roll + lean]]))
    return stand @ turn
