"""Find everybody in whole images, and measure what was found with OKS AP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from sshpe_lib import geometry, progress
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.whole_images import WholeImages
from sshpe_lib.evaluate.evaluation import Evaluation, answering
from sshpe_lib.evaluate.multi_scale import Region, Scale, aggregate, region
from sshpe_lib.evaluate.results import to_results
from sshpe_lib.grouping import VALUE, Grouping
from sshpe_lib.skeleton import Skeleton

MOST = 30  # people of an image that are kept, the surest; COCO's evaluation reads 20

# People of one image: (P, K, 3) x and y in image pixels and height, and their scores (P,).
Found = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class BottomUpEvaluation(Evaluation):
    """HigherHRNet's protocol: whole images, heatmaps and tags of all scales in one, grouping, no suppression.

    side: of the short side at scale 1, pixels; scales: of the test, 1 among them; flip: ask the mirrored image too.
    unbiased: by UDP's convention, else by the official one, which reads heatmaps at the input's resolution.
    """

    images: WholeImages
    grouping: Grouping
    side: int = 512
    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    unbiased: bool = False
    batch_size: int = 16
    cache: ImageCache = field(default_factory=ImageCache)

    @property
    def skeleton(self) -> Skeleton:
        return self.images.skeleton

    @torch.no_grad()
    def predict(self, networks: Mapping[str, nn.Module]) -> dict[str, list[Found]]:
        """For every network the people of every image, surest first.

        An image of which a network's answer is not finite shows one person, of NaN.
        """
        joints = len(self.skeleton)
        shape = len(self.images), MOST, joints + 1, 3  # the last row of a person holds its score
        found = {name: torch.zeros(shape, dtype=torch.float64) for name in networks}
        batches = list(self._batches())[self.rank :: self.world]
        bar = progress.bar(len(batches), "predict", unit="batch", show=self.progress)
        with answering(networks, self.device):
            for rows in batches:
                pictures = [self.images.read(row, self.cache) for row in rows]
                for name, network in networks.items():
                    for row, (people, scores) in zip(rows, self._find(network, pictures), strict=True):
                        surest = np.argsort(-scores, kind="stable")[:MOST]
                        packed = found[name][row, : len(surest)]
                        packed[:, :joints] = torch.from_numpy(people[surest])
                        packed[:, joints, 0] = torch.from_numpy(scores[surest])
                bar.update()
        bar.close()
        return {
            name: [_unpacked(image) for image in self.reduce(all_).numpy()] for name, all_ in found.items()
        }

    def _batches(self) -> Iterator[np.ndarray]:
        """Rows of images of one size, so that they fit into one tensor."""
        _, kinds = np.unique(self.images.sizes, axis=0, return_inverse=True)
        for kind in range(kinds.max() + 1):
            rows = np.flatnonzero(kinds == kind)
            yield from (rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size))

    def _find(self, network: nn.Module, pictures: Sequence[np.ndarray]) -> list[Found]:
        """The people of images (H, W, 3) of one size."""
        size, smallest = pictures[0].shape[1::-1], min(self.scales)
        regions = {scale: region(size, self.side, scale, smallest, self.unbiased) for scale in self.scales}
        answers = [self._ask(network, pictures, scale, shown) for scale, shown in regions.items()]
        base = regions[1.0 if 1.0 in regions else self.scales[0]]
        heatmaps, tags = aggregate(
            answers, self.skeleton.flip_order, align_corners=self.unbiased,
            size=None if self.unbiased else base.size[::-1],
        )  # fmt: skip
        height, width = heatmaps.shape[2:]
        seen = Region(base.center, base.extent, (width, height), self.unbiased)
        back = geometry.invert_affine(seen.matrix())
        return [self._people(*maps, back) for maps in zip(heatmaps, tags, strict=True)]

    def _ask(self, network: nn.Module, pictures: Sequence[np.ndarray], scale: float, shown: Region) -> Scale:
        """What the network answers to the pictures at one scale, and to their mirror images."""
        matrix = shown.matrix()
        inputs = np.stack([geometry.warp(picture, matrix, shown.size) for picture in pictures])
        images = normalize(torch.from_numpy(inputs).permute(0, 3, 1, 2).to(self.device))
        with self.autocast():
            outputs = network(images)
            mirrored = network(geometry.flip_images(images)) if self.flip else None
        return Scale(scale, _float(outputs), None if mirrored is None else _float(mirrored))

    def _people(self, heatmaps: Tensor, tags: Tensor, back: np.ndarray) -> Found:
        """The people of one image's maps, in image pixels; one of NaN alone where a number of the maps is not finite.

        Nothing is raised here, where other ranks may wait for this one: `results` refuses a person of NaN.
        """
        if not (_finite(heatmaps) and _finite(tags)):
            return np.full((1, len(self.skeleton), 3), np.nan), np.full(1, np.nan)
        people, scores = self.grouping(heatmaps, tags)
        points = geometry.transform_points(people[..., :2].astype(np.float64), back)
        return np.concatenate([points, people[..., VALUE : VALUE + 1]], axis=-1), scores.astype(np.float64)

    def results(self, found: Sequence[Found]) -> list[dict]:
        """COCO results of the people of every image; nobody is suppressed and nothing rescored.

        Raises SSHPEError where a network's answer was not finite.
        """
        counts = [len(scores) for _, scores in found]
        people, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return to_results(
            np.repeat(self.images.ids, counts), people[..., :2], people[..., 2], scores, np.zeros(len(scores)),
            category_id=self.images.category, sigmas=self.skeleton.sigmas, nms=None,
        )  # fmt: skip


def _float(outputs: Sequence[Tensor]) -> list[Tensor]:
    return [output.float() for output in outputs]


def _finite(maps: Tensor) -> bool:
    return bool(torch.stack(maps.aminmax()).isfinite().all())  # the ends are NaN where any number is


def _unpacked(packed: np.ndarray) -> Found:
    """The people of one image from `MOST` places, of which those without a score are empty."""
    scores = packed[:, -1, 0]
    there = ~(scores <= 0)  # NaN is one
    return packed[there, :-1], scores[there]
