"""Time and memory of loading every person of COCO train2017.

    python benchmarks/load_coco_full.py [--data FOLDER]

FOLDER (default: SSHPE_DATA) holds coco-full/coco_train2017_keypoints_rebuilt.npz. It is written out as COCO
JSON twice: with the 149,813 people who have keypoints, and `padded` to the shape of the official file, with
112,652 people without keypoints and an outline of 30 points for everybody. Each figure comes from a process
of its own (Linux): CPU seconds, best of three, and peak memory less that of a process that only imports. The second
time, people of a large file come out of the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sshpe_lib.data.coco import load_instances
from sshpe_lib.skeleton import COCO17

OFFICIAL_ANNOTATIONS = 262_465
OUTLINE_POINTS = 30


def write_train2017(npz: Path, out: Path, *, padded: bool = False) -> None:
    """The rebuilt train2017 people as a COCO keypoint file; areas, which it lacks, are 0.53 of the box."""
    arrays = np.load(npz)
    image_ids, first = np.unique(arrays["image_id"], return_index=True)
    first.sort()  # file order, which is that of the people
    images = [
        {"id": number, "file_name": f"{number:012d}.jpg", "width": width, "height": height}
        for number, (width, height) in zip(
            arrays["image_id"][first].tolist(), arrays["size_wh"][first].tolist(), strict=True
        )
    ]
    assert len(images) == len(image_ids)
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(COCO17.keypoints)}
    category["skeleton"] = [[a + 1, b + 1] for a, b in COCO17.limbs]
    document = {"images": images, "categories": [category], "annotations": list(_people(arrays, padded))}
    out.write_text(json.dumps(document))


def _people(arrays: np.lib.npyio.NpzFile, padded: bool) -> Iterator[dict]:
    image_ids = arrays["image_id"].tolist()
    keypoints = arrays["keypoints"].reshape(len(image_ids), -1)
    counts = (keypoints[:, 2::3] > 0).sum(axis=1).tolist()
    boxes = np.round(arrays["bbox"].astype(float), 2)
    outline = np.round(np.linspace(10, 600, 2 * OUTLINE_POINTS), 2).tolist() if padded else []
    rows = zip(image_ids, keypoints.tolist(), counts, boxes.tolist(), strict=True)
    for number, (image, points, count, box) in enumerate(rows, 1):
        yield _person(number, image, points, count, box, outline)
    for number in range(len(image_ids) + 1, OFFICIAL_ANNOTATIONS + 1) if padded else ():
        yield _person(number, image_ids[0], [0] * 51, 0, [10.0, 10.0, 20.0, 20.0], outline)


def _person(number: int, image: int, points: list, count: int, box: list, outline: list) -> dict:
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": points,
        "num_keypoints": count,
        "bbox": box,
        "area": round(0.53 * box[2] * box[3], 4),
        "segmentation": [outline],
    }


def measure(what: str, path: Path) -> tuple[float, float, int]:
    """(CPU seconds, peak MiB, people) of one way to read `path`, in this process."""
    start = time.process_time()
    people = 0
    if what == "json.load":
        with path.open() as file:
            people = len(json.load(file)["annotations"])
    elif what.startswith("load_instances"):
        people = len(load_instances(path, path.parent, check_images=False))
    return time.process_time() - start, _peak_memory(), people


def _peak_memory() -> float:
    """MiB. `resource.getrusage` will not do: its maximum is inherited from the starting process."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) / 1024


def _in_its_own_process(what: str, path: Path) -> tuple[float, float, int]:
    command = [sys.executable, __file__, "--measure", what, str(path)]
    cache = path.parent / "cache"
    if not what.endswith("again"):
        shutil.rmtree(cache, ignore_errors=True)
    environment = os.environ | {"SSHPE_CACHE": str(cache)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return tuple(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("SSHPE_DATA"))
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure[0], Path(arguments.measure[1]))))
        return
    if arguments.data is None:
        parser.error("name the data folder: --data FOLDER, or set SSHPE_DATA")
    npz = Path(arguments.data) / "coco-full" / "coco_train2017_keypoints_rebuilt.npz"
    with tempfile.TemporaryDirectory() as folder:
        for padded in (False, True):
            path = Path(folder) / f"train2017{'_padded' if padded else ''}.json"
            write_train2017(npz, path, padded=padded)
            print(f"{path.name}: {path.stat().st_size / 2**20:.0f} MiB")
            idle = _in_its_own_process("nothing", path)[1]
            for what in ("json.load", "load_instances", "load_instances, again"):
                runs = [_in_its_own_process(what, path) for _ in range(3)]
                seconds, memory, people = min(runs)
                print(f"  {what:<24}{seconds:7.2f} s {memory - idle:8.0f} MiB {people:>9,} people")


if __name__ == "__main__":
    main()
