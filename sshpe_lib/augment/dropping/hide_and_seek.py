"""Hide-and-Seek: every patch of a grid is hidden or not (Kumar Singh and Lee 2017), as AID uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sshpe_lib.augment import boxes
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.dropping.operation import Dropping
from sshpe_lib.augment.limits import check_limits
from sshpe_lib.errors import SSHPEError
from sshpe_lib.transfer import up_to


@dataclass(frozen=True)
class HideAndSeek(Dropping):
    """Square patches of one size per image, drawn from `sizes`, each hidden with probability `hide`.

    sizes: pixels of a crop 192 wide, and in proportion for others (so AID's pixels of a 512 wide image are
    3/8 of them here); 0 leaves the image whole. legacy_index: never draw the last size, as AID's official
    code. legacy_rows: hide no patch whose first row is `width` or more, nor one whose first column is
    `height` or more: that code takes one for the other, which matters where the image is not square.
    """

    sizes: tuple[float, ...] = (0, 16, 32, 44, 56)
    hide: float = 0.5
    legacy_index: bool = False
    legacy_rows: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limits("hide", (self.hide,), 0, 1)
        check_limits("sizes", tuple(self.sizes), 0)
        if not self._drawn():
            raise SSHPEError("sizes is too short; give one or more, and with legacy_index two or more")

    def _numbers(self, batch: int, width: int, height: int, draw: Draw) -> tuple[Tensor, ...]:
        """Sizes of patches, (B,), and which of them are hidden, (B, rows, cols) bool."""
        drawn = [_scaled(size, width) for size in self._drawn()]
        smallest = min((size for size in drawn if size), default=max(width, height))
        chosen = boxes.integers(draw.rand(batch), len(drawn))
        # Enough patches for the smallest; a larger size uses those in the upper left.
        rows, cols = -(-height // smallest), -(-width // smallest)
        hidden = draw.rand(batch, rows, cols) < self.hide
        size = torch.tensor(drawn)[chosen]
        if self.legacy_rows:
            hidden = hidden & reached(size, rows, width)[:, :, None] & reached(size, cols, height)[:, None, :]
        return size, hidden

    def _dropped(self, numbers: Sequence[Tensor], width: int, height: int) -> Tensor:
        size, hidden = numbers
        return patches(size, hidden, width, height)

    def _drawn(self) -> tuple[float, ...]:
        return tuple(self.sizes)[:-1] if self.legacy_index else tuple(self.sizes)


def _scaled(size: float, width: int) -> int:
    """A size in pixels of a crop this wide; at least 1 unless it is 0."""
    return max(int(size * width / boxes.REFERENCE_WIDTH + 0.5), 1) if size else 0


def reached(size: Tensor, count: int, length: int) -> Tensor:
    """Which of `count` patches in a line begin before `length`, (B, count) bool; size: (B,) pixels."""
    return up_to(count, size.device) * size[:, None] < length


def patches(size: Tensor, hidden: Tensor, width: int, height: int) -> Tensor:
    """The pixels of the hidden patches, (B, H, W) bool; a patch is clipped to the image.

    size: (B,) whole pixels, 0 for no patches; hidden: (B, rows, cols) bool, the patch of pixel (x, y) is
    (y // size, x // size), which must be there.
    """
    batch, rows, _ = hidden.shape
    hidden = hidden & (size > 0)[:, None, None]
    # With size 0 any patch will do: none is hidden.
    side = torch.where(size > 0, size, max(width, height))[:, None]
    row, col = (up_to(length, size.device) // side for length in (height, width))
    # A line of patches becomes a line of pixels first, then whole lines are copied: quick.
    lines = hidden.gather(2, col[:, None, :].expand(-1, rows, -1)).flatten(0, 1)
    row = row + rows * up_to(batch, size.device)[:, None]
    return lines.index_select(0, row.flatten()).view(batch, height, width)
