"""One scene: everything drawn from one stream, painted, photographed and annotated."""

from __future__ import annotations

import cv2
import numpy as np

from sshpe_lib.data.synthetic import scene, things
from sshpe_lib.data.synthetic.appearance import sample_outfit
from sshpe_lib.data.synthetic.body import forward, sample_body
from sshpe_lib.data.synthetic.painter import Canvas
from sshpe_lib.data.synthetic.person import Person, make_person
from sshpe_lib.data.synthetic.pose import sample_angles, sample_root
from sshpe_lib.data.synthetic.spec import VERSION, SyntheticPeople
from sshpe_lib.data.synthetic.texture import Palette
from sshpe_lib.seeding import numpy_stream


def develop(rng: np.random.Generator, image: np.ndarray, difficulty: float = 1.0) -> np.ndarray:
    """What a camera does: focus, motion, contrast, exposure, tint, grain. (H, W, 3) uint8 to uint8.

    `difficulty`, 0..1, scales how often it blurs or fades, and the strongest grain.
    """
    chance, contrast, tone, blur, grain, soft = rng.random(6).tolist()
    height, width = image.shape[:2]
    if soft < 0.12 * difficulty:  # a small picture, enlarged
        small = cv2.resize(image, (int(width * 0.6), int(height * 0.6)), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    elif blur < 0.5 * difficulty:
        image = cv2.GaussianBlur(image, (5, 5), 0.35 + 1.3 * blur)
    elif blur < 0.58 * difficulty:
        # Motion. Four rows have no middle: the picture moves half a pixel down, and its keypoints do not.
        image = cv2.blur(image, (5, 1) if blur < 0.54 * difficulty else (1, 4))
    spread = 0.30 + 0.45 * contrast if chance < 0.18 * difficulty else 0.8 + 0.35 * contrast
    gains = spread * (1.0 + 0.09 * rng.standard_normal(3))
    mean = np.array(cv2.mean(image)[:3])
    anchor = 0.5 * mean + 0.5 * (118.0 + 70.0 * (tone - 0.5))
    levels = np.arange(256.0)[:, None]
    table = np.clip(np.rint(anchor + gains * (levels - mean)), 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    pair = rng.integers(0, 256, (2, height, width), dtype=np.uint8).astype(np.float32)
    # The difference of two such bytes has a deviation of 104.
    strength = (1.5 + difficulty * 17.0 * spread * grain**3) / 104.0
    noise = ((pair[0] - pair[1]) * np.float32(strength)).astype(np.int16)
    return cv2.add(image, cv2.merge([noise, noise, noise]), dtype=cv2.CV_8U)


def render(spec: SyntheticPeople, index: int) -> tuple[np.ndarray, list[dict]]:
    """Render a scene: its image (height, width, 3) uint8 RGB, its people as COCO annotations without ids.

    The scene depends on the spec's seed, size, people, crowding and difficulty, and on `index`, never on other images.
    """
    rng = numpy_stream("synthetic", VERSION, spec.seed, index)
    height, width = spec.height, spec.width
    palette = Palette()
    light, ambient = scene.lighting(rng)
    backdrop = scene.background(rng, height, width)
    canvas = Canvas(height, width)
    canvas.paint(things.clutter(rng, palette, height, width, spec.difficulty))
    count = int(rng.integers(spec.people[0], spec.people[1] + 1))
    near = backdrop[height // 2, width // 2].astype(np.float64)
    people = [_sample_person(rng, palette, near, spec.difficulty) for _ in range(count)]
    if count == 1:
        people = [scene.place_one(rng, people[0], height, width, spec.difficulty)]
    else:
        people = scene.place_row(rng, people, spec.crowding, height, width)
    silhouettes = {}
    for i in rng.permutation(count):
        silhouettes[i] = canvas.paint_person(people[i], i)
    front = things.occluders(rng, palette, people, height, width, spec.difficulty)
    if front is not None:
        canvas.paint(front)
    image = develop(rng, canvas.shade(backdrop, palette, light, ambient), spec.difficulty)
    return image, [annotate(canvas, people[i], i, *silhouettes[i]) for i in range(count)]


def _sample_person(rng: np.random.Generator, palette: Palette, near: np.ndarray, difficulty: float) -> Person:
    body = sample_body(rng)
    points, frames = forward(body, sample_angles(rng), sample_root(rng, difficulty))
    outfit = sample_outfit(rng, palette, near)
    distance = 1.6 + 5.0 * float(rng.random())
    return make_person(body, points, frames, outfit, distance, np.array(palette.grain))


def annotate(canvas: Canvas, person: Person, owner: int, box: list[int], area: int) -> dict:
    """A COCO annotation without ids: keypoints as x, y, v; box and area of the person's own silhouette."""
    flags = canvas.visibility(person, owner)
    places = np.round(person.keypoints, 2)
    keypoints: list[float] = []
    for (x, y), flag in zip(places.tolist(), flags.tolist(), strict=True):
        keypoints += [x, y, flag] if flag else [0, 0, 0]
    return {
        "category_id": 1,
        "bbox": box,
        "area": area,
        "iscrowd": 0,
        "num_keypoints": int((flags > 0).sum()),
        "keypoints": keypoints,
        "segmentation": [],
    }
