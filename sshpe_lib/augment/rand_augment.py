"""RandAugment: random photometric operations on the student's image (Cubuk et al. 2020).

The operations and their ranges are the reference implementation's, its definitions are PIL's. Each one here gives
PIL's very bytes on a whole batch, `pixels`: (B, 3, H, W) uint8, R, G, B. torchvision does `equalize`, `invert` and
`posterize`; the others round differently there, or take one strength for all images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sshpe_lib.augment import boxes
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.limits import check_count, check_limits, check_maps
from sshpe_lib.augment.pixels import denormalize, normalize
from sshpe_lib.augment.view import View
from sshpe_lib.models._torchvision import import_torchvision
from sshpe_lib.transfer import constant, sent, up_to

OPERATIONS = (
    "autocontrast", "equalize", "invert", "posterize", "solarize", "solarize_add",
    "color", "contrast", "brightness", "sharpness", "cutout",
)  # fmt: skip
# The magnitude at which every operation reaches the end of its range.
STRONGEST = 30
FILL = (125, 123, 114)


@dataclass(frozen=True)
class RandAugment:
    """`number` operations per image, drawn with replacement from `OPERATIONS`; no geometry, so the heatmaps stay.

    magnitude: 0 to 30, the same for every image; each operation goes magnitude / 30 of the way through its
    range. What is random: the operation, the sign of an enhancement, the place of the cutout. Magnitude 0 is
    not the identity: autocontrast, equalize and invert have no strength, posterize leaves 6 bits,
    solarize_add still solarizes, cutout fills one pixel.

    Raises:
        SSHPEError: less than one operation, a magnitude outside 0 to 30.
    """

    number: int = 2
    magnitude: float = 20.0

    def __post_init__(self) -> None:
        check_count("RandAugment's number", self.number)
        check_limits("RandAugment's magnitude", (self.magnitude,), 0, STRONGEST)

    def __call__(self, view: View, heatmaps: Tensor, draw: Draw) -> tuple[View, Tensor]:
        """image: (B, 3, H, W) normalised, left as it is; heatmaps: (B, K, h, w), returned as they are.

        The view has the images' dtype. Raises SSHPEError where they are not floating, or not of three channels.
        """
        check_maps("RandAugment's images", view.image, 3)
        pixels = denormalize(view.image).contiguous()
        for drawn, toss in self.draw(len(pixels), draw):
            pixels = self._round(pixels, drawn, toss)
        image = torch.empty_like(view.image, dtype=torch.uint8)
        for channel, changed in zip(image.unbind(1), pixels.unbind(1), strict=True):
            channel.copy_(changed)  # one after the other: less than half the time of all at once
        return replace(view, image=normalize(image).to(view.image.dtype)), heatmaps

    def _round(self, pixels: Tensor, drawn: Tensor, toss: Tensor) -> Tensor:
        """Every image through the operation it drew: sorted by operation, so that each runs once."""
        order, counts = drawn.argsort(stable=True), drawn.bincount(minlength=len(OPERATIONS)).tolist()
        there, back = sent((order, order.argsort()), pixels.device)
        # `index_select` copies whole images; indexing with [order] takes several times as long.
        subsets = pixels.index_select(0, there).split(counts)
        tosses = toss.index_select(0, there).split(counts)
        drawn_of = zip(OPERATIONS, subsets, tosses, strict=True)
        changed = [self.apply(name, subset, own) for name, subset, own in drawn_of if len(subset)]
        return torch.cat(changed).index_select(0, back) if changed else pixels

    def draw(self, batch: int, draw: Draw) -> list[tuple[Tensor, Tensor]]:
        """For each round the operations, (B,) places in `OPERATIONS` on the CPU, and tosses in [0, 1), (B, 3).

        A toss is the sign of an enhancement and the place of the cutout, (x, y).
        """
        uniform = draw.rand(batch, self.number, 4)
        # On the CPU: to sort and count them there waits for no device.
        drawn = boxes.integers(uniform[..., 0], len(OPERATIONS))
        (tosses,) = draw.send(uniform[..., 1:])
        return list(zip(drawn.unbind(1), tosses.unbind(1), strict=True))

    def apply(self, name: str, pixels: Tensor, toss: Tensor) -> Tensor:
        """One operation on all of (n, 3, H, W) uint8 pixels at this magnitude; toss: (n, 3), as `draw` gives it."""
        level = self.magnitude / STRONGEST
        factor = torch.where(toss[:, 0] < 0.5, 1 - 0.9 * level, 1 + 0.9 * level)[:, None, None, None]
        match name:
            case "autocontrast":
                return autocontrast(pixels)
            case "posterize":
                return _torchvision("posterize", pixels, max(2, 6 - int(4 * level)))
            case "solarize":
                return solarize(pixels, 256 - 256 * level)
            case "solarize_add":
                return solarize_add(pixels, 110 * level)
            case "color":
                return color(pixels, factor)
            case "contrast":
                return contrast(pixels, factor)
            case "brightness":
                return brightness(pixels, factor)
            case "sharpness":
                return sharpness(pixels, factor)
            case "cutout":
                side = 80 * level * pixels.shape[-1] / boxes.REFERENCE_WIDTH
                return cutout(pixels, side, toss[:, 1:])
            case _:  # equalize and invert have no strength
                return _torchvision(name, pixels)


def _torchvision(name: str, pixels: Tensor, *arguments: int) -> Tensor:
    """torchvision's operation `name`, imported on first use: it takes longer to import than all of this library."""
    return getattr(import_torchvision("transforms.v2.functional"), name)(pixels, *arguments)


