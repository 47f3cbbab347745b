"""Whole images of a keypoint file: all of them, checked before anything starts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sshpe_lib.data import whole_images
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import COCO17


@pytest.fixture
def file(tmp_path):
    spec = SyntheticPeople(images=3, seed=5, height=48, width=64, people=(1, 2))
    return build(spec, tmp_path, progress=False)


def test_an_image_without_people_is_tested_too(file) -> None:
    document = json.loads(file.read_text())
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] != 2]
    file.write_text(json.dumps(document))
    images = whole_images.load(file, file.parent / "images")
    assert images.ids.tolist() == [1, 2, 3] and images.skeleton == COCO17 and images.category == 1
    assert images.read(1, ImageCache()).shape == (48, 64, 3)
    few = images.select([2, 0])
    assert few.ids.tolist() == [3, 1] and np.array_equal(
        few.read(1, ImageCache()), images.read(0, ImageCache())
    )


def test_a_missing_image_is_named(file) -> None:
    (file.parent / "images" / "000001.png").unlink()
    with pytest.raises(SSHPEError, match=r"annotations.json.*'000001.png'.*it is not in"):
        whole_images.load(file, file.parent / "images")


def test_a_broken_image_is_named_with_its_entry(file) -> None:
    path = file.parent / "images" / "000001.png"
    path.write_bytes(path.read_bytes()[:60])
    images = whole_images.load(file, file.parent / "images")
    with pytest.raises(SSHPEError, match=r"image 2"):
        images.read(1, ImageCache())
