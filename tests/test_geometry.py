"""Boxes, affine maps, warps and flips: equal to the reference, and consistent with each other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from sshpe_lib.codec import MSRAHeatmap, UDPHeatmap
from sshpe_lib.errors import SSHPEError
from sshpe_lib.geometry import (
    box_to_center_size,
    crop_matrix,
    flip_heatmaps,
    flip_images,
    from_reduced,
    half_body,
    invert_affine,
    reduction,
    scale_matrix,
    transform_points,
    warp,
    warp_batch,
)
from sshpe_lib.skeleton import COCO17, CROWDPOSE14
from tests.goldens import load

OUTPUTS = {"256x192": (192, 256), "384x288": (288, 384)}
# The reference computes boxes in float32: half a unit in the last place of a number below 512 px.
FLOAT32_PX = 2**-15


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load("data_geometry.npz")


def three_point_affine(center, size, rotation, output, dtype):
    """The reference's way: three pairs of points, in `dtype`, and a solver."""
    radians = np.pi * rotation / 180
    source, target = np.zeros((3, 2), dtype), np.zeros((3, 2), dtype)
    half = size[0] * -0.5
    direction = np.array([-half * np.sin(radians), half * np.cos(radians)])
    source[0], source[1] = center, center + direction
    target[0] = np.array(output) * 0.5
    target[1] = target[0] + np.array([0, output[0] * -0.5], dtype)
    for points in (source, target):
        away = points[0] - points[1]
        points[2] = points[1] + np.array([-away[1], away[0]], dtype)
    return np.linalg.solve(
        np.column_stack([source, np.ones(3)]).astype(np.float64), target.astype(np.float64)
    ).T


def random_matrices(count: int, generator: np.random.Generator) -> np.ndarray:
    boxes = generator.uniform([50, 60, 80, 90], [300, 200, 200, 260], (count, 4))
    angles = generator.uniform(-180, 180, count)
    return np.stack(
        [crop_matrix(box[:2], box[2:], angle, (192, 256)) for box, angle in zip(boxes, angles, strict=True)]
    )


def jittered_matrices(count: int, generator: np.random.Generator) -> np.ndarray:
    """Crop to crop: scales 0.75 to 1.25, angles up to 60 degrees, shifts up to 9 px."""
    scales, angles = generator.uniform(0.75, 1.25, count), generator.uniform(-60, 60, count)
    centers = np.array([96, 128]) + generator.uniform(-9, 9, (count, 2))
    parts = zip(centers, scales, angles, strict=True)
    return np.stack(
        [crop_matrix(c, np.array([192 * s, 256 * s]), angle, (192, 256)) for c, s, angle in parts]
    )


# --- boxes ------------------------------------------------------------------------------------------------


def test_box_to_center_size_equals_the_reference(golden):
    center, size = box_to_center_size(golden["boxes"], 0.75)
    np.testing.assert_allclose(center, golden["box_center"], rtol=0, atol=FLOAT32_PX)
    np.testing.assert_allclose(size / 200, golden["box_scale"], rtol=2**-23)


def test_box_to_center_size_contains_the_box_and_has_the_aspect():
    boxes = np.random.default_rng(0).uniform(1, 200, (50, 4))
    center, size = box_to_center_size(boxes, 0.75, padding=1.0)
    np.testing.assert_allclose(size[:, 0] / size[:, 1], 0.75, rtol=1e-12)
    assert (size >= boxes[:, 2:] * (1 - 1e-12)).all()
    assert np.isclose(size, boxes[:, 2:]).any(axis=1).all()  # only one side grows
    np.testing.assert_array_equal(center, boxes[:, :2] + boxes[:, 2:] / 2)
    np.testing.assert_allclose(box_to_center_size(boxes, 0.75)[1], size * 1.25, rtol=1e-12)


def test_a_box_grows_to_the_shape_of_a_wide_crop_too():
    _, size = box_to_center_size(np.array([[10.0, 20, 100, 100], [0, 0, 400, 100]]), 2.0)
    np.testing.assert_allclose(size, [[250, 125], [500, 250]])


