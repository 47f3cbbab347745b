"""A small keypoint file with its images, for tests that read it whole or broken."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

NAMES = ["left_hand", "right_hand"]


def person(number: int, image: int, **changes) -> dict:
    """One valid annotation of a two-keypoint category."""
    keypoints = [10, 12, 2, 20.5, 22, 1]
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "keypoints": keypoints,
        "num_keypoints": 2, "bbox": [5, 6, 30, 32], "area": 400.5, **changes,
    }  # fmt: skip


def valid_document() -> dict:
    """Three images, not in the order of their ids; people 10 to 12 pass the filter, 13 to 16 do not."""
    return {
        "images": [
            {"id": 7, "file_name": "b.jpg", "width": 64, "height": 48},
            {"id": 3, "file_name": "deep/a.png", "width": 40, "height": 60},
            {"id": 9, "file_name": "empty.jpg", "width": 10, "height": 10},
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2]]}],
        "annotations": [
            person(11, 3),
            person(12, 7, bbox=[-5, 40, 30, 32]),
            person(13, 7, iscrowd=1, segmentation={"counts": "S32dj2U2", "size": [48, 64]}),
            person(14, 7, area=0),
            person(15, 3, keypoints=[0] * 6, num_keypoints=0, segmentation=[[1, 2, 9, 2, 9.5, 30]]),
            person(16, 3, bbox=[200, 5, 10, 10]),
            person(10, 7, segmentation=[[1, 2, 3, 4, 5, 6]]),
        ],
    }


def write(folder: Path, document: object) -> Path:
    """The document as a file, with the images it names."""
    path = folder / "people.json"
    path.write_text(json.dumps(document))
    (folder / "deep").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for name, (width, height) in {"b.jpg": (64, 48), "deep/a.png": (40, 60), "empty.jpg": (10, 10)}.items():
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
    return path
