"""The unbiased heatmaps: equal to UDP's reference, sub-pixel exact, batched, within the bounds of their grid."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from sshpe_lib.codec import UDPHeatmap
from sshpe_lib.codec.dark import dark_refine
from sshpe_lib.codec.gaussian import blur, blur_around
from sshpe_lib.codec.peaks import highest_pixels
from sshpe_lib.errors import SSHPEError
from sshpe_lib.geometry import crop_matrix, invert_affine, transform_points
from sshpe_lib.skeleton import COCO17
from tests.goldens import load

LARGE = {"input_size": (288, 384), "heatmap_size": (72, 96)}
TARGETS = {
    "udp_gauss_256x192": UDPHeatmap(),
    "udp_gauss_384x288": UDPHeatmap(sigma=3.0, **LARGE),
    "udp_offset35_256x192": UDPHeatmap(target="offset", radius=3.5),
    "udp_offset40_256x192": UDPHeatmap(target="offset", radius=4.0),
    "udp_offset35_384x288": UDPHeatmap(target="offset", radius=3.5, **LARGE),
    "udp_offset525_384x288": UDPHeatmap(target="offset", radius=5.25, **LARGE),
    "mmpose_combined_256x192": UDPHeatmap(target="offset"),
    "mmpose_combined_384x288": UDPHeatmap(target="offset", **LARGE),
}
BOTH = [UDPHeatmap(), UDPHeatmap(target="offset")]


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load("data_decode.npz")


@pytest.fixture(scope="module")
def heatmaps(golden) -> torch.Tensor:
    """With a positive map where the original is -0.01 everywhere, as DARK's reference was run."""
    maps = torch.from_numpy(golden["heatmaps"]).float()
    maps[1, 16] = maps[1, 15] * 0.5
    return maps


def image_points(points: torch.Tensor, golden: dict[str, np.ndarray]) -> np.ndarray:
    """Points of crops of 192x256 in the golden's images."""
    boxes = zip(golden["center"], golden["scale"], strict=True)
    back = [invert_affine(crop_matrix(c, s * 200, 0.0, (192, 256), unbiased=True)) for c, s in boxes]
    return transform_points(points.double().numpy(), np.stack(back))


# --- encode -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_encode_equals_the_reference(name, dtype):
    golden, codec = load("data_targets.npz"), TARGETS[name]
    size = name.split("_")[-1]
    points = torch.from_numpy(golden[f"joints_{size}"][None, :, :2]).to(dtype)
    maps, weights = codec.encode(points, torch.from_numpy(golden[f"vis_{size}"][None, :, 0]))
    expected = golden[f"{name}_target"]
    assert maps.dtype == weights.dtype == dtype
    assert maps[0].shape == expected.shape == (codec.channels(17), *codec.heatmap_size[::-1])
    found = maps[0].numpy()
    if dtype == torch.float32 and codec.target == "offset":
        # The reference works in float64 and rounds at the end: a pixel on the rim of a disc may differ.
        ys, xs = np.mgrid[: found.shape[1], : found.shape[2]]
        means = golden[f"joints_{size}"][:, :2] / codec.stride
        rim = (
            np.abs(np.hypot(xs - means[:, 0, None, None], ys - means[:, 1, None, None]) - codec.reach) < 1e-4
        )
        assert rim.sum() < 10
        found = np.where(rim.repeat(3, axis=0), expected, found)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    heats = slice(None, None, codec.channels(1))  # an offset inside a disc may be 0, or nearly
    np.testing.assert_array_equal(found[heats] > 0, expected[heats] > 0)
    np.testing.assert_array_equal(weights[0].numpy(), golden[f"{name}_weight"][:, 0])


def test_the_radius_follows_the_height_of_the_heatmap():
    assert UDPHeatmap(target="offset").reach == 3.5
    assert UDPHeatmap(target="offset", **LARGE).reach == 5.25


