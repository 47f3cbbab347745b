"""One person, one crop: the top-down view of a set of instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sshpe_lib import geometry
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.instances import Instances
from sshpe_lib.seeding import numpy_stream


class CropBatch(NamedTuple):
    """Crops of B people.

    image: (B, 3, H, W) uint8, channels last in memory; points: (B, K, 2) in crop pixels, (x, y); visible:
    (B, K), 1 where the keypoint is labelled; center, size: (B, 2) of the padded box in image pixels; index:
    (B,) rows of the instances.
    """

    image: Tensor
    points: Tensor
    visible: Tensor
    center: Tensor
    size: Tensor
    index: Tensor  # type: ignore[assignment]  # hides the method of tuples, which is of no use here

    def to(self, device: torch.device | str) -> CropBatch:
        """The batch on `device`, copied asynchronously where the memory is pinned."""
        return CropBatch(*(tensor.to(device, non_blocking=True) for tensor in self))


HALF_BODY_FROM = 8  # visible joints; a person with more of them may be halved
UPPER_BELOW = 0.5  # of a standard normal: the upper half is asked for in 69 % of cases, as in HRNet


@dataclass(frozen=True)
class WeakAffine:
    """The easy augmentation of the reference ("A30").

    scale: clip(N(1, scale), 1 - scale, 1 + scale) always; rotation: clip(N(0, rotation), +-2 rotation) degrees
    with `rotation_probability`; a mirror with probability `flip`; with probability `half_body` a person of more
    than `HALF_BODY_FROM` visible joints is cropped around its upper or its lower half (HRNet).
    """

    scale: float = 0.25
    rotation: float = 30.0
    rotation_probability: float = 0.6
    flip: float = 0.5
    half_body: float = 0.0

    def draw(self, rng: np.random.Generator) -> tuple[float, float, bool]:
        """(scale, rotation in degrees, mirrored)."""
        normal, uniform = rng.standard_normal(2), rng.random(2)
        scale = float(np.clip(1 + self.scale * normal[0], 1 - self.scale, 1 + self.scale))
        rotation = float(np.clip(self.rotation * normal[1], -2 * self.rotation, 2 * self.rotation))
        return (
            scale,
            rotation if uniform[0] < self.rotation_probability else 0.0,
            bool(uniform[1] < self.flip),
        )

    def draw_half(self, rng: np.random.Generator) -> tuple[bool, bool]:
        """(whether to crop a half, whether the upper one is asked for), to be drawn after `draw`."""
        return bool(rng.random() < self.half_body), bool(rng.standard_normal() < UPPER_BELOW)


class Crops:
    """Crops of instances, decoded once and warped once each.

    input_size: (width, height) of the crop; unbiased: by UDP's convention; reduced: decode a JPEG at 1/2, 1/4 or 1/8 of
    its size where the crop still has a pixel of it for every one of its own. With `weak` given, a crop's
    augmentation depends on (seed, stream, epoch, position) and on nothing else.
    """

    def __init__(
        self,
        instances: Instances,
        input_size: tuple[int, int],
        *,
        weak: WeakAffine | None = None,
        seed: int = 0,
        stream: str = "crops",
        cache: ImageCache | None = None,
        unbiased: bool = False,
        reduced: bool = False,
    ):
        self.instances, self.input_size, self.weak, self.unbiased = instances, input_size, weak, unbiased
        self.reduced = reduced
        self.seed, self.stream, self.cache = seed, stream, cache or ImageCache()
        self.center, self.size = geometry.box_to_center_size(instances.boxes, input_size[0] / input_size[1])

    def __len__(self) -> int:
        return len(self.instances)

    def select(self, rows: Sequence[int] | np.ndarray) -> Crops:
        """Crops of some of the people, otherwise the same."""
        return Crops(
            self.instances.select(rows), self.input_size, weak=self.weak, seed=self.seed, stream=self.stream,
            cache=self.cache, unbiased=self.unbiased, reduced=self.reduced,
        )  # fmt: skip

    def batch(
        self,
        indices: Sequence[int] | np.ndarray,
        epoch: int = 0,
        positions: Sequence[int] | np.ndarray | None = None,
    ) -> CropBatch:
        """The crops of `indices`; `positions` are their places in the epoch, and decide their augmentation."""
        width, height = self.input_size
        keypoints = np.array(self.instances.keypoints[indices], dtype=np.float32)
        images = np.empty((len(indices), height, width, 3), dtype=np.uint8)
        for row, index in enumerate(indices):
            matrix, mirrored = self._matrix(index, epoch, positions[row] if positions is not None else row)
            images[row] = self._crop(index, matrix)
            keypoints[row, :, :2] = geometry.transform_points(keypoints[row, :, :2], matrix)
            if mirrored:
                keypoints[row] = keypoints[row, list(self.instances.skeleton.flip_order)]
        return CropBatch(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            torch.from_numpy(keypoints[..., :2].copy()),
            torch.from_numpy((keypoints[..., 2] > 0).astype(np.float32)),
            torch.from_numpy(self.center[indices].astype(np.float32)),
            torch.from_numpy(self.size[indices].astype(np.float32)),
            torch.as_tensor(indices, dtype=torch.long),
        )

    def _crop(self, index: int, matrix: np.ndarray) -> np.ndarray:
        """The crop of one person, (H, W, 3) uint8, by the map from its image."""
        width, height = self.instances.image_sizes[self.instances.image_index[index]].tolist()
        reduction = geometry.reduction(matrix) if self.reduced else 1
        image = self.cache.read(self.instances.path(index), self._where(index), (width, height), reduction)
        if image.shape[:2] != (height, width):
            matrix = matrix @ geometry.from_reduced(reduction)
        return geometry.warp(image, matrix, self.input_size)

    def _matrix(self, index: int, epoch: int, position: int) -> tuple[np.ndarray, bool]:
        """Image to crop, (2, 3), and whether it mirrors the person (x to W - 1 - x, then the crop)."""
        center, size = self.center[index], self.size[index]
        if self.weak is None:
            return self.crop_matrix(center, size), False
        rng = numpy_stream(self.seed, self.stream, epoch, position)
        scale, rotation, mirrored = self.weak.draw(rng)
        if self.weak.half_body:
            center, size = self._half(index, *self.weak.draw_half(rng))
        if not mirrored:
            return self.crop_matrix(center, size * scale, rotation), False
        last = int(self.instances.image_sizes[self.instances.image_index[index], 0]) - 1
        matrix = self.crop_matrix(np.array([last - center[0], center[1]]), size * scale, rotation)
        mirror = np.array([[-1.0, 0.0, last], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        return matrix @ mirror, True

    def crop_matrix(self, center: np.ndarray, size: np.ndarray, rotation: float = 0.0) -> np.ndarray:
        """Image to crop, (2, 3), in the convention of these crops."""
        return geometry.crop_matrix(center, size, rotation, self.input_size, unbiased=self.unbiased)

    def _half(self, index: int, wanted: bool, upper: bool) -> tuple[np.ndarray, np.ndarray]:
        """Centre and size of a half of a person, or of the whole where it is not wanted or not to be had."""
        whole = self.center[index], self.size[index]
        keypoints = self.instances.keypoints[index]
        if not wanted or (keypoints[:, 2] > 0).sum() <= HALF_BODY_FROM:
            return whole
        aspect = self.input_size[0] / self.input_size[1]
        return geometry.half_body(keypoints, self.instances.skeleton, upper, aspect) or whole

    def _where(self, index: int) -> str:
        return f"{self.instances.source}, annotation {self.instances.annotation_ids[index]}"
