"""The images of a keypoint file, whole, with or without people: what a bottom-up network is tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sshpe_lib.data import coco
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.faults import refuse
from sshpe_lib.data.packed import Pictures
from sshpe_lib.skeleton import Skeleton


@dataclass(frozen=True)
class WholeImages:
    """N images in file order.

    source: the annotation file; image_root: the folder that `names` start from; ids: (N,) int64; sizes: (N, 2)
    int32 width and height in pixels; skeleton: of the people that may be in them; category: their number.
    """

    source: Path
    image_root: Path
    names: tuple[str, ...]
    ids: np.ndarray
    sizes: np.ndarray
    skeleton: Skeleton
    category: int

    def __len__(self) -> int:
        return len(self.names)

    @property
    def pictures(self) -> Pictures:
        """All of the images."""
        return Pictures(self.source, self.image_root, self.names, self.sizes)

    def size(self, row: int) -> tuple[int, int]:
        """(width, height) of one image, pixels."""
        width, height = self.sizes[row].tolist()
        return width, height

    def read(self, row: int, cache: ImageCache) -> np.ndarray:
        """One image, (H, W, 3) uint8. Raises SSHPEError, with file and entry, for a missing or broken one."""
        where = f"{self.source}, image {self.ids[row]}"
        return cache.read(self.image_root / self.names[row], where, self.size(row))

    def select(self, rows: Sequence[int] | np.ndarray) -> WholeImages:
        """Some of the images, in this order."""
        rows = np.asarray(rows, dtype=np.int64)
        names = tuple(self.names[row] for row in rows)
        return replace(self, names=names, ids=self.ids[rows], sizes=self.sizes[rows])


def load(annotations: Path, image_root: Path, category: str | int | None = None) -> WholeImages:
    """Every image of a COCO-format keypoint file.

    Raises SSHPEError for a malformed file or a missing image.
    """
    annotations, image_root = Path(annotations), Path(image_root)
    parsed = coco.parse(annotations, category)
    refuse(parsed.faults)
    images = parsed.images
    refuse(coco.missing_images(tuple(images.names), image_root, annotations))
    return WholeImages(
        annotations,
        image_root,
        tuple(images.names),
        images.ids,
        images.sizes,
        parsed.skeleton,
        parsed.category,
    )


def load_unlabelled(image_info: Path, image_root: Path, skeleton: Skeleton, category: int) -> WholeImages:
    """Every image of a file that labels nobody, such as COCO's image_info_test-dev2017.json.

    skeleton and category are what a labelled file would say. Raises SSHPEError for a malformed file or a missing image.
    """
    image_info, image_root = Path(image_info), Path(image_root)
    images = coco.listed_images(image_info)
    refuse(coco.missing_images(tuple(images.names), image_root, image_info))
    return WholeImages(
        image_info, image_root, tuple(images.names), images.ids, images.sizes, skeleton, category
    )
