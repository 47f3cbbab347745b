"""The hard affine: one motion for the image and the teacher's heatmaps."""

import math

import pytest
import torch

from sshpe_lib.augment.affine import HardAffine, about_centre, legacy_theta
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.view import Strong, View
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.errors import SSHPEError


def draw(seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed))


def test_its_law_is_the_references():
    angle, scale = HardAffine().draw(20000, draw())
    assert scale.min() == 0.75 and scale.max() == 1.25
    assert angle.abs().max() == 60
    assert abs((angle == 0).float().mean() - 0.2) < 0.02
    assert (
        abs(((scale == 0.75) | (scale == 1.25)).float().mean() - 0.317) < 0.02
    )  # N(1, 0.25) beyond one sigma


def test_no_motion_is_the_identity():
    image, heatmaps = torch.rand(2, 3, 64, 48), torch.rand(2, 17, 16, 12)
    view, moved = HardAffine(scale=0.0, probability=0.0)(View(image), heatmaps, draw())
    assert torch.equal(view.image, image) and torch.equal(moved, heatmaps)


def test_the_centre_stays_and_distances_scale():
    matrix = about_centre(torch.tensor([37.0]), torch.tensor([1.2]), 192, 256)[0].double()
    centre = torch.tensor([191 / 2, 255 / 2], dtype=torch.float64)
    point = centre + torch.tensor([30.0, -12.0])
    there = matrix[:, :2] @ point + matrix[:, 2]
    assert torch.allclose(matrix[:, :2] @ centre + matrix[:, 2], centre, atol=1e-4)
    assert torch.allclose(
        (there - centre).norm() / (point - centre).norm(), torch.tensor(1.2, dtype=torch.float64)
    )
    assert torch.allclose(
        torch.linalg.svdvals(matrix[:, :2]), torch.full((2,), 1.2, dtype=torch.float64), atol=1e-6
    )


def blobs(points: torch.Tensor, sigma: float, width: int, height: int) -> torch.Tensor:
    """(B, K, height, width) Gaussians at points (B, K, 2), of peak 1."""
    x, y = torch.arange(width).float(), torch.arange(height).float()
    across = (-((x - points[..., 0, None]) ** 2) / (2 * sigma**2)).exp()
    down = (-((y - points[..., 1, None]) ** 2) / (2 * sigma**2)).exp()
    return down[..., :, None] * across[..., None, :]


def centres_of_mass(maps: torch.Tensor) -> torch.Tensor:
    """(B, K, 2), (x, y), of maps (B, K, H, W)."""
    maps = maps.double()
    x, y = (torch.arange(size, dtype=torch.float64) for size in (maps.shape[-1], maps.shape[-2]))
    moments = torch.stack([maps.sum(-2) @ x, maps.sum(-1) @ y], dim=-1)
    return moments / maps.sum((-2, -1))[..., None]


@pytest.mark.parametrize(
    ("operation", "stride", "first"),
    [
        (HardAffine(probability=1.0), (4.0, 4.0), 0.0),
        (HardAffine(probability=1.0, unbiased=True), (191 / 47, 255 / 63), 0.0),
        # Its normalised coordinates span whole pixels: a heatmap pixel is the middle of the four that it stands for.
        (HardAffine(probability=1.0, legacy=True), (4.0, 4.0), 1.5),
    ],
    ids=["default", "unbiased", "legacy"],
)
def test_the_image_moves_with_its_heatmaps(operation, stride, first):
    """Three people's blobs are turned and scaled alike where the student sees them and where the teacher found them."""
    points = torch.tensor([[80.0, 100.0], [112.0, 140.0], [96.0, 128.0]]).expand(8, 3, 2)
    image = blobs(points, 12.0, 192, 256)
    ratio = torch.tensor(stride, dtype=torch.float64)
    heatmaps = blobs(((points - first) / ratio).float(), 3.0, 48, 64)
    view, moved = operation(View(image), heatmaps, draw())
    shown = centres_of_mass(view.image)
    assert (shown - points).norm(dim=-1).amax(-1).min() > 2  # none of the eight is left where it was
    found = centres_of_mass(moved) * ratio + first
    torch.testing.assert_close(found, shown, rtol=0, atol=0.05)


@pytest.mark.parametrize("angle", [-60.0, 25.0, 60.0])
def test_heatmaps_move_with_the_points(angle):
    """Warping the heatmap of a point gives the heatmap of the warped point, up to the grid's rounding."""
    codec = MSRAHeatmap((192, 256), (48, 64), 2.0)
    points = torch.tensor([[[80.0, 100.0], [112.0, 140.0], [96.0, 128.0]]])
    visible = torch.ones(1, 3)
    heatmaps, _ = codec.encode(points, visible)
    matrix = about_centre(torch.tensor([angle]), torch.tensor([1.0]), 192, 256)
    moved_points = points @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
    operation = HardAffine()
    operation_draw = lambda batch, _: (torch.tensor([angle]), torch.tensor([1.0]))  # noqa: E731
    object.__setattr__(operation, "draw", operation_draw)
    _, moved = operation(View(torch.zeros(1, 3, 256, 192)), heatmaps, draw())
    found, scores = codec.decode(moved)
    assert (found - moved_points).abs().max() < 2.5  # a heatmap pixel is 4 crop pixels
    assert (scores > 0.85).all()


