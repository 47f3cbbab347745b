"""MUM mixing of a batch against tile-by-tile and gather forms, and against a plain copy.

    python benchmarks/mixing.py [--repeats 30] [--threads 2]

All of them run on a GPU where there is one.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from timing import DEVICE, compare, heading
from torch import Tensor

from sshpe_lib.augment import tiles
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.mum import PoseMUM

SHAPES = {
    "image": (3, 256, 192),
    "layer1": (64, 64, 48),
    "layer2": (128, 32, 24),
    "layer3": (256, 16, 12),
    "layer4": (512, 8, 6),
}
LAYOUTS = {torch.contiguous_format: "planes", torch.channels_last: "channels last"}


def loop(features: Tensor, source: Tensor) -> Tensor:
    """Cut every image into tiles, index each tile's stack of images, paste."""
    rows, cols, _ = source.shape
    bands = []
    for r, band in enumerate(features.chunk(rows, dim=2)):
        bands.append(torch.cat([tile[source[r, c]] for c, tile in enumerate(band.chunk(cols, dim=3))], dim=3))
    return torch.cat(bands, dim=2)


def gather(features: Tensor, source: Tensor) -> Tensor:
    """One index per element, the size of the features."""
    rows, cols, _ = source.shape
    height, width = features.shape[2:]
    index = source.permute(2, 0, 1).repeat_interleave(height // rows, 1).repeat_interleave(width // cols, 2)
    return features.gather(0, index[:, None].repeat(1, features.shape[1], 1, 1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = PoseMUM().draw(32, Draw(torch.Generator().manual_seed(0), device=DEVICE)).at_image
    heading(f"mix of 32 maps, 4 x 3 tiles, {options.threads} thread(s)", options.repeats)
    for name, shape in SHAPES.items():
        for layout in (torch.contiguous_format, torch.channels_last):
            features = torch.randn(32, *shape, device=DEVICE).contiguous(memory_format=layout)
            ours = partial(tiles.permute, features, source)
            for told, form in {"tile by tile": loop, "gather": gather}.items():
                slow = partial(form, features, source)
                assert torch.equal(slow(), ours())
                compare(f"{name}, {LAYOUTS[layout]}, {told}", slow, ours, features.clone, options.repeats)


if __name__ == "__main__":
    main()
