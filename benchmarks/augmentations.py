"""What each strong augmentation costs, beside the usual slow form, a plain copy, and a training step.

    python benchmarks/augmentations.py [--repeats 15] [--steps 2] [--threads 1] [--batch 32] [--precision bfloat16]

Every operation augments a batch of 256x192 crops with its 17 teacher heatmaps, and draws its random numbers. The slow
forms are written here from the methods' definitions, in the way that is usual: images one by one, RandAugment by PIL as
in a loader's worker, the affine by PyTorch's grids, MUM by one index for every element. RandAugment's and the cutouts'
overwrite their images where ours return copies; the copy is of all maps that an operation returns changed. MUM and
Pose-MUM (every site mixed, its dearest case) also move the feature maps that ResNet-18 has at its stages; "both ways"
adds the gradient's way back. The step is the bare passes that no semi-supervised step can do without: the student
forwards and backwards on the labelled and on the unlabelled batch, the teacher forwards on the unlabelled one;
`--steps 0` leaves it out. Where there is a GPU, all but the slow forms that go image by image runs there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from codec import loop_decode
from mixing import SHAPES, gather
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from timing import DEVICE, Call, compare, heading, median_ms
from torch import Tensor

from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.cut_occlude import CutOcclude
from sshpe_lib.augment.cutout import Cutout
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.rand_augment import FILL, RandAugment
from sshpe_lib.augment.view import Operation, View
from sshpe_lib.models import resnet

HEIGHT, WIDTH = 256, 192
FEATURES = {name: shape for name, shape in SHAPES.items() if name != "image"}
SITES = ("layer1", "layer2", "layer3")


def slow_affine(images: Tensor, heatmaps: Tensor, rng: np.random.RandomState) -> None:
    """A matrix by OpenCV for each sample, then grids for the images and for the heatmaps."""
    matrices = np.stack([cv2.getRotationMatrix2D((0, 0), a, s) for a, s in rng.rand(len(images), 2) + 0.5])
    theta = torch.from_numpy(matrices).float().to(images.device)
    for maps in (images, heatmaps):
        grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
        F.grid_sample(maps, grid, align_corners=False)


def around_joints(
    heatmaps: np.ndarray, count: int, rng: np.random.RandomState
) -> Iterator[tuple[int, slice, slice]]:
    """Image by image, joint by joint: a box around a predicted joint."""
    points = 4 * loop_decode(heatmaps)[0]
    for n in range(len(points)):
        for k in rng.randint(points.shape[1], size=count):
            x, y = (points[n, k] + 10 * rng.randn(2)).astype(int)
            half_x, half_y = rng.randint(10, 20, size=2)
            yield (
                n,
                slice(max(y - half_y, 0), max(y + half_y, 0)),
                slice(max(x - half_x, 0), max(x + half_x, 0)),
            )


def slow_joint_cutout(images: np.ndarray, heatmaps: np.ndarray, rng: np.random.RandomState) -> None:
    for n, rows, cols in around_joints(heatmaps, 5, rng):
        images[n, :, rows, cols] = 0


def slow_cutout(images: np.ndarray, rng: np.random.RandomState) -> None:
    for image in images:
        for _ in range(5):
            x, y, (half_x, half_y) = rng.randint(WIDTH), rng.randint(HEIGHT), rng.randint(10, 20, size=2)
            image[:, max(y - half_y, 0) : y + half_y, max(x - half_x, 0) : x + half_x] = 0


def slow_cut_occlude(images: np.ndarray, heatmaps: np.ndarray, rng: np.random.RandomState) -> None:
    for n, rows, cols in around_joints(heatmaps, 2, rng):
        patch = images[(n + 1) % len(images), :, rows, cols]  # another image's, at the same place
        images[n, :, rows, cols] = patch.copy()


def pil_operations(rng: np.random.RandomState) -> list[Callable[[Image.Image], Image.Image]]:
    """RandAugment's operations at magnitude 20 of 30."""

    def solarize_add(image: Image.Image) -> Image.Image:
        raised = np.clip(np.asarray(image).astype(int) + 73, 0, 255).astype(np.uint8)
        return ImageOps.solarize(Image.fromarray(raised), 128)

    def cutout(image: Image.Image) -> Image.Image:
        image, x, y = image.copy(), rng.randint(WIDTH), rng.randint(HEIGHT)
        ImageDraw.Draw(image).rectangle((x - 26, y - 26, x + 27, y + 27), FILL)
        return image

    enhancers = (ImageEnhance.Color, ImageEnhance.Contrast, ImageEnhance.Brightness, ImageEnhance.Sharpness)
    return [
        ImageOps.autocontrast, ImageOps.equalize, ImageOps.invert,
        lambda image: ImageOps.posterize(image, 4), lambda image: ImageOps.solarize(image, 85),
        solarize_add, cutout,
        *(lambda image, kind=kind: kind(image).enhance(1.6) for kind in enhancers),
    ]  # fmt: skip


def slow_rand_augment(pixels: np.ndarray, rng: np.random.RandomState) -> None:
    """uint8 images (B, H, W, 3), one after another."""
    operations = pil_operations(rng)
    for number, image in enumerate(map(Image.fromarray, pixels)):
        for which in rng.randint(len(operations), size=2):
            image = operations[which](image)
        pixels[number] = np.asarray(image)


