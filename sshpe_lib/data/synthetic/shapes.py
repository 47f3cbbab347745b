"""Shapes in space (tapered tubes and ellipsoids) and their outlines and surface coordinates in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

_CORNERS = 9  # of each of a tube outline's two arcs
_ARC = np.linspace(-1.0, 1.0, _CORNERS)
_ROUND = np.linspace(0.0, 2 * np.pi, 2 * _CORNERS, endpoint=False)
_CIRCLE = np.stack([np.cos(_ROUND), np.sin(_ROUND)])
_TINY = 1e-6


# Columns of Outlines.surface.
ORIGIN, SIDE, AXIS = slice(0, 2), slice(2, 4), slice(4, 6)
LENGTH, SLOPE, CAP, BULGE = 6, 7, 8, 9
NORMAL, SIDE_DIRECTION, AXIS_DIRECTION, GRAIN = slice(10, 13), slice(13, 15), slice(15, 17), slice(17, 19)
_COLUMNS = 19


@dataclass(frozen=True)
class Outlines:
    """Projected shapes in drawing order, farthest first.

    `polygons`: (N, 18, 2) in image units, (x, y); `material`, `code`: (N,) integers; `surface`: (N, 19), in
    the columns named above. A point p has the surface coordinates across = (p - ORIGIN) . SIDE and
    along = (p - ORIGIN) . AXIS, in units of the shape's own radius; a tube's middle line runs along
    0..LENGTH, and there its radius is 1 + SLOPE * along / LENGTH; beyond its ends the surface falls off over
    CAP radii (more than the outline does, so that joints leave no seam). BULGE: 1 round, 0 flat. NORMAL is
    the surface's in its middle, SIDE_DIRECTION and AXIS_DIRECTION are unit directions in the image, GRAIN
    the texture units per unit of across and along.
    """

    polygons: np.ndarray
    surface: np.ndarray
    material: np.ndarray
    code: np.ndarray

    def __len__(self) -> int:
        return len(self.code)

    def moved(self, scale: float, offset: np.ndarray) -> Outlines:
        """The same shapes after p -> scale * p + offset; offset: (2,)."""
        surface = self.surface.copy()
        surface[:, ORIGIN] = surface[:, ORIGIN] * scale + offset
        surface[:, SIDE] /= scale
        surface[:, AXIS] /= scale
        return replace(self, polygons=self.polygons * scale + offset, surface=surface)

    def bounds(self) -> np.ndarray:
        """(4,) x0, y0, x1, y1 around all outlines."""
        return np.concatenate([self.polygons.min(axis=(0, 1)), self.polygons.max(axis=(0, 1))])


class Shapes:
    """A list of shapes, filled one by one, then projected all at once.

    `material` is a row of the scene's palette and `code` says what the shape is (see `render`). Shapes are
    drawn by decreasing `depth`; those of equal depth in the order they were added.
    """

    def __init__(self) -> None:
        self._tubes: list[tuple] = []
        self._balls: list[tuple] = []
        self._count = 0

    def tube(
        self, a: np.ndarray, b: np.ndarray, ra: float, rb: float, material: int, code: int, depth: float,
        cap: float = 1.0, bulge: float = 1.0,
    ) -> None:  # fmt: skip
        """Add a tapered tube from a to b, (3,), of radius ra to rb; cap 1: round ends, 0: cut off."""
        self._tubes.append((*a.tolist(), *b.tolist(), ra, rb, cap, bulge, material, code, depth, self._count))
        self._count += 1

    def trunk(
        self, a: np.ndarray, b: np.ndarray, frame: np.ndarray, size_a: tuple[float, float],
        size_b: tuple[float, float], material: int, code: int, depth: float, cap: float = 0.3,
    ) -> None:  # fmt: skip
        """Add a tube of elliptic section: size = half widths along the frame's x and z axes, as seen here."""
        dx, dy, dz = b - a
        flat = math.hypot(dx, dy)
        px, py = (-dy / flat, dx / flat) if flat > _TINY else (1.0, 0.0)
        wide = abs(px * frame[0, 0] + py * frame[1, 0])
        deep = abs(px * frame[0, 2] + py * frame[1, 2])
        ra = math.hypot(wide * size_a[0], deep * size_a[1])
        rb = math.hypot(wide * size_b[0], deep * size_b[1])
        tilt = abs(dz) / math.sqrt(flat * flat + dz * dz + _TINY**2)
        round_end = tilt * max(size_a[1], size_b[1]) / max(ra, rb)
        self.tube(a, b, ra, rb, material, code, depth, min(1.0, math.hypot(cap, round_end)))

    def ball(
        self, centre: np.ndarray, frame: np.ndarray, axes: np.ndarray, material: int, code: int, depth: float
    ) -> None:
        """Add an ellipsoid: frame (3, 3) columns are the directions of its semi-axes (3,)."""
        self._balls.append((centre, frame, axes, material, code, depth, self._count))
        self._count += 1

    def project(self, distance: float, grain: np.ndarray) -> Outlines:
        """Outlines seen in perspective from `distance` in front of the origin, in drawing order.

        grain: (M,) texture units per unit length of each material.
        """
        parts, orders = [], []
        if self._tubes:
            rows = np.array(self._tubes, dtype=np.float64)
            parts.append(_project_tubes(rows, distance, grain))
            orders.append(rows[:, -2:])
        if self._balls:
            parts.append(_project_balls(self._balls, distance, grain))
            orders.append(np.array([ball[-2:] for ball in self._balls], dtype=np.float64))
        order = np.concatenate(orders)
        drawn = np.lexsort((order[:, 1], -order[:, 0]))
        polygons, surface, material, code = (
            np.concatenate(columns)[drawn] for columns in zip(*parts, strict=True)
        )
        return Outlines(polygons, surface, material, code)


