"""Decoding and target encoding, batched, beside the per-joint NumPy loops that the field uses.

    python benchmarks/codec.py [--repeats 30] [--threads 1]

Both forms run in one process, turn by turn, on the same arrays, once their answers are found equal. The copy is of the
heatmaps, which are read or written. Where there is a GPU, ours and the copy run there.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch
from timing import DEVICE, compare, heading

from sshpe_lib.codec import MSRAHeatmap

BATCH, JOINTS = 32, 17


def loop_decode(heatmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arg max by joint, then a quarter shift joint by joint; heatmap pixels."""
    batch, joints, height, width = heatmaps.shape
    flat = heatmaps.reshape(batch, joints, -1)
    index = np.argmax(flat, 2).reshape(batch, joints, 1)
    scores = np.amax(flat, 2).reshape(batch, joints, 1)
    points = np.tile(index, (1, 1, 2)).astype(np.float32)
    points[:, :, 0] = points[:, :, 0] % width
    points[:, :, 1] = np.floor(points[:, :, 1] / width)
    points *= np.tile(np.greater(scores, 0.0), (1, 1, 2)).astype(np.float32)
    for n in range(batch):
        for k in range(joints):
            heatmap = heatmaps[n][k]
            x, y = int(np.floor(points[n][k][0] + 0.5)), int(np.floor(points[n][k][1] + 0.5))
            if 1 < x < width - 1 and 1 < y < height - 1:
                across = heatmap[y][x + 1] - heatmap[y][x - 1]
                down = heatmap[y + 1][x] - heatmap[y - 1][x]
                points[n][k] += np.sign(np.array([across, down])) * 0.25
    return points, scores


def loop_encode(points: np.ndarray, visible: np.ndarray, codec: MSRAHeatmap) -> tuple[np.ndarray, np.ndarray]:
    """The target of one sample, patch by patch."""
    width, height = codec.heatmap_size
    reach, stride = codec.sigma * 3, np.array(codec.input_size) / np.array(codec.heatmap_size)
    weights = visible.astype(np.float32).reshape(-1, 1)
    target = np.zeros((len(points), height, width), dtype=np.float32)
    for k in range(len(points)):
        center_x, center_y = int(points[k][0] / stride[0] + 0.5), int(points[k][1] / stride[1] + 0.5)
        low = [int(center_x - reach), int(center_y - reach)]
        high = [int(center_x + reach + 1), int(center_y + reach + 1)]
        if low[0] >= width or low[1] >= height or high[0] < 0 or high[1] < 0:
            weights[k] = 0
            continue
        size = 2 * reach + 1
        x = np.arange(0, size, 1, np.float32)
        y = x[:, np.newaxis]
        middle = size // 2
        patch = np.exp(-((x - middle) ** 2 + (y - middle) ** 2) / (2 * codec.sigma**2))
        patch_x = max(0, -low[0]), min(high[0], width) - low[0]
        patch_y = max(0, -low[1]), min(high[1], height) - low[1]
        map_x, map_y = (max(0, low[0]), min(high[0], width)), (max(0, low[1]), min(high[1], height))
        if weights[k] > 0.5:
            inside = patch[patch_y[0] : patch_y[1], patch_x[0] : patch_x[1]]
            target[k][map_y[0] : map_y[1], map_x[0] : map_x[1]] = inside
    return target, weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    codec = MSRAHeatmap()
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(BATCH, JOINTS, 2, generator=generator) * torch.tensor([192.0, 256.0])
    visible = (torch.rand(BATCH, JOINTS, generator=generator) < 0.9).float()
    noise = torch.rand(BATCH, JOINTS, 64, 48, generator=generator) / 10
    heatmaps = codec.encode(points, torch.ones_like(visible))[0].contiguous() + noise
    there = [tensor.to(DEVICE) for tensor in (points, visible, heatmaps)]
    encode, decode = partial(codec.encode, *there[:2]), partial(codec.decode, there[2])

    def encode_by_loop() -> list[tuple[np.ndarray, np.ndarray]]:
        return [loop_encode(p, v, codec) for p, v in zip(points.numpy(), visible.numpy(), strict=True)]

    def channels_last() -> torch.Tensor:
        """As maps lie beside a network's answers."""
        maps = torch.from_numpy(np.stack([target for target, _ in encode_by_loop()]))
        return maps.contiguous(memory_format=torch.channels_last)

    reference = np.stack([target for target, _ in encode_by_loop()])
    last_bits = 2**-23 if DEVICE.type == "cpu" else 2**-21  # a GPU has an exponential function of its own
    np.testing.assert_allclose(encode()[0].cpu(), reference, rtol=0, atol=last_bits)
    np.testing.assert_array_equal(decode()[0].cpu(), 4 * loop_decode(heatmaps.numpy())[0])

    heading(f"{BATCH} samples of {JOINTS} maps of 48x64, {options.threads} thread(s)", options.repeats)
    forms = {
        "targets": (encode_by_loop, encode),
        "targets, channels last": (channels_last, encode),
        "decode": (lambda: loop_decode(heatmaps.numpy()), decode),
    }
    for name, (loop, ours) in forms.items():
        compare(name, loop, ours, there[2].clone, options.repeats)


if __name__ == "__main__":
    main()
