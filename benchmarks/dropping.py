"""What each way of dropping information costs, beside the same rules image by image and patch by patch.

    python benchmarks/dropping.py [--repeats 15] [--threads 1] [--batch 32]

Ours augments a batch of normalised 256x192 crops, channels last as in training, and draws its random numbers. The
slow form is written here from the methods' definitions, in the way a data loader's worker does it: one uint8 image
at a time (for GridMask and Random Erasing, a float32 one), its mask from loops or whole-image arrays. It overwrites
the worker's own image, where ours returns a copy. Where there is a GPU, ours and the copy run there.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image
from timing import DEVICE, compare, heading

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.dropping import GridMask, HideAndSeek, InformationCutout, RandomErasing
from sshpe_lib.augment.view import Operation, View

HEIGHT, WIDTH = 256, 192


def slow_cutout(image: np.ndarray, rng: np.random.RandomState) -> None:
    """An ellipse, from the distance of every pixel."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    center, radii = rng.rand(2) * (WIDTH, HEIGHT), 0.2 * (1 + rng.rand(2)) * WIDTH
    distance = ((center[0] - x) / radii[0]) ** 2 + ((center[1] - y) / radii[1]) ** 2
    image[distance <= 1] = 0


def slow_hide_and_seek(image: np.ndarray, rng: np.random.RandomState) -> None:
    """A loop over patches; the sizes are never 0, which would cost nothing."""
    size = (16, 32, 44, 56)[rng.randint(4)]
    for top in range(0, HEIGHT, size):
        for left in range(0, WIDTH, size):
            if rng.rand() <= 0.5:
                image[top : top + size, left : left + size] = 0


def slow_random_erasing(image: np.ndarray, rng: np.random.RandomState) -> None:
    """A loop of tries, on a float image."""
    for _ in range(100):
        area, aspect = rng.uniform(0.02, 0.4) * HEIGHT * WIDTH, rng.uniform(0.3, 1 / 0.3)
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if height < HEIGHT and width < WIDTH:
            top, left = rng.randint(HEIGHT - height + 1), rng.randint(WIDTH - width + 1)
            image[top : top + height, left : left + width] = 0
            return


def slow_grid_mask(image: np.ndarray, rng: np.random.RandomState) -> None:
    """A mesh on a square of the diagonal's length, turned by PIL, on a float image."""
    side, spacing = math.ceil(math.hypot(HEIGHT, WIDTH)), rng.randint(82, WIDTH)
    bar, mask = math.ceil(0.6 * spacing), np.zeros((side, side), np.uint8)
    for first in range(rng.randint(spacing) - spacing, side, spacing):
        mask[max(first, 0) : max(first + bar, 0)] = 1
    for first in range(rng.randint(spacing) - spacing, side, spacing):
        mask[:, max(first, 0) : max(first + bar, 0)] = 1
    turned = np.asarray(Image.fromarray(mask).rotate(rng.randint(360)))
    top, left = (side - HEIGHT) // 2, (side - WIDTH) // 2
    image *= turned[top : top + HEIGHT, left : left + WIDTH, None]


def operations() -> dict[str, tuple[Operation, Callable[[np.ndarray, np.random.RandomState], None], str]]:
    """Ours, which happens to every sample, the slow form, and the type of its pixels."""
    return {
        "random erasing": (RandomErasing(probability=1.0), slow_random_erasing, "float32"),
        "cutout, ellipse": (InformationCutout(), slow_cutout, "uint8"),
        "hide-and-seek": (HideAndSeek(sizes=(16, 32, 44, 56)), slow_hide_and_seek, "uint8"),
        "grid mask": (GridMask(), slow_grid_mask, "float32"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image = torch.randn(options.batch, 3, HEIGHT, WIDTH, device=DEVICE)
    image = image.contiguous(memory_format=torch.channels_last)
    draw, rng = Draw(torch.Generator().manual_seed(0), device=DEVICE), np.random.RandomState(0)
    heading(f"{options.batch} crops of {WIDTH}x{HEIGHT}, {options.threads} thread(s)", options.repeats)
    for name, (operation, slow, dtype) in operations().items():
        pixels = np.ones((options.batch, HEIGHT, WIDTH, 3), dtype)
        compare(
            name,
            lambda slow=slow, pixels=pixels: [slow(one, rng) for one in pixels],
            partial(operation, View(image), None, draw),
            image.clone,
            options.repeats,
        )


if __name__ == "__main__":
    main()
