"""Crops: what is in them, and what decides them."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from sshpe_lib import geometry
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.images import read_image
from sshpe_lib.data.top_down import HALF_BODY_FROM, Crops, WeakAffine
from sshpe_lib.errors import SSHPEError
from tests import toy

SIZE = (48, 64)


def test_a_crop_does_not_depend_on_its_batch(tmp_path):
    crops = Crops(toy.instances(tmp_path, 6), SIZE, weak=WeakAffine(), seed=3)
    together = crops.batch([4, 1, 5], epoch=2, positions=[7, 8, 9])
    alone = crops.batch([1], epoch=2, positions=[8])
    assert all(torch.equal(one[0], many[1]) for one, many in zip(alone, together, strict=True))


def test_seed_epoch_position_and_stream_decide_the_augmentation(tmp_path):
    people = toy.instances(tmp_path, 2)
    crops = Crops(people, SIZE, weak=WeakAffine(), seed=3)
    base = crops.batch([0], epoch=1, positions=[5]).image
    assert torch.equal(
        base, Crops(people, SIZE, weak=WeakAffine(), seed=3).batch([0], epoch=1, positions=[5]).image
    )
    assert not torch.equal(base, crops.batch([0], epoch=2, positions=[5]).image)
    assert not torch.equal(base, crops.batch([0], epoch=1, positions=[6]).image)
    assert not torch.equal(base, Crops(people, SIZE, weak=WeakAffine(), seed=4).batch([0], 1, [5]).image)
    assert not torch.equal(
        base, Crops(people, SIZE, weak=WeakAffine(), seed=3, stream="u").batch([0], 1, [5]).image
    )


@pytest.mark.parametrize("mirrored", [False, True])
def test_keypoints_follow_the_pixels(tmp_path, mirrored):
    """A bright dot painted on a keypoint is found where the crop says the keypoint is."""
    people = toy.instances(tmp_path, 1, width=160, height=200)
    left_wrist, right_wrist = 9, 10
    keypoints = people.keypoints.copy()
    keypoints[0, left_wrist], keypoints[0, right_wrist] = (50, 120, 2), (110, 60, 1)
    people = dataclasses.replace(
        people, keypoints=keypoints, boxes=np.array([[20, 20, 120, 160]], np.float32)
    )
    image = np.zeros((200, 160, 3), np.uint8)
    image[118:123, 48:53] = 255
    cv2.imwrite(str(people.path(0)), image)
    weak = WeakAffine(flip=float(mirrored), rotation_probability=1.0)
    batch = Crops(people, (96, 128), weak=weak, seed=1).batch([0])
    pixels = batch.image[0].float().sum(0)
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(96.0), indexing="ij")
    centroid = torch.stack([(columns * pixels).sum(), (rows * pixels).sum()]) / pixels.sum()
    # A mirror makes the left wrist the right one.
    assert (batch.points[0, right_wrist if mirrored else left_wrist] - centroid).norm() < 0.6
    assert batch.visible[0, left_wrist] == batch.visible[0, right_wrist] == 1


class Told(WeakAffine):
    """Draws the same for everybody: larger, turned, and mirrored or not."""

    def draw(self, rng):
        return 0.8, 25.0, bool(self.flip)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_weak_crop_is_mirrored_first_then_scaled_and_turned(tmp_path, mirrored, unbiased):
    """The crop of a picture whose columns, and places of people, were exchanged before."""
    people = toy.instances(tmp_path, 1, width=61)
    crops = Crops(people, SIZE, weak=Told(flip=float(mirrored)), unbiased=unbiased)
    image = read_image(people.path(0), "")
    center, points = crops.center[0].copy(), people.keypoints[0, :, :2].astype(float)
    if mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
        center[0], points[:, 0] = 60 - center[0], 60 - points[:, 0]
        points = points[list(people.skeleton.flip_order)]
    matrix = geometry.crop_matrix(center, 0.8 * crops.size[0], 25.0, SIZE, unbiased=unbiased)
    batch = crops.batch([0])
    np.testing.assert_allclose(batch.points[0], geometry.transform_points(points, matrix), atol=1e-3)
    found, wanted = batch.image[0].permute(1, 2, 0).numpy(), geometry.warp(image, matrix, SIZE)
    assert np.abs(found.astype(int) - wanted).mean() < 2


@pytest.mark.parametrize(("joints", "halved"), [(HALF_BODY_FROM, False), (HALF_BODY_FROM + 1, True)])
def test_a_person_of_more_than_eight_visible_joints_is_halved(tmp_path, joints, halved):
    people = toy.instances(tmp_path, 1)
    people.keypoints[0, :, 2] = np.arange(17) < joints
    plain, half = (
        Crops(people, SIZE, weak=WeakAffine(scale=0.0, rotation=0.0, flip=0.0, half_body=share)).batch([0])
        for share in (0.0, 1.0)
    )
    assert torch.equal(plain.points, half.points) != halved


@pytest.mark.parametrize("upper", [True, False], ids=["upper", "lower"])
def test_the_half_that_is_asked_for_is_cropped(tmp_path, monkeypatch, upper):
    monkeypatch.setattr(WeakAffine, "draw_half", lambda weak, rng: (True, upper))
    people = toy.instances(tmp_path, 1)
    people.keypoints[0, :, 2] = 2
    crops = Crops(people, SIZE, weak=WeakAffine(scale=0.0, rotation=0.0, flip=0.0, half_body=1.0))
    half = geometry.half_body(people.keypoints[0], people.skeleton, upper, SIZE[0] / SIZE[1])
    wanted = geometry.transform_points(people.keypoints[0, :, :2], crops.crop_matrix(*half))
    np.testing.assert_allclose(crops.batch([0]).points[0], wanted, atol=1e-3)


def test_halves_are_asked_for_as_often_as_in_hrnet():
    rng = np.random.default_rng(0)
    wanted, upper = np.array([WeakAffine(half_body=0.3).draw_half(rng) for _ in range(4000)]).T
    assert abs(wanted.mean() - 0.3) < 0.03 and abs(upper.mean() - 0.69) < 0.03


def test_without_augmentation_the_box_fills_the_crop(tmp_path):
    crops = Crops(toy.instances(tmp_path, 1), SIZE)
    people = crops.instances
    x, y, w, h = people.boxes[0]
    batch = crops.batch([0])
    scale = batch.size[0, 0].item() / SIZE[0]
    expected = (people.keypoints[0, :, :2] - [x + w / 2, y + h / 2]) / scale + [SIZE[0] / 2, SIZE[1] / 2]
    assert np.allclose(batch.points[0], expected, atol=1e-3)
    assert batch.size[0, 0] / batch.size[0, 1] == pytest.approx(0.75)
    assert batch.size[0, 1] == pytest.approx(1.25 * h)


def test_the_weak_law_is_the_references():
    rng = np.random.default_rng(0)
    draws = [WeakAffine().draw(rng) for _ in range(8000)]
    scale, rotation, mirrored = map(np.array, zip(*draws, strict=True))
    assert scale.min() == 0.75 and scale.max() == 1.25
    assert abs(rotation).max() == 60
    assert abs((rotation == 0).mean() - 0.4) < 0.03
    assert abs(rotation.mean()) < 1.5 and abs(scale.mean() - 1) < 0.01  # to both sides
    beyond = 0.317  # of a normal, what lies more than a standard deviation off its mean
    assert abs((np.abs(scale - 1) == 0.25).mean() - beyond) < 0.03
    assert abs((np.abs(rotation) > 30).mean() - 0.6 * beyond) < 0.03
    assert abs(mirrored.mean() - 0.5) < 0.03


def test_crops_are_channels_last_and_uint8(tmp_path):
    image = Crops(toy.instances(tmp_path, 2), SIZE).batch([0, 1]).image
    assert image.dtype == torch.uint8 and image.shape == (2, 3, 64, 48)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert normalize(image).is_contiguous(memory_format=torch.channels_last)


def test_normalize_has_the_imagenet_statistics():
    gray = torch.full((1, 3, 2, 2), 127, dtype=torch.uint8)
    expected = (127 / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    assert np.allclose(normalize(gray)[0, :, 0, 0], expected, atol=1e-6)


def test_a_missing_image_names_file_and_annotation(tmp_path):
    people = toy.instances(tmp_path, 2)
    people.path(1).unlink()
    with pytest.raises(SSHPEError, match=r"0_1.png.*|annotation 102"):
        Crops(people, SIZE).batch([1])


def test_an_image_of_another_size_than_annotated_is_refused(tmp_path):
    people = toy.instances(tmp_path, 1)
    cv2.imwrite(str(people.path(0)), np.zeros((70, 60, 3), np.uint8))
    with pytest.raises(SSHPEError, match=r"0_0.png.*60x70"):
        Crops(people, SIZE).batch([0])


def photograph(folder, name="large.jpg"):
    """One person in a large picture of smooth colours, which loses nothing at a quarter of its size."""
    width, height = 803, 1001
    people = toy.instances(folder, 1, width=width, height=height)
    x, y = np.meshgrid(np.linspace(0, 3, width), np.linspace(0, 4, height))
    image = np.stack([np.sin(x + k) * np.cos(y - k) for k in range(3)], axis=-1)
    cv2.imwrite(str(folder / name), (127 + 120 * image).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 100])
    boxes = np.array([[150, 150, 500, 600]], np.float32)
    return dataclasses.replace(people, file_names=(name,), boxes=boxes)


def remembering():
    """A cache, and the images that are read from it."""
    cache, read = ImageCache(), []
    cache.read = lambda *given: read.append(ImageCache.read(cache, *given)) or read[-1]
    return cache, read


def shift(image, other):
    """How far the colours of one crop lie beside those of another, (x, y) in crop px, by their slopes."""
    image, other = image.double().numpy(), other.double().numpy()
    down, right = np.gradient(image, axis=(1, 2))
    shown = np.broadcast_to(image.min(0) > 0, image.shape)  # not beyond the border of the picture
    slopes = np.stack([right[shown], down[shown]], axis=-1)
    return -np.linalg.lstsq(slopes, (other - image)[shown], rcond=None)[0]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_large_photograph_is_decoded_smaller_and_gives_the_same_crop(tmp_path, mirrored):
    """Whose colours lie where they lay, to a tenth of a pixel of the photograph."""
    people, (cache, read) = photograph(tmp_path), remembering()
    weak = WeakAffine(flip=float(mirrored), scale=0.0)
    whole, smaller = (
        Crops(people, (96, 128), weak=weak, reduced=reduced, cache=cache).batch([0])
        for reduced in (False, True)
    )
    assert read[0].shape == (1001, 803, 3) and read[1].shape == (251, 201, 3)
    assert torch.equal(whole.points, smaller.points)
    image, other = whole.image[0], smaller.image[0]
    inside = image.amin(0) > 0
    assert inside.float().mean() > 0.8
    difference = (image.float() - other.float()).abs()[:, inside]
    assert difference.mean() < 0.7 and difference.max() < 6
    assert np.abs(shift(image, other)).max() * whole.size[0, 0].item() / 96 < 0.1


@pytest.mark.parametrize(("name", "size"), [("large.png", (96, 128)), ("large.jpg", (480, 640))])
def test_an_image_that_is_no_jpeg_or_not_much_larger_than_its_crop_is_decoded_whole(tmp_path, name, size):
    people, (cache, read) = photograph(tmp_path, name), remembering()
    whole, asked = (Crops(people, size, reduced=reduced, cache=cache).batch([0]) for reduced in (False, True))
    assert [image.shape for image in read] == [(1001, 803, 3)] * 2
    assert torch.equal(whole.image, asked.image)


def test_a_selection_is_cropped_as_the_whole(tmp_path):
    people = photograph(tmp_path).select([0, 0])
    people.boxes[1] = (100, 200, 450, 700)
    settings = {"weak": WeakAffine(), "seed": 3, "stream": "u", "unbiased": True, "reduced": True}
    crops = Crops(people, (96, 128), **settings)
    some = crops.select([1])
    for one, other in zip(some.batch([0], 1, [5])[:-1], crops.batch([1], 1, [5])[:-1], strict=True):
        assert torch.equal(one, other)
    assert some.cache is crops.cache


def test_people_of_one_image_share_one_decoding_when_the_cache_is_full(tmp_path, monkeypatch):
    people = toy.instances(tmp_path, 3)
    people = dataclasses.replace(people, image_index=np.array([0, 0, 1]), file_names=people.file_names[:2])
    read = []
    monkeypatch.setattr(
        "sshpe_lib.data.cache.read_image",
        lambda path, *rest: read.append(path.name) or read_image(path, *rest),
    )
    Crops(people, SIZE, cache=ImageCache(limit=0)).batch([0, 1, 2])
    assert read == list(people.file_names)