@pytest.mark.parametrize("case", range(10))
def test_half_body_equals_the_reference(golden, case):
    keypoints = np.column_stack([golden["hb_J"][case][:, :2], golden["hb_V"][case][:, 0]])
    upper = np.random.RandomState(case).randn() < 0.5
    center, size = half_body(keypoints, COCO17, upper, 0.75)
    np.testing.assert_allclose(center, golden["hb_center_scale"][case, :2], rtol=0, atol=FLOAT32_PX)
    np.testing.assert_allclose(size / 200, golden["hb_center_scale"][case, 2:], rtol=2**-22)


def test_half_body_falls_back_to_the_other_half():
    keypoints = np.random.default_rng(1).uniform(10, 100, (17, 3))
    for visible, upper, expected in (
        ([0, 1, 2, 11, 12], True, [0, 1, 2]),
        ([0, 1, 2, 11, 12], False, [0, 1, 2]),  # two lower joints are too few
        ([0, 1, 11, 12, 13], True, [11, 12, 13]),
        ([0, 1, 11, 12], True, [0, 1]),
    ):
        keypoints[:, 2] = np.isin(np.arange(17), visible)
        center, _ = half_body(keypoints, COCO17, upper, 0.75)
        np.testing.assert_allclose(center, keypoints[expected, :2].mean(0))
    keypoints[:, 2] = np.arange(17) == 3
    assert half_body(keypoints, COCO17, True, 0.75) is None


def test_half_a_body_on_one_point_is_none():
    """Its box would have no size, and could not be cropped."""
    keypoints = np.tile([50.0, 60.0, 2.0], (17, 1))
    assert half_body(keypoints, COCO17, True, 0.75) is None
    keypoints[0, 1] = 61
    assert half_body(keypoints, COCO17, True, 0.75) is not None


# --- affine maps of points --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("case", range(12))
def test_crop_matrix_equals_the_reference(golden, name, case):
    center, size, rotation = golden["center"][case], golden["scale"][case] * 200, float(golden["rot"][case])
    output, forward = OUTPUTS[name], golden[f"hrnet_fwd_{name}"][case]
    matrix = crop_matrix(center, size, rotation, output)
    # The closed form is the three-point affine; what is left is that the reference rounds its points.
    rounded = three_point_affine(center, size, rotation, output, np.float32)
    np.testing.assert_allclose(rounded, forward, rtol=0, atol=1e-9)
    exact = three_point_affine(center.astype(float), size.astype(float), rotation, output, np.float64)
    np.testing.assert_allclose(matrix, exact, rtol=0, atol=1e-9)
    np.testing.assert_allclose(matrix[:, :2], forward[:, :2], rtol=0, atol=1e-6)
    np.testing.assert_allclose(matrix, forward, rtol=0, atol=5e-4)
    np.testing.assert_allclose(invert_affine(matrix), golden[f"hrnet_inv_{name}"][case], rtol=0, atol=5e-4)
    joints = transform_points(golden["joints"][case], matrix)
    np.testing.assert_allclose(joints, golden[f"hrnet_joints_{name}"][case], rtol=0, atol=5e-4)


def test_mapping_a_heatmap_back_equals_the_reference(golden):
    for case in range(12):
        matrix = crop_matrix(golden["center"][case], golden["scale"][case] * 200, 0.0, (48, 64))
        points = transform_points(golden["heat_coords"][case], invert_affine(matrix))
        np.testing.assert_allclose(points, golden["hrnet_transform_preds"][case], rtol=0, atol=5e-4)


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("case", range(12))
def test_the_unbiased_crop_equals_udps(golden, name, case):
    center, size, rotation = golden["center"][case], golden["scale"][case] * 200, float(golden["rot"][case])
    matrix = crop_matrix(center, size, rotation, OUTPUTS[name], unbiased=True)
    # Its matrices and points are of float32, in images of hundreds of pixels.
    np.testing.assert_allclose(matrix, golden[f"mmpose_fwd_{name}"][case], rtol=1e-5, atol=1e-4)
    inverse = golden[f"udp_inv_{name}"][case]
    np.testing.assert_allclose(invert_affine(matrix), inverse, rtol=1e-5, atol=1e-3)
    joints = transform_points(golden["joints"][case], matrix)
    for reference in ("udp", "mmpose"):
        np.testing.assert_allclose(joints, golden[f"{reference}_joints_{name}"][case], rtol=0, atol=1e-3)


