"""Whether the loader feeds the step: how long a device waits for crops, by training on photographs.

    python benchmarks/feeding.py [--data FOLDER] [--workers 14] [--steps 50] [--networks resnet18 resnet50 hrnet-w32]

FOLDER (default: SSHPE_DATA) holds coco-slice, photographs of COCO. Pose-MUM+ trains in bfloat16 on 32 labelled and 32
unlabelled crops of 192x256: first on one batch held in memory, as fast as the device goes, then on what the loader's
processes cut and augment. The device waits for the share of time by which the second is longer. Photographs are
decoded for every crop anew, as in the first pass over a data set too large for memory, or lie decoded in a packed file
(`--pack`). As many steps again are taken before, in which the batches are used up that the processes made while nothing
trained. All batches are whole: of COCO's 4,682 in an epoch, one is not. On a GPU passes are CUDA graphs. Two of the
cores are left to the training process by default.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path

from photographs import arguments, images_of, parsed
from step import FORMS, experiment

from sshpe_lib import parcel
from sshpe_lib.data.loaders import Batches
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.machine import Machine, cores
from sshpe_lib.plan.measure import gpu_clock, unsaved_trainer

SIZE, BATCH = (192, 256), 32


def milliseconds(
    step: Callable[[parcel.Parcel], object], batches: Iterator[parcel.Parcel], steps: int
) -> float:
    """Of a step, after as many that are not counted."""
    for batch in islice(batches, steps):
        step(batch)
    start = gpu_clock()
    for batch in islice(batches, steps):
        step(batch)
    return 1e3 * (gpu_clock() - start) / steps


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--workers", type=int, default=max(1, cores() - 2))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet50", "hrnet-w32"])
    options, people = parsed(parser)
    people = people.select(range(len(people) // BATCH * BATCH))
    machine = Machine(workers=options.workers, progress=False)
    if not machine.on_gpu:
        raise SystemExit("there is no GPU here to be fed; benchmarks/waiting.py pretends one")
    machine = replace(machine, cuda_graphs=True)
    print(
        f"{len(people)} people in {len(people.file_names)} photographs, {BATCH} + {BATCH} crops of "
        f"{SIZE[0]}x{SIZE[1]}, {options.workers} loader processes, bf16-mixed"
    )
    print(f"{'':42}{'ms a step':>12}{'crops/s':>12}{'device waits':>14}")
    with images_of(people) as caches, tempfile.TemporaryDirectory() as folder:
        for network in options.networks:
            made = experiment("Pose-MUM+", network, BATCH, FORMS["bf16-mixed"])
            alone = None
            for name, cache in caches.items():
                crops = Crops(people, SIZE, weak=WeakAffine(), cache=cache)
                batches = Batches(crops, crops, batch_size=BATCH, steps=10**9)
                trainer = unsaved_trainer(made, machine, batches, Path(folder))
                trainer.students[0].train()
                kept = parcel.pack(batches[0]).pin_memory()
                trainer.record(kept)
                if alone is None:
                    alone = milliseconds(trainer.take_step, repeat(kept), options.steps)
                    print(line(f"{network}, one batch in memory", alone), flush=True)
                loader = iter(batches.loader(0, options.workers, pin_memory=True))
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
