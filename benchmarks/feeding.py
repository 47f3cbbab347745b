"""Whether the loader feeds the step: how long a device waits for crops, by training on photographs.

    python benchmarks/feeding.py [--data FOLDER] [--workers 14] [--steps 50] [--networks resnet18 resnet50 hrnet-w32]

FOLDER (default: SSHPE_DATA) holds coco-slice, photographs of COCO. Pose-MUM+ trains in bfloat16 on 32 labelled and 32
unlabelled crops of 192x256: first on one batch held in memory, as fast as the device goes, then on what the loader's
processes cut and augment. The device waits for the share of time by which the second is longer. Photographs are
decoded for every crop anew, as in the first pass over a data set too large for memory, or lie decoded in a packed file
(`--pack`). As many steps again are taken before, in which the batches are used up that the processes made while nothing
trained. On a GPU passes are CUDA graphs. Two of the cores are left to the training process by default.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from itertools import islice, repeat
from pathlib import Path

import cv2
import torch
from step import FORMS, experiment

from sshpe_lib import parcel
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.coco import load_instances
from sshpe_lib.data.instances import Instances, concatenate
from sshpe_lib.data.loaders import Batches
from sshpe_lib.data.packed import pack
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.machine import Machine, cores
from sshpe_lib.plan.measure import gpu_clock, unsaved_trainer

SIZE, BATCH = (192, 256), 32


def people_of(folder: Path) -> Instances:
    """Everybody in the photographs of coco-slice that are there."""
    parts = [part for part in ("train", "val") if (folder / "images" / part).is_dir()]
    found = [
        load_instances(folder / f"annotations/person_keypoints_{part}.json", folder / "images" / part)
        for part in parts
    ]
    return reduce(concatenate, found)


def milliseconds(
    step: Callable[[parcel.Parcel], object], batches: Iterator[parcel.Parcel], steps: int
) -> float:
    """Of a step, after as many that are not counted."""
    clock = gpu_clock if torch.cuda.is_available() else time.perf_counter
    for batch in islice(batches, steps):
        step(batch)
    start = clock()
    for batch in islice(batches, steps):
        step(batch)
    return 1e3 * (clock() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("SSHPE_DATA"))
    parser.add_argument("--workers", type=int, default=max(1, cores() - 2))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet50", "hrnet-w32"])
    options = parser.parse_args()
    if options.data is None:
        parser.error("name the data folder: --data FOLDER, or set SSHPE_DATA")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    people = people_of(options.data / "coco-slice")
    machine = Machine(workers=options.workers, progress=False)
    machine = replace(machine, cuda_graphs=machine.on_gpu)
    print(
        f"{len(people)} people in {len(people.file_names)} photographs, {BATCH} + {BATCH} crops of "
        f"{SIZE[0]}x{SIZE[1]}, {options.workers} loader processes, bf16-mixed"
    )
    print(f"{'':42}{'ms a step':>12}{'crops/s':>12}{'device waits':>14}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SSHPE_CACHE"] = folder
        packs = [pack(people.pictures, show=False)]
        caches = {
            "decoded for every crop": ImageCache(limit=0),
            "packed": ImageCache(packs=packs),
        }
        for network in options.networks:
            made = experiment("Pose-MUM+", network, BATCH, FORMS["bf16-mixed"])
            alone = None
            for name, cache in caches.items():
                crops = Crops(people, SIZE, weak=WeakAffine(), cache=cache)
                batches = Batches(crops, crops, batch_size=BATCH, steps=10**9)
                trainer = unsaved_trainer(made, machine, batches, Path(folder))
                trainer.students[0].train()
                kept = parcel.pack(batches[0])
                if machine.on_gpu:
                    kept = kept.pin_memory()
                    trainer.record(kept)
                if alone is None:
                    alone = milliseconds(trainer.take_step, repeat(kept), options.steps)
                    print(line(f"{network}, one batch in memory", alone), flush=True)
                loader = iter(batches.loader(0, options.workers, pin_memory=machine.on_gpu))
                fed = milliseconds(trainer.take_step, loader, options.steps)
                print(line(f"{network}, {name}", fed) + f"{max(0, 1 - alone / fed):>14.1%}", flush=True)
                if network == options.networks[0]:
                    print(
                        line(f"the loader alone, {name}", milliseconds(lambda _: None, loader, options.steps))
                    )
                del loader


def line(name: str, ms: float) -> str:
    return f"{name:42}{ms:12.1f}{2e3 * BATCH / ms:12,.0f}"


if __name__ == "__main__":
    main()