def test_mapping_an_unbiased_heatmap_back_equals_udps(golden):
    for case in range(12):
        size = golden["scale"][case] * 200
        matrix = crop_matrix(golden["center"][case], size, 0.0, (48, 64), unbiased=True)
        points = transform_points(golden["heat_coords"][case], invert_affine(matrix))
        np.testing.assert_allclose(points, golden["udp_transform_preds"][case], rtol=0, atol=5e-4)


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("place, side", list(enumerate((128, 256, 512))))
def test_the_crop_of_a_whole_image_equals_the_references(golden, case, place, side):
    """Bottom-up training crops squares, with maps of other formulas that come to the same."""
    center, size = golden["bu_center"][case], np.full(2, golden["bu_scale"][case] * 200)
    plain, unbiased = (
        crop_matrix(center, size, golden["bu_rot"][case], (side, side), u) for u in (False, True)
    )
    np.testing.assert_allclose(plain, golden["bu_orig"][case, place], rtol=0, atol=1e-9)
    np.testing.assert_allclose(unbiased, golden["bu_udp"][case, place], rtol=0, atol=1e-4)


@pytest.mark.parametrize("output", OUTPUTS.values())
def test_the_unbiased_crop_goes_from_the_first_to_the_last_pixel(output):
    center, size = np.array([150.0, 90.0]), np.array([60.0, 80.0])
    matrix = crop_matrix(center, size, 0.0, output, unbiased=True)
    corners = np.array([center - size / 2, center + size / 2])
    np.testing.assert_allclose(transform_points(corners, matrix), [[0, 0], np.array(output) - 1], atol=1e-9)


def test_the_unbiased_crop_mirrors_onto_itself():
    """What HRNet's crop misses by a pixel: mirroring the image, then cropping, is cropping, then mirroring."""
    width, center, size = 320, np.array([150.0, 90.0]), np.array([60.0, 80.0])
    points = np.random.default_rng(0).uniform(100, 200, (17, 2))
    mirrored = np.array([width - 1, 0]) + points * [-1, 1]
    mirrored_center = np.array([width - 1 - center[0], center[1]])
    for unbiased, shift in ((True, 0.0), (False, 1.0)):
        straight = transform_points(points, crop_matrix(center, size, 0.0, (192, 256), unbiased))
        other = transform_points(mirrored, crop_matrix(mirrored_center, size, 0.0, (192, 256), unbiased))
        np.testing.assert_allclose(191 - other[:, 0], straight[:, 0] - shift, atol=1e-9)


def test_crop_matrix_shows_the_box_upright():
    matrix = crop_matrix(np.array([100.0, 80.0]), np.array([90.0, 120.0]), 0.0, (192, 256))
    corners = np.array([[55.0, 20.0], [145.0, 140.0], [100.0, 80.0]])
    np.testing.assert_allclose(transform_points(corners, matrix), [[0, 0], [192, 256], [96, 128]], atol=1e-12)


def test_crop_matrix_turns_the_content_anticlockwise():
    matrix = crop_matrix(np.zeros(2), np.array([192.0, 256.0]), 90.0, (192, 256))
    np.testing.assert_allclose(transform_points(np.array([10.0, 0.0]), matrix), [96, 118], atol=1e-12)


@pytest.mark.parametrize("center, width", [((1.0, 2.0), 0.0), ((np.nan, 2.0), 5.0), ((1.0, 2.0), np.nan)])
def test_crop_matrix_refuses_an_impossible_box(center, width):
    with pytest.raises(SSHPEError, match="width must be positive"):
        crop_matrix(np.array(center), np.array([width, 10.0]), 0.0, (192, 256))


