"""Procedural objects: labelled pictures of animals, things and signs, none of them a person.

The stand-in for ImageNet where the network must start from data that is embedded: telling 64 kinds of
articulated and rigid objects apart takes features for parts and limbs, which locating joints can start from.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from sshpe_lib.data.objects.animals import ANIMALS
from sshpe_lib.data.objects.beasts import BEASTS
from sshpe_lib.data.objects.plants import PLANTS
from sshpe_lib.data.objects.scene import draw
from sshpe_lib.data.objects.signs import SIGNS
from sshpe_lib.data.objects.things import THINGS
from sshpe_lib.seeding import numpy_stream

# Bumped by hand when the same seed and index give another picture.
VERSION = 1

_KINDS = (*BEASTS, *ANIMALS, *PLANTS, *THINGS, *SIGNS)
CLASSES = tuple(kind.__name__ for kind in _KINDS)


def render(seed: int, index: int, size: tuple[int, int] = (64, 48)) -> tuple[np.ndarray, int]:
    """Picture `index` of the stream `seed`, and its label.

    How hard it is to see what it shows is drawn, too: without easy pictures a network finds no hold at first.

    Args:
        seed, index: decide every pixel, whatever was rendered before. Labels follow the index in turn, so any
            run of 64 indices holds every class once.
        size: (H, W), from 64x48 to 128x96 in use.

    Returns:
        image: (H, W, 3) uint8 RGB.
        label: a row of `CLASSES`.
    """
    label = index % len(CLASSES)
    rng = numpy_stream("objects", seed, index)
    hardness = rng.random()
    return draw(_KINDS, label, rng, size, hardness), label


def render_many(
    seed: int, indices: Collection[int], size: tuple[int, int] = (64, 48)
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, H, W, 3) uint8 RGB and labels (N,) int64 of several indices."""
    images = np.empty((len(indices), *size, 3), dtype=np.uint8)
    labels = np.empty(len(indices), dtype=np.int64)
    for row, index in enumerate(indices):
        images[row], labels[row] = render(seed, index, size)
    return images, labels
