"""Joint Cutout: its rule typed a second time in loops, its frequencies against theory, and the reference's slip."""

import numpy as np
import pytest
import torch

from sshpe_lib.augment import boxes
from sshpe_lib.augment.cut_occlude import CutOcclude
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.view import Strong, View
from sshpe_lib.codec import UDPHeatmap
from sshpe_lib.errors import SSHPEError
from tests.augment.helpers import DTYPES, LAYOUTS, assert_ranks_share, batch, draw


def slow_box(heatmap, normal, uniform, jitter, half_size, scale):
    """The rule for one joint: its four sides before clipping, (left, right, top, bottom)."""
    row, col = np.unravel_index(np.argmax(heatmap), heatmap.shape)
    sides = []
    for axis, peak in enumerate((col, row)):
        center = int(np.float32(4 * peak) + np.float32(jitter * scale) * normal[axis])
        half = half_size[0] + int(uniform[axis] * np.float32(half_size[1] - half_size[0] + 1))
        half = max(int(half * scale + 0.5), 1)
        sides += [center - half, center + half]
    return sides


def slow_joint_cutout(image, heatmaps, normals, uniforms, picks, operation):
    result = image.copy()
    count, keypoints = heatmaps.shape[:2]
    height, width = image.shape[2:]
    bottom_edge, right_edge = (width, height) if operation.legacy_clamp else (height, width)
    for b in range(count):
        for pick in picks[b]:
            k = int(pick * np.float32(keypoints))
            left, right, top, bottom = slow_box(
                heatmaps[b, k],
                normals[b, k],
                uniforms[b, k],
                operation.jitter,
                operation.half_size,
                width / 192,
            )
            for y in range(max(top, 0), min(bottom, bottom_edge, height)):
                for x in range(max(left, 0), min(right, right_edge, width)):
                    result[b, :, y, x] = 0
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(192, 256), (96, 128), (48, 64), (384, 64)])
@pytest.mark.parametrize("operation", [JointCutout(), JointCutout(3, 30.0, (4, 40), legacy_clamp=True)])
def test_it_is_the_rule_in_loops(operation, size, layout, dtype):
    image, heatmaps = batch(size)
    image = image.to(dtype).contiguous(memory_format=layout)
    kept, numbers = image.clone(), draw()
    view, same = operation(View(image), heatmaps, numbers)
    expected = slow_joint_cutout(image.numpy(), heatmaps.numpy(), *numbers.numbers, operation)
    assert np.array_equal(view.image.numpy(), expected)
    assert (expected == 0).any() and (expected != 0).any()
    assert torch.equal(image, kept) and same is heatmaps  # the teacher looks at the same tensors
    assert view.image.is_contiguous(memory_format=layout)


def test_half_sizes_are_uniform_and_include_both_ends():
    sizes = boxes.half_sizes(draw().rand(50_000, 2), (10, 19), 192)
    shares = [(sizes == size).float().mean().item() for size in range(10, 20)]
    assert sizes.min() == 10 and sizes.max() == 19
    assert np.allclose(shares, 0.1, atol=5 * np.sqrt(0.09 / 100_000))
    both = ((sizes[:, 0] == 10) & (sizes[:, 1] == 10)).float().mean()
    assert abs(both - 0.01) < 5 * np.sqrt(0.0099 / 50_000)  # width and height are independent


def test_sizes_follow_the_width_of_the_crop():
    uniform = torch.linspace(0, 0.999, 1000)
    assert boxes.half_sizes(uniform, (10, 19), 384).unique().tolist() == list(range(20, 40, 2))
    assert boxes.half_sizes(uniform, (10, 19), 48).unique().tolist() == [3, 4, 5]
    assert boxes.half_sizes(uniform, (1, 1), 48).unique().tolist() == [1]


def test_the_largest_uniform_number_is_no_index_too_far():
    largest = torch.tensor(1 - 2**-24)
    assert all(boxes.integers(largest, count) == count - 1 for count in range(1, 5000))


