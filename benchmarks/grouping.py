"""Grouping the people of one image, by the number of people and the size of the maps, beside loops over people.

    python benchmarks/grouping.py [--repeats 5] [--threads 1]

Maps with noise, a flip test's two tags a pixel, and a fifth of all joints faint, so that they are looked for by
their tags. The slow form is the usual one, re-typed: every map is pooled for its peaks, joints are matched peak by
peak, and a person's joints are looked for over the whole of every map. Both find the same people. SciPy assigns in
both; the reference (`HeatmapParser` of HigherHRNet) does that in Python, and took, measured on another day of this
machine class, 132, 235 and 524 ms for 1, 5 and 15 people at 256x344, and 453, 1000 and 2030 ms at 512x688. The copy is
of the maps.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from timing import compare, heading

from sshpe_lib.grouping import COCO_ORDER, Grouping

SIZES = (256, 344), (512, 688)
PEOPLE, THRESHOLD, NEAR = 30, 0.1, 1.0  # peaks of a joint, their least height, a tag's distance to its person
COUNTS = (1, 5, 15)


def scene(count: int, size: tuple[int, int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Heatmaps (17, H, W) and tags (17, H, W, 2) of people with joints at random."""
    (height, width), draw = size, np.random.default_rng(seed)
    heat = np.abs(0.01 * draw.standard_normal((17, height, width))).astype(np.float32)
    tags = (0.05 * draw.standard_normal((17, height, width, 2))).astype(np.float32)
    around = np.arange(-8, 9)
    bell = np.exp(-(around[:, None] ** 2 + around**2) / 8)
    # cells of 18 pixels, so that no joint covers another person's of its kind
    cells = np.array([(x, y) for y in range(9, height - 9, 18) for x in range(9, width - 9, 18)])
    for joint in range(17):
        for person, (x, y) in enumerate(draw.permutation(cells)[:count]):
            part = np.s_[joint, y - 8 : y + 9, x - 8 : x + 9]
            heat[part] = np.maximum(heat[part], (0.07 if draw.random() < 0.2 else 0.9) * bell)
            tags[part] += 2.0 * person
    return torch.from_numpy(heat), torch.from_numpy(tags)


def loop_peaks(heat: torch.Tensor, tags: torch.Tensor) -> np.ndarray:
    """The 30 highest peaks of every joint: (K, 30, 3 + L), x, y, height, tags."""
    width = heat.shape[-1]
    alone = heat * (F.max_pool2d(heat[None], 5, 1, 2)[0] == heat)
    heights, places = alone.flatten(1).topk(PEOPLE)
    read = tags.flatten(1, 2).gather(1, places[..., None].expand(-1, -1, tags.shape[-1]))
    spots = torch.stack([places % width, places // width, heights], dim=-1)
    return torch.cat([spots, read], dim=-1).numpy()


def loop_match(peaks: np.ndarray) -> np.ndarray:
    """Every peak to the person of the nearest mean tag, or to a new one: (P, K, 3 + L)."""
    people: dict[float, np.ndarray] = {}
    known: dict[float, list[np.ndarray]] = {}
    for joint in COCO_ORDER:
        found = peaks[joint][peaks[joint][:, 2] > THRESHOLD]
        if not len(found):
            continue
        keys, column_of = list(people)[:PEOPLE], {}
        if keys:
            means = np.array([np.mean(known[key], axis=0) for key in keys])
            away = np.linalg.norm(found[:, None, 3:] - means[None], axis=2)
            column_of = dict(zip(*linear_sum_assignment(np.round(away) * 100 - found[:, 2:3]), strict=True))
        for row, peak in enumerate(found):
            column = column_of.get(row)
            if column is not None and away[row, column] < NEAR:
                people[keys[column]][joint] = peak
                known[keys[column]].append(peak[3:])
            else:
                key = float(peak[3])
                people.setdefault(key, np.zeros(peaks[:, 0].shape, np.float32))[joint] = peak
                known[key] = [peak[3:]]
    return np.array(list(people.values()))


def quarter(heat: np.ndarray, x: int, y: int) -> np.ndarray:
    """A quarter of a pixel towards the higher neighbours of one map, from the pixel's middle."""
    height, width = heat.shape
    right = heat[y, min(x + 1, width - 1)] > heat[y, max(x - 1, 0)]
    below = heat[min(y + 1, height - 1), x] > heat[max(y - 1, 0), x]
    return 0.5 + np.where([right, below], 0.25, -0.25)


def loop(heat: torch.Tensor, tags: torch.Tensor) -> np.ndarray:
    """The slow form: match, then person by person and joint by joint."""
    people = loop_match(loop_peaks(heat, tags))
    heights, read = heat.numpy(), tags.numpy()
    for person in people:
        for joint, (x, y, height) in enumerate(person[:, :3]):
            if height > 0:
                person[joint, :2] += quarter(heights[joint], int(x), int(y))
    for person in people:
        seen = [
            read[joint, int(y), int(x)] for joint, (x, y, height) in enumerate(person[:, :3]) if height > 0
        ]
        mean = np.mean(seen, axis=0)
        for joint in range(len(person)):
            away = np.sqrt(((read[joint] - mean) ** 2).sum(axis=2))
            y, x = np.unravel_index(np.argmax(heights[joint] - np.round(away)), away.shape)
            if heights[joint, y, x] > 0 and person[joint, 2] == 0:
                person[joint, :3] = (*([x, y] + quarter(heights[joint], x, y)), heights[joint, y, x])
    return people


def by_tag(people: np.ndarray) -> np.ndarray:
    """People in the order of their first tags: peaks of one height come in no order of their own."""
    tags = np.where(people[..., 2] > 0.5, people[..., 3], np.nan)
    return people[np.argsort(np.nanmean(tags, axis=1))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    grouping = Grouping()
    heading(f"one image, 17 joints, {options.threads} thread(s)", options.repeats)
    for size in SIZES:
        for count in COUNTS:
            heat, tags = scene(count, size)
            people, _ = grouping(heat, tags)
            np.testing.assert_allclose(by_tag(people), by_tag(loop(heat, tags)), rtol=0, atol=1e-5)
            compare(
                f"{size[0]}x{size[1]}, {count} people",
                lambda heat=heat, tags=tags: loop(heat, tags),
                lambda heat=heat, tags=tags: grouping(heat, tags),
                lambda heat=heat, tags=tags: (heat.clone(), tags.clone()),
                options.repeats,
            )


if __name__ == "__main__":
    main()
