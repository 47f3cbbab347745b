"""Painting: parts to pixels with materials, bevelled shading and outlines; then blur, noise, low contrast."""

from __future__ import annotations

import math

import cv2
import numpy as np

from sshpe_lib.data.objects.sketch import Parts

_OVER = 2  # pixels are painted twice as fine, then averaged
_ROLES = 4  # of `sketch`
_FIELDS = 3  # texture fields of one scene
_OUTLINED = 0.25  # share of the objects
_SHIFT = 4  # fractional bits of polygon corners


class Canvas:
    """Numbers every pixel by the part in front; `paint` gives the parts their colours in one go.

    Pixel coordinates are those of the finished picture, the centre of the first pixel at (0, 0). `hardness`
    (0 to 1) brings textures and lets objects look like their ground.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], hardness: float) -> None:
        self.rng = rng
        self._hardness = hardness
        self._ids = np.zeros((size[0] * _OVER, size[1] * _OVER), dtype=np.uint16)
        self._backdrop = any_colours(rng, 1)
        # of every part, the ground first
        self._materials = [_materials(rng, 1, self._backdrop, 1.0, hardness)]
        self._heights = [np.zeros(1)]
        self._count = 1

    def add(self, points: np.ndarray, parts: Parts) -> None:
        """Draw parts over what is there; points: (P, 2) in pixels."""
        contrast, outlined = self.rng.random(2)
        shades = self.rng.random((2, len(parts)))
        contrast = 1 - 0.7 * self._hardness * contrast
        rows = _materials(self.rng, _ROLES, self._backdrop, contrast, self._hardness)[parts.roles]
        rows[:, :6] *= 0.88 + 0.24 * shades[:1].T
        first, outline = self._append(rows, 0.4 + 0.6 * shades[1]), 0
        if outlined < _OUTLINED:
            dark = np.concatenate([rows[:1, :6] * 0.3, rows[:1, 6:]], axis=1)
            outline = self._append(dark, np.full(1, 0.4))
        corners = np.round(((points + 0.5) * _OVER - 0.5) * (1 << _SHIFT)).astype(np.int32)
        start = 0
        for index, count in enumerate(parts.counts.tolist()):
            polygon = [corners[start : start + count]]
            start += count
            cv2.fillPoly(self._ids, polygon, first + index, cv2.LINE_8, _SHIFT)
            if outline:
                cv2.polylines(self._ids, polygon, True, outline, 1, cv2.LINE_8, _SHIFT)

    def _append(self, materials: np.ndarray, heights: np.ndarray) -> int:
        """The number of the first of these parts."""
        first = self._count
        self._materials.append(materials)
        self._heights.append(heights)
        self._count += len(heights)
        return first

    def paint(self) -> np.ndarray:
        """The picture, twice as fine: (2H, 2W, 3) float32, 0..255."""
        height, width = self._ids.shape
        materials = np.concatenate(self._materials).astype(np.float32)
        flat = self._ids.ravel()
        fields = np.concatenate([_field(self.rng, height, width).ravel() for _ in range(_FIELDS)])
        offsets = materials[:, 6].astype(np.int32) * flat.size
        share = fields[offsets[flat] + np.arange(flat.size, dtype=np.int32)]
        relief = np.concatenate(self._heights).astype(np.float32)[self._ids]
        light = 1 + _bevel(relief, self.rng).ravel()
        spread = materials[:, 3:6] - materials[:, :3]
        picture = materials[:, :3].take(flat, axis=0) + spread.take(flat, axis=0) * share[:, None]
        return (picture * light[:, None]).reshape(height, width, 3)


def degrade(
    picture: np.ndarray, rng: np.random.Generator, size: tuple[int, int], hardness: float
) -> np.ndarray:
    """Reduce to `size` (H, W); light, contrast, blur and noise by chance: (H, W, 3) uint8."""
    blur, contrast, light, noise, *cast = rng.random(7)
    picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    if blur < 0.4 * hardness:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.3 + 2 * blur)
    mean = picture.mean()
    gain = (1 + 0.3 * (2 * contrast - 1) - 0.35 * hardness * contrast) * (0.9 + 0.2 * np.array(cast))
    picture = (picture - mean) * gain + (mean + (30 + 60 * hardness) * (light - 0.5))
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * (18 * hardness * noise)
    return np.clip(picture, 0, 255).astype(np.uint8)


def any_colours(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) RGB 0..255: any grey, tinted by a random amount."""
    drawn = rng.random((count, 5))
    grey, vivid, tint = drawn[:, :1], drawn[:, 1:2], drawn[:, 2:]
    tint = tint @ (np.eye(3) - 1 / 3)  # less its mean
    return np.clip(15 + 225 * grey + 330 * vivid * vivid * tint, 0, 255)


def _materials(
    rng: np.random.Generator, count: int, backdrop: np.ndarray, contrast: float, hardness: float
) -> np.ndarray:
    """(count, 7): two RGB colours that a texture blends, and the texture's field.

    contrast: 1 takes any colour, 0 the backdrop's.
    """
    textured, depth, field = rng.random((3, count, 1))
    colours = any_colours(rng, 2 * count)
    first = backdrop + (colours[:count] - backdrop) * contrast
    other = np.where(textured < 0.4 * hardness, colours[count:], first * (0.7 + 0.5 * depth))
    return np.concatenate([first, first + (other - first) * (0.3 + 0.7 * depth), field * _FIELDS], axis=1)


def _field(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A texture (height, width) float32 in 0..1: stripes, checks, a gradient, or noise of any grain."""
    kind, turn, fine, phase = rng.random(4)
    if kind < 0.45:
        cells = np.array([height, width]) // int(2 + 22 * fine) + 2
        grid = rng.random(cells, dtype=np.float32)
        field = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.clip(2 * field - 0.5, 0, 1) if phase < 0.5 else field
    angle = 2 * math.pi * turn
    if kind < 0.6:
        y, x = (
            _ramp(height, math.sin(angle) / max(height, width)),
            _ramp(width, math.cos(angle) / max(height, width)),
        )
        return np.clip(0.5 + y[:, None] + x, 0, 1)
    pace = 2 * math.pi / (5 + 22 * fine)
    waves = _waves(height, width, pace * math.cos(angle), pace * math.sin(angle), 6 * phase)
    if kind > 0.8:
        waves = waves * _waves(height, width, -pace * math.sin(angle), pace * math.cos(angle), 0)
    return np.clip(0.5 + 2 * waves, 0, 1)


def _waves(height: int, width: int, across: float, down: float, phase: float) -> np.ndarray:
    """sin(across * x + down * y + phase), as two outer products: (height, width) float32."""
    y, x = _ramp(height, down) + np.float32(phase), _ramp(width, across)
    return np.outer(np.sin(y), np.cos(x)) + np.outer(np.cos(y), np.sin(x))


def _ramp(length: int, pace: float) -> np.ndarray:
    """(length,) float32, `pace` per pixel, 0 in the middle."""
    return (np.arange(length, dtype=np.float32) - length / 2) * np.float32(pace)


def _bevel(relief: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brighter where the relief rises towards the light, darker behind: (H, W), around 0."""
    soft = cv2.GaussianBlur(relief, (0, 0), 1.5 + 2 * rng.random())
    turn, strength = 2 * math.pi * rng.random(), 1 + 5 * rng.random()
    dx = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    dy = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    return np.clip(strength * (math.cos(turn) * dx + math.sin(turn) * dy), -0.6, 0.6)
