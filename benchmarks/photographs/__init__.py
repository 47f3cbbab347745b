"""The photographs that benchmarks of the loader read. A folder, as every file beside it is run."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch

from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.coco import load_instances
from sshpe_lib.data.instances import Instances, concatenate
from sshpe_lib.data.packed import pack

LONGER_SIDE = 2400  # pixels, of a photograph as cameras make them


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser that knows where the photographs are."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("SSHPE_DATA"))
    return parser


def parsed(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Instances]:
    """What was typed, and everybody in the photographs of coco-slice that are there. From now on on one thread."""
    options = parser.parse_args()
    if options.data is None:
        parser.error("name the data folder: --data FOLDER, or set SSHPE_DATA")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    folder = options.data / "coco-slice"
    parts = [part for part in ("train", "val") if (folder / "images" / part).is_dir()]
    found = [
        load_instances(folder / f"annotations/person_keypoints_{part}.json", folder / "images" / part)
        for part in parts
    ]
    return options, reduce(concatenate, found)


@contextmanager
def images_of(people: Instances) -> Iterator[dict[str, ImageCache]]:
    """Their images, decoded for every crop anew or lying decoded in a packed file."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, SSHPE_CACHE=folder):
        packs = [pack(people.pictures, show=False)]
        yield {"decoded for every crop": ImageCache(limit=0), "packed": ImageCache(packs=packs)}


def enlarged(people: Instances, folder: Path, images: int) -> Instances:
    """The people of the first `images` photographs, these made as large as a camera's, as JPEG files in `folder`."""
    some = people.select(np.flatnonzero(people.image_index < images))
    scales = LONGER_SIDE / some.image_sizes.max(axis=1)
    sizes = (some.image_sizes * scales[:, None]).round().astype(np.int32)
    names = tuple(f"{number}.jpg" for number in range(len(sizes)))
    for file, name, size in zip(some.pictures.paths(), names, sizes.tolist(), strict=True):
        image = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        cv2.imwrite(str(folder / name), cv2.resize(image, size, interpolation=cv2.INTER_CUBIC))
    each = scales[some.image_index, None].astype(np.float32)
    return replace(
        some, image_root=folder, file_names=names, image_sizes=sizes, boxes=some.boxes * each,
        keypoints=some.keypoints * np.concatenate([each, each, np.ones_like(each)], axis=1)[:, None],
        areas=some.areas * each[:, 0] ** 2,
    )  # fmt: skip
