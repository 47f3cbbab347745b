"""N people of one keypoint file, as arrays: what every loader, split and evaluation is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sshpe_lib.data.packed import Pictures
from sshpe_lib.skeleton import Skeleton

PER_PERSON = ("image_ids", "annotation_ids", "keypoints", "boxes", "areas", "box_scores")


@dataclass(frozen=True)
class Instances:
    """N person instances of one keypoint file, in the reference's order; K = len(skeleton).

    source: the annotation file; image_root: the folder that `file_names` start from.
    file_names: the M images that have an instance; image_sizes: (M, 2) int32 width and height in pixels.
    image_index: (N,) int64 into `file_names`; image_ids, annotation_ids: (N,) int64, the file's own
    (annotation -1 for a detection, which has none).
    keypoints: (N, K, 3) float32, x and y in image pixels and v (0 unlabelled, 1 occluded, 2 visible).
    boxes: (N, 4) float32 x, y, width, height in image pixels, clipped by the reference's rule
    (`sshpe_lib.data.coco`); areas: (N,) float32 square pixels; box_scores: (N,) float32, 1 for ground truth.
    """

    skeleton: Skeleton
    source: Path
    image_root: Path
    file_names: tuple[str, ...]
    image_sizes: np.ndarray
    image_index: np.ndarray
    image_ids: np.ndarray
    annotation_ids: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    box_scores: np.ndarray

    def __len__(self) -> int:
        return len(self.image_index)

    def select(self, indices: Sequence[int] | np.ndarray) -> Instances:
        """The instances of `indices`, in that order; images left without any go.

        indices: whole numbers from 0, or a mask, (N,) bool. Raises IndexError for an index outside the instances, and
        for a mask of another length.
        """
        rows = np.asarray(indices)
        if rows.dtype == bool and rows.shape != (len(self),):
            raise IndexError(f"a mask of shape {rows.shape} cannot select of {len(self)} instances")
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        kept, image_index = np.unique(self.image_index[rows], return_inverse=True)
        return replace(
            self,
            file_names=tuple(self.file_names[image] for image in kept),
            image_sizes=self.image_sizes[kept],
            image_index=image_index.astype(np.int64),
            **{name: getattr(self, name)[rows] for name in PER_PERSON},
        )

    @property
    def pictures(self) -> Pictures:
        """The images that have an instance."""
        return Pictures(self.source, self.image_root, self.file_names, self.image_sizes)

    def path(self, index: int) -> Path:
        """The image file of one instance."""
        return self.image_root / self.file_names[self.image_index[index]]


def concatenate(first: Instances, second: Instances) -> Instances:
    """The people of two files in one, those of the first first.

    Numbers of images and annotations may stand for two things afterwards: what needs them is done before. The
    second file's names become absolute, which no folder before them changes.
    Raises ValueError where the keypoints differ.
    """
    different = first.skeleton.difference(second.skeleton)
    if different is not None:
        raise ValueError(f"{first.source} and {second.source} have different keypoints: {different}")
    elsewhere = tuple(str(second.image_root.resolve() / name) for name in second.file_names)
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("image_sizes", *PER_PERSON)
    }
    return replace(
        first,
        source=Path(f"{first.source} + {second.source}"),
        file_names=first.file_names + elsewhere,
        image_index=np.concatenate([first.image_index, len(first.file_names) + second.image_index]),
        **joined,
    )
