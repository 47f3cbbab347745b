"""From heatmaps and tags of a whole image to its people: associative embedding, read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from sshpe_lib.codec import dark_refine
from sshpe_lib.errors import SSHPEError

# Joints in the order in which they found people: those that are seen best first (`HeatmapParser` of HigherHRNet).
COCO_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
VALUE, TAGS = 2, 3  # columns of a joint: x, y, height, tags
BRIGHT = 0.05  # height of the pixels that are searched first for a missing joint
SECOND = 8192  # highest pixels, which are searched next


@dataclass(frozen=True)
class Grouping:
    """Finds people in heatmaps and tag maps (Newell et al. 2017, and `HeatmapParser` of HigherHRNet).

    order: of joints; every joint joins the person of the nearest mean tag, or starts a new one. max_people: peaks
    of a joint, and people that a joint may join. threshold: of a peak's height. tag_threshold: of a tag's distance
    to a person. window: odd side of the neighbourhood in which a peak is the highest pixel. adjust: place peaks
    below the pixel. refine: look for a person's missing joints where tags are near. unbiased: read heatmaps as UDP,
    with DARK and without the shift by half a pixel.

    Raises:
        SSHPEError: an order that does not name every joint once, or an even window.
    """

    order: tuple[int, ...] = COCO_ORDER
    max_people: int = 30
    threshold: float = 0.1
    tag_threshold: float = 1.0
    window: int = 5
    adjust: bool = True
    refine: bool = True
    unbiased: bool = False

    def __post_init__(self) -> None:
        if sorted(self.order) != list(range(len(self.order))):
            raise SSHPEError(f"the order of joints {self.order} must name each of them once, from 0")
        if self.window < 1 or self.window % 2 == 0:
            raise SSHPEError(f"peaks are looked for in windows of an odd side, not of {self.window}; use 5")

    def __call__(self, heatmaps: torch.Tensor, tags: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Find the people of one image.

        heatmaps: (K, H, W); tags: (K, H, W, L), L numbers a pixel (two with a flip test). Returns joints
        (P, K, 3 + L) float32, x, y in heatmap px, height and tags, all 0 for a joint that was not found, and scores
        (P,), the mean height over all K joints before missing ones are looked for.

        Raises:
            SSHPEError: the shapes do not fit each other or the order.
        """
        joints = len(self.order)
        if heatmaps.shape[:1] != (joints,) or tags.shape[:-1] != heatmaps.shape or tags.ndim != 4:
            raise SSHPEError(
                f"heatmaps {tuple(heatmaps.shape)} and tags {tuple(tags.shape)} are not (K, H, W) and (K, H, W, L) of "
                f"{joints} joints"
            )
        heat, tag = heatmaps.float().cpu().numpy(), tags.float().cpu().numpy()
        people = self._match(self._peaks(heat, tag), tag.shape[-1])
        if self.adjust and len(people):
            self._adjust(people, heat)
        scores = people[..., VALUE].mean(axis=1)
        if self.refine:
            searches = [_Search(heights, tags) for heights, tags in zip(heat, tag, strict=True)]
            for person in people:
                self._complete(person, heat, tag, searches)
        return people, scores

    def _peaks(self, heat: np.ndarray, tag: np.ndarray) -> list[np.ndarray]:
        """The highest peaks of every joint, (N, 3 + L), highest first."""
        reach = self.window // 2
        height, width = heat.shape[1:]
        found = []
        for one, tags in zip(heat, tag, strict=True):
            y, x = np.nonzero(one > self.threshold)
            top = np.ones(len(y), bool)
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    beside = one[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
                    top &= beside <= one[y, x]
            y, x = y[top], x[top]
            highest = np.argsort(-one[y, x], kind="stable")[: self.max_people]
            y, x = y[highest], x[highest]
            found.append(np.column_stack([x, y, one[y, x], tags[y, x]]).astype(np.float32))
        return found

    def _match(self, peaks: list[np.ndarray], length: int) -> np.ndarray:
        """Joint by joint, every peak to the person of the nearest mean tag, or to a new one; (P, K, 3 + L)."""
        from scipy.optimize import linear_sum_assignment  # takes half a second, and crops need none

        # A person is known by the first number of its first tag, as in the reference.
        people: dict[float, np.ndarray] = {}
        known: dict[float, list[np.ndarray]] = {}

        def found(joint: int, peak: np.ndarray) -> None:
            key = float(peak[TAGS])
            people.setdefault(key, np.zeros((len(peaks), TAGS + length), np.float32))[joint] = peak
            known[key] = [peak[TAGS:]]

        for joint in self.order:
            keys = list(people)[: self.max_people]
            if not keys or not len(peaks[joint]):
                for peak in peaks[joint]:
                    found(joint, peak)
                continue
            means = np.array([np.mean(known[key], axis=0) for key in keys])
            distance = np.linalg.norm(peaks[joint][:, None, TAGS:] - means, axis=2)
            # whole distances first, and among equal ones the highest peak
            rows, columns = linear_sum_assignment(np.round(distance) * 100 - peaks[joint][:, VALUE, None])
            column_of = dict(zip(rows.tolist(), columns.tolist(), strict=True))
            for row, peak in enumerate(peaks[joint]):
                column = column_of.get(row)
                if column is not None and distance[row, column] < self.tag_threshold:
                    people[keys[column]][joint] = peak
                    known[keys[column]].append(peak[TAGS:])
                else:
                    found(joint, peak)
        if not people:
            return np.zeros((0, len(peaks), TAGS + length), np.float32)
        return np.stack(list(people.values()))

    def _adjust(self, people: np.ndarray, heat: np.ndarray) -> None:
        """Move found joints below the pixel: a quarter towards the higher neighbours, or by DARK."""
        seen = people[..., VALUE] > 0
        if self.unbiased:
            pixels = torch.from_numpy(people[..., :2].copy())
            refined = dark_refine(pixels, torch.from_numpy(heat)[None], kernel=3).numpy()
            people[..., :2] = np.where(seen[..., None], refined, 0)
            return
        person, joint = np.nonzero(seen)
        x, y = people[person, joint, :2].T.astype(int)
        people[person, joint, :2] += 0.5 + self._quarter(heat, joint, x, y)

    def _quarter(self, heat: np.ndarray, joint: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """A quarter of a pixel towards the higher neighbours, (N, 2)."""
        height, width = heat.shape[1:]
        right = heat[joint, y, np.minimum(x + 1, width - 1)] > heat[joint, y, np.maximum(x - 1, 0)]
        below = heat[joint, np.minimum(y + 1, height - 1), x] > heat[joint, np.maximum(y - 1, 0), x]
        return np.where(np.column_stack([right, below]), 0.25, -0.25)

    def _complete(
        self, person: np.ndarray, heat: np.ndarray, tag: np.ndarray, searches: list[_Search]
    ) -> None:
        """Give a person its missing joints, where height less whole distance to its mean tag is largest."""
        height, width = heat.shape[1:]
        seen = np.flatnonzero(person[:, VALUE] > 0)
        x, y = person[seen, :2].T.astype(int).clip(0, [[width - 1], [height - 1]])
        mean = tag[seen, y, x].mean(axis=0)
        for joint in np.flatnonzero(person[:, VALUE] == 0):
            y, x = divmod(searches[joint].best(mean), width)
            if heat[joint, y, x] > 0:
                shift = 0.0 if self.unbiased else 0.5
                quarter = self._quarter(heat, *(np.array([v]) for v in (joint, x, y)))[0]
                person[joint, :TAGS] = (*(np.array([x, y]) + shift + quarter), heat[joint, y, x])


class _Search:
    """Looks in one joint's maps for the pixel where height less the whole distance of its tag is largest.

    That is its height at most, so low pixels are looked at only where no higher one has as much.
    """

    def __init__(self, heat: np.ndarray, tag: np.ndarray) -> None:
        self.heights, self.tags = heat.ravel(), tag.reshape(-1, tag.shape[-1])

    def best(self, mean: np.ndarray) -> int:
        """The first such pixel, for a person with this mean tag."""
        for pixels, bound in ((self._bright, BRIGHT), self._second):
            if len(pixels):
                values = self.heights[pixels] - self._distance(self.tags[pixels], mean)
                best = int(np.argmax(values))
                if values[best] > bound:
                    return int(pixels[best])
        return int(np.argmax(self.heights - self._distance(self.tags, mean)))

    @cached_property
    def _bright(self) -> np.ndarray:
        return np.flatnonzero(self.heights > BRIGHT)

    @cached_property
    def _second(self) -> tuple[np.ndarray, float]:
        """The 8,192 highest pixels, more where heights are equal, in order of place, and the least of their heights."""
        if len(self.heights) <= SECOND:
            return np.zeros(0, int), 0.0
        # Values are parted several times as fast as their places.
        lowest = np.partition(self.heights, -SECOND)[-SECOND]
        return np.flatnonzero(self.heights >= lowest), float(lowest)

    @staticmethod
    def _distance(tags: np.ndarray, mean: np.ndarray) -> np.ndarray:
        return np.round(np.sqrt(np.square(tags - mean).sum(axis=1)))