@pytest.mark.parametrize("codec", BOTH)
def test_unlabelled_joints_are_empty_wherever_they_are(codec):
    points = torch.tensor([[[50.0, 60.0], [torch.nan, 3.0], [90.0, 20.0], [1e6, -1e6]]])
    maps, weights = codec.encode(points, torch.tensor([[0, 0, 1, 0]]))
    assert weights.tolist() == [[0, 0, 1, 0]]
    per_joint = maps.unflatten(1, (4, -1)).abs().sum((2, 3, 4))[0]
    assert per_joint[2] > 0 and not per_joint[[0, 1, 3]].any()


@pytest.mark.parametrize("codec", BOTH)
def test_encode_passes_a_visible_nan_on(codec):
    maps, _ = codec.encode(torch.tensor([[[torch.nan, 60.0]]]), torch.ones(1, 1))
    assert maps.isnan().any()


@pytest.mark.parametrize("x, y", [(0.0, 0.0), (191.0, 255.0), (-9.0, 100.0), (300.0, 300.0), (100.3, 255.9)])
def test_a_disc_holds_the_way_to_the_joint_and_ends_at_the_radius_and_the_frame(x, y):
    codec = UDPHeatmap(target="offset")
    maps, weights = codec.encode(torch.tensor([[[x, y]]], dtype=torch.float64), torch.ones(1, 1))
    mean = np.array([x, y]) / codec.stride
    ys, xs = np.mgrid[:64, :48]
    dx, dy = (mean[0] - xs) / 3.5, (mean[1] - ys) / 3.5
    inside = dx**2 + dy**2 <= 1
    np.testing.assert_allclose(maps[0], np.stack([inside, dx * inside, dy * inside]), atol=1e-12)
    assert weights.item() == 1  # an empty map teaches that the joint is not seen


# --- decode -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refine", [False, True])
def test_gaussian_decode_equals_the_reference(golden, heatmaps, refine):
    points, scores = UDPHeatmap(rescale=True).decode(heatmaps, refine=refine)
    name = f"udp_gauss_{{}}_post{int(refine)}"
    np.testing.assert_allclose(points, golden[name.format("input")], rtol=0, atol=2e-3)
    np.testing.assert_allclose(scores, golden[name.format("maxvals")][..., 0], rtol=0, atol=1e-7)
    np.testing.assert_allclose(image_points(points, golden), golden[name.format("final")], rtol=0, atol=2e-3)


