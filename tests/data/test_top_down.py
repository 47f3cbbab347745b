"""Crops: what is in them, and what decides them."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from sshpe_lib.augment.pixels import normalize
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
