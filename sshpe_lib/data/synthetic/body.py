"""A kinematic body: proportions, joint limits, and joint angles to joint positions.

Frame: x to the image's right, y down, z away from the camera; a body at rest stands upright, arms hanging,
and faces the camera, so that its own left is +x. Lengths are fractions of an adult's stature.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Point(IntEnum):
    """Rows of the positions that `forward` returns: the joints, then the ends of the chains.

    The joints rotate; each has three angles (flexion, axial rotation, abduction) in degrees.
    """

    PELVIS = 0
    SPINE = 1
    NECK = 2
    L_SHOULDER = 3
    R_SHOULDER = 4
    L_ELBOW = 5
    R_ELBOW = 6
    L_HIP = 7
    R_HIP = 8
    L_KNEE = 9
    R_KNEE = 10
    L_ANKLE = 11
    R_ANKLE = 12
    HEAD = 13
    L_WRIST = 14
    R_WRIST = 15
    L_HAND = 16
    R_HAND = 17
    L_TOE = 18
    R_TOE = 19


JOINTS = 13  # the first so many points


_ARM = ((-50, 172), (-80, 75), (-15, 165))
_LEG = ((-25, 122), (-45, 40), (-15, 55))
_ELBOW = ((0, 145), (0, 0), (0, 0))
_KNEE = ((0, 142), (0, 0), (0, 0))
_ANKLE = ((-20, 45), (-10, 10), (0, 0))

# (joint, angle, lower and upper), degrees. Flexion bends the spine and neck forward, lifts an upper arm or a
# thigh forward, closes the elbow or the knee, and points the toes; axial is positive inwards; abduction is
# positive away from the body. An elbow and a knee are hinges: they close one way only.
LIMITS = np.array(
    [
        ((0, 0), (0, 0), (0, 0)),
        ((-25, 75), (-35, 35), (-25, 25)),
        ((-40, 45), (-60, 60), (-25, 25)),
        _ARM, _ARM, _ELBOW, _ELBOW, _LEG, _LEG, _KNEE, _KNEE, _ANKLE, _ANKLE,
    ],
    dtype=np.float64,
)  # fmt: skip

# Anatomical angles to signed rotations about x, y and z; the right side is the left one mirrored in x.
_LEFT_ARM, _RIGHT_ARM = (-1, 1, -1), (-1, -1, 1)
_SIGNS = np.array(
    [
        (1, 1, 1), (1, 1, 1), (1, 1, 1),
        _LEFT_ARM, _RIGHT_ARM, _LEFT_ARM, _RIGHT_ARM, _LEFT_ARM, _RIGHT_ARM,
        (1, 1, -1), (1, -1, 1), (1, 1, -1), (1, -1, 1),
    ],
    dtype=np.float64,
)  # fmt: skip

_CHILDREN = (
    # parent joint, joint: the joint's place in the parent's frame is a field of Body.offsets
    (Point.PELVIS, Point.SPINE), (Point.SPINE, Point.NECK),
    (Point.SPINE, Point.L_SHOULDER), (Point.SPINE, Point.R_SHOULDER),
    (Point.L_SHOULDER, Point.L_ELBOW), (Point.R_SHOULDER, Point.R_ELBOW),
    (Point.PELVIS, Point.L_HIP), (Point.PELVIS, Point.R_HIP),
    (Point.L_HIP, Point.L_KNEE), (Point.R_HIP, Point.R_KNEE),
    (Point.L_KNEE, Point.L_ANKLE), (Point.R_KNEE, Point.R_ANKLE),
)  # fmt: skip
_ENDS = (
    (Point.NECK, Point.HEAD),
    (Point.L_ELBOW, Point.L_WRIST), (Point.R_ELBOW, Point.R_WRIST),
    (Point.L_ELBOW, Point.L_HAND), (Point.R_ELBOW, Point.R_HAND),
    (Point.L_ANKLE, Point.L_TOE), (Point.R_ANKLE, Point.R_TOE),
)  # fmt: skip


@dataclass(frozen=True)
class Body:
    """Proportions of one person.

    `offsets`: (20, 3) place of each Point in its parent joint's frame; `head`: (3,) semi-axes of the skull
    (across, up, forward); `girth` multiplies every radius of torso and limbs, `limb` those of limbs only;
    `child` runs from 0 (adult) to 1 (small child).
    """

    offsets: np.ndarray
    head: np.ndarray
    girth: float
    limb: float
    shoulders: float
    hips: float
    child: float


def sample_body(rng: np.random.Generator) -> Body:
    """Draw proportions from small child to tall adult and from slim to heavy."""
    child = float(max(0.0, rng.random() * 1.9 - 0.9))
    weight, waist, wide, legs, arms, limb, neck = rng.standard_normal(7)
    shoulders = 0.104 * (1 + 0.09 * wide) * (1 + 0.10 * child)
    hips = 0.060 * (1 + 0.07 * waist - 0.03 * wide) * (1 + 0.08 * child)
    torso = 0.288 * (1 + 0.04 * child)
    leg = (1 + 0.04 * legs) * (1 - 0.17 * child)
    arm = (1 + 0.04 * arms) * (1 - 0.12 * child)
    skull = np.array([0.046, 0.066, 0.058]) * (1 + 0.5 * child)
    offsets = np.zeros((len(Point), 3))
    offsets[Point.SPINE] = 0, -0.40 * torso, 0
    offsets[Point.NECK] = 0, -0.64 * torso, 0.006
    offsets[Point.HEAD] = 0, -(0.028 + 0.006 * neck) * (1 - 0.4 * child) - 0.92 * skull[1], -0.012
    for side, sign in ((0, 1.0), (1, -1.0)):
        offsets[Point.L_SHOULDER + side] = sign * shoulders, -0.54 * torso, 0.004
        offsets[Point.L_ELBOW + side] = 0, 0.176 * arm, 0
        offsets[Point.L_WRIST + side] = 0, 0.150 * arm, 0
        offsets[Point.L_HAND + side] = 0, 0.195 * arm, -0.006
        offsets[Point.L_HIP + side] = sign * hips, 0.012, 0
        offsets[Point.L_KNEE + side] = 0, 0.245 * leg, 0
        offsets[Point.L_ANKLE + side] = 0, 0.240 * leg, 0
        offsets[Point.L_TOE + side] = sign * 0.012, 0.030, -0.098 * (1 - 0.1 * child)
    girth = float(np.exp(0.17 * weight + 0.04)) * (1 + 0.12 * child)
    return Body(offsets, skull, girth, float(np.exp(0.07 * limb)), float(shoulders), float(hips), child)


def rotations(angles: np.ndarray) -> np.ndarray:
    """Matrices Rz Rx Ry from rotations about (x, y, z), radians: (N, 3) to (N, 3, 3)."""
    sx, sy, sz = np.sin(angles).T
    cx, cy, cz = np.cos(angles).T
    out = np.empty((len(angles), 3, 3))
    first = np.stack([cy, np.zeros_like(cy), sy], axis=1)
    second = np.stack([sx * sy, cx, -sx * cy], axis=1)
    out[:, 0] = cz[:, None] * first - sz[:, None] * second
    out[:, 1] = sz[:, None] * first + cz[:, None] * second
    out[:, 2] = np.stack([-cx * sy, sx, cx * cy], axis=1)
    return out


def forward(body: Body, angles: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint angles to positions: forward kinematics from the pelvis, which sits at the origin.

    angles: (13, 3) degrees, anatomical (flexion, axial, abduction); root: (3, 3) rotation of the whole body.
    Returns positions (20, 3), rows as in Point, and frames (13, 3, 3) of the joints.
    """
    frames = rotations(np.deg2rad(angles) * _SIGNS)
    frames[Point.PELVIS] = root
    points = np.zeros((len(Point), 3))
    for parent, joint in _CHILDREN:
        points[joint] = points[parent] + frames[parent] @ body.offsets[joint]
        frames[joint] = frames[parent] @ frames[joint]
    for parent, end in _ENDS:
        points[end] = points[parent] + frames[parent] @ body.offsets[end]
    return points, frames
