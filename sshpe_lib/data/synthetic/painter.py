"""The painter: shapes to an identity buffer, and the buffer to visibility flags and to colours."""

from __future__ import annotations

import cv2
import numpy as np

from sshpe_lib.data.synthetic import shapes, texture
from sshpe_lib.data.synthetic.person import OWNED, Part, Person
from sshpe_lib.data.synthetic.shapes import Outlines
from sshpe_lib.data.synthetic.texture import Palette

_FINE = 2  # identity cells per pixel and axis
_SUBPIXEL = 4  # fractional bits of polygon corners
_BLOCK = 6000  # places shaded at a time: what a core's cache holds
# The centres of a pixel's four cells, as offsets from the pixel's own.
_CELL_X = np.array([[-0.25], [0.25], [-0.25], [0.25]], dtype=np.float32)
_CELL_Y = np.array([[-0.25], [-0.25], [0.25], [0.25]], dtype=np.float32)


class Canvas:
    """An identity buffer: which shape was painted last at each cell, four cells to the pixel.

    `ids`: (2 * height, 2 * width) uint16, 0 for background; `layers` holds what the ids number, from 1.
    Pixel (x, y) has its centre at (x, y).
    """

    def __init__(self, height: int, width: int):
        self.height, self.width = height, width
        self.ids = np.zeros((_FINE * height, _FINE * width), dtype=np.uint16)
        self.layers: list[Outlines] = []
        self.owner: list[int] = []
        self._next = 1

    def paint(self, outlines: Outlines, owner: int = -1) -> None:
        """Paint shapes in their order over what is there."""
        self._fill(self.ids, outlines, owner)

    def paint_person(self, person: Person, owner: int) -> tuple[list[int], int]:
        """Paint a person; returns box (x, y, w, h) and pixel area of its own silhouette in the image."""
        own = np.zeros_like(self.ids)
        self._fill(own, person.outlines, owner)
        mask = own > 0
        np.copyto(self.ids, own, where=mask)
        return _box(mask), round(int(np.count_nonzero(mask)) / _FINE**2)

    def _fill(self, ids: np.ndarray, outlines: Outlines, owner: int) -> None:
        corners = _to_cells(outlines.polygons) * (1 << _SUBPIXEL)
        corners = np.clip(np.rint(corners), -(1 << 20), 1 << 20).astype(np.int32)
        for i, polygon in enumerate(corners, start=self._next):
            cv2.fillConvexPoly(ids, polygon, i, cv2.LINE_8, _SUBPIXEL)
        self.layers.append(outlines)
        self.owner.extend([owner] * len(outlines))
        self._next += len(outlines)

    def visibility(self, person: Person, owner: int) -> np.ndarray:
        """COCO flags (17,): 0 outside the image, 1 inside and hidden, 2 seen."""
        x, y = person.keypoints.T
        inside = (x >= 0) & (y >= 0) & (x <= self.width - 1) & (y <= self.height - 1)
        col, row = np.rint(_to_cells(person.keypoints)).T
        col = np.clip(col, 0, self.ids.shape[1] - 1).astype(np.intp)
        row = np.clip(row, 0, self.ids.shape[0] - 1).astype(np.intp)
        top = self.ids[row, col].astype(np.intp)
        code = np.concatenate([[Part.OTHER], *(layer.code for layer in self.layers)])[top]
        mine = np.array([-1, *self.owner])[top] == owner
        seen = mine & OWNED[np.arange(17), code] & person.facing
        return np.where(inside, 1 + seen, 0)

    def shade(self, backdrop: np.ndarray, palette: Palette, light: np.ndarray, ambient: float) -> np.ndarray:
        """The painted shapes, lit and textured, over the backdrop.

        backdrop: (height, width, 3) uint8 RGB; light: (3,) towards the light, its length the strength;
        ambient: light from everywhere. Returns (height, width, 3) uint8. A pixel of one shape is shaded once,
        a pixel that several share is the mean of its cells.
        """
        table = _surface_table(self.layers, palette, light)
        cells = [self.ids[r::_FINE, c::_FINE].ravel() for r in (0, 1) for c in (0, 1)]
        first = cells[0]
        mixed = (first != cells[1]) | (first != cells[2]) | (first != cells[3])
        image = backdrop.copy()
        pixels = image.reshape(-1, 3)
        whole = np.flatnonzero((first > 0) & ~mixed)
        for start in range(0, len(whole), _BLOCK):
            where = whole[start : start + _BLOCK]
            x, y = self._places(where)
            pixels[where] = _colours(table, first[where], x, y, ambient).T
        shared = np.flatnonzero(mixed)
        for start in range(0, len(shared), _BLOCK // 4):
            where = shared[start : start + _BLOCK // 4]
            x, y = self._places(where)
            ids = np.stack([cell[where] for cell in cells])
            colour = _colours(table, ids.ravel(), (x + _CELL_X).ravel(), (y + _CELL_Y).ravel(), ambient)
            colour = np.where(ids, colour.reshape(3, 4, -1), pixels[where].T[:, None])
            pixels[where] = colour.mean(axis=1, dtype=np.float32).T
        return image

    def _places(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x and y, float32, of pixels numbered along the rows."""
        y = pixels // self.width
        return (pixels - y * self.width).astype(np.float32), y.astype(np.float32)


def _to_cells(places: np.ndarray) -> np.ndarray:
    """Places in pixels to places in cells, both with centres at whole numbers."""
    return places * _FINE + 0.5 * (_FINE - 1)


def _box(mask: np.ndarray) -> list[int]:
    """The box x, y, w, h in pixels around a mask of cells; zeros if the mask is empty."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return [0, 0, 0, 0]
    x0, y0, x1, y1 = (int(v) // _FINE for v in (cols[0], rows[0], cols[-1], rows[-1]))
    return [x0, y0, x1 - x0 + 1, y1 - y0 + 1]


def _colours(table: np.ndarray, ids: np.ndarray, x: np.ndarray, y: np.ndarray, ambient: float) -> np.ndarray:
    """Colours (3, n) uint8 of the shapes `ids` (n,) at (x, y), (n,) float32; table: of _surface_table."""
    rows = np.take(table, ids, axis=1)
    across_x, across_y, across_0, along_x, along_y, along_0 = rows[:6]
    length, slope, cap, k0, k1, k2, grain_u, grain_w, tile = rows[6:15]
    across = x * across_x + y * across_y + across_0
    along = x * along_x + y * along_y + along_0
    inner = np.minimum(np.maximum(along, 0.0), length)
    u = across / (1.0 + slope * inner)
    w = (along - inner) * cap
    tex_x = (u * grain_u).astype(np.int32) & (texture.TILE - 1)
    tex_y = (along * grain_w).astype(np.int32) & (texture.TILE - 1)
    share = texture.atlas().ravel()[(tile.astype(np.int32) + tex_y) * texture.TILE + tex_x]
    lit = k0 * np.sqrt(np.maximum(1.0 - u * u - w * w, 0.0)) + k1 * u + k2 * w
    lit = np.maximum(lit, 0.0) + np.float32(ambient)
    colour = (rows[15:18] + share * rows[18:21]) * lit
    return np.minimum(colour, 255.0).astype(np.uint8)


def _surface_table(layers: list[Outlines], palette: Palette, light: np.ndarray) -> np.ndarray:
    """Surface parameters, one column per id, as `_colours` reads them: (21, 1 + N) float32."""

    surface = np.concatenate([layer.surface for layer in layers])
    material = np.concatenate([layer.material for layer in layers])
    first, second = np.array(palette.first)[material], np.array(palette.second)[material]
    origin, side, axis = surface[:, shapes.ORIGIN], surface[:, shapes.SIDE], surface[:, shapes.AXIS]
    tilt = surface[:, shapes.BULGE, None] * light[:2]
    table = np.zeros((21, 1 + len(material)), dtype=np.float32)
    table[0:2, 1:] = side.T
    table[2, 1:] = -(origin * side).sum(axis=1)
    table[3:5, 1:] = axis.T
    table[5, 1:] = -(origin * axis).sum(axis=1)
    table[6, 1:] = surface[:, shapes.LENGTH]
    table[7, 1:] = surface[:, shapes.SLOPE] / np.maximum(surface[:, shapes.LENGTH], 1e-6)
    table[8, 1:] = 1.0 / surface[:, shapes.CAP]
    table[9, 1:] = surface[:, shapes.NORMAL] @ light
    table[10, 1:] = (surface[:, shapes.SIDE_DIRECTION] * tilt).sum(axis=1)
    table[11, 1:] = (surface[:, shapes.AXIS_DIRECTION] * tilt).sum(axis=1)
    table[12:14, 1:] = surface[:, shapes.GRAIN].T
    table[14, 1:] = np.array(palette.tile)[material] * texture.TILE
    table[15:18, 1:] = first.T
    table[18:21, 1:] = (second - first).T
    return table
