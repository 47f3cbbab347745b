"""Cut-Occlude: the rule in loops, exact copies, and where patches come from and go."""

import numpy as np
import pytest
import torch

from sshpe_lib.augment.cut_occlude import CutOcclude, paste
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.view import Strong, View
from sshpe_lib.errors import SSHPEError
from tests.augment.helpers import DTYPES, LAYOUTS, batch, draw


def slow_joint(heatmap, normal, uniform, operation, width, height):
    """Centre and half size of one joint's box, each (x, y)."""
    row, col = np.unravel_index(np.argmax(heatmap), heatmap.shape)
    low, high = operation.half_size
    scale, center, half = width / 192, [], []
    for axis, (peak, length) in enumerate(((col, width), (row, height))):
        center.append(int(np.float32(4 * peak) + np.float32(operation.jitter * scale) * normal[axis]))
        side = low + int(uniform[axis] * np.float32(high - low + 1))
        half.append(min(max(int(side * scale + 0.5), 1), length // 2))
    return center, half


def slow_cut_occlude(image, heatmaps, normals, uniforms, picks, others, operation):
    result = image.copy()
    count, keypoints = heatmaps.shape[:2]
    height, width = image.shape[2:]
    joint = lambda b, k: slow_joint(  # noqa: E731
        heatmaps[b, k], normals[b, k], uniforms[b, k], operation, width, height
    )
    for b in range(count):
        for n in range(operation.joints):
            source = (b + 1 + int(others[b, n] * np.float32(max(count - 1, 1)))) % count
            target, _ = joint(b, int(picks[b, 0, n] * np.float32(keypoints)))
            there, half = joint(source, int(picks[b, 1, n] * np.float32(keypoints)))
            left = min(max(there[0] - half[0], 0), width - 2 * half[0])
            top = min(max(there[1] - half[1], 0), height - 2 * half[1])
            patch = image[source, :, top : top + 2 * half[1], left : left + 2 * half[0]]
            for row in range(2 * half[1]):
                for col in range(2 * half[0]):
                    y, x = target[1] - half[1] + row, target[0] - half[0] + col
                    if 0 <= y < height and 0 <= x < width:
                        result[b, :, y, x] = patch[:, row, col]
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(192, 256), (48, 64), (384, 32)])
@pytest.mark.parametrize("operation", [CutOcclude(), CutOcclude(joints=6, jitter=40.0, half_size=(10, 60))])
def test_it_is_the_rule_in_loops(operation, size, layout, dtype):
    image, heatmaps = batch(size)
    image = image.to(dtype).contiguous(memory_format=layout)
    kept, numbers = image.clone(), draw()
    view, same = operation(View(image), heatmaps, numbers)
    expected = slow_cut_occlude(image.numpy(), heatmaps.numpy(), *numbers.numbers, operation)
    assert np.array_equal(view.image.numpy(), expected)
    assert not np.array_equal(expected, kept.numpy())
    assert torch.equal(image, kept) and same is heatmaps
    assert view.image.is_contiguous(memory_format=layout)


def test_patches_come_from_every_other_image_and_never_from_the_own():
    count = 400
    image = torch.arange(5.0).repeat(count)[:, None, None, None].expand(-1, 1, 32, 24)
    heatmaps = torch.rand(5, 17, 8, 6, generator=torch.Generator().manual_seed(4))
    seen = torch.zeros(5, 5)
    numbers = draw()
    for _ in range(count):
        view, _ = CutOcclude(joints=1)(View(image[:5]), heatmaps, numbers)
        for b in range(5):
            seen[b, view.image[b].unique().long()] += 1
    assert (seen.diagonal() == count).all()  # what is left of the own image
    others = seen[~torch.eye(5, dtype=torch.bool)]
    assert (others.view(5, 4).sum(1) == count).all()  # one source each
    assert ((others / count - 0.25).abs() < 5 * (0.1875 / count) ** 0.5).all()


def test_a_joint_covers_a_joint():
    """Without jitter and at the crop's middle, the source's joint lies exactly on the target's."""
    image, _ = batch((192, 256), count=2)
    heatmaps = torch.zeros(2, 1, 64, 48)
    heatmaps[0, 0, 20, 15] = heatmaps[1, 0, 40, 30] = 1.0
    view, _ = CutOcclude(joints=1, half_size=(10, 10))(View(image), heatmaps, draw())
    expected = image.clone()
    expected[0, :, 70:90, 50:70] = image[1, :, 150:170, 110:130]
    expected[1, :, 150:170, 110:130] = image[0, :, 70:90, 50:70]
    assert torch.equal(view.image, expected)