def test_invert_affine_is_an_involution_and_takes_points_back():
    generator = np.random.default_rng(2)
    matrices = random_matrices(20, generator)
    points = generator.uniform(-50, 500, (20, 17, 2))
    np.testing.assert_allclose(invert_affine(invert_affine(matrices)), matrices, rtol=1e-12, atol=1e-9)
    back = transform_points(transform_points(points, matrices), invert_affine(matrices))
    np.testing.assert_allclose(back, points, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 3)), np.full((2, 3), np.nan), np.array([[1.0, 2, 0], [2, 4, 0]])]
)
def test_invert_affine_refuses_a_singular_matrix(bad):
    with pytest.raises(SSHPEError, match="has no inverse"):
        invert_affine(bad)


def test_points_and_matrices_take_numpy_and_torch_single_and_batch_alike():
    generator = np.random.default_rng(3)
    matrices, points = random_matrices(4, generator), generator.uniform(0, 200, (4, 17, 2))
    mapped, inverse = transform_points(points, matrices), invert_affine(matrices)
    scaled = scale_matrix(matrices, 0.25, 0.5)
    for i in range(4):
        np.testing.assert_array_equal(transform_points(points[i], matrices[i]), mapped[i])
        np.testing.assert_array_equal(transform_points(points[i, 5], matrices[i]), mapped[i, 5])
        np.testing.assert_array_equal(invert_affine(matrices[i]), inverse[i])
        np.testing.assert_array_equal(scale_matrix(matrices[i], 0.25, 0.5), scaled[i])
    as_tensors = torch.from_numpy(points), torch.from_numpy(matrices)
    for ours, expected in (
        (transform_points(*as_tensors), mapped),
        (invert_affine(as_tensors[1]), inverse),
        (scale_matrix(as_tensors[1], 0.25, 0.5), scaled),
    ):
        assert ours.dtype == torch.float64
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-12, atol=1e-9)


def test_scale_matrix_moves_heatmap_points_as_image_points():
    generator = np.random.default_rng(4)
    matrices, points = random_matrices(5, generator), generator.uniform(0, 200, (5, 17, 2))
    scale = np.array([0.25, 0.5])
    direct = transform_points(points, matrices) * scale
    np.testing.assert_allclose(
        transform_points(points * scale, scale_matrix(matrices, *scale)), direct, atol=1e-9
    )
    np.testing.assert_allclose(scale_matrix(scale_matrix(matrices, 0.25, 0.5), 4, 2), matrices, rtol=1e-12)


# --- affine maps of images --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", range(3))
def test_warp_equals_the_reference(case):
    golden = load("data_warp.npz")
    center_x, center_y, scale_x, scale_y, rotation = golden[f"csr{case}"].astype(float)
    matrix = crop_matrix(
        np.array([center_x, center_y]), np.array([scale_x, scale_y]) * 200, rotation, (192, 256)
    )
    crop = warp(golden["image"], matrix, (192, 256))
    assert crop.shape == (256, 192, 3) and crop.dtype == np.uint8
    # Equal where this was written; OpenCV's vector code may round a rare tie otherwise on another processor.
    difference = np.abs(crop[::3, ::3].astype(int) - golden[f"hrnet{case}"])
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("reference", ["udp", "mmpose"])
def test_the_unbiased_warp_equals_udps(reference, case):
    golden = load("data_warp.npz")
    center_x, center_y, scale_x, scale_y, rotation = golden[f"csr{case}"].astype(float)
    size = np.array([scale_x, scale_y]) * 200
    matrix = crop_matrix(np.array([center_x, center_y]), size, rotation, (192, 256), unbiased=True)
    crop = warp(golden["image"], matrix, (192, 256))
    difference = np.abs(crop[::3, ::3].astype(int) - golden[f"{reference}{case}"])
    # One of the two inverts the matrix on the way; 32nds of a pixel decide some roundings.
    assert difference.max() <= 2 and (difference > 1).mean() < 1e-3