def autocontrast(pixels: Tensor) -> Tensor:
    """Stretch every channel to 0 to 255; a channel of one value stays."""
    flat = pixels.flatten(2)
    low, high = flat.amin(-1, keepdim=True).double(), flat.amax(-1, keepdim=True).double()
    # A table in float64, and in PIL's order of operations: what should be a whole number falls on either side.
    value = up_to(256, pixels.device)
    scale = torch.full_like(low, 255) / (high - low)  # 255 / tensor would multiply by a rounded reciprocal
    table = (value * scale - low * scale).clamp(0, 255)
    table = torch.where(high > low, table, value).to(torch.uint8)
    return table.gather(-1, flat.long()).view_as(pixels)


def solarize(pixels: Tensor, threshold: float) -> Tensor:
    """Invert the values from `threshold` (0 to 256) on, the threshold included."""
    lowest = math.ceil(threshold)
    if lowest > 255:  # 256 is no uint8, and compared with one it counts as 0
        return pixels.clone()
    # All of it in bytes: minus one is 255, and to invert a byte is to flip its bits.
    return (pixels >= lowest).to(torch.uint8).neg_().bitwise_xor_(pixels)


def solarize_add(pixels: Tensor, amount: float) -> Tensor:
    """Add `amount` (0 or more) to all values, cut at 255 and truncate, then solarize at 128."""
    return solarize(pixels.clamp(max=255 - int(amount)).add_(int(amount)), 128)


def color(pixels: Tensor, factor: Tensor) -> Tensor:
    """From grey (factor 0) over the image (1) to more colour; factor: (B, 1, 1, 1), as for all enhancements."""
    return _extrapolate(_grey(pixels), pixels, factor)


def contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    """From the image's mean grey (factor 0) over the image (1) to more contrast."""
    # In whole numbers: a float32 sum over a crop would have to round. Halves go up.
    total, count = _grey(pixels).long().sum((1, 2, 3), keepdim=True), pixels.shape[-2:].numel()
    return _extrapolate((2 * total + count) // (2 * count), pixels, factor)


def brightness(pixels: Tensor, factor: Tensor) -> Tensor:
    """From black (factor 0) over the image (1) to brighter."""
    return _extrapolate(torch.zeros_like(factor), pixels, factor)


def sharpness(pixels: Tensor, factor: Tensor) -> Tensor:
    """From a 3x3 blur (factor 0; the centre counts five times) over the image (1) to sharper; the border stays."""
    values = pixels.float()
    inner = values[..., 1:-1, 1:-1]
    down = values[..., :-2, :] + values[..., 1:-1, :] + values[..., 2:, :]
    around = (down[..., :-2] + down[..., 1:-1]).add_(down[..., 2:]).add_(inner, alpha=4)
    sharp = pixels.clone()
    sharp[..., 1:-1, 1:-1] = _extrapolate(around.div_(13).round_(), inner, factor)
    return sharp


def cutout(pixels: Tensor, side: float, place: Tensor) -> Tensor:
    """Fill a square of `side` pixels with the reference's grey.

    place: (B, 2), (x, y) of the centre in [0, 1). As in the reference implementation, a square that would
    begin outside the crop is moved to its edge, one that would end outside is clipped, and both ends are
    filled: it is int(side) + 1 pixels wide.
    """
    covered = []
    for axis, length in enumerate((pixels.shape[-1], pixels.shape[-2])):
        first = (place[:, axis, None] * length - side / 2).clamp(min=0).floor()
        pixel = up_to(length, pixels.device)
        covered.append((pixel >= first) & (pixel <= first + side))
    inside = covered[1][:, None, :, None] & covered[0][:, None, None, :]
    return torch.where(inside, constant(FILL, pixels.device, pixels.dtype).view(1, 3, 1, 1), pixels)


def _grey(pixels: Tensor) -> Tensor:
    """The luma of ITU-R 601 as float32 whole numbers, (B, 1, H, W): PIL's fixed point of 16 bits, rounded."""
    red, green, blue = pixels.float().split(1, dim=1)
    # Every sum stays below 2**24, so float32 is exact.
    sum_ = (19595 * red).add_(green, alpha=38470).add_(blue, alpha=7471).add_(0x8000)
    return sum_.div_(0x10000).floor_()


def _extrapolate(start: Tensor, pixels: Tensor, factor: Tensor) -> Tensor:
    """start + factor (pixels - start), cut to 0 to 255 and truncated to uint8, in the order that PIL rounds in."""
    values = pixels.to(torch.float32, copy=True)
    return values.sub_(start).mul_(factor).add_(start).clamp_(0, 255).to(torch.uint8)
