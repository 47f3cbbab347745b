"""A scene: one object before fragments of others, seen by a random camera and painted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sshpe_lib.data.objects.paint import Canvas, degrade
from sshpe_lib.data.objects.sketch import Parts, Sketch

Kind = Callable[[Sketch], None]  # draws one object of its kind


@dataclass(frozen=True)
class Difficulty:
    """How far the scenes stray from one clean object; all scene draws are uniform up to these bounds."""

    rotation: float = 40.0  # degrees either way
    shear: float = 0.25
    perspective: float = 0.25
    fill: tuple[float, float] = (0.65, 1.1)  # of the picture, by the object's bounding box
    behind: int = 4  # fragments of other objects
    before: int = 2  # fragments of other objects that hide some of it


def draw(
    kinds: Sequence[Kind], label: int, rng: np.random.Generator, size: tuple[int, int], level: Difficulty
) -> np.ndarray:
    """An object of `kinds[label]` among fragments of others: (H, W, 3) uint8 RGB; size: (H, W)."""
    extent = np.array([size[1], size[0]], dtype=float)
    behind, before, *others = rng.integers((level.behind + 1, level.before + 1, len(kinds), len(kinds)))
    strange = [_sketch(kinds[other], rng) for other in others] if behind or before else []
    canvas = Canvas(rng, size)
    for index in range(behind):
        _fragment(strange[index % 2], rng, canvas, rng.random(2) * extent, extent.min() * rng.uniform(0.3, 1))
    parts = _sketch(kinds[label], rng)
    canvas.add(_place(parts, rng, extent, level), parts)
    for index in range(before):
        # near the border, so that most of the object stays in sight
        turn = rng.uniform(0, 2 * math.pi)
        at = extent * (0.5 + 0.45 * np.array([math.cos(turn), math.sin(turn)]))
        _fragment(strange[1 - index % 2], rng, canvas, at, extent.min() * rng.uniform(0.2, 0.5))
    return degrade(canvas.paint(), rng, size)


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


def _place(parts: Parts, rng: np.random.Generator, extent: np.ndarray, level: Difficulty) -> np.ndarray:
    """The object's points (P, 2) in pixels: mirrored by chance, turned, sheared, in perspective, fitted."""
    mirror, turn, shear, squash, px, py, fill, *shift = rng.random(9)
    points = parts.points - parts.points.mean(axis=0)
    points = points / np.abs(points).max()
    if mirror < 0.5:
        points = points * (-1, 1)
    points = points + (level.shear * (2 * shear - 1)) * points[:, 1:] * (1, 0)
    points = points * (0.85 + 0.3 * squash, 1)
    points = _turned(points, math.radians(level.rotation * (2 * turn - 1)))
    tilt = level.perspective * (2 * np.array([px, py]) - 1)
    points = points / (1 + points @ tilt)[:, None]
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (extent / (high - low)).min() * (level.fill[0] + (level.fill[1] - level.fill[0]) * fill)
    slack = np.abs(extent - scale * (high - low))
    return (points - (low + high) / 2) * scale + extent / 2 + slack * (np.array(shift) - 0.5)


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])