def batch_of(shape: tuple[int, ...], batch: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random maps, channels last as everywhere in training."""
    maps = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    return maps.to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)


def cutting(batch: int) -> dict[str, tuple[Call, Call, Call]]:
    """The slow form, ours and the copy of each operation that changes the image, or the image and its heatmaps."""
    image, heatmaps = batch_of((3, HEIGHT, WIDTH), batch), batch_of((17, 64, 48), batch).contiguous()
    draw, rng = Draw(torch.Generator().manual_seed(0), device=DEVICE), np.random.RandomState(0)
    view, planar = View(image), image.contiguous()  # the usual memory layout
    one_by_one, maps = planar.cpu().numpy(), heatmaps.cpu().numpy()
    pixels = rng.randint(256, size=(batch, HEIGHT, WIDTH, 3)).astype(np.uint8)
    operations: dict[str, tuple[Operation, Call]] = {
        "affine": (HardAffine(), partial(slow_affine, planar, heatmaps, rng)),
        "rand_augment": (RandAugment(), partial(slow_rand_augment, pixels, rng)),
        "joint_cutout": (JointCutout(), partial(slow_joint_cutout, one_by_one, maps, rng)),
        "cutout": (Cutout(), partial(slow_cutout, one_by_one, rng)),
        "cut_occlude": (CutOcclude(), partial(slow_cut_occlude, one_by_one, maps, rng)),
    }
    copies = {"affine": lambda: (image.clone(), heatmaps.clone())}
    return {
        name: (slow, partial(op, view, heatmaps, draw), copies.get(name, image.clone))
        for name, (op, slow) in operations.items()
    }


def mixing(batch: int, dtype: torch.dtype) -> dict[str, tuple[Call, Call, Call]]:
    """The same for MUM and for Pose-MUM, without and with the way back of the gradient."""
    image = batch_of((3, HEIGHT, WIDTH), batch)
    features = {name: batch_of(shape, batch, dtype) for name, shape in FEATURES.items()}
    # The usual memory layout, in which the slow form takes half as long.
    planar, planes = image.contiguous(), {name: maps.contiguous() for name, maps in features.items()}
    draw = Draw(torch.Generator().manual_seed(0), device=DEVICE)

    def ours(mum: PoseMUM, backwards: bool) -> None:
        mix = mum.draw(batch, draw)
        mix.image(image)
        for stage, maps in features.items():
            moved = mix.after_stage(stage, maps.detach().requires_grad_(backwards))
            if backwards and moved.grad_fn is not None:
                moved.backward(maps)

    def moving(
        mum: PoseMUM,
        backwards: bool,
        move: Callable[[Tensor], Tensor],
        image: Tensor,
        features: dict[str, Tensor],
    ) -> None:
        """What has to be moved: the image, what the sites mix, and what is unmixed."""
        move(image)
        for stage in (*mum.sites, mum.unmix):
            maps = features[stage].detach().requires_grad_(backwards)
            moved = move(maps)
            if backwards:
                moved.backward(features[stage])

    calls = {}
    for name, mum in (("mum", PoseMUM()), ("pose_mum", PoseMUM(sites=SITES, probability=1.0))):
        source = mum.draw(batch, draw).at_image
        for told, backwards in (("forwards", False), ("both ways", True)):
            calls[f"{name}, {told}"] = (
                partial(moving, mum, backwards, partial(gather, source=source), planar, planes),
                partial(ours, mum, backwards),
                partial(moving, mum, backwards, torch.clone, image, features),
            )
    return calls


def bare_step(batch: int, dtype: torch.dtype) -> Callable[[], None]:
    """The passes of a semi-supervised ResNet-18 step alone; gradients of the mean of the heatmaps."""
    student, teacher = (resnet.build(18, 17, seed=seed) for seed in (0, 1))
    student.to(DEVICE, memory_format=torch.channels_last).train()
    teacher.to(DEVICE, memory_format=torch.channels_last).eval()
    labeled, unlabeled = (batch_of((3, HEIGHT, WIDTH), batch) for _ in range(2))

    def step() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            with torch.no_grad():
                teacher(unlabeled)
            loss = student(labeled).mean() + student(unlabeled).mean()
        student.zero_grad(set_to_none=True)
        loss.backward()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    dtype = getattr(torch, options.precision)
    heading(f"{options.batch} crops of {WIDTH}x{HEIGHT}, {options.threads} thread(s)", options.repeats)
    ours = {
        name: compare(name.replace("_", " "), *forms, options.repeats).median
        for name, forms in (cutting(options.batch) | mixing(options.batch, dtype)).items()
    }
    if options.steps:
        step, digits = median_ms(bare_step(options.batch, dtype), options.steps), 2 * (DEVICE.type == "cuda")
        print(f"\nbare passes of a ResNet-18 step, {options.precision}: {step:,.{digits}f} ms, of which are")
        for name, ms in ours.items():
            print(f"{name.replace('_', ' '):24}{ms / step:8.2%}")


if __name__ == "__main__":
    main()