def test_heatmaps_of_udp_are_enlarged_about_the_middle_between_their_ends():
    """So that those which are their own mirror image stay it."""
    heatmaps = torch.rand(4, 2, 16, 12, generator=torch.Generator().manual_seed(0))
    heatmaps = heatmaps + heatmaps.flip(-1) + heatmaps.flip(-2) + heatmaps.flip(-1, -2)
    enlarged = HardAffine(probability=0.0, unbiased=True)
    _, moved = enlarged(View(torch.zeros(4, 3, 64, 48)), heatmaps, draw())
    assert (moved - heatmaps).abs().amax((1, 2, 3)).min() > 0.1
    for axis in (-1, -2):
        torch.testing.assert_close(moved, moved.flip(axis), rtol=0, atol=1e-5)


def test_what_leaves_the_frame_is_background():
    heatmaps = torch.zeros(1, 1, 16, 12)
    heatmaps[0, 0, 0, 0] = 1.0
    operation = HardAffine()
    object.__setattr__(operation, "draw", lambda batch, _: (torch.tensor([0.0]), torch.tensor([1.25])))
    view, moved = operation(View(torch.ones(1, 3, 64, 48)), heatmaps, draw())
    assert moved.sum() == 0  # enlarged about the centre: the corner is gone


def test_the_legacy_form_turns_as_the_references():
    theta = legacy_theta(torch.tensor([90.0]), torch.tensor([1.0]))[0]
    torch.testing.assert_close(theta, torch.tensor([[0.0, 1, 0], [-1, 0, 0]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("angle", "largest", "smallest"), [(30.0, 1.16, 0.87), (60.0, 1.28, 0.78)])
def test_the_legacy_form_shears_a_crop_that_is_not_square(angle, largest, smallest):
    """The singular values in pixels that the fact sheet measured on a 3:4 crop."""
    theta = legacy_theta(torch.tensor([angle]), torch.tensor([1.0]))[0, :, :2].double()
    to_pixels = torch.diag(torch.tensor([192.0, 256.0], dtype=torch.float64))
    in_pixels = to_pixels @ theta @ torch.linalg.inv(to_pixels)
    assert torch.allclose(
        torch.linalg.svdvals(in_pixels), torch.tensor([largest, smallest], dtype=torch.float64), atol=0.006
    )


def test_the_legacy_form_shrinks_where_the_scale_is_above_one():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 16:48, 16:48] = 1
    operation = HardAffine(legacy=True)
    object.__setattr__(operation, "draw", lambda batch, _: (torch.tensor([0.0]), torch.tensor([1.25])))
    view, _ = operation(View(image), torch.zeros(1, 1, 16, 16), draw())
    assert math.isclose(view.image.sum().item(), 32 * 32 / 1.25**2, rel_tol=0.03)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_step_in_bfloat16_moves_images_as_one_in_float32(legacy):
    image, heatmaps = torch.rand(4, 3, 256, 192), torch.rand(4, 17, 64, 48)
    alone = HardAffine(legacy=legacy)(View(image), heatmaps, draw())
    with torch.autocast("cpu", torch.bfloat16):
        view, moved = HardAffine(legacy=legacy)(View(image), heatmaps, draw())
    assert torch.equal(view.image, alone[0].image) and torch.equal(moved, alone[1])


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_images_of_half_precision_are_moved_as_far_as_others(legacy, dtype):
    """A ramp along x tells by how much: a pixel's value is its place."""
    ramp = torch.arange(192.0).expand(4, 3, 256, 192)
    alone, _ = HardAffine(legacy=legacy)(View(ramp.to(dtype).float()), torch.rand(4, 17, 64, 48), draw())
    view, moved = HardAffine(legacy=legacy)(View(ramp.to(dtype)), torch.rand(4, 17, 64, 48).to(dtype), draw())
    assert view.image.dtype == moved.dtype == dtype
    assert torch.equal(view.image, alone.image.to(dtype))


def test_affine_then_mix_and_not_the_other_way():
    image, heatmaps = torch.rand(4, 3, 64, 48), torch.rand(4, 17, 16, 12)
    view, moved = Strong([HardAffine(), PoseMUM()])(image, heatmaps, draw())
    alone, alone_moved = HardAffine()(View(image), heatmaps, draw())
    assert torch.equal(moved, alone_moved)
    assert torch.equal(view.after_stage("layer4", view.image), alone.image)
    with pytest.raises(SSHPEError, match="before a mix"):
        Strong([PoseMUM(), HardAffine()])(image, heatmaps, draw())


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"probability": 2.0}, "probability is 2.0; give 0 to 1"),
        ({"probability": math.nan}, "probability is nan"),
        ({"rotation": -30.0}, "rotation is -30.0; give 0 or more"),
        ({"scale": 1.0}, "scale is 1.0; give 0 or more, and less than 1"),
        ({"scale": -0.25}, "scale is -0.25"),
    ],
)
def test_settings_that_the_configuration_refuses_are_refused(setting, told):
    with pytest.raises(SSHPEError, match=f"an affine's {told}"):
        HardAffine(**setting)