@pytest.mark.parametrize("times", [1, 2, 4, 8])
def test_a_pixel_of_a_reduced_image_stands_in_the_middle_of_its_block(times):
    middle = np.arange(times).mean()
    expected = np.array([3 * times + middle, 5 * times + middle, 1])
    np.testing.assert_array_equal(from_reduced(times) @ [3, 5, 1], expected)


@pytest.mark.parametrize(("scale", "times"), [(1.0, 1), (0.51, 1), (0.5, 2), (0.26, 2), (0.25, 4), (0.1, 8)])
def test_an_image_is_reduced_to_no_less_than_a_pixel_for_every_one_of_its_crop(scale, times):
    assert reduction(np.array([[scale, 0, 7], [0, scale, 9]])) == times


def test_a_point_moves_with_the_image_it_is_drawn_on():
    image, point = np.zeros((240, 320, 3), np.uint8), np.array([150.0, 110.0])
    cv2.circle(image, (150, 110), 6, (255, 255, 255), -1)
    matrix = crop_matrix(np.array([160.0, 120.0]), np.array([120.0, 160.0]), 35.0, (192, 256))
    crop = warp(image, matrix, (192, 256))[..., 0].astype(float)
    ys, xs = np.mgrid[:256, :192]
    centroid = [(crop * xs).sum() / crop.sum(), (crop * ys).sum() / crop.sum()]
    np.testing.assert_allclose(centroid, transform_points(point, matrix), atol=2e-3)
    back = warp(warp(image, matrix, (192, 256)), invert_affine(matrix), (320, 240))
    assert np.array_equal(back > 127, image > 127)