def perspective(points: np.ndarray, distance: float) -> np.ndarray:
    """Image positions (N, 2) of points (N, 3), in units of a length at the origin's depth."""
    return points[:, :2] * (distance / (distance + points[:, 2:3]))


def _project_tubes(rows: np.ndarray, distance: float, grain: np.ndarray) -> tuple[np.ndarray, ...]:
    a3, b3 = rows[:, 0:3], rows[:, 3:6]
    a, b = perspective(a3, distance), perspective(b3, distance)
    ra = rows[:, 6] * distance / (distance + a3[:, 2])
    rb = rows[:, 7] * distance / (distance + b3[:, 2])
    cap, material = rows[:, 8], rows[:, 10].astype(np.intp)
    span = b - a
    length = np.hypot(span[:, 0], span[:, 1])
    axis = np.where(length[:, None] > _TINY, span / np.maximum(length, _TINY)[:, None], (0.0, 1.0))
    side = np.stack([-axis[:, 1], axis[:, 0]], axis=1)
    # Tangents to both end circles leave the axis at this angle; squeezed by `cap` the ends are ellipses.
    angle = np.arccos(np.clip((ra - rb) * cap / np.maximum(length, _TINY), -1, 1))[:, None]
    phi = np.concatenate([_ARC * angle, np.pi + _ARC * (np.pi - angle)], axis=1)
    reach = np.repeat(np.stack([rb, ra], axis=1), _CORNERS, axis=1)
    ends = np.repeat(np.stack([b, a], axis=1), _CORNERS, axis=1)
    polygons = (
        ends
        + (reach * np.cos(phi) * cap[:, None])[..., None] * axis[:, None]
        + (reach * np.sin(phi))[..., None] * side[:, None]
    )
    line = b3 - a3
    line /= np.maximum(np.sqrt((line * line).sum(axis=1)), _TINY)[:, None]
    normal = line * line[:, 2:3]
    normal[:, 2] -= 1.0  # the direction to the camera, less its part along the tube
    normal /= np.maximum(np.sqrt((normal * normal).sum(axis=1)), 0.2)[:, None]
    radius = np.maximum(ra, _TINY)
    surface = np.empty((len(rows), _COLUMNS))
    surface[:, ORIGIN] = a
    surface[:, SIDE] = side / radius[:, None]
    surface[:, AXIS] = axis / radius[:, None]
    surface[:, LENGTH] = length / radius
    surface[:, SLOPE] = rb / radius - 1.0
    surface[:, CAP] = 1.5 * np.maximum(cap, 0.9)
    surface[:, BULGE] = rows[:, 9]
    surface[:, NORMAL] = normal
    surface[:, SIDE_DIRECTION] = side
    surface[:, AXIS_DIRECTION] = axis
    surface[:, GRAIN] = (grain[material] * rows[:, 6])[:, None]
    return polygons, surface, material, rows[:, 11].astype(np.intp)


def _project_balls(balls: list[tuple], distance: float, grain: np.ndarray) -> tuple[np.ndarray, ...]:
    centre = np.array([ball[0] for ball in balls])
    axes = np.array([ball[2] for ball in balls])
    half = np.array([ball[1] for ball in balls])[:, :2] * axes[:, None]
    near = distance / (distance + centre[:, 2])
    half *= near[:, None, None]
    spread = half @ half.transpose(0, 2, 1)
    # The ellipse {L c, |c| = 1} with L L^T = spread, L lower triangular.
    l00 = np.sqrt(spread[:, 0, 0])
    l10 = spread[:, 0, 1] / l00
    l11 = np.sqrt(np.maximum(spread[:, 1, 1] - l10 * l10, _TINY * _TINY))
    place = centre[:, :2] * near[:, None]
    polygons = np.empty((len(balls), 2 * _CORNERS, 2))
    polygons[..., 0] = place[:, :1] + l00[:, None] * _CIRCLE[0]
    polygons[..., 1] = place[:, 1:] + l10[:, None] * _CIRCLE[0] + l11[:, None] * _CIRCLE[1]
    material = np.array([ball[3] for ball in balls], dtype=np.intp)
    surface = np.zeros((len(balls), _COLUMNS))
    surface[:, ORIGIN] = place
    surface[:, SIDE.start] = 1 / l00
    surface[:, AXIS.start] = -l10 / (l00 * l11)
    surface[:, AXIS.start + 1] = 1 / l11
    surface[:, CAP] = surface[:, BULGE] = 1.0
    surface[:, NORMAL] = 0.0, 0.0, -1.0
    surface[:, SIDE_DIRECTION] = 1.0, 0.0
    surface[:, AXIS_DIRECTION] = 0.0, 1.0
    surface[:, GRAIN] = axes[:, :2] * grain[material][:, None]
    return polygons, surface, material, np.array([ball[4] for ball in balls], dtype=np.intp)
