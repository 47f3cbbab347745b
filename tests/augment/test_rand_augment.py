"""RandAugment: every operation against PIL, whose definitions the reference implementation uses."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from sshpe_lib import config
from sshpe_lib.augment import rand_augment
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.pixels import denormalize, normalize
from sshpe_lib.augment.rand_augment import OPERATIONS, RandAugment
from sshpe_lib.augment.view import Strong, View
from sshpe_lib.models._torchvision import import_torchvision

ENHANCEMENTS = {
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}
HEATMAPS = torch.zeros(1)


def photographs(count: int, height: int = 64, width: int = 48, seed: int = 0) -> np.ndarray:
    """(count, height, width, 3) uint8: smooth pictures with noise, from dull to glaring; the first is one colour."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, height // 8, width // 8, 3)).astype(np.float64)
    smooth = coarse.repeat(8, axis=1).repeat(8, axis=2)
    spread, level = rng.uniform(0.05, 1.5, (count, 1, 1, 1)), rng.uniform(0, 255, (count, 1, 1, 3))
    images = level + spread * (smooth - 128) + rng.normal(0, 4, smooth.shape)
    images[0] = (17, 200, 99)
    images[1:, 0, 0], images[1:, 0, 1] = level[1:, 0, 0] - 9, level[1:, 0, 0] + 9
    return images.clip(0, 255).astype(np.uint8)


def tensor(images: np.ndarray) -> torch.Tensor:
    """(B, 3, H, W), channels last in memory, as a batch of crops is."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def array(pixels: torch.Tensor) -> np.ndarray:
    return pixels.permute(0, 2, 3, 1).numpy()


def by_pil(name: str, image: Image.Image, magnitude: float, toss: list[float]) -> Image.Image:
    """What the reference does to one image, in its own terms; toss: the sign, and the cutout's x and y."""
    share = magnitude / 30
    if name in ENHANCEMENTS:
        strength = 0.9 * share
        return ENHANCEMENTS[name](image).enhance(1 - strength if toss[0] < 0.5 else 1 + strength)
    if name == "posterize":
        return ImageOps.posterize(image, max(2, 6 - int(4 * share)))
    if name == "solarize":
        return ImageOps.solarize(image, 256 - 256 * share)
    if name == "solarize_add":
        brighter = (np.array(image) + 110 * share).clip(0, 255).astype(np.uint8)
        return ImageOps.solarize(Image.fromarray(brighter), 128)
    if name == "cutout":
        side = 80 * share * image.width / 192
        left, top = (
            int(max(0, at * length - side / 2)) for at, length in zip(toss[1:], image.size, strict=True)
        )
        image = image.copy()
        ImageDraw.Draw(image).rectangle((left, top, left + side, top + side), (125, 123, 114))
        return image
    return getattr(ImageOps, name)(image)


class Given:
    """Draws that were made before: `uniform`, (B, rounds, 4)."""

    def __init__(self, uniform: torch.Tensor):
        self.uniform = uniform

    def send(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tensors

    def rand(self, count: int, *shape: int) -> torch.Tensor:
        assert self.uniform.shape == (count, *shape)
        return self.uniform


def draw(seed: int = 0, **share: int) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), **share)


def batch(count: int = 24) -> torch.Tensor:
    return normalize(tensor(photographs(count)))


# --- pixels


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_all_values_of_all_channels_come_back(layout):
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    levels = levels.contiguous(memory_format=layout)
    there = normalize(levels)
    assert torch.equal(denormalize(there), levels)
    assert there.is_contiguous(memory_format=layout)
    assert denormalize(there).is_contiguous(memory_format=layout)