@pytest.mark.parametrize("size", [(256, 192), (64, 48), (7, 5), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_warp_batch_copies_exactly_under_the_identity(size, dtype):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).to(dtype)
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    warped = warp_batch(images, identity)
    assert warped.dtype == dtype and torch.equal(warped, images)


@pytest.mark.parametrize("dx, dy", [(1, 0), (0, 1), (-13, 7), (47, -63), (48, 0)])
def test_warp_batch_shifts_exactly_and_fills_with_zero(dx, dy):
    images = torch.randn(2, 4, 64, 48, generator=torch.Generator().manual_seed(1))
    shift = torch.tensor([[1.0, 0, dx], [0, 1, dy]]).expand(2, 2, 3)
    expected = torch.zeros_like(images)
    target_y, target_x = slice(max(dy, 0), 64 + min(dy, 0)), slice(max(dx, 0), 48 + min(dx, 0))
    source_y, source_x = slice(max(-dy, 0), 64 + min(-dy, 0)), slice(max(-dx, 0), 48 + min(-dx, 0))
    expected[..., target_y, target_x] = images[..., source_y, source_x]
    assert torch.equal(warp_batch(images, shift), expected)


def test_warp_batch_mirrors_and_turns_exactly():
    images = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    mirror = torch.tensor([[[-1.0, 0, 47], [0, 1, 0]]])
    quarter_turn = torch.tensor([[[0.0, 1, 0], [-1, 0, 47]]])
    assert torch.equal(warp_batch(images, mirror), flip_images(images))
    assert torch.equal(warp_batch(images, quarter_turn), images.rot90(1, (2, 3)))


def test_warp_batch_agrees_with_opencv():
    images = np.random.default_rng(5).integers(0, 256, (4, 256, 192, 3), dtype=np.uint8)
    generator = np.random.default_rng(6)
    matrices = jittered_matrices(4, generator)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    ours = warp_batch(batch, torch.from_numpy(matrices)).permute(0, 2, 3, 1).numpy()
    for image, matrix, warped in zip(images, matrices, ours, strict=True):
        # Positions are float32, 2**-16 px apart; neighbouring pixels of noise differ by up to 255.
        opencv = cv2.warpAffine(image.astype(np.float32), matrix, (192, 256), flags=cv2.INTER_LINEAR)
        assert np.abs(warped - opencv).max() < 4 * 255 * 2**-16
        assert np.abs(warped - warp(image, matrix, (192, 256))).max() < 0.5 + 4 * 255 * 2**-16


def test_warp_batch_treats_every_image_by_its_own_matrix():
    generator = np.random.default_rng(7)
    matrices = torch.from_numpy(random_matrices(3, generator)).float()
    images = torch.randn(3, 2, 32, 24, generator=torch.Generator().manual_seed(3))
    together = warp_batch(images, matrices)
    for i in range(3):
        assert torch.equal(warp_batch(images[i : i + 1], matrices[i : i + 1])[0], together[i])


def test_warp_batch_refuses_integers():
    with pytest.raises(TypeError, match="floating"):
        warp_batch(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.eye(2, 3)[None])


def test_heatmaps_move_as_the_points_they_mark():
    codec = MSRAHeatmap()
    generator = np.random.default_rng(8)
    cells = torch.from_numpy(generator.integers([18, 24], [30, 40], (6, 17, 2))).double()
    heatmaps, _ = codec.encode(4 * cells, torch.ones(6, 17))
    matrices = jittered_matrices(6, generator)
    matrices = scale_matrix(torch.from_numpy(matrices), 1 / 4, 1 / 4)
    warped = warp_batch(heatmaps, matrices)
    mass = warped.sum(dim=(2, 3))
    centroid_x = (warped * torch.arange(48)).sum(dim=(2, 3)) / mass
    centroid_y = (warped * torch.arange(64)[:, None]).sum(dim=(2, 3)) / mass
    centroids = torch.stack([centroid_x, centroid_y], dim=-1)
    torch.testing.assert_close(centroids, transform_points(cells, matrices), rtol=0, atol=0.01)


# --- flips ------------------------------------------------------------------------------------------------


def test_flips_equal_the_reference(golden):
    order, last = list(COCO17.flip_order), int(golden["flip_width"]) - 1
    flipped = transform_points(golden["flip_J"][:, :2], np.array([[-1.0, 0, last], [0, 1, 0]]))[order]
    visible = golden["fliplr_vis"]  # the reference puts joints without label at (0, 0)
    np.testing.assert_array_equal(flipped * visible[:, :2], golden["fliplr_joints"][:, :2])
    np.testing.assert_array_equal(golden["flip_V"][order], visible)
    heatmaps = flip_heatmaps(torch.from_numpy(golden["flip_hm"]), COCO17.flip_order)
    np.testing.assert_array_equal(heatmaps.numpy(), golden["flip_back"])


def test_flips_are_involutions_and_leave_their_input_alone():
    generator = torch.Generator().manual_seed(4)
    heatmaps = torch.randn(3, 17, 8, 6, generator=generator)
    before = heatmaps.clone()
    once = flip_heatmaps(heatmaps, COCO17.flip_order)
    assert torch.equal(heatmaps, before) and not torch.equal(once, before)
    assert torch.equal(flip_heatmaps(once, COCO17.flip_order), heatmaps)
    assert torch.equal(flip_images(flip_images(heatmaps)), heatmaps)


@pytest.mark.parametrize("order", [COCO17.flip_pairs, CROWDPOSE14.flip_order, [0] * 17])
def test_another_order_of_joints_is_refused(order):
    with pytest.raises(
        SSHPEError, match=r"is no order of 17 joints; give skeleton.flip_order, one index for"
    ):
        flip_heatmaps(torch.zeros(2, 17, 8, 6), order)
    with pytest.raises(SSHPEError, match="is no order of 17 joints"):
        UDPHeatmap(target="offset").flip(torch.zeros(2, 51, 64, 48), order)


def test_heatmaps_flip_as_the_points_they_mark():
    codec = MSRAHeatmap()
    cells = torch.randint(0, 48, (2, 17, 2), generator=torch.Generator().manual_seed(5)).float()
    visible = torch.ones(2, 17)
    flipped = flip_heatmaps(codec.encode(4 * cells, visible)[0], COCO17.flip_order)
    mirrored = torch.stack([47 - cells[..., 0], cells[..., 1]], -1)[:, list(COCO17.flip_order)]
    again = codec.encode(4 * mirrored, visible)[0]
    assert torch.equal(flipped, again)
