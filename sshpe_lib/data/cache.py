"""Decoded images kept, so that one is decoded once and not once an epoch or once a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sshpe_lib.data.images import Color, read_image
from sshpe_lib.data.packed import PackedImages


class ImageCache:
    """Reads images and keeps them until `limit` bytes are full; of later ones it keeps the last, for its other people.

    packs: images that lie decoded in a file, and take no memory here; upright: as of `read_image`.
    """

    def __init__(
        self,
        limit: int = 2 << 30,
        color: Color = "rgb",
        packs: Sequence[PackedImages] = (),
        upright: bool = False,
    ):
        self.limit, self.color, self.packs, self.upright, self.bytes = limit, color, packs, upright, 0
        self._images: dict[tuple[Path, int], np.ndarray] = {}
        self._last: tuple[tuple[Path, int], np.ndarray] | None = None

    def read(
        self, path: Path, where: str, size: tuple[int, int] | None = None, reduction: int = 1
    ) -> np.ndarray:
        """The image, (H, W, 3) uint8; not to be written to. Arguments and SSHPEError as of `read_image`."""
        if reduction == 1:
            for pack in self.packs:
                packed = pack.get(path)
                if packed is not None:
                    return packed
        key = path, reduction
        image = self._images.get(key)
        if image is None and self._last is not None and self._last[0] == key:
            image = self._last[1]
        if image is None:
            image = read_image(path, where, self.color, size, reduction, self.upright)
            if self.bytes + image.nbytes <= self.limit:
                self._images[key] = image
                self.bytes += image.nbytes
            else:
                self._last = key, image
        return image
