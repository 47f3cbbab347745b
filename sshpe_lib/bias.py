"""What a joint loses on the way through a heatmap, without any network: the bias that UDP removes, measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sshpe_lib.codec import Codec, MSRAHeatmap, UDPHeatmap
from sshpe_lib.evaluate.flip import merge
from sshpe_lib.report.bias import Reading

MARGIN = 32.0  # crop px between the joints and the border, where targets are cut off


@dataclass(frozen=True)
class Way:
    """One way to write joints into heatmaps and to read them again.

    name: for people; flip: average with the answer to the mirrored crop; shift: move that answer by one pixel
    first, as HRNet.
    """

    name: str
    codec: Codec
    flip: bool = False
    shift: bool = False

    @property
    def test(self) -> str:
        """The flip test in words: "none", "plain" or "shifted"."""
        return ("shifted" if self.shift else "plain") if self.flip else "none"

    def errors(self, points: np.ndarray) -> np.ndarray:
        """Where each joint is read, less where it is, (N, 2) crop px, for a network that answers perfectly.

        points: (N, 2) crop px. A perfect network gives the target of what it is shown: of the joint, and of the
        mirrored joint at width - 1 - x, where mirroring puts the pixel that shows it.
        """
        joints = torch.from_numpy(np.asarray(points, np.float64))[:, None]
        visible = torch.ones(joints.shape[:2])
        maps = self.codec.encode(joints, visible)[0]
        if self.flip:
            last = self.codec.input_size[0] - 1
            mirrored = torch.stack([last - joints[..., 0], joints[..., 1]], dim=-1)
            maps = merge(maps, self.codec.encode(mirrored, visible)[0], (0,), self.shift, self.codec.flip)
        return (self.codec.decode(maps)[0] - joints)[:, 0].numpy()


def ways(input_size: tuple[int, int] = (192, 256)) -> tuple[Way, ...]:
    """From the oldest to UDP's two codecs, at a crop's (width, height) and a quarter of it."""
    sizes = input_size, (input_size[0] // 4, input_size[1] // 4)
    plain, gaussian, offset = MSRAHeatmap(*sizes), UDPHeatmap(*sizes), UDPHeatmap(*sizes, "offset")
    return (
        Way("whole pixels", plain),
        Way("whole pixels", plain, flip=True),
        Way("whole pixels", plain, flip=True, shift=True),
        Way("UDP, Gaussians", gaussian),
        Way("UDP, Gaussians", gaussian, flip=True),
        Way("UDP, offsets", offset),
        Way("UDP, offsets", offset, flip=True),
    )


def random_joints(count: int, input_size: tuple[int, int] = (192, 256), seed: int = 0) -> np.ndarray:
    """(count, 2) crop px, uniform away from the border."""
    high = np.array(input_size) - 1 - MARGIN
    return np.random.default_rng(seed).uniform(MARGIN, high, (count, 2))


def readings(points: np.ndarray, input_size: tuple[int, int] = (192, 256)) -> list[Reading]:
    """Where each of `ways` reads joints at `points`, (N, 2) crop px."""
    return [Reading(way.name, way.test, points, way.errors(points)) for way in ways(input_size)]


def row_of_joints(input_size: tuple[int, int] = (192, 256), pixels: int = 3, steps: int = 32) -> np.ndarray:
    """(N, 2) crop px: joints in the middle, on a line along x over so many heatmap pixels, `steps` a pixel."""
    middle = np.array(input_size) // 8 * 4.0
    return middle + np.stack([np.arange(pixels * steps) * 4 / steps, np.zeros(pixels * steps)], axis=1)
