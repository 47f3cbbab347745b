"""UDP's targets and decoding, batched, beside the loops over joints and maps that its code and others use.

    python benchmarks/udp.py [--repeats 30] [--threads 1]

Both forms run in one process, turn by turn, on the same arrays, once their answers are found equal. The copy is of the
heatmaps, and of the offsets with them, which are read or written. Where there is a GPU, ours and the copy run there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch
from timing import DEVICE, compare, heading

from sshpe_lib.codec import UDPHeatmap

BATCH, JOINTS = 32, 17


def peaks(maps: np.ndarray) -> np.ndarray:
    """The highest pixel of every map, joint by joint; heatmap pixels."""
    points = np.zeros((*maps.shape[:2], 2))
    for n in range(len(maps)):
        for k in range(maps.shape[1]):
            y, x = np.unravel_index(np.argmax(maps[n, k]), maps.shape[2:])
            points[n, k] = x, y
    return points


def loop_dark(maps: np.ndarray, rescale: bool = True) -> np.ndarray:
    """Blur, rescaling, logarithm and Newton step, map by map."""
    points = peaks(maps)
    for n in range(len(maps)):
        for k in range(maps.shape[1]):
            highest = maps[n, k].max()
            blurred = cv2.GaussianBlur(maps[n, k], (7, 7), 0)
            if rescale:
                blurred = (blurred - blurred.min()) / (blurred.max() - blurred.min()) * highest
            f = np.pad(np.log(np.clip(blurred, 0.001, 50)), 1, mode="edge")
            x, y = points[n, k].astype(int) + 1
            gradient = np.array([f[y, x + 1] - f[y, x - 1], f[y + 1, x] - f[y - 1, x]]) / 2
            dxx = f[y, x + 1] - 2 * f[y, x] + f[y, x - 1]
            dyy = f[y + 1, x] - 2 * f[y, x] + f[y - 1, x]
            dxy = 0.5 * (
                f[y + 1, x + 1]
                - f[y, x + 1]
                - f[y + 1, x]
                + 2 * f[y, x]
                - f[y, x - 1]
                - f[y - 1, x]
                + f[y - 1, x - 1]
            )
            points[n, k] -= np.linalg.solve([[dxx, dxy], [dxy, dyy]], gradient)
    return points


def loop_offset(maps: np.ndarray, codec: UDPHeatmap) -> np.ndarray:
    """Blur all three maps of a joint, and add the offset at the highest pixel, joint by joint."""
    maps = maps.copy()
    for n in range(len(maps)):
        for c in range(maps.shape[1]):
            kernel = 7 if c % 3 else 15
            maps[n, c] = cv2.GaussianBlur(maps[n, c], (kernel, kernel), 0)
    points = peaks(maps[:, ::3])
    for n in range(len(maps)):
        for k in range(maps.shape[1] // 3):
            x, y = points[n, k].astype(int)
            points[n, k] += codec.reach * maps[n, 3 * k + 1 : 3 * k + 3, y, x]
    return points


def loop_gaussian(points: np.ndarray, codec: UDPHeatmap) -> np.ndarray:
    """The target of one sample, patch by patch."""
    (width, height), reach = codec.heatmap_size, int(3 * codec.sigma)
    target = np.zeros((len(points), height, width), np.float32)
    for k, mean in enumerate(points / codec.stride):
        low, high = (mean + 0.5).astype(int) - reach, (mean + 0.5).astype(int) + reach + 1
        x = np.arange(max(low[0], 0), min(high[0], width))
        y = np.arange(max(low[1], 0), min(high[1], height))[:, None]
        if len(x) and len(y):
            patch = np.exp(-((x - mean[0]) ** 2 + (y - mean[1]) ** 2) / (2 * codec.sigma**2))
            target[k, y[0, 0] : y[-1, 0] + 1, x[0] : x[-1] + 1] = patch
    return target


def loop_discs(points: np.ndarray, codec: UDPHeatmap) -> np.ndarray:
    """Heat and offsets of one sample, over the whole map of every joint."""
    width, height = codec.heatmap_size
    target = np.zeros((3 * len(points), height, width), np.float32)
    xs, ys = np.meshgrid(np.arange(width), np.arange(height))
    for k, mean in enumerate(points / codec.stride):
        dx, dy = (mean[0] - xs) / codec.reach, (mean[1] - ys) / codec.reach
        inside = dx**2 + dy**2 <= 1
        target[3 * k : 3 * k + 3] = inside, dx * inside, dy * inside
    return target


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)

    gaussian, offset = UDPHeatmap(), UDPHeatmap(target="offset")
    rescaled = UDPHeatmap(rescale=True)
    generator = torch.Generator().manual_seed(0)
    points = 24 + torch.rand(BATCH, JOINTS, 2, generator=generator) * torch.tensor([143.0, 207.0])
    visible = torch.ones(BATCH, JOINTS)
    heading(
        f"{BATCH} samples of {JOINTS} keypoints, maps of 48x64, {options.threads} thread(s)", options.repeats
    )
    for name, codec, loop in (
        ("decode, DARK", gaussian, partial(loop_dark, rescale=False)),
        ("decode, DARK, blurred maps rescaled", rescaled, loop_dark),
        ("decode, offsets", offset, partial(loop_offset, codec=offset)),
    ):
        maps = codec.encode(points, visible)[0].contiguous()
        maps = maps + 0.02 * torch.rand(maps.shape, generator=generator)
        there = maps.to(DEVICE)
        decode = partial(codec.decode, there)
        np.testing.assert_allclose(decode()[0].cpu() / np.array(codec.stride), loop(maps.numpy()), atol=2e-3)
        compare(name, partial(loop, maps.numpy()), decode, there.clone, options.repeats)
    for name, codec, loop in (
        ("targets, Gaussian", gaussian, loop_gaussian),
        ("targets, offsets", offset, loop_discs),
    ):

        def one_by_one(loop=loop, codec=codec) -> list[np.ndarray]:
            return [loop(one, codec) for one in points.double().numpy()]

        def channels_last(loop: Callable[[], list[np.ndarray]] = one_by_one) -> torch.Tensor:
            return torch.from_numpy(np.stack(loop())).contiguous(memory_format=torch.channels_last)

        # Channels last, as networks answer.
        encode = partial(codec.encode, points.to(DEVICE), visible.to(DEVICE))
        maps = encode()[0]
        np.testing.assert_allclose(maps.cpu(), np.stack(one_by_one()), atol=1e-4)
        compare(name, one_by_one, encode, maps.clone, options.repeats)
        compare(f"{name}, channels last", channels_last, encode, maps.clone, options.repeats)


if __name__ == "__main__":
    main()
