"""Colours and textures: a fixed atlas of tiles, and palettes of materials that look tiles up in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from sshpe_lib.seeding import numpy_stream

TILE = 64  # pixels across a tile; tiles repeat
PLAIN, STRIPES, RINGS, CHECKS, FOLDS, SPOTS, COARSE, PATCHES, PLAID = range(9)
_VARIANTS = 4  # tiles of each kind


@lru_cache(maxsize=1)
def atlas() -> np.ndarray:
    """All tiles: (9 kinds * 4, 64, 64) float32 in 0..1, the share of a material's second colour."""
    rng = numpy_stream("synthetic", "atlas")
    y, x = np.mgrid[0:TILE, 0:TILE].astype(np.float32)
    tiles = []
    for kind in range(9):
        for variant in range(_VARIANTS):
            period = (8, 16, 16, 32)[variant]
            share = (0.5, 0.5, 0.3, 0.4)[variant]
            fine = _noise(rng, 32)
            if kind == STRIPES:
                tile = (x % period < share * period).astype(np.float32)
            elif kind == RINGS:
                tile = (y % period < share * period).astype(np.float32)
            elif kind == CHECKS:
                tile = ((x % period < period / 2) ^ (y % period < period / 2)).astype(np.float32)
            elif kind == FOLDS:
                tile = _noise(rng, (4, 8, 8, 16)[variant])
            elif kind == SPOTS:
                tile = (np.hypot(x % 16 - 8, y % 16 - 8) < 3 + variant).astype(np.float32)
            elif kind == COARSE:
                tile = _noise(rng, 24)
            elif kind == PATCHES:
                tile = (_noise(rng, (6, 8, 12, 16)[variant]) > 0.5).astype(np.float32)
            elif kind == PLAID:
                tile = 0.5 * (x % period < share * period) + 0.5 * (y % period < share * period)
            else:
                tile = 0.5 * _noise(rng, 6)
            tiles.append(np.clip(0.88 * tile + 0.12 * fine, 0, 1))
    return np.ascontiguousarray(tiles, dtype=np.float32)


def _noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """A smooth random tile that repeats without a seam, stretched to 0..1."""
    grid = rng.random((cells, cells), dtype=np.float32)
    tiled = cv2.resize(np.tile(grid, (3, 3)), (3 * TILE, 3 * TILE), interpolation=cv2.INTER_CUBIC)
    tile = tiled[TILE : 2 * TILE, TILE : 2 * TILE]
    return (tile - tile.min()) / (tile.max() - tile.min())


@dataclass
class Palette:
    """The materials of one scene, added one by one; `add` returns the row that shapes refer to."""

    first: list[np.ndarray] = field(default_factory=list)
    second: list[np.ndarray] = field(default_factory=list)
    tile: list[int] = field(default_factory=list)
    grain: list[float] = field(default_factory=list)

    def add(
        self, first: np.ndarray, second: np.ndarray, kind: int = PLAIN, variant: int = 0, grain: float = 400
    ) -> int:
        """Add a material: two RGB colours (0..255), a texture, and its texture units per unit length."""
        self.first.append(first)
        self.second.append(second)
        self.tile.append(kind * _VARIANTS + variant)
        self.grain.append(grain)
        return len(self.tile) - 1


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour as clothes and things have it: often greyish or dark, sometimes vivid. (3,) RGB 0..255."""
    value, vivid, *hue = rng.random(5).tolist()
    grey, middle = 20 + 225 * value, sum(hue) / 3
    strength = 300 * vivid * vivid * (0.35 + 0.65 * value)
    return np.array([min(max(grey + strength * (h - middle), 4.0), 252.0) for h in hue])


_SKIN_LIGHT, _SKIN_DARK = np.array([238.0, 200.0, 176.0]), np.array([74.0, 47.0, 36.0])


def skin_colour(rng: np.random.Generator) -> np.ndarray:
    """A skin tone. (3,) RGB 0..255."""
    dark, red, yellow = rng.random(3).tolist()
    base = _SKIN_LIGHT + (_SKIN_DARK - _SKIN_LIGHT) * dark**1.3
    return base + (14 * red - 5, 6 * yellow - 3, -14 * yellow)


_HAIR = np.array(
    [(22, 18, 17), (45, 32, 25), (84, 57, 38), (128, 90, 52), (186, 150, 96), (120, 50, 28), (150, 148, 146)]
)


def hair_colour(rng: np.random.Generator) -> np.ndarray:
    """A hair colour, black and brown most often, seldom dyed. (3,) RGB 0..255."""
    pick = rng.random()
    if pick > 0.96:
        return any_colour(rng)
    return _HAIR[int(len(_HAIR) * pick**1.5)] * (0.85 + 0.3 * rng.random())
