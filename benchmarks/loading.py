"""Samples a second a core from JPEG files to a batch, beside the usual form, one item at a time.

    python benchmarks/loading.py [--data FOLDER] [--repeats 5] [--large 16]

FOLDER (default: SSHPE_DATA) holds coco-slice, 293 photographs of COCO. The usual form reads an image, mirrors a copy
of it where it is drawn so, warps, normalises to floats and draws the targets, person by person. Ours crops to bytes and
leaves the floats and the targets to the device, a batch at a time; their cost on one CPU core is a line of its own. So
is what nobody gets around, to decode an image and to warp it once: the reference's 390 to 560 a second (1.8 to 2.6 ms)
were measured on another machine, and this line tells that machine's share in a difference from the code's. The last two
lines are of so many photographs made 2,400 pixels long, without and with `data.reduced`. People come in an order at
random, as in training. Each line is CPU time of one process and one thread, the median of several passes over all
people, the forms taking turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from photographs import arguments, enlarged, images_of, parsed
from timing import timing, turns

from sshpe_lib import geometry
from sshpe_lib.augment.pixels import MEAN, STD, normalize
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.top_down import Crops, WeakAffine

SIZE, BATCH, CORES = (192, 256), 32, 16
STEP_TFLOP = 1.3  # of a semi-supervised step of ResNet-18, 32 + 32 crops: the lightest network of the papers


def batches(crops: Crops) -> list[np.ndarray]:
    """Everybody once."""
    order = np.random.default_rng(0).permutation(len(crops))
    return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def decoded_and_warped(crops: Crops) -> None:
    """One image and one crop at a time, and nothing else."""
    for index in np.concatenate(batches(crops)):
        matrix = crops.crop_matrix(crops.center[index], crops.size[index])
        cv2.warpAffine(cv2.imread(str(crops.instances.path(index))), matrix, SIZE, flags=cv2.INTER_LINEAR)


def usual(crops: Crops) -> None:
    """Everything for one person at a time, in floats."""
    codec = MSRAHeatmap(SIZE, (SIZE[0] // 4, SIZE[1] // 4), 2.0)
    rng = np.random.default_rng(0)
    mean, std = np.asarray(MEAN, np.float32), np.asarray(STD, np.float32)
    for indices in batches(crops):
        images, targets = [], []
        for index in indices:
            image = cv2.cvtColor(cv2.imread(str(crops.instances.path(index))), cv2.COLOR_BGR2RGB)
            center = crops.center[index].copy()
            if rng.random() < 0.5:
                image = image[:, ::-1].copy()
                center[0] = image.shape[1] - 1 - center[0]
            matrix = crops.crop_matrix(
                center, crops.size[index] * rng.uniform(0.75, 1.25), rng.uniform(-30, 30)
            )
            crop = cv2.warpAffine(image, matrix, SIZE, flags=cv2.INTER_LINEAR)
            images.append(((crop / np.float32(255) - mean) / std).transpose(2, 0, 1))
            points = geometry.transform_points(crops.instances.keypoints[index, :, :2], matrix)
            targets.append(one_target(points, codec))
        torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))


def one_target(points: np.ndarray, codec: MSRAHeatmap) -> np.ndarray:
    """Heatmaps of one person, joint by joint."""
    width, height = codec.heatmap_size
    reach = int(3 * codec.sigma)
    axis = np.arange(2 * reach + 1) - reach
    bell = np.exp(-(axis**2 + axis[:, None] ** 2) / (2 * codec.sigma**2)).astype(np.float32)
    target = np.zeros((len(points), height, width), np.float32)
    for k, (x, y) in enumerate((points / 4 + 0.5).astype(int)):
        left, top = max(x - reach, 0), max(y - reach, 0)
        right, bottom = min(x + reach + 1, width), min(y + reach + 1, height)
        if left < right and top < bottom:
            part = bell[top - y + reach : bottom - y + reach, left - x + reach : right - x + reach]
            target[k, top:bottom, left:right] = part
    return target


def ours(crops: Crops) -> None:
    for indices in batches(crops):
        crops.batch(indices)


def on_the_device(crops: Crops) -> Callable[[Crops], None]:
    """Floats and targets of one batch that is already there, as often as there are batches."""
    codec = MSRAHeatmap(SIZE, (SIZE[0] // 4, SIZE[1] // 4), 2.0)
    batch = crops.batch(range(BATCH))

    def work(crops: Crops) -> None:
        for _ in batches(crops):
            normalize(batch.image)
            codec.encode(batch.points, batch.visible)

    return work


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", type=int, default=16, help="photographs that are enlarged")
    options, people = parsed(parser)

    def crops(cache: ImageCache) -> Crops:
        return Crops(people, SIZE, weak=WeakAffine(), cache=cache)

    with images_of(people) as caches, tempfile.TemporaryDirectory() as folder:
        packed, kept = crops(caches["packed"]), crops(ImageCache())
        ours(kept)  # fills the memory
        large = enlarged(people, Path(folder), options.large)
        whole, reduced = (
            Crops(large, SIZE, weak=WeakAffine(), cache=ImageCache(limit=0), reduced=choice)
            for choice in (False, True)
        )
        forms = {
            "an image decoded and warped once": (decoded_and_warped, crops(ImageCache(limit=0))),
            "usual form, to floats and targets": (usual, crops(ImageCache(limit=0))),
            "ours, every person's image decoded": (ours, crops(caches["decoded for every crop"])),
            "ours, from packed images": (ours, packed),
            "ours, from images in memory": (ours, kept),
            "floats and targets on one core": (on_the_device(kept), kept),
            "ours, large photographs": (ours, whole),
            "ours, large photographs, reduced": (ours, reduced),
        }
        print(
            f"{len(people)} people in {len(people.file_names)} photographs, crops of {SIZE[0]}x{SIZE[1]}; "
            f"{len(large)} in {len(large.file_names)} large ones"
        )
        calls = [partial(form, over) for form, over in forms.values()]
        passes = [timing(times) for times in turns(calls, options.repeats)]
    found = {}
    for (name, (_, over)), one in zip(forms.items(), passes, strict=True):
        found[name] = samples = 1e3 * len(over) / one.median
        spread = (one.third - one.first) / one.median
        print(
            f"{name:36} {samples:8,.0f} a second a core {1e3 / samples:8.2f} ms each (quartiles {spread:.0%} apart)"
        )
    print(
        f"\nWhat {CORES} cores feed, where a step of {2 * BATCH} crops is {STEP_TFLOP} TFLOP (the lightest network):"
    )
    for name in ("ours, every person's image decoded", "ours, from packed images"):
        steps = CORES * found[name] / (2 * BATCH)
        print(
            f"{name:36} {steps:6,.0f} steps a second, a device of up to {steps * STEP_TFLOP:,.0f} TFLOP/s sustained"
        )


if __name__ == "__main__":
    main()
