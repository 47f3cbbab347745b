"""Information dropping: the masks of the official implementations to the last pixel, and how often a pixel goes.

The masks in `data_aid_masks.npz` were made with the official code: Cutout and Hide-and-Seek of AID, GridMask's and
Random Erasing's own. `np.packbits` of what each kept of an image of ones, height x width, from the seed in the
entry's name. The tests repeat that code's draws, not its masks.
"""

import math
import random
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from sshpe_lib.augment.dropping import GridMask, HideAndSeek, InformationCutout, RandomErasing
from sshpe_lib.augment.dropping.cutout import ellipses, squares
from sshpe_lib.augment.dropping.grid_mask import bar, mesh, rotations
from sshpe_lib.augment.dropping.hide_and_seek import patches, reached
from sshpe_lib.augment.dropping.operation import colour
from sshpe_lib.augment.dropping.random_erasing import first_fit, rectangles, sizes
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.pixels import MEAN, STD, denormalize, normalize, paint
from sshpe_lib.augment.view import View
from sshpe_lib.errors import SSHPEError
from tests.augment.helpers import DTYPES, LAYOUTS, assert_ranks_share, batch, draw

SIZES = {"256x192": (192, 256), "512": (512, 512), "384x288": (288, 384)}
OPERATIONS = [
    InformationCutout(),
    InformationCutout(shape="square", holes=2),
    RandomErasing(),
    HideAndSeek(),
    GridMask(),
]
ALWAYS = [
    InformationCutout(),
    InformationCutout(shape="square"),
    RandomErasing(probability=1.0),
    HideAndSeek(),
    GridMask(),
]


@cache
def goldens():
    with np.load(Path(__file__).parents[1] / "goldens" / "data_aid_masks.npz") as file:
        return dict(file)


def official(name: str, width: int, height: int) -> np.ndarray:
    """What the official code dropped, (H, W) bool."""
    return ~np.unpackbits(goldens()[name])[: width * height].reshape(height, width).astype(bool)


def assert_is_official(mask: torch.Tensor, name: str) -> None:
    expected = official(name, mask.shape[2], mask.shape[1])
    assert np.array_equal(mask[0].numpy(), expected), f"{(mask[0].numpy() != expected).sum()} pixels differ"


def dropped(operation, count: int, size=(96, 128), seed: int = 0) -> torch.Tensor:
    """The dropped pixels of many images, (count, H, W) bool, read from the images themselves."""
    width, height = size
    image = torch.ones(count, 1, height, width, dtype=torch.bfloat16)
    view, _ = replace(operation, fill="mean")(View(image), None, draw(seed))
    return view.image[:, 0] == 0


def mean_and_deviation(masks: torch.Tensor) -> tuple[float, float]:
    """Of the dropped share of an image, in per cent."""
    share = 100 * masks.double().mean((1, 2))
    return share.mean().item(), share.std().item()


# The official masks


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SIZES)
def test_an_ellipse_is_the_official_one(name, seed):
    width, height = SIZES[name]
    rng = np.random.RandomState(seed)
    rng.rand()  # whether to cut at all
    center = torch.tensor([[[rng.rand() * width, rng.rand() * height]]], dtype=torch.float64)
    radii = torch.from_numpy(0.2 * (1 + rng.rand(1, 1, 2)) * width)
    assert_is_official(ellipses(center, radii, width, height), f"cutout_{name}_s{seed}")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SIZES)
