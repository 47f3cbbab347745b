"""A sketch: the parts of one object, drawn back to front with a few pens."""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BODY, TRIM, DARK, BRIGHT = range(4)  # roles that a scene paints with four materials

_ARC = np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 5))
_ROUND = np.exp(2j * np.pi * np.arange(14) / 14)


def step(length: float, heading: float) -> complex:
    """The way from one place to another: `length` towards `heading`, degrees."""
    return cmath.rect(length, math.radians(heading))


@dataclass(frozen=True)
class Parts:
    """Polygons back to front: `points` (P, 2), x right and y down; part n owns the next `counts[n]` of them.

    `roles`: (N,) BODY, TRIM, DARK or BRIGHT.
    """

    points: np.ndarray
    counts: np.ndarray
    roles: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def slice(self, start: int, stop: int) -> Parts:
        """The parts `start` to `stop`, the latter excluded."""
        ends = np.concatenate([[0], np.cumsum(self.counts)])
        inside = self.points[ends[start] : ends[stop]]
        return Parts(inside, self.counts[start:stop], self.roles[start:stop])


class Sketch:
    """Collects parts. Places are complex numbers x + iy, y down; headings are degrees, 0 right and 90 down.

    Units are free: a scene fits the finished sketch to its picture. `rng` makes every sketch another one.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._order: list[tuple[str, int, int]] = []  # pen, index among its strokes, role
        self._strokes: dict[str, list] = {"limb": [], "blob": [], "shape": []}

    def between(self, low: float, high: float) -> float:
        """A uniform draw."""
        return low + (high - low) * self.rng.random()

    def chance(self, share: float) -> bool:
        """True in this share of the draws."""
        return self.rng.random() < share

    def limb(self, a: complex, b: complex, ra: float, rb: float | None = None, role: int = BODY) -> None:
        """A tapered tube with round ends, of radius `ra` at a and `rb` (default: the same) at b."""
        self._add("limb", (a, b, ra, ra if rb is None else rb), role)

    def blob(
        self, at: complex, rx: float, ry: float | None = None, turn: float = 0, role: int = BODY
    ) -> None:
        """An ellipse of half axes `rx`, `ry` (default: a disc), turned by `turn` degrees."""
        axis = step(1, turn)
        self._add("blob", (at, rx * axis, (rx if ry is None else ry) * 1j * axis), role)

    def shape(self, points: Sequence[complex] | np.ndarray, role: int = BODY) -> None:
        """A polygon."""
        self._add("shape", np.asarray(points, dtype=complex), role)

    def ring(self, at: complex, radius: float, thick: float, role: int = BODY, sides: int = 20) -> None:
        """A ring: one polygon, out along the rim and back along the hole."""
        turn = np.exp(2j * np.pi * np.arange(sides + 1) / sides)
        self.shape(np.concatenate([at + (radius + thick) * turn, at + (radius - thick) * turn[::-1]]), role)

    def chain(
        self, start: complex, heading: float, lengths: Sequence[float], bends: Sequence[float], ra: float,
        rb: float, role: int = BODY,
    ) -> complex:  # fmt: skip
        """Jointed limbs: each turns by its bend, then grows by its length; radius ra to rb. The end."""
        count = len(lengths)
        for index, (length, bend) in enumerate(zip(lengths, bends, strict=True)):
            heading += bend
            end = start + step(length, heading)
            near, far = (ra + (rb - ra) * k / count for k in (index, index + 1))
            self.limb(start, end, near, far, role)
            start = end
        return start

    def curve(
        self, start: complex, heading: float, bend: float, length: float, ra: float, rb: float,
        role: int = BODY, steps: int = 5,
    ) -> complex:  # fmt: skip
        """A smooth limb that turns by `bend` degrees over its length (neck, tail). Returns its end."""
        return self.chain(start, heading, [length / steps] * steps, [bend / steps] * steps, ra, rb, role)

    def strokes(self, points: Sequence[complex], radius: float, role: int = BODY) -> None:
        """Limbs of one radius along a line of points."""
        for a, b in zip(points, points[1:], strict=False):
            self.limb(a, b, radius, role=role)

    def parts(self) -> Parts:
        """Everything drawn so far, as polygons."""
        outlines: dict[str, np.ndarray | list] = {
            "limb": _limb_outlines(np.array(self._strokes["limb"]).reshape(-1, 4)),
            "blob": _blob_outlines(np.array(self._strokes["blob"]).reshape(-1, 3)),
            "shape": self._strokes["shape"],
        }
        polygons = [outlines[pen][index] for pen, index, _ in self._order]
        points = np.concatenate(polygons)
        return Parts(
            np.stack([points.real, points.imag], axis=1),
            np.array([len(polygon) for polygon in polygons]),
            np.array([role for _, _, role in self._order]),
        )

    def _add(self, pen: str, stroke: tuple | np.ndarray, role: int) -> None:
        self._order.append((pen, len(self._strokes[pen]), role))
        self._strokes[pen].append(stroke)


def _limb_outlines(rows: np.ndarray) -> np.ndarray:
    """(L, 4) ends and radii to (L, 10) corners: a half circle around b, then one around a."""
    a, b, ra, rb = rows.T[:, :, None]
    span = b - a
    axis = np.where(np.abs(span) > 0, span, 1)
    axis = axis / np.abs(axis)
    return np.concatenate([b + rb * axis * _ARC, a - ra * axis * _ARC], axis=1)


def _blob_outlines(rows: np.ndarray) -> np.ndarray:
    """(B, 3) centre and half axes to (B, 14) corners."""
    centre, first, second = rows.T[:, :, None]
    return centre + first * _ROUND.real + second * _ROUND.imag
