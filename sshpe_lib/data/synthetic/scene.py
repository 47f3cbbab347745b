"""The scene around the people: light, background, and where the people stand in the image."""

from __future__ import annotations

import cv2
import numpy as np

from sshpe_lib.data.synthetic import texture
from sshpe_lib.data.synthetic.person import Person


def lighting(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Where the light comes from, (3,), its length the strength; and the light from everywhere."""
    angle, up, ahead, strength, ambient = rng.random(5).tolist()
    light = np.array([2.4 * (angle - 0.5), 0.25 - 1.1 * up, -0.35 - 0.65 * ahead])
    return light * (0.45 + 0.45 * strength) / np.sqrt((light * light).sum()), 0.35 + 0.35 * ambient


def background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A wall, a floor, foliage or a blur of colours: (height, width, 3) uint8 RGB."""
    kind, second, share, size, slope, horizon = rng.random(6).tolist()
    near, far, floor = (texture.any_colour(rng) for _ in range(3))
    cells = 2 + int(10 * size)
    coarse = rng.random((cells + 2, cells), dtype=np.float32)
    mix = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    if kind < 0.55:
        tile = texture.atlas()[int(second * len(texture.atlas()))]
        zoom = 1 + 3 * size
        rows = (np.arange(height) / zoom).astype(np.intp) % texture.TILE
        cols = (np.arange(width) / zoom).astype(np.intp) % texture.TILE
        mix += share * (tile[rows[:, None], cols] - mix)
    # A colour table of two ramps: 0..127 from near to far, 128..255 the same under the floor's colour.
    ramp = near + np.linspace(0, 1, 128)[:, None] * (far - near)
    table = np.concatenate([ramp, 0.35 * ramp + 0.65 * floor]).astype(np.uint8)
    index = np.clip(mix * 127, 0, 127).astype(np.uint8)
    if horizon < 0.6:
        line = height * (0.35 + horizon) + 0.25 * (slope - 0.5) * np.arange(width)
        index += (np.arange(height)[:, None] > line) * np.uint8(128)
    return cv2.LUT(cv2.merge([index, index, index]), table[None])


def place_one(
    rng: np.random.Generator, person: Person, height: int, width: int, difficulty: float = 1.0
) -> Person:
    """Scale and shift a person to fill most of the image.

    At full `difficulty` one in five is enlarged, and about one in seven cut by the image's border.
    """
    x0, y0, x1, y1 = person.outlines.bounds()
    fill, cut, left, top, more = rng.random(5).tolist()
    scale = min((0.62 + 0.33 * fill) * height / (y1 - y0), (0.70 + 0.27 * fill) * width / (x1 - x0))
    if cut < 0.20 * difficulty:
        scale *= 1.15 + 0.55 * more
    # Room on both sides together; where negative, that much is outside, most of it below.
    room_x, room_y = width - scale * (x1 - x0), height - scale * (y1 - y0)
    corner = np.array([room_x * left, room_y * (0.5 * top if room_y < 0 else top)])
    return person.moved(scale, corner - scale * np.array([x0, y0]))


def place_row(
    rng: np.random.Generator, people: list[Person], crowding: float, height: int, width: int
) -> list[Person]:
    """Line people up from left to right, each overlapping the next by a share of the narrower one's width.

    The shares vary about `crowding`; without crowding there are gaps. Everybody is inside the image.
    """
    boxes = np.array([person.outlines.bounds() for person in people])
    wide, tall = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    # One stature spans a share of the image, so that one who crouches is smaller than one who stands.
    scale = np.clip(0.55 + 0.1 * rng.standard_normal(len(people)), 0.3, 0.9) * height
    scale = np.minimum(scale, 0.92 * height / tall)
    spread = 0.4 * min(crowding, 1.0 - crowding)
    shares = crowding + spread * rng.uniform(-1, 1, len(people) - 1)
    steps = scale[:-1] * wide[:-1] - shares * np.minimum(scale[1:] * wide[1:], scale[:-1] * wide[:-1])
    starts = np.concatenate([[0.0], np.cumsum(steps)])
    shrink = min(1.0, 0.97 * width / (starts + scale * wide).max())
    free = width - shrink * (starts + scale * wide).max()
    gaps = np.sort(rng.random(len(people))) if crowding == 0 else np.full(len(people), rng.random())
    scale, x = shrink * scale, shrink * starts + free * gaps
    y = (height - scale * tall) * rng.uniform(0.35, 0.95, len(people))
    corners = np.stack([x, y], axis=1) - scale[:, None] * boxes[:, :2]
    return [person.moved(s, corner) for person, s, corner in zip(people, scale, corners, strict=True)]
