"""A scene: one object before fragments of others, seen by a random camera and painted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from sshpe_lib.data.objects.paint import Canvas, degrade
from sshpe_lib.data.objects.sketch import Parts, Sketch

Kind = Callable[[Sketch], None]  # draws one object of its kind


# The hardest scenes' bounds; at hardness h the draws are uniform up to about h times them.
_ROTATION = 40.0  # degrees either way
_SHEAR = 0.25
_TILT = 0.25  # of the perspective, over half of the object
_BEHIND = 4  # fragments of other objects
_BEFORE = 2  # fragments of other objects that hide some of this one


def draw(
    kinds: Sequence[Kind], label: int, rng: np.random.Generator, size: tuple[int, int], hardness: float
) -> np.ndarray:
    """An object of `kinds[label]` among fragments of others.

    Args:
        kinds: what can be drawn.
        label: which of them.
        rng: makes every scene another one.
        size: (H, W) of the picture.
        hardness: 0 is a plain view of a clean object, 1 hides it as much as scenes can.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    extent = np.array([size[1], size[0]], dtype=float)
    behind, before, *others = rng.random(4) * (
        _BEHIND * hardness + 1,
        _BEFORE * hardness + 1,
        *[len(kinds)] * 2,
    )
    strange = [_sketch(kinds[int(other)], rng) for other in others] if behind >= 1 or before >= 1 else []
    canvas = Canvas(rng, size, hardness)
    for index in range(int(behind)):
        _fragment(strange[index % 2], rng, canvas, rng.random(2) * extent, extent.min() * rng.uniform(0.3, 1))
    parts = _sketch(kinds[label], rng)
    canvas.add(_place(parts, rng, extent, hardness), parts)
    for index in range(int(before)):
        # near the border, so that most of the object stays in sight
        turn = rng.uniform(0, 2 * math.pi)
        at = extent * (0.5 + 0.45 * np.array([math.cos(turn), math.sin(turn)]))
        _fragment(strange[1 - index % 2], rng, canvas, at, extent.min() * rng.uniform(0.2, 0.5))
    return degrade(canvas.paint(), rng, size, hardness)


def _sketch(kind: Kind, rng: np.random.Generator) -> Parts:
    sketch = Sketch(rng)
    kind(sketch)
    return sketch.parts()


def _fragment(whole: Parts, rng: np.random.Generator, canvas: Canvas, at: np.ndarray, reach: float) -> None:
    """A few successive parts of an object, at any angle, centred at `at`, `reach` pixels across."""
    count = 1 + int(rng.integers(min(6, len(whole))))
    start = int(rng.integers(len(whole) - count + 1))
    parts = whole.slice(start, start + count)
    points = _turned(parts.points, rng.uniform(0, 2 * math.pi))
    low, high = points.min(axis=0), points.max(axis=0)
    canvas.add((points - (low + high) / 2) * (reach / (high - low).max()) + at, parts)


def _place(parts: Parts, rng: np.random.Generator, extent: np.ndarray, hardness: float) -> np.ndarray:
    """The object's points (P, 2) in pixels: mirrored by chance, turned, sheared, in perspective, fitted."""
    bend = 0.25 + 0.75 * hardness
    mirror, turn, shear, squash, px, py, fill, *shift = rng.random(9)
    points = parts.points - parts.points.mean(axis=0)
    points = points / np.abs(points).max()
    if mirror < 0.5:
        points = points * (-1, 1)
    points = points + (bend * _SHEAR * (2 * shear - 1)) * points[:, 1:] * (1, 0)
    points = points * (0.85 + 0.3 * squash, 1)
    points = _turned(points, math.radians(bend * _ROTATION * (2 * turn - 1)))
    tilt = bend * _TILT * (2 * np.array([px, py]) - 1)
    points = points / (1 + points @ tilt)[:, None]
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (extent / (high - low)).min() * (0.9 + 0.25 * bend * (2 * fill - 1))
    slack = np.abs(extent - scale * (high - low))
    return (points - (low + high) / 2) * scale + extent / 2 + slack * (np.array(shift) - 0.5)


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])