def test_a_patch_at_the_border_is_moved_inside_and_its_target_is_clipped():
    image, _ = batch((192, 256), count=2)
    heatmaps = torch.zeros(2, 1, 64, 48)
    heatmaps[0, 0, 0, 0] = heatmaps[1, 0, 63, 47] = 1.0  # crop pixels (0, 0) and (188, 252)
    view, _ = CutOcclude(joints=1, half_size=(10, 10))(View(image), heatmaps, draw())
    expected = image.clone()
    expected[0, :, :10, :10] = image[1, :, 246:256, 182:192]  # the lower right quarter of the last 20 x 20
    expected[1, :, 242:256, 178:192] = image[0, :, :14, :14]
    assert torch.equal(view.image, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_later_paste_covers_an_earlier_one_and_shows_original_pixels(dtype):
    image = torch.arange(3 * 4 * 6, dtype=dtype).view(3, 1, 4, 6)
    nowhere = [-5, -5]
    # image 0 gets a corner of 1, then a part of 2 over it; image 1 the corner of 0 that was pasted over
    target = torch.tensor([[[1, 1], [3, 2]], [[1, 1], nowhere], [nowhere, [9, 1]]])
    half = torch.tensor([[2, 1]]).expand(3, 2, 2)
    other = torch.tensor([[1, 2], [0, 0], [0, 0]])
    source = torch.tensor([[[2, 1], [4, 3]], [[2, 1], [2, 1]], [[2, 1], [2, 1]]])
    expected = image.clone()
    expected[0, :, :2, :3] = image[1, :, :2, 1:4]
    expected[0, :, 1:3, 1:5] = image[2, :, 2:4, 2:6]
    expected[1, :, :2, :3] = image[0, :, :2, 1:4]
    assert torch.equal(paste(image, target, half, other, source, largest=4), expected)


def test_an_image_alone_shows_itself():
    image, heatmaps = batch((192, 256), count=1)
    view, _ = CutOcclude()(View(image), heatmaps, draw())
    assert not torch.equal(view.image, image)
    assert torch.isin(view.image, image).all()
    heatmaps = torch.zeros(1, 1, 64, 48)
    heatmaps[0, 0, 30, 20] = 1.0
    view, _ = CutOcclude()(View(image), heatmaps, draw())
    assert torch.equal(view.image, image)  # its only joint lies on itself


@pytest.mark.parametrize("value", [0.0, float("nan"), -float("inf")])
def test_flat_and_broken_heatmaps_do_no_harm(value):
    image, heatmaps = batch((48, 64))
    view, _ = CutOcclude()(View(image), torch.full_like(heatmaps, value), draw())
    assert torch.isin(view.image, image).all()
    assert torch.equal(view.image[..., 5:, :], image[..., 5:, :])  # half sizes 3 to 5 about (0, 0)


def test_it_must_come_before_a_mix():
    image, heatmaps = batch((48, 64), count=4)
    view, _ = Strong([CutOcclude(), PoseMUM()])(image, heatmaps, draw())
    alone, _ = CutOcclude()(View(image), heatmaps, draw())
    assert torch.equal(view.after_stage("layer4", view.image), alone.image)
    with pytest.raises(SSHPEError, match="before a mix"):
        Strong([PoseMUM(), CutOcclude()])(image, heatmaps, draw())


def test_ranks_share_the_targets_and_paste_from_their_own_images():
    image = torch.arange(8.0)[:, None, None, None].expand(8, 1, 64, 48)
    _, heatmaps = batch((48, 64), count=8)
    operation = CutOcclude(half_size=(20, 20))
    whole, _ = operation(View(image), heatmaps, draw())
    for rank in range(2):
        share = slice(4 * rank, 4 * rank + 4)
        part, _ = operation(View(image[share]), heatmaps[share], draw(rank=rank, world=2))
        assert torch.equal(part.image != image[share], whole.image[share] != image[share])
        assert torch.isin(part.image, image[share]).all()
