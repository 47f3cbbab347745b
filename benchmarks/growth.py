"""How time and memory grow with people, images, joints, pixels, the size of a group, and processes.

    python benchmarks/growth.py [--repeats 15]    (Linux; where there is a GPU, by book/measure.py, which hides it)

Every point is measured in five processes of its own, sizes taking turns, and the median of these counts: milliseconds
of CPU, the median of several calls on one thread, and the memory that the calls added at most. The last column is the
power with which the time grows over the last step; 1 is linear. Where little grows with the quantity, the power is
near 0. People of an image stay below 30, the most that bottom-up grouping is made for; above it the method itself, as
published, breaks them into pieces. Processes that torchrun starts share the crops of one training step, and their CPU
time and memory are added up, once, over five steps.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from evaluation import poses_of
from grouping import scene
from step import experiment, stepping
from timing import Call, median_ms

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.data import documents
from sshpe_lib.data.coco import load_instances
from sshpe_lib.evaluate.average_precision import average_precision
from sshpe_lib.grouping import Grouping
from sshpe_lib.losses import associative_embedding
from sshpe_lib.machine import Machine
from sshpe_lib.parcel import pack
from sshpe_lib.plan.measure import noise_batch
from sshpe_lib.skeleton import COCO17


def grouping(people: int) -> Call:
    return partial(Grouping(), *scene(people, (256, 344)))


def associating(people: int) -> Call:
    tags = torch.randn(8, 17 * 128 * 128).requires_grad_()
    index = torch.randint(17 * 128 * 128, (8, people, 17))

    def work() -> None:
        push, pull = associative_embedding(tags, index)
        (push + pull).sum().backward()

    return work


def dataset(images: int) -> dict:
    """A COCO file with two people an image."""
    rng = np.random.default_rng(0)
    limbs = [[a + 1, b + 1] for a, b in COCO17.limbs]
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.keypoints), "skeleton": limbs}
    people = []
    for number in range(2 * images):
        points = np.concatenate([rng.uniform(0, 400, (17, 2)).round(), np.full((17, 1), 2.0)], axis=1)
        people.append(
            {
                "id": number + 1, "image_id": number // 2, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
                "bbox": [10.0, 10.0, 300.0, 380.0], "area": 6e4, "keypoints": points.ravel().tolist(),
            }
        )  # fmt: skip
    named = [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(images)]
    return {"images": named, "categories": [category], "annotations": people}


def opening(images: int) -> Call:
    folder = Path(tempfile.mkdtemp())
    file = folder / "people.json"
    file.write_text(json.dumps(dataset(images)))
    os.environ["SSHPE_CACHE"] = str(folder / "cache")

    def work() -> None:
        documents._parse_once.cache_clear()  # a small file would be parsed by the first call only
        load_instances(file, folder, check_images=False)

    return work


def evaluating(images: int) -> Call:
    truth = dataset(images)
    results = poses_of(truth, np.random.default_rng(0))
    return lambda: average_precision(truth, results, COCO17.sigmas)


def coding(joints: int = 17, pixels: int = 192 * 256) -> Call:
    width, height = sides(pixels)
    codec = MSRAHeatmap((width, height), (width // 4, height // 4), 2.0)
    points = torch.rand(32, joints, 2) * torch.tensor([width, height])
    return lambda: codec.decode(codec.encode(points, torch.ones(32, joints))[0])


def sides(pixels: int) -> tuple[int, int]:
    """Width and height of a crop of three by four."""
    return round((pixels * 3 / 4) ** 0.5), round((pixels * 4 / 3) ** 0.5)


def copying(pixels: int) -> Call:
    width, height = sides(pixels)
    return torch.randn(32, 3, height, width).clone


def mixing(group: int = 4, pixels: int = 192 * 256) -> Call:
    width, height = sides(pixels)
    images = torch.randn(32, 3, height, width)
    mix, seeds = PoseMUM(group=group), iter(range(10**6))

    def work() -> None:
        made = mix.draw(32, Draw(torch.Generator().manual_seed(next(seeds))))
        made.image(images)

    return work


ROUNDS, STEPS = 5, 5
CROPS = (96 * 128, 192 * 256, 384 * 512)
CROPS_OF_A_STEP, PROCESSES = 16, (1, 2, 4)  # labelled and as many unlabelled; a group of four to each process
MEASURED: dict[tuple[str, str], tuple[Callable[[int], Call], tuple[int, ...]]] = {
    ("people of an image", "grouping, 256x344"): (grouping, (3, 7, 14, 28)),
    ("people of an image", "associative embedding, 8 images"): (associating, (4, 8, 16, 32)),
    ("images", "opening the file of annotations"): (opening, (2000, 4000, 8000, 16000)),
    ("images", "COCO's evaluation"): (evaluating, (250, 500, 1000, 2000)),
    ("joints", "encode and decode, 32 people"): (coding, (8, 16, 32, 64)),
    ("pixels of a crop", "encode and decode, 32 people"): (lambda size: coding(pixels=size), CROPS),
    ("pixels of a crop", "mixing 32 images"): (lambda size: mixing(pixels=size), CROPS),
    ("pixels of a crop", "a plain copy of 32 images"): (copying, CROPS),
    ("images of a group", "mixing 32 images"): (mixing, (2, 4, 8, 16, 32)),
}


def measured(make: Callable[[int], Call], size: int, repeats: int) -> tuple[float, float]:
    """(milliseconds, MiB) of one point, in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        work = make(size)
        before, milliseconds = memory("VmRSS:"), median_ms(work, repeats)
        os.write(writer, json.dumps([milliseconds, max(memory("VmHWM:") - before, 0.0)]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        found = json.loads(answer.read())
    os.waitpid(child, 0)
    return tuple(found)


def in_processes(count: int) -> tuple[float, float]:
    """(milliseconds, MiB) of a training step in `count` processes, which share its crops, in all."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    made = subprocess.run(
        [*command, __file__, "--one-of"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if made.returncode:
        raise SystemExit(made.stderr)
    return tuple(json.loads(made.stdout.splitlines()[-1]))


def one_of_them() -> None:
    """The part of one process in `in_processes`; the first one prints the sums."""
    share = CROPS_OF_A_STEP // int(os.environ["WORLD_SIZE"])
    made = experiment("Pose-MUM+", "resnet18", share, {})
    batch = pack(noise_batch(made))
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(accelerator="cpu", progress=False)
        trainer = stepping(made, machine, Path(folder))
        before = memory("VmRSS:")
        cost = torch.tensor([median_ms(lambda: trainer.take_step(batch), STEPS), memory("VmHWM:") - before])
        total = trainer.fabric.all_reduce(cost, reduce_op="sum")
        if trainer.fabric.is_global_zero:
            print(json.dumps(total.tolist()))


def memory(what: str) -> float:
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index(what) + 1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15, help="calls of each process")
    parser.add_argument("--one-of", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one_of:
        return one_of_them()
    rows = []
    for (quantity, what), (make, sizes) in MEASURED.items():
        # Sizes take turns: what slows the machine down for a while meets all of them.
        rounds = [[measured(make, size, options.repeats) for size in sizes] for _ in range(ROUNDS)]
        medians = np.median(rounds, axis=0).tolist()
        points = [(size, *both) for size, both in zip(sizes, medians, strict=True)]
        rows.append(row(quantity, what, points))
    points = [(count, *in_processes(count)) for count in PROCESSES]
    rows.append(
        row("processes", f"a step of ResNet-18 on {CROPS_OF_A_STEP} + {CROPS_OF_A_STEP} crops", points)
    )
    print(f"rows: {json.dumps(rows)}")


def row(quantity: str, what: str, points: list[tuple[int, float, float]]) -> dict:
    """Print the points of one quantity, and the power of the last step."""
    (one, before, _), (other, after, _) = points[-2:]
    power = float(np.log(after / before) / np.log(other / one))
    print(f"{what} by {quantity}")
    for size, milliseconds, mebibytes in points:
        print(f"  {size:>7,} {milliseconds:10.2f} ms {mebibytes:8.1f} MiB")
    print(f"  grows with power {power:.2f}", flush=True)
    return {"quantity": quantity, "what": what, "points": points, "power": round(power, 2)}


if __name__ == "__main__":
    main()