def test_hidden_patches_are_the_official_ones(name, seed):
    width, height = SIZES[name]
    rng = np.random.RandomState(seed)
    rng.rand()  # whether to hide at all
    size = (0, 16, 32, 44, 56)[rng.randint(0, 4)]
    rows, cols = (-(-width // size), -(-height // size)) if size else (1, 1)
    hidden = torch.from_numpy(rng.rand(1, rows, cols) <= 0.5)
    # The official loop goes to `width` downwards and to `height` across; there are no patches beyond.
    every = torch.zeros(1, max(rows, cols), max(rows, cols), dtype=torch.bool)
    every[:, :rows, :cols] = hidden
    assert_is_official(patches(torch.tensor([size]), every, width, height), f"has_{name}_s{seed}")


def turned(degrees: float, side: int) -> torch.Tensor:
    """PIL's rotation of a square image as it samples it, from output to input: [[cos, sin, x], [-sin, cos, y]].

    Nearest pixel, in fixed point with 16 binary places.
    """
    angle = -math.radians(degrees)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    middle = side / 2
    rows = np.array([[cos, sin, 0], [-sin, cos, 0]])
    rows[:, 2] = middle - rows[:, :2] @ (middle, middle) + rows[:, :2] @ (0.5, 0.5)
    return torch.from_numpy(np.floor(rows * 65536 + 0.5) / 65536)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("config", range(3))
@pytest.mark.parametrize("name", ["256x192", "512"])
def test_the_mesh_is_the_official_one(name, config, seed):
    width, height = SIZES[name]
    low, high, rotate, ratio, mode = goldens()["grid_cfgs"][config]
    rng = np.random.RandomState(seed)
    rng.rand()  # whether to mask at all
    spacing = rng.randint(low, high)
    down, across = rng.randint(spacing), rng.randint(spacing)
    side = math.ceil(math.hypot(width, height))
    to_square = turned(rng.randint(rotate), side)
    # The crop is cut from the middle of the turned square.
    corner = torch.tensor([(side - width) // 2, (side - height) // 2], dtype=torch.float64)
    phase = to_square[:, :2] @ corner + to_square[:, 2] - torch.tensor([across, down])
    period = torch.tensor([spacing])
    bars = mesh(period, bar(period, ratio), phase[None], to_square[None, :, :2], width, height)
    assert_is_official(~bars if mode else bars, f"grid_{name}_cfg{config}_s{seed}")


@pytest.mark.parametrize("seed", range(3))
def test_an_erased_rectangle_is_the_official_one(seed):
    width, height = SIZES["256x192"]
    rng = random.Random(seed)
    rng.random()  # whether to erase at all
    tries, fits = [], False
    while not fits:
        area, aspect = rng.uniform(0.02, 0.4), rng.uniform(0.3, 1 / 0.3)
        tries.append((area, aspect))
        fits = (area * width * height * aspect) ** 0.5 < height - 0.5
        fits &= (area * width * height / aspect) ** 0.5 < width - 0.5
    area, aspect = torch.tensor(tries, dtype=torch.float64).T[:, None]
    size = first_fit(sizes(area, aspect, width, height), width, height)
    top = rng.randint(0, height - size[0, 1].item())
    corner = torch.tensor([[rng.randint(0, width - size[0, 0].item()), top]])
    assert_is_official(rectangles(corner, size, width, height), f"re_256x192_s{seed}")


# The rules in loops, where no official mask is


def test_squares_are_the_rule_in_loops():
    width, height, length = 24, 32, 7
    centers = torch.tensor([[[0, 0], [12, 20]], [[23, 31], [5, 5]]])
    expected = np.zeros((2, height, width), bool)
    for b, holes in enumerate(centers.tolist()):
        for x, y in holes:
            expected[b, max(y - 3, 0) : y + 3, max(x - 3, 0) : x + 3] = True
    assert np.array_equal(squares(centers, length, width, height).numpy(), expected)


def test_several_ellipses_are_united():
    centers = torch.tensor([[[8.0, 8.0], [20.0, 24.0]]])
    radii = torch.tensor([[[5.0, 3.0], [2.0, 6.0]]])
    both = ellipses(centers, radii, 24, 32)
    one, other = (ellipses(centers[:, n, None], radii[:, n, None], 24, 32) for n in range(2))
    assert torch.equal(both, one | other) and one.any() and other.any() and not (one & other).any()


def test_the_first_size_that_fits_is_taken():
    tries = torch.tensor([[[24, 10], [10, 32], [23, 31], [1, 1]], [[24, 32]] * 4])
    assert first_fit(tries, 24, 32).tolist() == [[23, 31], [0, 0]]


def test_where_nothing_fits_the_image_stays():
    """A rectangle of the whole image is not smaller than it."""
    assert not dropped(RandomErasing(probability=1.0, area=(1, 1), aspect=(1, 1)), 4, (24, 32)).any()


def test_a_square_is_measured_in_widths():
    masks = dropped(InformationCutout(shape="square", length=0.25), 100, (96, 128))
    assert masks.sum((1, 2)).max() == 24 * 24


def test_both_radii_of_an_ellipse_are_drawn_for_themselves():
    masks = dropped(InformationCutout(radius=(0.1, 0.2)), 200, (96, 128))
    border = masks[:, [0, -1]].flatten(1).any(1) | masks[:, :, [0, -1]].flatten(1).any(1)
    across, down = (masks[~border].any(axis).sum(1).double() for axis in (1, 2))
    for diameter in (across, down):
        assert diameter.min() == pytest.approx(2 * 9.6, abs=2)
        assert diameter.max() == pytest.approx(2 * 19.2, abs=2)
    assert torch.corrcoef(torch.stack([across, down]))[0, 1].abs() < 0.3


def test_a_bar_is_no_wider_than_its_share():
    """In float32, 0.6 of 100 is more than 60."""
    assert bar(torch.tensor([100, 5, 10, 7]), 0.6).tolist() == [60, 3, 6, 5]


def test_every_spacing_of_a_mesh_is_drawn_but_the_largest():
    """From 24 pixels to 27, as the distances of neighbouring squares in upright meshes."""
    masks = dropped(GridMask(spacing=(24 / 96, 27 / 96), rotate=0.0), 100, (96, 96))
    spacings = set()
    for columns in masks.any(1).int():
        left = (columns.diff() == 1).nonzero()[:, 0]
        spacings |= set(left.diff().tolist())
    assert spacings == {24, 25, 26}


def test_a_rectangle_stands_wherever_it_fits():
    erasing = RandomErasing(probability=1.0, area=(0.25, 0.25), aspect=(1.0, 1.0))
    assert dropped(erasing, 500, (8, 8)).any(0).all()


@pytest.mark.parametrize("operation", [HideAndSeek(hide=1.0), HideAndSeek(hide=0.0)])
def test_patches_are_all_hidden_or_none(operation):
    masks = dropped(operation, 200, (96, 128)).flatten(1)
    whole = ~masks.any(1)
    assert (masks.all(1) | whole).all()
    assert whole.double().mean().item() == pytest.approx(0.2 if operation.hide else 1.0, abs=0.1)


def test_legacy_rows_spare_what_begins_beyond_the_width():
    """Of a 192x256 crop, the rows from the first patch that begins at 192 or below, whatever the patch size."""
    for size in (16, 32, 44, 56):
        tall = dropped(HideAndSeek(sizes=(size,), legacy_rows=True), 32, (192, 256))
        reach = -(-192 // size) * size
        assert tall[:, :reach].any((0, 2)).all() and not tall[:, reach:].any()
        right = dropped(HideAndSeek(sizes=(size,)), 32, (192, 256))
        assert right.any((0, 2)).all() and right.any((0, 1)).all()
        assert torch.equal(tall[:, :reach], right[:, :reach])
    square = [dropped(HideAndSeek(legacy_rows=legacy), 8, (96, 96)) for legacy in (False, True)]
    assert torch.equal(*square)
    wide = dropped(HideAndSeek(sizes=(16,), legacy_rows=True), 64, (192, 96))
    assert wide[:, :, :96].any((0, 1)).all() and not wide[:, :, 96:].any()


def test_reached_counts_patches_that_begin_before_the_end():
    assert reached(torch.tensor([16, 44]), 14, 192).sum(1).tolist() == [12, 5]


# How often


def test_the_ellipses_area_is_that_of_aid():
    """Of the official code, in the shape of 256x192: mean 17 %, standard deviation 6, at least 5, at most 36."""
    masks = dropped(InformationCutout(), 1500)
    mean, deviation = mean_and_deviation(masks)
    assert (round(mean), round(deviation)) == (17, 6)
    share = 100 * masks.double().mean((1, 2))
    assert 3 < share.min() and share.max() < 38


@pytest.mark.parametrize("shape", ["ellipse", "square"])
def test_a_hole_covers_a_pixel_as_often_as_theory_says(shape):
    """A share of the centres as large as the hole covers a pixel in the middle, a quarter of it one in a corner."""
    width, height, count = 48, 64, 6000
    operation = InformationCutout(shape=shape, radius=(0.25, 0.25), length=0.5)
    share = dropped(operation, count, (width, height)).double().mean(0)
    area = math.pi * 12**2 if shape == "ellipse" else 24**2
    middle, corners = area / (width * height), area / (width * height) / 4
    assert share[24:40, 18:30].mean().item() == pytest.approx(middle, abs=0.012)
    outermost = share[[0, 0, -1, -1], [0, -1, 0, -1]].mean().item()
    assert outermost == pytest.approx(corners, abs=0.012)


def test_hidden_area_is_that_of_aid_with_its_quirk():
    """Of the official code, square images: mean 37 %, deviation 22, half of what is active, a quarter untouched."""
    masks = dropped(HideAndSeek(legacy_index=True), 2000, (96, 96))
    mean, deviation = mean_and_deviation(masks)
    assert mean == pytest.approx(37.5, abs=1.5) and deviation == pytest.approx(22, abs=1)
    active = masks.any(2).any(1)
    assert active.double().mean().item() == pytest.approx(0.75, abs=5 * 0.01)
    assert masks[active].double().mean().item() == pytest.approx(0.5, abs=0.01)


def test_every_size_is_drawn_and_every_pixel_hidden_alike():
    """Four of five sizes hide half: 40 % of every pixel, the last row and column included."""
    count = 1500
    share = dropped(HideAndSeek(), count, (48, 64)).double().mean(0)
    assert ((share - 0.4).abs() < 5 * (0.24 / count) ** 0.5).all()
    untouched = ~dropped(HideAndSeek(sizes=(0, 192), hide=1.0, legacy_index=True), 50, (48, 64)).any()
    assert untouched  # 0 is all that is left to draw


def test_each_way_hides_what_the_book_says():
    book = (Path(__file__).parents[2] / "book" / "ambiguities.md").read_text()
    told = re.search(
        r"on average Random Erasing hides (\d+) %.*Cutout (\d+) %, GridMask (\d+) %, and Hide-and-Seek (\d+) %",
        book,
    )
    ways = (RandomErasing(probability=1.0), InformationCutout(), GridMask(), HideAndSeek())
    masks = [dropped(way, 3000) for way in ways]
    assert [round(100 * mask.double().mean().item()) for mask in masks] == [
        int(share) for share in told.groups()
    ]
    assert 0.19 < (~masks[-1].any(2).any(1)).double().mean() < 0.21, "one image in five is left whole"


def test_a_mesh_drops_the_share_of_its_squares():
    for ratio, invert, expected in ((0.6, True, 0.16), (0.6, False, 0.84), (0.5, True, 0.25)):
        share = dropped(GridMask(ratio=ratio, invert=invert), 400, (96, 128), seed=3).double().mean().item()
        # Bars are rounded up to whole pixels.
        assert share == pytest.approx(expected, abs=0.02)


def test_every_pixel_is_masked_alike():
    share = dropped(GridMask(spacing=(0.3, 0.5)), 3000, (32, 32)).double().mean(0)
    assert share.std().item() < 3 * (0.16 * 0.84 / 3000) ** 0.5
    assert share.max() - share.min() < 0.08


def test_without_rotation_the_mesh_is_upright():
    masks = dropped(GridMask(rotate=0.0, spacing=(0.25, 0.25)), 20, (64, 96))
    bars, one = bar(torch.tensor([16]), 0.6).item(), masks[0].any(0)
    assert bars == 10
    assert torch.equal(masks, masks.any(2, keepdim=True) & masks.any(1, keepdim=True))
    assert one.sum() == 4 * (16 - bars)
    assert torch.equal(one[16:], one[:-16])


def test_the_erased_area_is_that_of_the_loop():
    """Mean and deviation beside 4000 rectangles of the rule in a loop; half of the images are erased."""
    width, height = 48, 64
    rng, areas = random.Random(0), []
    while len(areas) < 4000:
        area, aspect = rng.uniform(0.02, 0.4) * width * height, rng.uniform(0.3, 1 / 0.3)
        h, w = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if w < width and h < height:
            areas.append(100 * w * h / (width * height))
    masks = dropped(RandomErasing(), 8000, (width, height))
    active = masks.flatten(1).any(1)
    assert active.double().mean().item() == pytest.approx(0.5, abs=0.03)
    mean, deviation = mean_and_deviation(masks[active])
    assert mean == pytest.approx(np.mean(areas), abs=0.9)
    assert deviation == pytest.approx(np.std(areas), abs=0.6)
    rate = masks[active].double().mean(0)
    assert torch.allclose(rate, rate.flip(0), atol=0.06) and torch.allclose(rate, rate.flip(1), atol=0.06)


@pytest.mark.parametrize("operation", ALWAYS)
def test_probability_is_of_each_sample(operation):
    half = replace(operation, probability=0.5, **_certain(operation))
    happened = dropped(half, 400, (48, 64)).flatten(1).any(1)
    assert happened.double().mean().item() == pytest.approx(0.5, abs=0.12)


def _certain(operation) -> dict:
    """Settings under which every image that the operation happens to loses a pixel."""
    return {"sizes": (16,)} if isinstance(operation, HideAndSeek) else {}


# As an operation


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fill", ["black", "mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("operation", ALWAYS)
def test_what_is_dropped_has_the_fill_and_the_rest_its_pixels(operation, dtype, fill, layout):
    image, heatmaps = batch((96, 128))
    image = image.to(dtype).contiguous(memory_format=layout)
    kept = image.clone()
    operation = replace(operation, fill=fill)
    view, same = operation(View(image), heatmaps, draw())
    assert torch.equal(image, kept) and same is heatmaps
    assert view.image.dtype == dtype and view.image.is_contiguous(memory_format=layout)
    mask = (view.image != image).any(1)
    black = normalize(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))
    expected = black if fill == "black" else torch.zeros(1, 3, 1, 1)
    assert torch.equal(view.image, torch.where(mask[:, None], expected.to(dtype), image))
    assert mask.any() and not mask.all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_covered_pixels_have_the_colour_and_the_rest_their_values(channels, layout, dtype):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(4, channels, 9, 7, generator=generator).to(dtype).contiguous(memory_format=layout)
    image[1, :, 2, 3], image[2, :, 4, 4] = torch.nan, torch.inf  # one covered, the other not
    covered = torch.rand(4, 9, 7, generator=generator) < 0.4
    covered[1, 2, 3], covered[2, 4, 4], covered[3] = True, False, False
    tint = torch.randn(1, channels, 1, 7, generator=generator).to(dtype)
    for fill in (tint, torch.zeros((), dtype=dtype)):
        shown = paint(image, covered, fill)
        assert torch.allclose(
            shown, torch.where(covered[:, None], fill, image), rtol=0, atol=0, equal_nan=True
        )
        assert shown.is_contiguous(memory_format=layout) and shown.data_ptr() != image.data_ptr()


def test_black_is_minus_mean_over_deviation():
    image = torch.ones(1, 3, 2, 2)
    filled = paint(image, torch.ones(1, 2, 2, dtype=torch.bool), colour("black", image))
    expected = torch.tensor([-mean / deviation for mean, deviation in zip(MEAN, STD, strict=True)])
    assert torch.allclose(filled[0, :, 0, 0], expected, rtol=2e-7, atol=0)
    assert not denormalize(filled).any()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_probability_0_is_the_identity(operation):
    image, heatmaps = batch((48, 64))
    view, _ = replace(operation, probability=0.0)(View(image), heatmaps, draw())
    assert torch.equal(view.image, image) and view.image is not image


@pytest.mark.parametrize("operation", OPERATIONS)
def test_ranks_share_what_the_global_batch_drops(operation):
    assert_ranks_share(operation, *batch((48, 64), count=8))


@pytest.mark.parametrize("operation", ALWAYS)
def test_a_seed_decides(operation):
    first, again, other = (dropped(operation, 8, (96, 128), seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_it_keeps_what_happens_to_the_features():
    image, heatmaps = batch((48, 64), count=4)
    mixed, _ = PoseMUM()(View(image), heatmaps, draw())
    view, _ = HideAndSeek()(mixed, heatmaps, draw())
    assert view.after_stage is mixed.after_stage


@pytest.mark.parametrize("operation", ALWAYS)
def test_sizes_grow_with_the_crop(operation):
    """The same numbers give the same picture at twice the size, but for pixels at an edge."""
    small, large = (dropped(operation, 8, size, 1) for size in ((96, 128), (192, 256)))
    if isinstance(operation, GridMask):  # whole pixels of spacing: only its share is the same
        assert small.double().mean().item() == pytest.approx(large.double().mean().item(), abs=0.05)
    else:
        assert (small != large[:, ::2, ::2]).double().mean() < 0.02


def test_rotations_turn():
    right = rotations(torch.tensor([0.0, 90.0]))
    assert torch.allclose(right, torch.tensor([[[1.0, 0], [0, 1]], [[0, -1], [1, 0]]]), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (InformationCutout, {"probability": 1.5}, "probability is 1.5; give 0 to 1"),
        (GridMask, {"fill": "white"}, "fill is 'white'; choose 'black' or 'mean'"),
        (InformationCutout, {"shape": "star"}, "shape is 'star'; choose 'ellipse' or 'square'"),
        (InformationCutout, {"radius": (0.4, 0.2)}, r"radius is \(0.4, 0.2\); give 0.001 or more, ascending"),
        (InformationCutout, {"holes": 0}, "holes is 0; give a whole number, 1 or more"),
        (InformationCutout, {"holes": 2.0}, r"holes is 2\.0; give a whole number"),
        (InformationCutout, {"holes": True}, "holes is True; give a whole number"),
        (InformationCutout, {"length": -0.1}, "length is -0.1; give 0 or more"),
        (RandomErasing, {"area": (0.1, 1.2)}, r"area is \(0.1, 1.2\); give 0 to 1, ascending"),
        (RandomErasing, {"aspect": (0, 1)}, r"aspect is \(0, 1\); give 0.001 or more, ascending"),
        (HideAndSeek, {"hide": -1}, "hide is -1; give 0 to 1"),
        (HideAndSeek, {"sizes": (16, -4)}, "sizes is"),
        (HideAndSeek, {"sizes": ()}, "sizes is too short; give one or more"),
        (HideAndSeek, {"sizes": (16,), "legacy_index": True}, "with legacy_index two or more"),
        (GridMask, {"spacing": (1.0, 0.5)}, r"spacing is \(1.0, 0.5\); give"),
        (GridMask, {"ratio": 1.1}, "ratio is 1.1; give 0 to 1"),
        (GridMask, {"rotate": 400}, "rotate is 400; give 0 to 360"),
    ],
)
def test_bad_settings_are_refused(kind, settings, message):
    with pytest.raises(SSHPEError, match=message):
        kind(**settings)


def test_a_mesh_finer_than_a_pixel_is_refused():
    with pytest.raises(SSHPEError, match=r"spacing is \(0.01, 0.02\), less than a pixel of 32"):
        dropped(GridMask(spacing=(0.01, 0.02)), 1, (32, 32))