@pytest.mark.parametrize("radius", [3.5, 4.0])
def test_offset_decode_equals_the_reference(golden, radius):
    maps = torch.from_numpy(golden["offset_maps"]).float()
    points, scores = UDPHeatmap(target="offset", radius=radius).decode(maps)
    name = f"udp_offset{round(10 * radius)}_{{}}"
    np.testing.assert_allclose(points, golden[name.format("input")], rtol=0, atol=1e-3)
    np.testing.assert_allclose(scores, golden[name.format("maxvals")][..., 0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(image_points(points, golden), golden[name.format("final")], rtol=0, atol=1e-3)


@pytest.mark.parametrize("kernel", [3, 7, 11, 13])
def test_dark_without_rescaling_equals_the_later_reference(golden, heatmaps, kernel):
    pixels, _ = highest_pixels(heatmaps)
    refined = dark_refine(pixels, heatmaps, kernel, rescale=False)
    points = torch.stack([refined[..., axis] * UDPHeatmap().stride[axis] for axis in (0, 1)], -1)
    expected = golden[f"mmpose_udp_gauss_k{kernel}"]
    # It adds an epsilon to the Hessian's diagonal, for maps that have no peak to find.
    np.testing.assert_allclose(image_points(points, golden), expected, rtol=0, atol=2e-2)


def test_offset_decode_equals_the_later_reference(golden):
    points, _ = UDPHeatmap(target="offset").decode(torch.from_numpy(golden["offset_maps"]).float())
    np.testing.assert_allclose(image_points(points, golden), golden["mmpose_udp_comb_k7"], rtol=0, atol=1e-3)


def test_maps_are_not_stretched_before_dark_unless_asked(heatmaps):
    plain, stretched = (UDPHeatmap(rescale=rescale).decode(heatmaps)[0] for rescale in (False, True))
    assert torch.equal(UDPHeatmap().decode(heatmaps)[0], plain) and not torch.equal(plain, stretched)


def test_dark_reads_heights_from_a_thousandth_to_fifty():
    heat = torch.tensor([[0.0, 1e-6, 0.2], [0.01, 60.0, 0.5], [0.0, 0.4, 7.0]])[None, None]
    pixel = torch.ones(1, 1, 2)
    whole, cut, higher, lower = (
        dark_refine(pixel, heights, kernel=1)
        for heights in (heat, heat.clamp(0.001, 50.0), heat.clamp(min=0.0011), heat.clamp(max=49.0))
    )
    assert torch.equal(whole, cut)
    assert not torch.equal(whole, higher) and not torch.equal(whole, lower)


def test_dark_refines_many_people_on_the_maps_of_one_image(golden):
    pixels, maps = torch.from_numpy(golden["bu_coords"]).float(), torch.from_numpy(golden["bu_heat"]).float()
    refined = dark_refine(pixels, maps, kernel=3, rescale=False).numpy()
    expected = golden["bu_post_dark_udp_k3"]
    # Many of these points are far from a peak: there the Hessian is nearly singular, steps are long, and the
    # reference's epsilon on its diagonal shows.
    short = np.abs(expected - golden["bu_coords"]).max(-1) <= 2
    assert short.sum() > 50
    np.testing.assert_allclose(refined[short], expected[short], rtol=0, atol=2e-3)


@pytest.mark.parametrize("codec", BOTH)
def test_encode_and_decode_return_to_the_point(codec):
    generator = torch.Generator().manual_seed(0)
    points = 24 + torch.rand(8, 17, 2, generator=generator) * torch.tensor([143.0, 207.0])
    maps, weights = codec.encode(points, torch.ones(8, 17))
    decoded, scores = codec.decode(maps)
    assert (weights == 1).all() and (scores > 0.5).all()
    # a window of the blur that leaves the disc averages zeros too: a quarter of a heatmap's pixel at most
    limit = {"gaussian": 0.1, "offset": 1.0}[codec.target]
    assert (decoded - points).abs().max() < limit
    unrefined = codec.decode(maps, refine=False)[0]
    assert (unrefined - points).abs().max() > 1.5


def test_more_joints_and_samples_than_the_reference_takes(heatmaps):
    """Its blur stops at OpenCV's limit of channels, 128 or 512 maps in one call."""
    many = heatmaps.repeat(20, 1, 1, 1)
    points, scores = UDPHeatmap().decode(many)
    assert points.shape == (40, 17, 2) and scores.shape == (40, 17)
    torch.testing.assert_close(points[:2], points[-2:], rtol=0, atol=0)


@pytest.mark.parametrize("codec", BOTH)
def test_a_batch_is_its_samples(codec, golden):
    maps = torch.from_numpy(golden["offset_maps"]).float()[:, : codec.channels(17)]
    points, scores = codec.decode(maps)
    for index in range(len(maps)):
        alone, score = codec.decode(maps[index : index + 1])
        torch.testing.assert_close(alone[0], points[index], rtol=0, atol=1e-4)
        torch.testing.assert_close(score[0], scores[index], rtol=0, atol=1e-6)


@pytest.mark.parametrize("codec", BOTH)
def test_an_empty_map_is_no_joint_and_an_empty_batch_stays_empty(codec):
    points, scores = codec.decode(torch.zeros(1, codec.channels(2), 64, 48))
    assert not points.any() and not scores.any()
    points, scores = codec.decode(torch.zeros(0, codec.channels(2), 64, 48))
    assert points.shape == (0, 2, 2) and scores.shape == (0, 2)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("codec", BOTH)
def test_half_precision_gives_float32_positions(codec, half):
    maps, _ = codec.encode(torch.tensor([[[100.0, 50.0]]]), torch.ones(1, 1))
    points, scores = codec.decode(maps.to(half))
    assert points.dtype == scores.dtype == torch.float32
    torch.testing.assert_close(points[0, 0], torch.tensor([100.0, 50.0]), rtol=0, atol=0.5)


# --- flip ---------------------------------------------------------------------------------------------------


def test_flips_equal_the_reference():
    golden = load("data_geometry.npz")
    flipped = UDPHeatmap().flip(torch.from_numpy(golden["flip_hm"]), COCO17.flip_order)
    np.testing.assert_array_equal(flipped, golden["flip_back"])
    flipped = UDPHeatmap(target="offset").flip(torch.from_numpy(golden["flip_ho"]), COCO17.flip_order)
    np.testing.assert_array_equal(flipped, golden["flip_back_offset"])


@pytest.mark.parametrize("codec", BOTH)
def test_the_flip_is_an_involution_and_that_of_the_points(codec):
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(2, 17, 2, generator=generator, dtype=torch.float64) * torch.tensor([191.0, 255.0])
    maps, _ = codec.encode(points, torch.ones(2, 17))
    flipped = codec.flip(maps, COCO17.flip_order)
    assert torch.equal(codec.flip(flipped, COCO17.flip_order), maps)
    mirrored = torch.stack([191 - points[..., 0], points[..., 1]], -1)[:, list(COCO17.flip_order)]
    torch.testing.assert_close(flipped, codec.encode(mirrored, torch.ones(2, 17))[0], rtol=0, atol=1e-9)


# --- settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", BOTH)
def test_a_scaled_codec_draws_wider_and_reads_the_same_frame(codec):
    wide = codec.scaled(2.0)
    assert (wide.sigma, wide.reach, wide.stride) == (2 * codec.sigma, 2 * codec.reach, codec.stride)
    point = torch.tensor([[[96.0, 128.0]]])
    areas = [(c.encode(point, torch.ones(1, 1))[0][0, 0] > 0).sum().item() for c in (codec, wide)]
    assert 3 < areas[1] / areas[0] < 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"target": "disc"}, "no target 'disc'"),
        ({"heatmap_size": (1, 64)}, "2 pixels at least"),
        ({"kernel": 8}, "odd kernel"),
        ({"kernel": 0}, "odd kernel"),
        ({"sigma": 0.0}, "positive sigma"),
        ({"radius": -1.0}, "positive sigma and radius"),
    ],
)
def test_impossible_settings_are_refused(arguments, told):
    with pytest.raises(SSHPEError, match=told):
        UDPHeatmap(**arguments)


