"""The highest pixel of a map, and of a blurred one without blurring most of it."""

from __future__ import annotations

import pytest
import torch

from sshpe_lib.codec import peaks
from sshpe_lib.codec.gaussian import blur, blur_by_matrices
from sshpe_lib.codec.peaks import first_highest, highest_blurred_pixels, highest_pixels


def discs(height, width, radius, *places):
    """One map with discs of (x, y, heat)."""
    y, x = torch.arange(height)[:, None], torch.arange(width)
    drawn = [heat * ((x - a) ** 2 + (y - b) ** 2 <= radius**2) for a, b, heat in places]
    return torch.stack(drawn).amax(dim=0).float()


def check(maps, kernel):
    """`maps`: (B, K, H, W); beside them lie two channels that must not be read."""
    beside = torch.stack([maps, torch.full_like(maps, torch.nan), torch.full_like(maps, torch.inf)], dim=2)
    pixels, heights = highest_blurred_pixels(beside, kernel)
    wanted, tops = highest_pixels(blur(maps, kernel))
    assert torch.equal(pixels, wanted)
    torch.testing.assert_close(heights, tops, rtol=1e-5, atol=0, equal_nan=True)


@pytest.mark.parametrize("kernel", [1, 3, 7, 15])
@pytest.mark.parametrize("height, width", [(64, 48), (31, 17), (6, 33), (1, 9), (2, 2)])
def test_noise_has_its_peak_anywhere(height, width, kernel):
    noise = torch.randn(3, 5, height, width, generator=torch.Generator().manual_seed(height + kernel))
    check(noise, kernel)
    check(noise.abs(), kernel)


@pytest.mark.parametrize(
    "places",
    [
        [(24, 30, 1.0)],
        [(0, 0, 1.0)],
        [(47, 63, 0.3)],
        [(10, 10, 0.70), (30, 50, 0.71)],  # a rival far away
        [(10, 30, 0.9), (40, 31, 1.0)],  # in the same rows
        [(10, 30, 0.9), (16, 33, 0.8), (40, 60, 0.5)],
        [(24, 5, -1.0)],
    ],
)
def test_discs_and_their_rivals(places):
    noise = 0.02 * torch.rand(64, 48, generator=torch.Generator().manual_seed(0))
    check((discs(64, 48, 3.5, *places) + noise)[None, None], 15)


def test_no_map_with_one_peak_is_blurred_whole(monkeypatch):
    maps = torch.stack([discs(64, 48, 3.5, (x, y, 1.0)) for x in range(0, 48, 5) for y in range(0, 64, 7)])
    whole = highest_pixels(blur(maps[None], 15))
    monkeypatch.setattr(peaks, "blur", lambda *_: pytest.fail("a whole map is blurred"))
    found = highest_blurred_pixels(maps[None, :, None], 15)
    assert torch.equal(found[0], whole[0])


def test_a_long_ridge_beats_a_higher_point_far_away():
    maps = torch.zeros(1, 1, 41, 48)
    maps[..., 3:8, :], maps[..., 3:8, 24], maps[..., 30:35, :] = 1.0, 1.08, 1.03
    check(maps, 15)
    assert highest_blurred_pixels(maps[:, :, None], 15)[0][..., 1] == 32


def test_a_rival_that_is_hardly_higher_beats_a_row_whose_limit_is_higher():
    """A spike raises its row's limit more than its height; the other ridge, a bit higher, is as high as its limit."""
    maps = torch.zeros(1, 1, 64, 48)
    maps[..., 40:42, :], maps[..., 40:42, 5] = 1.0, 1.2
    height = blur(maps, 3).amax()
    maps[..., 10:12, :] = 1.0
    maps[..., 10:12, :] *= 1.0005 * height / blur(maps, 3)[0, 0, 10, 30]  # 0.05% is far above rounding
    check(maps, 3)
    assert highest_blurred_pixels(maps[:, :, None], 3)[0][..., 1] < 12


def test_a_map_without_a_height_above_zero_has_its_peak_at_the_origin():
    maps = -0.1 - torch.rand(1, 2, 16, 12, generator=torch.Generator().manual_seed(0))
    maps[0, 1] = 0
    assert not highest_pixels(maps)[0].any()
    assert not highest_blurred_pixels(maps[:, :, None], 15)[0].any()


def test_a_nan_wins_and_an_empty_map_has_no_peak():
    maps = torch.zeros(1, 3, 64, 48)
    maps[0, 1, 40, 20] = torch.nan
    maps[0, 2] = discs(64, 48, 3.5, (9, 9, 1.0))
    pixels, heights = highest_blurred_pixels(maps[:, :, None], 15)
    assert heights[0, 1].isnan() and pixels[0, 0].tolist() == [0, 0] and heights[0, 0] == 0
    assert pixels[0, 2].tolist() == [9, 9]


@pytest.mark.parametrize("length", [1, 2, 95, 97, 192, 3072, 6912, 7 * 13])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_first_of_the_highest_is_found_on_a_cpu_as_elsewhere(length, dtype):
    generator = torch.Generator().manual_seed(length)
    few = torch.randint(-3, 3, (3, 5, length), generator=generator).to(dtype)  # each value many times
    noise = torch.randn(3, 5, length, generator=generator).to(dtype)
    broken = noise.clone()
    broken[0, 0, -1], broken[0, 1, length // 2], broken[0, 2] = torch.nan, torch.inf, torch.nan
    broken[1, 0], broken[1, 1] = -torch.inf, 0
    for numbers in (few, noise, broken):
        found = first_highest(numbers)
        assert torch.equal(found, numbers.argmax(-1)) and found.dtype == torch.long
        for row, place in zip(numbers.flatten(0, 1), found.flatten().tolist(), strict=True):
            highest = row.isnan() if row.isnan().any() else row == row.max()
            assert highest[place] and not highest[:place].any()


@pytest.mark.parametrize("kernel", [1, 3, 7, 15])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("height, width", [(64, 48), (5, 3), (1, 9), (1, 1)])
def test_the_blur_of_a_cpu_is_the_product_of_matrices(height, width, dtype, kernel):
    maps = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(kernel)).to(dtype)
    kept = maps.clone()
    for laid in (maps, maps.contiguous(memory_format=torch.channels_last)):
        blurred = blur(laid, kernel)
        torch.testing.assert_close(blurred, blur_by_matrices(maps, kernel))
        assert torch.equal(maps, kept)
