"""Whole images with all their people: joints move with pixels, masks cover what nobody labelled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths

from sshpe_lib import tables
from sshpe_lib.data import roles
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.scenes import SceneAffine, Scenes
from sshpe_lib.data.unlabelled import drawn, unlabelled_people
from sshpe_lib.errors import SSHPEError
from tests import choices, toy

STILL = SceneAffine(scale=(1.0, 1.0), rotation=0.0, shift=0.0, flip=0.0)


@pytest.fixture
def people(tmp_path: Path) -> Instances:
    """Five people: two in the first image, one in the second, two in the third."""
    made = toy.instances(tmp_path, 3, width=120, height=80)
    rows = np.array([0, 0, 1, 2, 2])
    keypoints = made.keypoints[rows] + np.arange(5, dtype=np.float32)[:, None, None] * [1, 1, 0]
    return replace(
        made,
        image_index=rows,
        image_ids=made.image_ids[rows],
        annotation_ids=np.arange(101, 106),
        keypoints=keypoints.astype(np.float32),
        boxes=made.boxes[rows],
        areas=made.areas[rows],
        box_scores=made.box_scores[rows],
    )


def test_a_scene_holds_all_people_of_its_image_and_padding(people: Instances) -> None:
    scenes = Scenes(people, 64, affine=STILL, most=4)
    assert len(scenes) == 3
    batch = scenes.batch([0, 1, 2])
    assert batch.image.shape == (3, 3, 64, 64) and batch.image.is_contiguous(
        memory_format=torch.channels_last
    )
    assert batch.points.shape == (3, 4, 17, 2) and batch.visible.shape == (3, 4, 17)
    assert [mask.shape for mask in batch.masks] == [(3, 16, 16), (3, 32, 32)]
    assert all((mask == 1).all() for mask in batch.masks)
    shown = (people.keypoints[..., 2] > 0).astype(np.float32)
    np.testing.assert_array_equal(batch.visible[0, :2], shown[:2])
    np.testing.assert_array_equal(batch.visible[1, 0], shown[2])
    assert not batch.visible[0, 2:].any() and not batch.visible[1, 1:].any()


@pytest.mark.parametrize("unbiased", [False, True])
def test_the_short_side_fills_the_square(people: Instances, unbiased: bool) -> None:
    batch = Scenes(people, 64, affine=STILL, unbiased=unbiased).batch([1])
    last = 63 / 80 if unbiased else 64 / 80
    middle = (np.array([120, 80]) - unbiased) / 2
    expected = (people.keypoints[2, :, :2] - middle) * last + (63 if unbiased else 64) / 2
    np.testing.assert_allclose(batch.points[0, 0], expected, atol=1e-3)


@pytest.mark.parametrize("unbiased", [False, True])
def test_joints_move_with_the_pixels_they_are_on(people: Instances, unbiased: bool, monkeypatch) -> None:
    """An image that is black but for a bright disc at the first joint."""
    x, y = people.keypoints[0, 0, :2]
    ys, xs = np.mgrid[:80, :120]
    disc = (255 * (np.hypot(xs - x, ys - y) < 6)).astype(np.uint8)
    scenes = Scenes(people, 128, unbiased=unbiased, affine=SceneAffine(scale=(1.2, 1.5), shift=5.0))
    monkeypatch.setattr(scenes.cache, "read", lambda *_: np.repeat(disc[..., None], 3, axis=2))
    order, mirrors = people.skeleton.flip_order, 0
    for epoch in range(12):
        batch = scenes.batch([0], epoch)
        seen = batch.image[0, 0].numpy().astype(float)
        ys, xs = np.mgrid[:128, :128]
        middle = np.array([(seen * xs).sum(), (seen * ys).sum()]) / seen.sum()
        near = [np.abs(batch.points[0, 0, joint].numpy() - middle).max() < 0.6 for joint in (0, order[0])]
        assert any(near)
        mirrors += order[1] != 1 and not np.allclose(batch.points[0, 0, 1], batch.points[0, 0, 2])
    assert mirrors


def test_a_mirror_swaps_left_and_right(people: Instances) -> None:
    straight = Scenes(people, 64, affine=STILL).batch([0])
    mirrored = Scenes(people, 64, affine=replace(STILL, flip=1.0)).batch([0])
    order = list(people.skeleton.flip_order)
    assert (straight.image.flip(3).int() - mirrored.image.int()).abs().max() <= 1
    swapped = straight.points[:, :, order]
    np.testing.assert_allclose(mirrored.points[0, :2, :, 0], 63 - swapped[0, :2, :, 0], atol=1e-3)
    assert torch.equal(mirrored.visible, straight.visible[:, :, order])


def test_draws_depend_on_the_place_in_the_epoch_alone(people: Instances) -> None:
    scenes = Scenes(people, 64, seed=3)
    whole = scenes.batch([0, 1, 2], epoch=2)
    again = Scenes(people, 64, seed=3).batch([2], epoch=2, positions=[2])
    assert torch.equal(whole.points[2], again.points[0]) and torch.equal(whole.image[2], again.image[0])
    assert not torch.equal(scenes.batch([2], epoch=3, positions=[2]).points, again.points)
    draws = np.array([SceneAffine().draw(np.random.default_rng(i))[:2] for i in range(300)])
    assert 0.75 <= draws[:, 0].min() < 0.8 and 1.45 < draws[:, 0].max() <= 1.5
    assert -30 <= draws[:, 1].min() < -28 and 28 < draws[:, 1].max() <= 30


def test_a_square_moves_along_each_axis_for_itself() -> None:
    rng = np.random.default_rng(0)
    shifts = np.array([SceneAffine().draw(rng)[2] for _ in range(1000)])
    assert 0.19 < np.abs(shifts).max() <= 0.2
    assert (shifts.min(0) < -0.19).all() and (shifts.max(0) > 0.19).all()  # to both sides
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.1


def test_a_square_moves_by_shares_of_its_own_side(people: Instances) -> None:
    scenes = Scenes(people, 64, affine=replace(STILL, scale=(0.5, 0.5), shift=40.0))
    moved = [np.abs(scenes._square((120, 80), epoch, 0).center - (60, 40)) for epoch in range(200)]
    assert 7 < np.max(moved) <= 8  # a fifth of the 40 pixels of the image that it shows


def test_each_stream_draws_for_itself(people: Instances) -> None:
    one, other = (Scenes(people, 64, stream=stream).batch([0]) for stream in ("labeled", "unlabeled"))
    assert not torch.equal(one.image, other.image)


def test_of_too_many_people_the_first_are_taught(people: Instances) -> None:
    both, one = (Scenes(people, 64, affine=STILL, most=most).batch([0, 2]) for most in (2, 1))
    assert torch.equal(one.points, both.points[:, :1]) and torch.equal(one.visible, both.visible[:, :1])


@pytest.mark.parametrize("outside", ["background", "ignored"])
def test_people_beyond_those_that_are_taught_are_masked(people: Instances, outside: str) -> None:
    boxes = np.tile(np.array([[45, 5, 20, 70], [75, 5, 20, 70]], np.float32), (3, 1))[:5]
    crowded = replace(people, boxes=boxes)
    both, one = (
        Scenes(crowded, 80, affine=STILL, most=most, outside=outside, strides=(1,)).batch([0, 1]).masks[0]
        for most in (2, 1)
    )
    assert both.all() and one[1].all()  # nobody is left over
    assert not one[0, 7:73, 57:73].any() and one[0, :, :53].all() and one[0, :, 77:].all()


def test_a_mask_pixel_is_hidden_where_more_than_half_of_it_is(people: Instances) -> None:
    """The last of hidden columns lies at 160 of a square of four pixels to one, the next column at 164."""
    hidden = {int(people.image_ids[0]): [[[20, 0, 61, 0, 61, 80, 20, 80]]]}
    scenes = Scenes(people, 320, affine=STILL, unlabelled=hidden, strides=(1,))
    row = scenes.batch([0]).masks[0][0, 160]
    assert not row[:162].any() and row[163:].all()


@pytest.mark.parametrize("unbiased", [False, True])
def test_what_nobody_labelled_is_masked_at_every_resolution(people: Instances, unbiased: bool) -> None:
    square = [[20, 0, 60, 0, 60, 40, 20, 40]]  # the upper left quarter of what is seen
    unlabelled = {int(people.image_ids[0]): [square]}
    batch = Scenes(people, 64, affine=STILL, unlabelled=unlabelled, unbiased=unbiased).batch([0, 1])
    for mask in batch.masks:
        half = mask.shape[1] // 2
        assert not mask[0, 1 : half - 1, 1 : half - 1].any()
        assert mask[0, half + 1 :].all() and mask[0, :, half + 1 :].all() and mask[1].all()


NARROW = SceneAffine(
    scale=(0.5, 0.5), rotation=0.0, shift=0.0, flip=0.0
)  # of the short side: all inside the image
WIDE = SceneAffine(scale=(2.0, 2.0), rotation=10.0, shift=0.0, flip=0.0)  # the image in a margin


def test_outside_of_the_image_is_background_or_ignored(people: Instances) -> None:
    """In a square of twice the short side, turned, the middle shows the image and the corners nothing."""
    unlabelled = {int(people.image_ids[0]): [[[50, 30, 70, 30, 70, 50, 50, 50]]]}
    taught, ignored = (
        Scenes(people, 64, affine=WIDE, unlabelled=unlabelled, outside=outside).batch([0, 1])
        for outside in ("background", "ignored")
    )
    assert torch.equal(taught.image, ignored.image)
    for everywhere, inside, side in zip(taught.masks, ignored.masks, (16, 32), strict=True):
        corners = (..., [0, 0, -1, -1], [0, -1, 0, -1])
        assert everywhere[corners].all() and not inside[corners].any()
        middle = (..., slice(side // 3, side - side // 3), slice(side // 4, side - side // 4))
        assert torch.equal(everywhere[middle], inside[middle])
        assert not inside[0][middle].all() and inside[1][middle].all()  # the hidden person, and nobody


@pytest.mark.parametrize("hide", [True, False], ids=["with crowds", "as CrowdPose"])
@pytest.mark.parametrize("unbiased", [False, True])
def test_ignored_masks_are_those_of_higher_hrnet(people: Instances, hide: bool, unbiased: bool) -> None:
    """`RandomAffineTransform` of its `lib/dataset/transforms`: the mask as bytes, warped with a border of zeros."""
    segmentations = [[[20, 0, 60, 0, 60, 40, 20, 40]]]
    image_id, size = int(people.image_ids[0]), (120, 80)
    scenes = Scenes(
        people, 64, unlabelled={image_id: segmentations} if hide else None, outside="ignored", unbiased=unbiased,
        affine=SceneAffine(flip=0.0),
    )  # fmt: skip
    wanted = drawn(segmentations, size) == 0 if hide else np.ones(size[::-1], bool)
    for epoch in range(8):
        square = scenes._square(size, epoch, 0)
        for mask, side in zip(scenes.batch([0], epoch).masks, (16, 32), strict=True):
            warped = cv2.warpAffine((wanted * 255).astype(np.uint8), square.matrix(side), (side, side)) / 255
            np.testing.assert_array_equal(mask[0].numpy(), (warped > 0.5).astype(np.float32))


def test_nothing_is_ignored_where_the_image_fills_the_square(people: Instances) -> None:
    batch = Scenes(people, 64, affine=NARROW, outside="ignored").batch([0, 1, 2])
    assert all((mask == 1).all() for mask in batch.masks)


def test_what_lies_outside_is_as_the_experiment_says() -> None:
    few = {"data.labeled.images": 4, "data.val.images": 2}
    for outside in ("background", "ignored"):
        made = tables.experiment("smoke", "udpv1", set=few | {"data.outside": outside}, **choices.WHOLE)
        scenes = roles.load(made, progress=False).labeled
        masks = [scenes.batch(range(4), epoch).masks[0] for epoch in range(4)]
        assert torch.stack(masks).all() == (outside == "background")


def document() -> dict:
    joints, nothing = [10, 10, 2] * 17, [0, 0, 0] * 17
    one = {
        "image_id": 1,
        "category_id": 1,
        "bbox": [0, 0, 4, 4],
        "area": 16,
        "iscrowd": 0,
        "keypoints": joints,
    }
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
        "categories": [
            {"id": 1, "name": "person", "keypoints": [f"k{i}" for i in range(17)], "skeleton": []}
        ],
        "annotations": [
            one | {"id": 1},
            one | {"id": 2, "keypoints": nothing, "segmentation": [[0, 0, 5, 0, 5, 5]]},
            one | {"id": 3, "iscrowd": 1, "segmentation": {"size": [10, 20], "counts": [0, 50, 150]}},
            one | {"id": 4, "keypoints": nothing},
        ],
    }


def test_crowds_and_people_without_keypoints_are_found(tmp_path: Path) -> None:
    file = tmp_path / "people.json"
    made = document()
    made["categories"][0]["keypoints"] = list(toy.COCO17.keypoints)
    file.write_text(json.dumps(made))
    found = unlabelled_people(file)
    assert list(found) == [1] and len(found[1]) == 3
    assert found[1][2] == [[0, 0, 4, 0, 4, 4, 0, 4]]  # the box, where there is no segmentation
    made["annotations"][1]["segmentation"] = [[1, 2]]
    file.write_text(json.dumps(made))
    with pytest.raises(
        SSHPEError, match=r"people\.json: annotation 2: its segmentation cannot be read, .*; give polygons"
    ):
        unlabelled_people(file)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({}, None),
        ({"area": 0}, [8, 2, 16, 2, 16, 9, 8, 9]),
        ({"bbox": [12, 2, 0, 0]}, [10, 2, 16, 2, 16, 8, 10, 8]),
        ({"bbox": [30, 2, 4, 7]}, [10, 2, 34, 2, 34, 9, 10, 9]),  # the joints are in the image
        ({"iscrowd": 1}, [8, 2, 12, 2, 12, 9, 8, 9]),
    ],
)
def test_people_with_joints_who_are_left_out_are_masked(
    tmp_path: Path, change: dict, left: list | None
) -> None:
    file = tmp_path / "people.json"
    made = document()
    joints = [10, 5, 2, 16, 8, 1, 19, 1, 0] + [0] * 42
    person = made["annotations"][0] | {"keypoints": joints, "bbox": [8, 2, 4, 7], "area": 28}
    made["annotations"] = [made["annotations"][0] | {"id": 9}, person | change]
    file.write_text(json.dumps(made))
    assert unlabelled_people(file) == ({} if left is None else {1: [[left]]})


def test_people_whose_joints_are_all_occluded_are_labelled_and_other_categories_are_nobody(
    tmp_path: Path,
) -> None:
    file = tmp_path / "people.json"
    made = document()
    made["annotations"][0]["keypoints"] = [10, 10, 1] * 17
    made["categories"].append({"id": 2, "name": "dog"})
    made["annotations"].append(made["annotations"][2] | {"id": 5, "category_id": 2})
    file.write_text(json.dumps(made))
    assert len(unlabelled_people(file)[1]) == 3


ZIGZAG = [[0, 0, 19, 9] * 30]


@pytest.mark.parametrize(
    ("segmentation", "problem"),
    [
        ({"counts": [1, 2], "size": [100_000, 100_000]}, r"size is \[100000, 100000\] and not \[10, 20\]"),
        ({"counts": [50, 150], "size": [20, 10]}, "its size is"),
        ({"counts": [50, 150], "size": [-10, -20]}, "its size is"),
        ({"counts": [50, 150]}, "its size is None"),
        ({"counts": [1, 2], "size": [10, 20]}, "its counts make 3 pixels, not 200"),
        ({"counts": [-1, 201], "size": [10, 20]}, "a count is no number of its image's pixels"),
        ({"counts": [50.0, 150], "size": [10, 20]}, "a count is no number"),
        ({"counts": [10**4000] * 2, "size": [10, 20]}, "a count is no number"),
        ({"counts": "PPYo0", "size": [10, 20]}, "a count is no number"),
        ({"counts": "R3", "size": [10, 20]}, "its counts make 98 pixels, not 200"),
        ({"counts": "R", "size": [10, 20]}, "its counts are 'R'"),  # the last number does not end
        ({"counts": "o" * 10**6, "size": [10, 20]}, "its counts are 'ooo"),
        ({"counts": "ü", "size": [10, 20]}, "its counts are 'ü'"),
        ({"counts": 5, "size": [10, 20]}, "its counts are 5"),
        ([[0, 0, 1e30, 0, 5, 5]], "no place near its 20x10 image"),
        ([[0, 0, 1e9, 0, 5, 5]], "no place near"),
        ([[0, 0, 5, 0, 5, float("nan")]], "no place near"),
        ([[0, 0, 5, 0, 5, -11]], "no place near"),
        ([["a"] * 6], "what is no number"),
        ([[0, 0, 5, 0, 5, 10**400]], "what is no number"),
        ([[0, 0, 5, 0, 5, 5, 5]], r"is no list of x, y of three points"),
        ([{"counts": [200]}], r"is no list of x, y of three points"),
        (ZIGZAG, "of 1,140 pixels' length is longer"),
        ("outline", "it is 'outline'"),
    ],
)
def test_a_segmentation_that_pycocotools_would_stumble_over_is_named(
    tmp_path: Path, segmentation: object, problem: str
) -> None:
    file = tmp_path / "people.json"
    made = document()
    made["annotations"][2]["segmentation"] = segmentation
    file.write_text(json.dumps(made))
    with pytest.raises(
        SSHPEError, match=rf"people\.json: annotation 3: its segmentation .*{problem}.*; give"
    ):
        unlabelled_people(file)


def test_a_box_far_outside_its_image_is_drawn_inside(tmp_path: Path) -> None:
    file = tmp_path / "people.json"
    made = document()
    made["annotations"][3]["bbox"] = [-1e14, 4, 2e14, 1e14]
    file.write_text(json.dumps(made))
    (box,) = unlabelled_people(file)[1][-1:]
    expected = np.zeros((10, 20), np.uint8)
    expected[4:] = 255
    np.testing.assert_array_equal(drawn([box], (20, 10)), expected)


def test_run_lengths_and_polygons_are_drawn_alike() -> None:
    square = np.zeros((10, 20), np.uint8)
    square[2:6, 3:9] = 1
    packed = run_lengths.encode(np.asfortranarray(square))
    columns = {"size": [10, 20], "counts": [32, 4, 6, 4, 6, 4, 6, 4, 6, 4, 6, 4, 114]}
    polygon = [[3, 2, 9, 2, 9, 6, 3, 6]]
    text = {"size": [10, 20], "counts": packed["counts"].decode()}
    for one in (text, columns, polygon):
        np.testing.assert_array_equal(drawn([one], (20, 10)), 255 * square)
    assert (drawn([polygon, [[0, 0, 20, 0, 20, 10, 0, 10]]], (20, 10)) == 255).all()


def test_run_lengths_as_a_text_may_fall() -> None:
    """The text holds what each adds to the last but one, which here is often less than nothing."""
    spots = (np.random.default_rng(0).random((10, 20)) < 0.5).astype(np.uint8)
    packed = run_lengths.encode(np.asfortranarray(spots))
    text = {"size": [10, 20], "counts": packed["counts"].decode()}
    np.testing.assert_array_equal(drawn([text], (20, 10)), 255 * spots)


def test_a_side_that_a_stride_does_not_divide_is_refused(people: Instances) -> None:
    with pytest.raises(SSHPEError, match="30 pixels do not divide by the strides"):
        Scenes(people, 30)
