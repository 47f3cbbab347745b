"""One dressed person: body, pose and outfit to outlines, keypoints, and what may be seen at each keypoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from sshpe_lib.data.synthetic import appearance
from sshpe_lib.data.synthetic.appearance import Outfit
from sshpe_lib.data.synthetic.body import Body, Point
from sshpe_lib.data.synthetic.shapes import Outlines, Shapes, perspective


class Part(IntEnum):
    """What a drawn shape belongs to."""

    OTHER = 0
    TRUNK = 1
    FACE = 2
    HAIR = 3
    L_UPPER = 4
    R_UPPER = 5
    L_FORE = 6
    R_FORE = 7
    L_THIGH = 8
    R_THIGH = 9
    L_SHANK = 10
    R_SHANK = 11
    SKIRT = 12


# A COCO keypoint counts as seen where the shape drawn last at its place is one of these parts. Hats, and hair on the
# scalp, are FACE, too, so that an eye or an ear beneath them counts as seen; only hair that falls is HAIR. Flags that
# networks were trained on stay as they are.
_OWNERS = (
    (Part.FACE,), (Part.FACE,), (Part.FACE,), (Part.FACE,), (Part.FACE,),
    (Part.L_UPPER, Part.TRUNK), (Part.R_UPPER, Part.TRUNK),
    (Part.L_UPPER, Part.L_FORE), (Part.R_UPPER, Part.R_FORE), (Part.L_FORE,), (Part.R_FORE,),
    (Part.L_THIGH, Part.TRUNK, Part.SKIRT), (Part.R_THIGH, Part.TRUNK, Part.SKIRT),
    (Part.L_THIGH, Part.L_SHANK, Part.SKIRT), (Part.R_THIGH, Part.R_SHANK, Part.SKIRT),
    (Part.L_SHANK,), (Part.R_SHANK,),
)  # fmt: skip
OWNED = np.zeros((17, len(Part)), dtype=bool)
for _keypoint, _parts in enumerate(_OWNERS):
    OWNED[_keypoint, list(_parts)] = True


@dataclass(frozen=True)
class Person:
    """A person in the image.

    `outlines`: what to draw; `keypoints`: (17, 2) COCO keypoints, (x, y); `facing`: (17,) whether the body's
    surface at the keypoint looks towards the camera.
    """

    outlines: Outlines
    keypoints: np.ndarray
    facing: np.ndarray

    def moved(self, scale: float, offset: np.ndarray) -> Person:
        """The same person after p -> scale * p + offset; offset: (2,)."""
        return replace(
            self, outlines=self.outlines.moved(scale, offset), keypoints=self.keypoints * scale + offset
        )


def make_person(
    body: Body, points: np.ndarray, frames: np.ndarray, outfit: Outfit, distance: float, grain: np.ndarray
) -> Person:
    """Dress and project a posed body.

    points: (20, 3), frames: (13, 3, 3) from `body.forward`; distance: of the camera, in statures; grain: (M,)
    of the palette. The image unit is one stature; the pelvis is at the origin.
    """
    shapes = Shapes()
    _draw_trunk(shapes, body, points, frames, outfit)
    for side in (0, 1):
        _draw_arm(shapes, body, points, side, outfit)
        _draw_leg(shapes, body, points, side, outfit)
    face = _draw_head(shapes, body, points, frames[Point.NECK], outfit)
    limbs = points[
        [Point.L_SHOULDER, Point.R_SHOULDER, Point.L_ELBOW, Point.R_ELBOW, Point.L_WRIST, Point.R_WRIST,
         Point.L_HIP, Point.R_HIP, Point.L_KNEE, Point.R_KNEE, Point.L_ANKLE, Point.R_ANKLE]
    ]  # fmt: skip
    places = np.concatenate([face, limbs])
    facing = np.ones(17, dtype=bool)
    head = points[Point.HEAD, 2]
    facing[:3] = face[:3, 2] < head + 0.1 * body.head[0]
    facing[3:5] = face[3:5, 2] < head + 0.45 * body.head[0]
    facing[5:7] = limbs[0:2, 2] < points[Point.NECK, 2] + 0.45 * body.shoulders
    facing[11:13] = limbs[6:8, 2] < points[Point.PELVIS, 2] + 0.55 * body.hips
    return Person(shapes.project(distance, grain), perspective(places, distance), facing)


def _draw_trunk(shapes: Shapes, body: Body, points: np.ndarray, frames: np.ndarray, outfit: Outfit) -> None:
    pelvis, waist, neck = points[Point.PELVIS], points[Point.SPINE], points[Point.NECK]
    hips, chest, fat = frames[Point.PELVIS], frames[Point.SPINE], body.girth
    up = neck - waist
    # Half widths and depths, from the hips up.
    hip_size = ((body.hips + 0.030) * fat**0.55, 0.060 * fat**0.8)
    waist_size = (0.070 * fat + 0.006, 0.054 * fat)
    chest_size = (body.shoulders * 0.86 * fat**0.35, 0.062 * fat**0.8)
    neck_size = (0.040 * fat**0.5, 0.036)
    seat = (hip_size, outfit.legs, Part.TRUNK, pelvis[2] + 0.01)
    shapes.trunk(waist, pelvis + hips[:, 1] * 0.035, hips, waist_size, *seat)
    if outfit.cut in (appearance.LEGS_SKIRT, appearance.LEGS_DRESS):
        _draw_skirt(shapes, body, points, hip_size, outfit)
    shirt = (outfit.shirt, Part.TRUNK, 0.5 * (waist[2] + neck[2]) - 0.02)
    loose = 0.55 + 0.45 * outfit.loose
    hem = pelvis + hips[:, 1] * (outfit.hem * 0.29 - 0.065)
    top = waist + 0.80 * up
    hem_size = (hip_size[0] * loose, hip_size[1] * loose)
    shapes.trunk(waist, hem, hips, (waist_size[0] * loose, waist_size[1]), hem_size, *shirt, cap=0.15)
    shapes.trunk(waist, top, chest, waist_size, chest_size, *shirt)
    shapes.trunk(top, neck + 0.02 * up, chest, chest_size, neck_size, *shirt)
    front = neck - 0.10 * up - chest[:, 2] * chest_size[1] * 0.8
    if outfit.neckline > 0.25 and front[2] < neck[2] - 0.6 * chest_size[1]:
        size = np.array([0.030, 0.020 + 0.05 * max(0.0, outfit.neckline - 0.6), 0.012])
        shapes.ball(front, chest, size, outfit.skin, Part.TRUNK, shirt[2])
    if outfit.pack:
        back = waist + 0.45 * up + chest[:, 2] * (chest_size[1] + 0.045)
        shapes.ball(back, chest, np.array([0.085, 0.115, 0.06]), outfit.hat, Part.OTHER, back[2])
    thick = 0.036 * fat**0.4
    shapes.tube(
        neck - 0.06 * up, points[Point.HEAD], thick, 0.9 * thick, outfit.skin, Part.TRUNK, neck[2] - 0.012
    )


def _draw_skirt(
    shapes: Shapes, body: Body, points: np.ndarray, size: tuple[float, float], outfit: Outfit
) -> None:
    dress = outfit.cut == appearance.LEGS_DRESS
    pelvis = points[Point.PELVIS]
    knees = points[[Point.L_KNEE, Point.R_KNEE]]
    thighs = pelvis + (0.55 + 0.6 * outfit.trouser) * 0.8 * (knees - pelvis)
    hem = thighs.mean(axis=0)
    spread = 0.5 * float(np.hypot(*(thighs[0] - thighs[1])[:2]))
    material = outfit.shirt if dress else outfit.legs
    waist = points[Point.SPINE] * 0.6 + pelvis * 0.4
    width = max(spread + 0.045 * body.girth, size[0] * (0.9 + 0.5 * (outfit.loose - 1.06)))
    # In front of both thighs, which are drawn at the depth of their middles.
    hips = points[[Point.L_HIP, Point.R_HIP]]
    depth = min(pelvis[2], float((0.5 * (hips[:, 2] + knees[:, 2])).min())) - 0.01
    shapes.tube(waist, hem, 0.8 * size[0], width, material, Part.SKIRT, depth, cap=0.18)


def _draw_limb(
    shapes: Shapes, a: np.ndarray, b: np.ndarray, ra: float, rb: float, cover: float, cloth: float,
    skin: int, fabric: int, code: int, depth: float,
) -> None:  # fmt: skip
    """A limb from a to b, its first `cover` share (0..1) under cloth that is `cloth` times as thick."""
    bare = a + 0.8 * cover * (b - a)
    if cover < 1:
        shapes.tube(bare, b, ra + 0.8 * cover * (rb - ra), rb, skin, code, depth)
    if cover > 0:
        end, radius = a + cover * (b - a), (ra + cover * (rb - ra)) * cloth
        shapes.tube(a, end, ra * cloth, radius, fabric, code, depth, 1.0 if cover == 1 else 0.7)


def _draw_arm(shapes: Shapes, body: Body, points: np.ndarray, side: int, outfit: Outfit) -> None:
    shoulder, elbow = points[Point.L_SHOULDER + side], points[Point.L_ELBOW + side]
    wrist, hand = points[Point.L_WRIST + side], points[Point.L_HAND + side]
    thick = body.girth * body.limb
    r0, r1, r2 = 0.029 * thick, 0.024 * thick, 0.0165 * thick**0.6
    upper, fore = min(1.0, 2 * outfit.sleeve), max(0.0, 2 * outfit.sleeve - 1)
    worn = (outfit.loose, outfit.skin, outfit.shirt)
    depth = 0.5 * (shoulder[2] + elbow[2]) - 0.03
    _draw_limb(shapes, shoulder, elbow, r0, r1, upper, *worn, Part.L_UPPER + side, depth)
    code, depth = Part.L_FORE + side, 0.5 * (elbow[2] + wrist[2]) - 0.04
    glove = outfit.hat if outfit.gloves else outfit.skin
    shapes.tube(wrist + 0.35 * (hand - wrist), hand, 0.020, 0.015, glove, code, depth)
    _draw_limb(shapes, elbow, wrist + 0.1 * (hand - wrist), r1, r2, fore, *worn, code, depth)


def _draw_leg(shapes: Shapes, body: Body, points: np.ndarray, side: int, outfit: Outfit) -> None:
    hip, knee = points[Point.L_HIP + side], points[Point.L_KNEE + side]
    ankle, toe = points[Point.L_ANKLE + side], points[Point.L_TOE + side]
    thick = body.girth * body.limb
    r0, r1, r2 = 0.050 * thick, 0.034 * thick, 0.021 * thick**0.6
    cover = {appearance.LEGS_LONG: 0.97, appearance.LEGS_SHORT: min(outfit.trouser, 0.7)}.get(
        outfit.cut, 0.25
    )
    fabric = outfit.shirt if outfit.cut == appearance.LEGS_DRESS else outfit.legs
    worn = (1 + 0.7 * (outfit.loose - 1), outfit.skin, fabric)
    depth = 0.5 * (hip[2] + knee[2])
    _draw_limb(shapes, hip, knee, r0, r1, min(1.0, 2 * cover), *worn, Part.L_THIGH + side, depth)
    code, depth = Part.L_SHANK + side, 0.5 * (knee[2] + ankle[2]) - 0.01
    down = (ankle - knee) / np.sqrt(((ankle - knee) ** 2).sum())
    heel = ankle + 0.014 * down - 0.12 * (toe - ankle)
    # A foot that points at the camera is in front of its shank.
    shapes.tube(
        heel, toe, 0.0235, 0.0175, outfit.shoes, code, min(depth, ankle[2]) if toe[2] < ankle[2] else depth
    )
    _draw_limb(shapes, knee, ankle, r1, r2, max(0.0, 2 * cover - 1), *worn, code, depth)


class _Head:
    """Places and shapes on a head, in units of the skull's semi-axes: to the person's left, up, forward."""

    def __init__(self, shapes: Shapes, centre: np.ndarray, frame: np.ndarray, skull: np.ndarray):
        self.shapes, self.centre, self.frame, self.skull = shapes, centre, frame, skull
        self._origin, self._basis = centre.tolist(), (frame * (skull * (1, -1, -1))).tolist()

    def at(self, x: float, y: float, z: float) -> np.ndarray:
        """The place (x, y, z) in space."""
        return np.array(
            [o + a * x + b * y + c * z for o, (a, b, c) in zip(self._origin, self._basis, strict=True)]
        )

    def depth(self, place: np.ndarray, over: float) -> float:
        """Its turn: near the head's own depth, in there by the place's, lifted by `over` skull widths."""
        return self.centre[2] - 0.05 + 0.1 * (place[2] - self.centre[2] - over * self.skull[0])

    def ball(self, place: np.ndarray, size: tuple[float, float, float], material: int, over: float) -> None:
        self.shapes.ball(place, self.frame, self.skull * size, material, Part.FACE, self.depth(place, over))

    def strand(self, a: np.ndarray, b: np.ndarray, ra: float, rb: float, material: int, depth: float) -> None:
        self.shapes.tube(a, b, self.skull[0] * ra, self.skull[0] * rb, material, Part.HAIR, depth)


def _draw_head(
    shapes: Shapes, body: Body, points: np.ndarray, frame: np.ndarray, outfit: Outfit
) -> np.ndarray:
    """Draw the head; returns nose, eyes and ears, (5, 3)."""
    head = _Head(shapes, points[Point.HEAD], frame, body.head)
    bald = outfit.head == appearance.BALD
    scalp, size = (outfit.skin, (1.0, 1.0, 1.0)) if bald else (outfit.hair, (1.06, 1.04, 1.06))
    head.ball(head.at(0, 0.06, -0.08), size, scalp, 0.0)
    head.ball(head.at(0, -0.16, 0.20), (0.88, 0.88, 0.84), outfit.skin, 0.05)
    ears = np.array([head.at(0.98, -0.08, -0.06), head.at(-0.98, -0.08, -0.06)])
    eyes = np.array([head.at(0.40, 0.02, 0.90), head.at(-0.40, 0.02, 0.90)])
    nose = head.at(0, -0.28, 1.04)
    for ear in ears:
        head.ball(ear, (0.16, 0.22, 0.20), outfit.skin, 0.1)
    for eye in eyes:
        if outfit.glasses:
            head.ball(eye, (0.30, 0.20, 0.14), outfit.pupil, 0.12)
        else:
            head.ball(eye, (0.20, 0.11, 0.12), outfit.white, 0.1)
            head.ball(eye, (0.11, 0.11, 0.13), outfit.pupil, 0.12)
    for x in (0.40, -0.40):
        head.ball(head.at(x, 0.26, 0.90), (0.24, 0.05, 0.10), outfit.hair, 0.1)
    if outfit.beard:
        head.ball(head.at(0, -0.68, 0.46), (0.62, 0.40, 0.55), outfit.hair, 0.05)
    head.ball(head.at(0, -0.62, 0.92), (0.28, 0.07, 0.10), outfit.lips, 0.06)
    head.ball(nose, (0.15, 0.20, 0.22), outfit.skin, 0.1)
    _draw_hair(head, outfit)
    return np.concatenate([nose[None], eyes, ears])


def _draw_hair(head: _Head, outfit: Outfit) -> None:
    """What is on the head and falls from it; hair that hangs behind is drawn at its own depth."""
    at, hair = head.at, outfit.hair
    if outfit.head == appearance.LONG_HAIR:
        head.strand(at(0, 0.3, -0.35), at(0, -1.7, -0.55), 1.08, 1.0, hair, at(0, 0, -0.9)[2] - 0.03)
        for x in (0.92, -0.92):
            lock = at(x, 0.3, 0.0)
            head.strand(lock, at(x, -1.2, 0.0), 0.30, 0.22, hair, head.depth(at(x, 0, 0), 0.65))
    elif outfit.head == appearance.TAIL:
        head.strand(at(0, 0.5, -1.0), at(0, -0.9, -1.7), 0.30, 0.20, hair, at(0, 0, -1.3)[2] - 0.03)
    elif outfit.head == appearance.BEANIE:
        head.ball(at(0, 0.50, -0.10), (1.08, 0.68, 1.08), outfit.hat, 0.9)
    elif outfit.head == appearance.CAP:
        head.ball(at(0, 0.52, -0.06), (1.07, 0.62, 1.06), outfit.hat, 0.9)
        head.ball(at(0, 0.40, 1.05), (0.80, 0.10, 0.60), outfit.hat, 1.0)