@pytest.mark.parametrize("codec", BOTH)
def test_heatmaps_of_another_size_are_refused(codec):
    channels = codec.channels(17)
    for shape in ((1, channels, 128, 96), (1, channels, 48, 64), (channels, 64, 48)):
        with pytest.raises(
            SSHPEError, match=re.escape(f"heatmaps have shape {shape}, and the codec reads (B, ")
        ):
            codec.decode(torch.zeros(shape))


def test_offsets_come_in_threes():
    with pytest.raises(SSHPEError, match=r"reads \(B, 3 K, 64, 48\)"):
        UDPHeatmap(target="offset").decode(torch.zeros(1, 17, 64, 48))


# --- reading a part of a blurred map ------------------------------------------------------------------------


@pytest.mark.parametrize("around", [0, 1, 2])
def test_blurring_around_a_pixel_is_reading_the_blurred_map(around):
    maps = torch.rand(3, 2, 4, 20, 16, generator=torch.Generator().manual_seed(0))
    pixels = torch.tensor([[[8, 10], [5, 3]], [[2, 2], [13, 17]], [[4, 12], [9, 9]]])
    found = blur_around(maps, pixels, 7, around)
    blurred = blur(maps.flatten(0, 1), 7).view_as(maps)
    for person in range(3):
        for joint in range(2):
            x, y = pixels[person, joint].tolist()
            part = blurred[person, joint, :, y - around : y + around + 1, x - around : x + around + 1]
            torch.testing.assert_close(found[person, joint], part.flatten(1))
