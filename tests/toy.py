"""Small instances with real image files, and their ground truth, for tests of loaders, trainers and evaluations."""

from pathlib import Path

import cv2
import numpy as np

from sshpe_lib.data.instances import Instances
from sshpe_lib.skeleton import COCO17


def instances(folder: Path, count: int, seed: int = 0, width: int = 60, height: int = 80) -> Instances:
    """`count` people, one per noise image; keypoints lie inside the image."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    names = []
    for i in range(count):
        names.append(f"{seed}_{i}.png")
        cv2.imwrite(str(folder / names[-1]), rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    keypoints = np.concatenate(
        [rng.uniform(5, (width - 5, height - 5), (count, 17, 2)), rng.integers(0, 3, (count, 17, 1))], axis=-1
    )
    return Instances(
        skeleton=COCO17,
        source=folder / "toy.json",
        image_root=folder,
        file_names=tuple(names),
        image_sizes=np.tile(np.array([width, height], dtype=np.int32), (count, 1)),
        image_index=np.arange(count),
        image_ids=np.arange(1, count + 1),
        annotation_ids=np.arange(101, count + 101),
        keypoints=keypoints.astype(np.float32),
        boxes=np.tile(np.array([6.0, 4.0, 45.0, 70.0], dtype=np.float32), (count, 1)),
        areas=np.full(count, 3000.0, dtype=np.float32),
        box_scores=np.ones(count, dtype=np.float32),
    )


def ground_truth(people: Instances, category: int = 1) -> dict:
    """The parsed COCO file of such people."""
    width, height = people.image_sizes[0].tolist()
    return {
        "images": [{"id": int(one), "width": width, "height": height} for one in np.unique(people.image_ids)],
        "categories": [{"id": category, "name": "person"}],
        "annotations": [
            {
                "id": int(people.annotation_ids[row]),
                "image_id": int(people.image_ids[row]),
                "category_id": category,
                "iscrowd": 0,
                "keypoints": people.keypoints[row].ravel().tolist(),
                "bbox": people.boxes[row].tolist(),
                "area": float(people.areas[row]),
            }
            for row in range(len(people))
        ],
    }
