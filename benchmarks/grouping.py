"""Grouping the people of one image: time by the number of people and the size of the maps.

    python benchmarks/grouping.py [--repeats 5]

Maps with noise, a flip test's two tags a pixel, and a fifth of all joints faint, so that they are looked for by
their tags. The reference (`HeatmapParser` of HigherHRNet with Munkres), measured on another day of this machine
class, takes 132, 235 and 524 ms for 1, 5 and 15 people at 256x344, and 453, 1000 and 2030 ms at 512x688.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from sshpe_lib.grouping import Grouping

REFERENCE = {(256, 344): (132, 235, 524), (512, 688): (453, 1000, 2030)}
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    grouping = Grouping()
    print(f"{'map':>9} {'people':>7} {'found':>6} {'ms':>8} {'reference, ms':>14}")
    for size, reference in REFERENCE.items():
        for count, slow in zip(COUNTS, reference, strict=True):
            heat, tags = scene(count, size)
            times = []
            for _ in range(options.repeats):
                start = time.perf_counter()
                people, _ = grouping(heat, tags)
                times.append(1e3 * (time.perf_counter() - start))
            print(f"{size[0]:>5}x{size[1]} {count:>6} {len(people):>6} {min(times):>8.1f} {slow:>14}")


if __name__ == "__main__":
    main()