def coverage(length: int, jitter: float, half_sizes: range) -> np.ndarray:
    """The probability that a box covers each pixel of an axis, for a peak uniform over the heatmap's pixels."""
    fine = (np.arange(10_000) + 0.5) / 10_000
    normal = torch.special.ndtri(torch.from_numpy(fine)).numpy()
    centers = np.trunc(4 * np.arange(length // 4)[:, None] + jitter * normal).ravel().astype(int)
    values, counts = np.unique(centers, return_counts=True)
    pixel = np.arange(length)[:, None]
    covered = np.zeros(length)
    for half in half_sizes:
        inside = (pixel >= values - half) & (pixel < values + half)
        covered += (inside * counts).sum(1) / counts.sum() / len(half_sizes)
    return covered


def share_cut(keypoints: int, joints: int, legacy: bool) -> float:
    """The expected share of a 192x256 crop's pixels that are cut, joints independent and uniform."""
    across, down = coverage(192, 10.0, range(10, 20)), coverage(256, 10.0, range(10, 20))
    down[192:] *= not legacy
    box = down[:, None] * across
    # How many different keypoints `joints` draws hit, draw by draw.
    different = np.zeros(joints + 1)
    different[0] = 1
    for _ in range(joints):
        again = different * np.arange(joints + 1) / keypoints
        different = again + np.concatenate([[0], (different - again)[:-1]])
    return sum(share * (1 - (1 - box) ** count).mean() for count, share in enumerate(different))


@pytest.mark.parametrize(("keypoints", "legacy"), [(24, True), (24, False), (17, False)])
def test_the_share_of_pixels_cut_is_what_theory_says(keypoints, legacy):
    """5.3 % was measured on the reference implementation, with its 24 channels and its clamp."""
    expected = share_cut(keypoints, 5, legacy)
    if legacy:
        assert abs(expected - 0.053) < 0.0005
    numbers, generator, shares = draw(1), torch.Generator().manual_seed(2), []
    for _ in range(8):
        heatmaps = torch.rand(64, keypoints, 64, 48, generator=generator)
        view, _ = JointCutout(legacy_clamp=legacy)(View(torch.ones(64, 1, 256, 192)), heatmaps, numbers)
        shares.append((view.image == 0).float().mean((1, 2, 3)))
    shares = torch.cat(shares)
    error = shares.std().item() / len(shares) ** 0.5
    assert error < 0.001
    assert abs(shares.mean().item() - expected) < 5 * error


@pytest.mark.parametrize(("keypoints", "expected"), [(24, 3.26), (17, 4.45)])
def test_different_coco_joints_hit(keypoints, expected):
    """17 (1 - (1 - 1/K)^5): the reference draws from 24 channels, 17 of them COCO's."""
    assert abs(17 * (1 - (1 - 1 / keypoints) ** 5) - expected) < 0.005
    heatmaps = torch.zeros(keypoints, 16, 12)
    heatmaps.flatten(1)[torch.arange(keypoints), torch.arange(keypoints) * 7] = 1.0
    operation = JointCutout(jitter=0.0, half_size=(1, 1))  # at most the joint's own pixel and three more
    heatmaps = heatmaps.expand(3000, -1, -1, -1)
    view, _ = operation(View(torch.ones(3000, 1, 64, 48)), heatmaps, draw())
    at_joint = view.image[:, 0, ::4, ::4].flatten(1)[:, torch.arange(17) * 7] == 0
    hit = at_joint.sum(1).float()
    assert abs(hit.mean() - expected) < 5 * hit.std() / 3000**0.5 + 0.005
    assert hit.max() == 5


def test_the_legacy_clamp_never_cuts_the_lowest_rows():
    image = torch.ones(200, 1, 256, 192)
    heatmaps = torch.rand(200, 17, 64, 48, generator=torch.Generator().manual_seed(3))
    legacy, _ = JointCutout(legacy_clamp=True)(View(image), heatmaps, draw())
    correct, _ = JointCutout()(View(image), heatmaps, draw())
    assert (legacy.image[..., 192:, :] == 1).all() and (correct.image[..., 192:, :] == 0).any()
    assert torch.equal(legacy.image[..., :192, :], correct.image[..., :192, :])


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_flat_and_broken_heatmaps_have_a_joint_in_the_corner(value):
    image, heatmaps = batch((192, 256))
    operation = JointCutout(joints=1, jitter=0.0, half_size=(10, 10))
    view, _ = operation(View(image), torch.full_like(heatmaps, value), draw())
    image[..., :10, :10] = 0
    assert torch.equal(view.image, image)


def test_joints_of_negative_heatmaps_are_found_as_well():
    heatmaps = torch.full((1, 1, 64, 48), -2.0)
    heatmaps[0, 0, 40, 7] = -1.0
    assert boxes.peaks(heatmaps, 192, 256).tolist() == [[[28.0, 160.0]]]
    heatmaps[0, 0, 50, 9] = float("nan")
    assert boxes.peaks(heatmaps, 192, 256).tolist() == [[[36.0, 200.0]]]


def test_a_peak_is_placed_by_the_stride_of_each_axis():
    heatmaps = torch.zeros(1, 1, 16, 24)
    heatmaps[0, 0, 5, 7] = 1
    assert boxes.peaks(heatmaps, 96, 128).tolist() == [[[28.0, 40.0]]]


def test_a_peak_of_udp_is_where_its_codec_drew_it():
    """In the plain stride a joint at the lower right is three pixels off."""
    points = torch.tensor([[[1.0, 2.0], [24.0, 31.0], [46.0, 62.0]]]) * torch.tensor([191 / 47, 255 / 63])
    heatmaps, _ = UDPHeatmap((192, 256), (48, 64)).encode(points, torch.ones(1, 3))
    torch.testing.assert_close(boxes.peaks(heatmaps, 192, 256, unbiased=True), points)
    assert (boxes.peaks(heatmaps, 192, 256) - points).abs().max() > 2.9


@pytest.mark.parametrize("operation", [JointCutout, CutOcclude])
def test_boxes_are_at_the_joints_of_udp(operation):
    heatmaps = torch.zeros(2, 1, 64, 48)
    heatmaps[..., 60, 45] = 1  # pixel (45, 60) of a map is (182.9, 242.9) of the crop
    image = torch.stack([torch.ones(3, 256, 192), torch.full((3, 256, 192), 2.0)])
    how = {"joints": 1, "jitter": 0.0, "half_size": (2, 2), "unbiased": True}
    view, _ = operation(**how)(View(image), heatmaps, draw())
    _, rows, cols = (view.image != image).any(1).nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (240, 243, 180, 183)


def test_the_first_of_equal_pixels_is_the_joint():
    heatmaps = torch.randint(0, 3, (8, 17, 16, 12), generator=torch.Generator().manual_seed(0)).float()
    index = torch.from_numpy(heatmaps.flatten(2).numpy().argmax(-1))
    expected = torch.stack([index % 12 * 4.0, index // 12 * 4.0], -1)
    assert torch.equal(boxes.peaks(heatmaps, 48, 64), expected)


def test_it_must_come_before_a_mix():
    image, heatmaps = batch((48, 64), count=4)
    view, _ = Strong([JointCutout(), PoseMUM()])(image, heatmaps, draw())
    alone, _ = JointCutout()(View(image), heatmaps, draw())
    assert torch.equal(view.after_stage("layer4", view.image), alone.image)
    with pytest.raises(SSHPEError, match="before a mix"):
        Strong([PoseMUM(), JointCutout()])(image, heatmaps, draw())


def test_ranks_share_the_boxes_of_the_global_batch():
    assert_ranks_share(JointCutout(), *batch((48, 64), count=8))
