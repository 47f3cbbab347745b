"""Heatmaps from keypoints and back: equal to the reference, batched, within the bounds of their grid."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from sshpe_lib.codec import MSRAHeatmap, gaussian, highest_pixels
from sshpe_lib.errors import SSHPEError
from sshpe_lib.geometry import crop_matrix, invert_affine, transform_points
from tests.goldens import load

CODECS = {"256x192": MSRAHeatmap(), "384x288": MSRAHeatmap((288, 384), (72, 96), 3.0)}


@pytest.fixture(scope="module")
def decode_golden() -> dict[str, np.ndarray]:
    return load("data_decode.npz")


@pytest.fixture(scope="module")
def heatmaps(decode_golden) -> torch.Tensor:
    return torch.from_numpy(decode_golden["heatmaps"]).float()


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_encode_equals_the_reference(name, dtype):
    golden = load("data_targets.npz")
    points = torch.from_numpy(golden[f"joints_{name}"][None, :, :2]).to(dtype)
    maps, weights = CODECS[name].encode(points, torch.from_numpy(golden[f"vis_{name}"][None, :, 0]))
    expected = golden[f"hrnet_{name}_target"]
    assert maps.dtype == weights.dtype == dtype
    # A product of two exponentials against one of a sum: one unit in the last place of float32.
    np.testing.assert_allclose(maps[0].numpy(), expected, rtol=0, atol=2**-23)
    np.testing.assert_array_equal(maps[0].numpy() > 0, expected > 0)
    np.testing.assert_array_equal(weights[0].numpy(), golden[f"hrnet_{name}_weight"][:, 0])


def test_decode_equals_the_reference(decode_golden, heatmaps):
    pixels, heights = highest_pixels(heatmaps)
    np.testing.assert_array_equal(pixels.numpy(), decode_golden["max_preds"])
    np.testing.assert_array_equal(heights.numpy(), decode_golden["max_vals"][..., 0])
    to_image = np.stack(
        [
            invert_affine(crop_matrix(center, scale * 200, 0.0, (192, 256)))
            for center, scale in zip(decode_golden["center"], decode_golden["scale"], strict=True)
        ]
    )
    for refine in (False, True):
        points, scores = MSRAHeatmap().decode(heatmaps, refine=refine)
        final = transform_points(points.double().numpy(), to_image)
        # The reference maps through a matrix of float32 points.
        expected = decode_golden[f"hrnet_final_post{int(refine)}"]
        np.testing.assert_allclose(final, expected, rtol=0, atol=1e-4)
        assert torch.equal(scores, heights)


def test_encode_and_decode_return_to_the_nearest_pixel():
    codec = MSRAHeatmap()
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(8, 17, 2, generator=generator) * torch.tensor([190.0, 254.0])
    maps, weights = codec.encode(points, torch.ones(8, 17))
    decoded, scores = codec.decode(maps, refine=False)
    assert (weights == 1).all() and (scores == 1).all()
    assert (decoded - points).abs().max() <= 2  # half a stride
    assert torch.equal(decoded, 4 * (points / 4 + 0.5).floor())
    # A symmetric bell asks for no shift; one cut off by the border may, by a quarter of a stride.
    refined = codec.decode(maps)[0]
    inner = ((decoded >= 28) & (decoded <= torch.tensor([160.0, 224.0]))).all(-1)
    assert inner.any() and torch.equal(refined[inner], decoded[inner])


@pytest.mark.parametrize("sigma, radius", [(2.0, 6), (3.0, 9), (1.0, 3), (1.5, 4), (2.6, 7)])
def test_encode_cuts_off_at_three_sigma(sigma, radius):
    maps, _ = MSRAHeatmap(sigma=sigma).encode(torch.tensor([[[96.0, 128.0]]]), torch.ones(1, 1))
    ys, xs = np.mgrid[:64, :48]
    inside = (np.abs(xs - 24) <= radius) & (np.abs(ys - 32) <= radius)
    expected = np.where(inside, np.exp(-((xs - 24) ** 2 + (ys - 32) ** 2) / (2 * sigma**2)), 0)
    np.testing.assert_allclose(maps[0, 0].numpy(), expected, rtol=0, atol=2**-23)
    assert maps.max() == 1


@pytest.mark.parametrize(
    "x, y, weight",
    [
        (-1.9, 0, 1),
        (-33.9, 0, 1),  # centre -7: the reference keeps the weight of a window that just misses the map
        (-34, 0, 0),  # centre -8
        (0, -34, 0),
        (213.9, 0, 1),  # centre 53: the first column of the window is the last of the map
        (214, 0, 0),
        (0, 277.9, 1),
        (0, 278, 0),
    ],
)
def test_encode_drops_a_joint_whose_window_lies_outside(x, y, weight):
    maps, weights = MSRAHeatmap().encode(torch.tensor([[[x, y]]], dtype=torch.float64), torch.ones(1, 1))
    assert weights.item() == weight
    assert weight or not maps.any()


def test_encode_ignores_joints_without_label_wherever_they_are():
    points = torch.tensor([[[50.0, 60.0], [torch.nan, 3.0], [90.0, 20.0], [10.0, 10.0]]])
    maps, weights = MSRAHeatmap().encode(points, torch.tensor([[0, 0, 1, 2]]))
    assert weights.tolist() == [[0, 0, 1, 1]]
    assert not maps[0, :2].any() and (maps[0, 2:].amax((1, 2)) == 1).all()


def test_encode_passes_a_visible_nan_on():
    maps, _ = MSRAHeatmap().encode(torch.tensor([[[torch.nan, 60.0]]]), torch.ones(1, 1))
    assert maps.isnan().any()


def test_decode_shifts_by_a_quarter_towards_the_higher_neighbour():
    maps = torch.zeros(1, 3, 64, 48)
    maps[0, :, 30, 20] = 1.0
    maps[0, 0, 30, 21], maps[0, 0, 29, 20] = 0.5, 0.4
    maps[0, 1, 30, 19] = 0.1
    points, _ = MSRAHeatmap().decode(maps)
    assert points.tolist() == [[[81, 119], [79, 120], [80, 120]]]


@pytest.mark.parametrize(
    "x, y, moves", [(1, 30, 0), (2, 30, 1), (46, 30, 1), (47, 30, 0), (20, 1, 0), (20, 62, 1)]
)
def test_decode_shifts_in_the_interior_only(x, y, moves):
    maps = torch.zeros(1, 1, 64, 48)
    maps[0, 0, y, x] = 1.0
    maps[0, 0, y, x - 1] = 0.5
    points, _ = MSRAHeatmap().decode(maps)
    assert points[0, 0].tolist() == [4 * x - moves, 4 * y]


def test_decode_takes_the_first_of_equal_maxima_and_nothing_for_an_empty_map():
    maps = torch.full((1, 3, 64, 48), -0.5)
    maps[0, 0, 10, 40] = maps[0, 0, 11, 5] = maps[0, 0, 10, 41] = 0.7
    maps[0, 1] = maps[0, 1] * 0
    maps[0, 1:, 20, 12] += 0.25
    maps[0, 1] -= 0.25
    points, scores = MSRAHeatmap().decode(maps, refine=False)
    assert points.tolist() == [[[160, 40], [0, 0], [0, 0]]]
    assert scores.tolist() == [[pytest.approx(0.7), 0, -0.25]]


@pytest.mark.parametrize("height, width", [(64, 48), (9, 7), (16, 12), (3, 10)])
def test_highest_pixels_finds_every_maximum_at_any_size(height, width):
    maps = torch.randn(5, 3, height, width, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    pixels, heights = highest_pixels(maps)
    first = maps.flatten(2).numpy().argmax(-1)  # NumPy takes the first of equal maxima
    assert torch.equal(heights, maps.amax((2, 3)))
    np.testing.assert_array_equal(pixels.numpy(), np.stack([first % width, first // width], axis=-1))


def test_an_empty_batch_stays_empty():
    codec = MSRAHeatmap()
    maps, weights = codec.encode(torch.zeros(0, 17, 2), torch.zeros(0, 17))
    points, scores = codec.decode(maps)
    assert maps.shape == (0, 17, 64, 48) and points.shape == (0, 17, 2)
    assert weights.shape == scores.shape == (0, 17)


def test_decode_shows_a_nan_in_the_score():
    maps = torch.zeros(1, 1, 64, 48)
    maps[0, 0, 3, 3] = torch.nan
    assert MSRAHeatmap().decode(maps)[1].isnan().all()


def test_a_batch_is_its_samples(heatmaps):
    codec = MSRAHeatmap()
    points, scores = codec.decode(heatmaps)
    visible = (scores > 0.3).float()
    maps, weights = codec.encode(points, visible)
    for i in range(len(heatmaps)):
        single_points, single_scores = codec.decode(heatmaps[i : i + 1])
        single_maps, single_weights = codec.encode(points[i : i + 1], visible[i : i + 1])
        assert torch.equal(single_points[0], points[i]) and torch.equal(single_scores[0], scores[i])
        assert torch.equal(single_maps[0], maps[i]) and torch.equal(single_weights[0], weights[i])


def test_memory_layout_does_not_matter(heatmaps):
    points, scores = MSRAHeatmap().decode(heatmaps)
    others = MSRAHeatmap().decode(heatmaps.contiguous(memory_format=torch.channels_last))
    assert torch.equal(others[0], points) and torch.equal(others[1], scores)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_gives_float32_positions(heatmaps, half):
    points, scores = MSRAHeatmap().decode(heatmaps.to(half))
    maps, weights = MSRAHeatmap().encode(points.to(half), torch.ones(points.shape[:2]))
    assert points.dtype == scores.dtype == maps.dtype == weights.dtype == torch.float32
    assert torch.equal(points, MSRAHeatmap().decode(heatmaps.to(half).float())[0])


@pytest.mark.parametrize("device", ["meta", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU"))])  # fmt: skip
def test_results_stay_on_the_device_of_the_input(device):
    codec = MSRAHeatmap()
    maps, weights = codec.encode(torch.ones(2, 17, 2, device=device), torch.ones(2, 17, device=device))
    points, scores = codec.decode(maps)
    assert {t.device.type for t in (maps, weights, points, scores)} == {device}
    assert maps.shape == (2, 17, 64, 48) and points.shape == (2, 17, 2)
    assert weights.shape == scores.shape == (2, 17)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"sigma": 0}, "positive sigma; got 0"),
        ({"sigma": -1.0}, "positive sigma; got -1.0"),
        ({"sigma": float("nan")}, "positive sigma; got nan"),
        ({"heatmap_size": (0, 0)}, r"heatmap_size of \(0, 0\); give sizes of 1 pixel at least"),
        ({"input_size": (192, -256)}, r"input_size of \(192, -256\)"),
    ],
)
def test_impossible_settings_are_refused(arguments, told):
    with pytest.raises(SSHPEError, match=told):
        MSRAHeatmap(**arguments)


@pytest.mark.parametrize("shape", [(1, 17, 128, 96), (1, 17, 48, 64), (17, 64, 48), (64, 48)])
def test_heatmaps_of_another_size_are_refused(shape):
    told = re.escape(f"heatmaps have shape {shape}, and the codec reads (B, K, 64, 48)")
    with pytest.raises(SSHPEError, match=told):
        MSRAHeatmap().decode(torch.zeros(shape))


@pytest.mark.parametrize("sigma", [0.01, 0.3, 2.0])
def test_a_cpu_draws_as_any_device_to_the_last_bit(sigma, monkeypatch):
    means = torch.rand(8, 17, 2, generator=torch.Generator().manual_seed(0)) * 80 - 10
    visible = (torch.arange(17).expand(8, 17) % 4 > 0).float()
    means[0, :5], means[1, 0] = torch.nan, torch.inf
    centers = (means + 0.5).trunc()
    for peaks in (centers, means):
        found = gaussian.bells(peaks, centers, visible, (48, 64), sigma)
        with monkeypatch.context() as any_device:
            any_device.setattr(gaussian, "_cut_off_on_cpu", gaussian._cut_off)
            wanted = gaussian.bells(peaks, centers, visible, (48, 64), sigma)
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)


def test_a_scaled_codec_draws_wider():
    assert MSRAHeatmap(sigma=2.0).scaled(1.5) == MSRAHeatmap(sigma=3.0)


def test_sizes_are_width_first():
    codec = MSRAHeatmap((96, 128), (24, 16), 1.0)
    assert codec.stride == (4, 8)
    maps, _ = codec.encode(torch.tensor([[[40.0, 104.0]]]), torch.ones(1, 1))
    assert maps.shape == (1, 1, 16, 24) and maps[0, 0, 13, 10] == 1
    assert codec.decode(maps, refine=False)[0].tolist() == [[[40, 104]]]
