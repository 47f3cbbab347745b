"""Crops: what is in them, and what decides them."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from sshpe_lib.augment.pixels import normalize
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.images import read_image
from sshpe_lib.data.top_down import Crops, WeakAffine
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


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_large_photograph_is_decoded_smaller_and_gives_the_same_crop(tmp_path, mirrored):
    """Smooth colours, which lose nothing at a quarter of the size; a shift of half a pixel would show."""
    width, height = 803, 1001
    people = toy.instances(tmp_path, 1, width=width, height=height)
    x, y = np.meshgrid(np.linspace(0, 3, width), np.linspace(0, 4, height))
    image = np.stack([np.sin(x + k) * np.cos(y - k) for k in range(3)], axis=-1)
    photograph = tmp_path / "large.jpg"
    cv2.imwrite(str(photograph), (127 + 120 * image).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 100])
    people = dataclasses.replace(
        people, file_names=(photograph.name,), boxes=np.array([[150, 150, 500, 600]], np.float32)
    )
    weak = WeakAffine(flip=float(mirrored), scale=0.0)
    read = []
    cache = ImageCache()
    cache.read = lambda *given: read.append(ImageCache.read(cache, *given)) or read[-1]
    whole, smaller = (
        Crops(people, (96, 128), weak=weak, reduced=reduced, cache=cache).batch([0])
        for reduced in (False, True)
    )
    assert read[0].shape == (1001, 803, 3) and read[1].shape == (251, 201, 3)
    assert torch.equal(whole.points, smaller.points)
    inside = whole.image[0].float().amin(0) > 0
    assert inside.float().mean() > 0.8
    difference = (whole.image[0].float() - smaller.image[0].float()).abs()[:, inside]
    assert difference.mean() < 0.7 and difference.max() < 6
    half_a_pixel = (whole.image[0].float() - whole.image[0].roll(1, 2).float()).abs()[:, inside] / 2
    assert half_a_pixel.mean() > 1.5 * difference.mean()


def test_an_image_that_is_no_jpeg_or_not_much_larger_than_its_crop_is_decoded_whole(tmp_path):
    people = toy.instances(tmp_path, 2, width=300, height=400)
    for size in ((48, 64), (192, 256)):
        batches = [Crops(people, size, reduced=reduced).batch([0, 1]) for reduced in (False, True)]
        assert all(torch.equal(one, other) for one, other in zip(*batches, strict=True))


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
