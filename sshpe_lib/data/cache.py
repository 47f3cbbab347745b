"""Decoded images kept in memory, so that a small data set is decoded once and not once an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from sshpe_lib.data.images import read_image


class ImageCache:
    """Reads images and keeps them until `limit` bytes are full; later ones are read again each time."""

    def __init__(self, limit: int = 2 << 30, color: Literal["rgb", "bgr"] = "rgb"):
        self.limit, self.color, self.bytes = limit, color, 0
        self._images: dict[Path, np.ndarray] = {}

    def read(self, path: Path, where: str, size: tuple[int, int] | None = None) -> np.ndarray:
        """The image, (H, W, 3) uint8. Raises SSHPEError, naming `where`, for a missing or broken file.

        size: (width, height) that the annotations promise; another one is an error too.
        """
        image = self._images.get(path)
        if image is None:
            image = read_image(path, where, color=self.color, size=size)
            if self.bytes + image.nbytes <= self.limit:
                self._images[path] = image
                self.bytes += image.nbytes
        return image
