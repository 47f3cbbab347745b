"""One image, all its people: the bottom-up view of a set of instances, with masks of what is not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sshpe_lib import geometry
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.unlabelled import Unlabelled, drawn, outline
from sshpe_lib.errors import SSHPEError
from sshpe_lib.seeding import numpy_stream


class SceneBatch(NamedTuple):
    """B images with up to P people each.

    image: (B, 3, H, W) uint8, channels last in memory; points: (B, P, K, 2) in input pixels, (x, y), people in file
    order, then padding; visible: (B, P, K), 1 where the keypoint is labelled; masks: for every resolution (B, h, w),
    0 where people are that are not learned from, and outside the image where that is ignored, else 1; index: (B,) the
    images' places.
    """

    image: Tensor
    points: Tensor
    visible: Tensor
    masks: tuple[Tensor, ...]
    index: Tensor  # type: ignore[assignment]  # hides the method of tuples, which is of no use here

    def to(self, device: torch.device | str) -> SceneBatch:
        """The batch on `device`, copied asynchronously where the memory is pinned."""
        return tree_map(lambda tensor: tensor.to(device, non_blocking=True), self)


@dataclass(frozen=True)
class SceneAffine:
    """The augmentation of HigherHRNet: a square somewhere around the middle of the image, turned and mirrored.

    scale: (lowest, highest) share of the short side that the square has; rotation: degrees to both sides; shift:
    to both sides along both axes, in 200ths of the square; flip: probability of a mirror.
    """

    scale: tuple[float, float] = (0.75, 1.5)
    rotation: float = 30.0
    shift: float = 40.0
    flip: float = 0.5

    def draw(self, rng: np.random.Generator) -> tuple[float, float, np.ndarray, bool]:
        """(scale, rotation in degrees, shift (2,) in sides of the square, mirrored)."""
        scale = float(rng.uniform(*self.scale))
        rotation = float(rng.uniform(-self.rotation, self.rotation))
        return scale, rotation, rng.uniform(-self.shift, self.shift, 2) / 200, bool(rng.random() < self.flip)


class Scenes:
    """Whole images of instances, each decoded once and warped once.

    side: of the square input, pixels; strides: input over the resolutions that masks are wanted for; unlabelled:
    as `unlabelled_people`; outside: what a square shows beside the image is "background", mask 1, or "ignored", mask 0
    as in HigherHRNet's `RandomAffineTransform`; most: people of an image at most, the first ones, while boxes of others
    are masked; unbiased: by UDP's convention. A scene's augmentation depends on (seed, stream, epoch, position) and on
    nothing else.

    Raises:
        SSHPEError: a side that the strides do not divide.
    """

    def __init__(
        self,
        instances: Instances,
        side: int,
        *,
        strides: Sequence[int] = (4, 2),
        unlabelled: Unlabelled | None = None,
        outside: Literal["background", "ignored"] = "background",
        affine: SceneAffine | None = None,
        most: int = 30,
        seed: int = 0,
        stream: str = "scenes",
        cache: ImageCache | None = None,
        unbiased: bool = False,
    ):
        if any(side % stride for stride in strides):
            raise SSHPEError(f"scenes of {side} pixels do not divide by the strides {tuple(strides)}")
        self.instances, self.side, self.most = instances, side, most
        self.unlabelled, self.affine, self.unbiased = unlabelled or {}, affine or SceneAffine(), unbiased
        self.outside, self.mask_sides = outside, [side // stride for stride in strides]
        self.seed, self.stream, self.cache = seed, stream, cache or ImageCache()
        order = np.argsort(instances.image_index, kind="stable")
        firsts = np.searchsorted(instances.image_index[order], np.arange(len(instances.file_names) + 1))
        self.people = [order[a:b] for a, b in zip(firsts[:-1], firsts[1:], strict=True)]  # rows of each image

    def __len__(self) -> int:
        return len(self.people)

    def batch(
        self,
        indices: Sequence[int] | np.ndarray,
        epoch: int = 0,
        positions: Sequence[int] | np.ndarray | None = None,
    ) -> SceneBatch:
        """The images of `indices`; `positions` are their places in the epoch, and decide their augmentation."""
        joints = len(self.instances.skeleton)
        images = np.empty((len(indices), self.side, self.side, 3), np.uint8)
        keypoints = np.zeros((len(indices), self.most, joints, 3), np.float32)
        masks = [np.empty((len(indices), side, side), np.float32) for side in self.mask_sides]
        for row, index in enumerate(indices):
            people = self.people[index][: self.most]
            size = tuple(self.instances.image_sizes[index].tolist())
            square = self._square(size, epoch, row if positions is None else positions[row])
            matrix = square.matrix(self.side)
            image = self.cache.read(self.instances.path(people[0]), self._where(people[0]), size)
            images[row] = geometry.warp(image, matrix, (self.side, self.side))
            found = self.instances.keypoints[people].copy()
            found[..., :2] = geometry.transform_points(found[..., :2], matrix)
            order = self.instances.skeleton.flip_order if square.mirrored else range(joints)
            keypoints[row, : len(people)] = found[:, list(order)]
            for mask, learned in zip(masks, self._masks(index, size, square), strict=True):
                mask[row] = learned
        return SceneBatch(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            torch.from_numpy(keypoints[..., :2].copy()),
            torch.from_numpy((keypoints[..., 2] > 0).astype(np.float32)),
            tuple(torch.from_numpy(mask) for mask in masks),
            torch.as_tensor(indices, dtype=torch.long),
        )

    def _square(self, size: tuple[int, int], epoch: int, position: int) -> _Square:
        """The part of an image of (width, height) that is shown at one place of an epoch."""
        scale, rotation, shift, mirrored = self.affine.draw(
            numpy_stream(self.seed, self.stream, epoch, position)
        )
        extent = np.full(2, min(size) * scale)
        middle = np.array(size) / 2 - (0.5 if self.unbiased else 0)
        return _Square(middle + shift * extent, extent, rotation, mirrored, self.unbiased)

    def _masks(self, index: int, size: tuple[int, int], square: _Square) -> list[np.ndarray]:
        """What a square of an image of (width, height) teaches: for every resolution (side, side) bool."""
        hidden, sides = self._hidden(index, size), self.mask_sides
        if self.outside == "ignored":  # zeros come from outside the image: so it is the mask that is warped
            learned = np.full(size[::-1], 255, np.uint8) if hidden is None else 255 - hidden
            return [geometry.warp(learned, square.matrix(side), (side, side)) > 127 for side in sides]
        if hidden is None:
            return [np.ones((side, side), bool) for side in sides]
        return [geometry.warp(hidden, square.matrix(side), (side, side)) <= 127 for side in sides]

    def _hidden(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        """(H, W) uint8, 255 where people are that are not learned from; None where there are none."""
        people = self.people[index]
        found = list(self.unlabelled.get(int(self.instances.image_ids[people[0]]), ()))
        found += [outline(box, size) for box in self.instances.boxes[people[self.most :]].tolist()]
        return drawn(found, size) if found else None

    def _where(self, row: int) -> str:
        return f"{self.instances.source}, image {self.instances.image_ids[row]}"


@dataclass(frozen=True)
class _Square:
    """A square of an image: center and extent (2,) in image px, rotation in degrees; then perhaps mirrored."""

    center: np.ndarray
    extent: np.ndarray
    rotation: float
    mirrored: bool
    unbiased: bool

    def matrix(self, side: int) -> np.ndarray:
        """The map (2, 3) from the image to a square of so many pixels."""
        straight = geometry.crop_matrix(self.center, self.extent, self.rotation, (side, side), self.unbiased)
        if not self.mirrored:
            return straight
        return np.array([[-1.0, 0, side - 1], [0, 1, 0]]) @ np.vstack([straight, [0, 0, 1]])
