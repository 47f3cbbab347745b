"""What the published keypoint files hold, by their names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Expected:
    """A published keypoint file: its valid people, its images, how many have people, and where both can be had."""

    people: int
    images: int
    peopled: int
    annotations_from: str
    images_from: str


# Sizes are those of the download page of cocodataset.org. People: those that the reference's filter keeps,
# 149,813 and 6,352 in the papers as in the files.
_COCO = "http://images.cocodataset.org"
_COCO_FILES = f"{_COCO}/annotations/annotations_trainval2017.zip (241 MB)"
EXPECTED = {
    "person_keypoints_train2017.json": Expected(
        149_813, 118_287, 56_599, _COCO_FILES, f"{_COCO}/zips/train2017.zip (18 GB)"
    ),
    "person_keypoints_val2017.json": Expected(
        6_352, 5_000, 2_346, _COCO_FILES, f"{_COCO}/zips/val2017.zip (1 GB)"
    ),
}