def test_pixels_are_normalised_with_the_statistics_of_their_channel():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    mean, std = (torch.tensor(s).view(1, 3, 1, 1) for s in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert torch.equal(normalize(levels), (levels.float() - mean * 255) * (1 / (std * 255)))


def test_a_float_image_is_not_normalised_in_place():
    levels = torch.full((1, 3, 4, 4), 100.0)
    there = normalize(levels)
    denormalize(there)
    assert (levels == 100).all()
    assert torch.equal(there, normalize(levels.to(torch.uint8)))


def test_what_no_pixel_shows_is_clipped_to_one():
    assert denormalize(torch.full((1, 3, 2, 2), 9.0)).eq(255).all()
    assert denormalize(torch.full((1, 3, 2, 2), -9.0)).eq(0).all()


# --- the operations


@pytest.mark.parametrize("magnitude", [0.0, 7.5, 13.0, 20.0, 29.9, 30.0])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_the_bytes_of_pil(name, magnitude):
    images, toss = photographs(16, seed=3), torch.rand(16, 3, generator=torch.Generator().manual_seed(4))
    toss[:4, 1:] = torch.tensor([[0.0, 0.0], [0.999, 0.999], [0.0, 0.999], [0.5, 0.01]])
    found = array(RandAugment(magnitude=magnitude).apply(name, tensor(images), toss))
    assert found.dtype == np.uint8
    for image, own, mine in zip(images, toss.tolist(), found, strict=True):
        np.testing.assert_array_equal(mine, by_pil(name, Image.fromarray(image), magnitude, own))


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_takes_either_memory_layout_and_leaves_its_input(name):
    pixels, toss = tensor(photographs(6)), torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    before = pixels.clone()
    outcome = RandAugment().apply(name, pixels, toss)
    assert torch.equal(outcome, RandAugment().apply(name, pixels.contiguous(), toss))
    assert torch.equal(pixels, before)


def test_autocontrast_of_every_range_of_values():
    """All 32,640 pairs of lowest and highest value, with the formula in PIL's float64."""
    for low in range(255):
        high = np.arange(low + 1, 256)
        values = np.arange(256).clip(low, high[:, None]).astype(np.uint8)
        scale = 255.0 / (high[:, None] - low)
        expected = (values * scale + -low * scale).clip(0, 255).astype(np.uint8)
        pixels = torch.from_numpy(values).view(-1, 1, 16, 16).expand(-1, 3, -1, -1)
        found = rand_augment.autocontrast(pixels).flatten(2).numpy()
        np.testing.assert_array_equal(found, np.broadcast_to(expected[:, None], found.shape))


@pytest.mark.parametrize("threshold", [0, 0.2, 85.33, 128, 255, 255.5, 256])
def test_solarize_includes_its_threshold(threshold):
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    found = rand_augment.solarize(levels, threshold)[0, 0].flatten().tolist()
    assert found == [255 - value if value >= threshold else value for value in range(256)]


@pytest.mark.parametrize(("magnitude", "bits"), [(0, 6), (7.4, 6), (7.5, 5), (20, 4), (22.5, 3), (30, 2)])
def test_posterize_keeps_six_bits_to_two(magnitude, bits):
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    found = RandAugment(magnitude=magnitude).apply("posterize", levels, torch.zeros(1, 3))
    step = 2 ** (8 - bits)
    assert found[0, 0].flatten().tolist() == [value // step * step for value in range(256)]


@pytest.mark.parametrize("name", ENHANCEMENTS)
def test_an_enhancement_goes_both_ways(name):
    """At magnitude 20 the factor is 1 - 0.6 or 1 + 0.6, and each image has its own."""
    pixels = tensor(photographs(3))[[2, 2]]
    less, more = array(RandAugment(magnitude=20.0).apply(name, pixels, torch.tensor([[0.49] * 3, [0.5] * 3])))
    image = Image.fromarray(photographs(3)[2])
    np.testing.assert_array_equal(less, ENHANCEMENTS[name](image).enhance(0.4))
    np.testing.assert_array_equal(more, ENHANCEMENTS[name](image).enhance(1.6))
    assert (less != more).any()


def covered(width: int, height: int, magnitude: float, x: float, y: float) -> tuple[int, int, int, int]:
    """The first and last column, first and last row of a cutout."""
    black = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    found = RandAugment(magnitude=magnitude).apply("cutout", black, torch.tensor([[0.0, x, y]]))
    assert torch.equal(found.amax((0, 2, 3)), torch.tensor([125, 123, 114], dtype=torch.uint8))
    rows, cols = (found[0, 0] > 0).any(1).nonzero(), (found[0, 0] > 0).any(0).nonzero()
    assert (found[0, 0] > 0).sum() == len(rows) * len(cols)
    return cols.min().item(), cols.max().item(), rows.min().item(), rows.max().item()


def test_the_cutout_is_a_square_of_fifty_three_pixels_that_scales_with_the_crop():
    assert covered(192, 256, 20.0, 0.5, 0.5) == (69, 122, 101, 154)  # 96 - 26.7 on, 53.3 more
    assert covered(96, 128, 20.0, 0.5, 0.5) == (34, 60, 50, 76)  # 48 - 13.3 on, 26.7 more
    assert covered(192, 256, 30.0, 0.5, 0.5) == (56, 136, 88, 168)


def test_the_cutout_is_moved_in_at_one_edge_and_clipped_at_the_other():
    assert covered(192, 256, 20.0, 0.0, 0.0) == (0, 53, 0, 53)
    assert covered(192, 256, 20.0, 0.999, 0.999) == (165, 191, 229, 255)


def largest_difference(name: str, *arguments: float) -> int:
    """Between torchvision's operation and PIL's, over the images."""
    operation = getattr(import_torchvision("transforms.v2.functional"), name)
    images = photographs(48, seed=5)
    found = array(operation(tensor(images).contiguous(), *arguments)).astype(int)
    kind = {"adjust_saturation": "color"}.get(name, name.removeprefix("adjust_"))
    of_pil = [
        ENHANCEMENTS[kind](Image.fromarray(image)).enhance(*arguments)
        if kind in ENHANCEMENTS
        else getattr(ImageOps, kind)(Image.fromarray(image), *arguments)
        for image in images
    ]
    return int(np.abs(found - np.stack([np.asarray(image) for image in of_pil])).max())


@pytest.mark.parametrize(
    ("name", "arguments", "most"),
    [
        ("equalize", (), 0),
        ("invert", (), 0),
        ("posterize", (4,), 0),
        ("autocontrast", (), 1),  # divides in float32 by a rounded scale, PIL multiplies in float64
        ("adjust_saturation", (0.4,), 1),  # grey with 0.2989 for 0.299, truncated where PIL rounds
        ("adjust_contrast", (0.1,), 2),  # the same grey, and its mean is not rounded: 2 on some other images
        ("adjust_sharpness", (1.6,), 1),  # the same blur and border, blended in another order
    ],
)
def test_how_far_torchvision_is_from_pil(name, arguments, most):
    """What torchvision does exactly it does here; the rest stands in `rand_augment` for the sake of these bytes."""
    found = largest_difference(name, *arguments)
    assert (found > 0) == (most > 0)
    assert found <= most


def test_torchvision_refuses_the_weakest_solarize():
    functional = import_torchvision("transforms.v2.functional")
    with pytest.raises(TypeError, match="less or equal the maximum"):
        functional.solarize(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), 256.0)


# --- the composition


@pytest.mark.parametrize("magnitude", [0.0, 20.0, 30.0])
def test_a_batch_goes_through_what_pil_does_to_each_image(magnitude):
    images = photographs(60, seed=1)
    uniform = torch.rand(60, 2, 4, generator=torch.Generator().manual_seed(2))
    view, _ = RandAugment(magnitude=magnitude)(View(normalize(tensor(images))), HEATMAPS, Given(uniform))
    met = set()
    for image, rounds, mine in zip(images, uniform.tolist(), array(denormalize(view.image)), strict=True):
        expected = Image.fromarray(image)
        for first, *toss in rounds:
            name = OPERATIONS[int(first * 11)]
            met.add(name)
            expected = by_pil(name, expected, magnitude, toss)
        np.testing.assert_array_equal(mine, expected)
    assert met == set(OPERATIONS)


def test_an_image_alone_is_the_image_in_its_batch():
    images, uniform = batch(22), torch.rand(22, 2, 4, generator=torch.Generator().manual_seed(0))
    together = RandAugment()(View(images), HEATMAPS, Given(uniform))[0].image
    for row in range(22):
        alone = RandAugment()(View(images[row : row + 1]), HEATMAPS, Given(uniform[row : row + 1]))[0].image
        assert torch.equal(alone[0], together[row])


def test_the_draws_repeat_and_the_seed_counts():
    images = batch()
    first, again, other = (RandAugment()(View(images), HEATMAPS, draw(seed))[0].image for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_two_ranks_make_the_batch_of_one():
    images = batch()
    whole = RandAugment()(View(images), HEATMAPS, draw())[0].image
    halves = [
        RandAugment()(View(half), HEATMAPS, draw(rank=rank, world=2))[0].image
        for rank, half in enumerate(images.chunk(2))
    ]
    assert torch.equal(torch.cat(halves), whole)


def test_only_the_image_changes():
    images, heatmaps = batch(), torch.rand(24, 17, 16, 12)
    before, kept = images.clone(), heatmaps.clone()
    view, after = RandAugment()(View(images), heatmaps, draw())
    assert after is heatmaps and torch.equal(heatmaps, kept)
    assert torch.equal(images, before)
    assert view.after_stage is None
    assert view.image.shape == images.shape and view.image.dtype == torch.float32
    changed = (view.image != images).flatten(1).any(1)
    assert changed.sum() >= 20  # a cutout of a flat image may show nothing, nor an autocontrast of a full one


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_memory_layout_stays_and_does_not_count(layout):
    images = batch()
    view, _ = RandAugment()(View(images.contiguous(memory_format=layout)), HEATMAPS, draw())
    assert view.image.is_contiguous(memory_format=layout)
    assert torch.equal(view.image, RandAugment()(View(images), HEATMAPS, draw())[0].image)


@pytest.mark.parametrize("magnitude", [0.0, 20.0, 30.0])
@pytest.mark.parametrize("level", [0, 93, 255])
def test_flat_images_give_finite_pixels(level, magnitude):
    flat = normalize(torch.full((64, 3, 16, 12), level, dtype=torch.uint8))
    image = RandAugment(number=4, magnitude=magnitude)(View(flat), HEATMAPS, draw())[0].image
    assert torch.isfinite(image).all()
    assert torch.equal(image, normalize(denormalize(image)))


def test_it_stands_before_a_mix():
    images, heatmaps = batch(4), torch.rand(4, 17, 16, 12)
    view, _ = Strong([RandAugment(), PoseMUM()])(images, heatmaps, draw())
    alone, _ = RandAugment()(View(images), heatmaps, draw())
    assert torch.equal(view.after_stage("layer4", view.image), alone.image)


def test_the_weakest_magnitude_is_the_identity_where_an_operation_has_one():
    pixels, toss = tensor(photographs(8)), torch.rand(8, 3, generator=torch.Generator().manual_seed(0))
    weakest = {name: RandAugment(magnitude=0.0).apply(name, pixels, toss) for name in OPERATIONS}
    for name in ("solarize", "color", "contrast", "brightness", "sharpness"):
        assert torch.equal(weakest[name], pixels), name
    assert ((weakest["cutout"] != pixels).any(1).sum((1, 2)) == 1).all()  # one pixel
    assert (pixels.int() - weakest["posterize"].int()).amax() == 3  # the two lowest bits


# --- the law


def test_operations_are_uniform_with_replacement():
    drawn, tosses = zip(*RandAugment().draw(60500, draw()), strict=True)
    assert len(drawn) == 2
    pairs = torch.bincount(drawn[0] * 11 + drawn[1], minlength=121)  # both rounds at once: 500 of each pair
    assert len(pairs) == 121
    chi_square = ((pairs - 500) ** 2 / 500).sum()
    assert chi_square < 172  # 120 degrees of freedom: exceeded once in a thousand seeds
    for toss in tosses:
        assert toss.shape == (60500, 3)
        assert (toss.mean(0) - 0.5).abs().max() < 0.006  # 5 standard errors
        assert abs((toss[:, 0] < 0.5).float().mean() - 0.5) < 0.0102


def test_the_largest_draw_is_still_an_operation():
    largest = torch.full((1, 2, 4), 1 - 2**-24)
    assert [drawn.tolist() for drawn, _ in RandAugment().draw(1, Given(largest))] == [[10], [10]]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_it_draws_as_many_rounds_as_asked(number):
    assert len(RandAugment(number=number).draw(3, draw())) == number


def test_its_fields_are_those_of_the_configuration():
    fields = {field.name: field.default for field in dataclasses.fields(RandAugment)}
    model = {name: field.default for name, field in config.RandAugment.model_fields.items() if name != "kind"}
    assert fields == model == {"number": 2, "magnitude": 20.0}


def test_torchvision_is_imported_on_first_use_only():
    code = "import sys, sshpe_lib.augment.rand_augment; print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
