"""A bottom-up network learns a few real photographs by heart: proof that the chain from file to AP is whole.

    SSHPE_DATA=... python benchmarks/overfit.py [--images 20] [--side 256] [--steps 5000] [--batch 4]

Targets, masks, losses, aggregation, grouping and evaluation all have to agree before a narrow HigherHRNet can name
every joint of the photographs it was trained on. They are the first of $SSHPE_DATA/coco-slice whose people all span
at least 0.3 of the short side; smaller ones are a few pixels at this size. The test sees the whole images, the
training squares of them, moved but neither turned nor mirrored. An AP on training images measures nothing else. The
Gaussians are wide: few people in a large square are little to learn from beside the tags.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from sshpe_lib import paths, tables
from sshpe_lib.data import sources
from sshpe_lib.experiment import train
from sshpe_lib.machine import Machine

LARGE = 0.3  # of the image's short side, the longer side of a person's box


def few_images(source: Path, count: int, output: Path) -> tuple[int, int]:
    """Write the first `count` images whose people are all large to a file of their own; (images, people) in it."""
    document = json.loads(source.read_text())
    people: dict[int, list[dict]] = {}
    for annotation in document["annotations"]:
        people.setdefault(annotation["image_id"], []).append(annotation)

    def large(image: dict) -> bool:
        labelled = [one for one in people.get(image["id"], ()) if one["num_keypoints"]]
        short = min(image["width"], image["height"])
        return bool(labelled) and all(max(one["bbox"][2:]) >= LARGE * short for one in labelled)

    document["images"] = [image for image in document["images"] if large(image)][:count]
    kept = {image["id"] for image in document["images"]}
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] in kept]
    output.write_text(json.dumps(document))
    return len(kept), sum(one["num_keypoints"] > 0 for one in document["annotations"])


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("images", 20), ("side", 256), ("steps", 5000), ("batch", 4), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    if paths.data() is None:
        sys.exit("SSHPE_DATA names no folder of real photographs")
    slice_ = paths.data() / "coco-slice"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "few.json"
        images, people = few_images(
            slice_ / "annotations" / "person_keypoints_train.json", options.images, file
        )
        source = {"kind": "coco", "annotations": str(file), "images": str(slice_ / "images" / "train")}
        data = {"data.labeled": source, "data.val": source, "data.input_size": [options.side, options.side]}
        experiment = tables.experiment(
            "quick", "udpv1", backbone="higherhrnet-w32", amount="all images", size="512x512",
            protocol="aid bottom-up", schedule="bottom-up S1",
            set={
                **data, "data.sigma": 3.0, "train.steps": options.steps, "train.batch_size": options.batch,
                "train.push": 0.005, "train.pull": 0.005, "train.learning_rate": 2e-3,
                "augment.scene": {"scale": (0.95, 1.1), "rotation": 0.0, "shift": 60.0, "flip": 0.0},
                "evaluate": {"times": 8, "flip": False},
            },
        )  # fmt: skip
        record = train(sources.pin(experiment), Machine(threads=options.threads), Path(folder) / "run")
    print(
        f"{images} photographs, {people} people, {experiment.model}, {options.side} pixels, batches of {options.batch}"
    )
    for point in record.curve:
        print(f"step {point.step:5d}  loss {point.loss:.5f}  AP {point.student_ap:5.1f}")
    print(f"AP on the photographs it was trained on: {record.ap:.1f} after {record.provenance.seconds:.0f} s")


if __name__ == "__main__":
    main()
