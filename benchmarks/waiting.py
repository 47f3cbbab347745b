"""Whether sixteen cores feed a fast accelerator, tried on the cores of this machine with a pretended one.

    python benchmarks/waiting.py [--data FOLDER] [--seconds 10]

The pretended accelerator takes as long for a step as the GPU of book/measured/feeding_gpu.json takes for one of
Pose-MUM+ on a batch held in memory, and like a GPU it is given three steps ahead. To give it a step keeps the training
process busy for a part of that time, of which two are tried. Photographs (FOLDER, default: SSHPE_DATA, holds
coco-slice) are cut by one loader process a core. With N cores a step has 64 N / 16 crops, so that a core has as much to
do as one of sixteen. The accelerator waits for the share of time in which it has no work.

It is a model: what lies between a loader and a real GPU, such as the copies and the locks of its driver, is not in it.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from feeding import BATCH, SIZE
from loading import CORES
from photographs import arguments, images_of, parsed

from sshpe_lib.data.loaders import Batches
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.machine import cores
from sshpe_lib.trainer import STEPS_AHEAD

MEASURED = Path(__file__).resolve().parents[1] / "book" / "measured" / "feeding_gpu.json"
BUSY = (0.1, 0.5)  # of a step, the training process


def steps_of(measured: dict) -> dict[str, float]:
    """Milliseconds of a step of each network that never waits."""
    found = re.findall(r"^(\S+), one batch in memory +([\d.]+)", measured["output"], re.MULTILINE)
    return {network: float(milliseconds) for network, milliseconds in found}


def spend(seconds: float) -> None:
    """Time of the CPU."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def waits(batches: Iterator, step: float, busy: float, steps: int) -> float:
    """The share of time that an accelerator has nothing to do, whose step takes so many seconds."""
    for _ in islice(
        batches, steps // 2
    ):  # in which the batches are used up that were made while nothing trained
        time.sleep(step)
    given: deque[float] = deque()  # when the steps will be done that it was given
    start = done = time.perf_counter()
    for _ in islice(batches, steps):
        spend(busy)
        done = max(done, time.perf_counter()) + step
        given.append(done)
        if len(given) > STEPS_AHEAD:
            time.sleep(max(0.0, given.popleft() - time.perf_counter()))
    return 1 - steps * step / (done - start)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    options, people = parsed(parser)
    measured = json.loads(MEASURED.read_text())
    each = BATCH * cores() // CORES
    print(
        f"{len(people)} people in {len(people.file_names)} photographs, {each} + {each} crops of "
        f"{SIZE[0]}x{SIZE[1]} a step as the share of {cores()} cores of {CORES};\n"
        f"steps as long as on {measured['device']} (benchmarks/feeding.py, commit {measured['commit']})"
    )
    columns = "".join(f"{f'waits, {share:.0%} busy':>20}" for share in BUSY)
    print(f"{'':40}{'ms a step':>12}{columns}")
    with images_of(people) as caches:
        for network, milliseconds in steps_of(measured).items():
            for name, cache in caches.items():
                crops = Crops(people, SIZE, weak=WeakAffine(), cache=cache)
                step, told = milliseconds / 1e3, f"{network + ', ' + name:40}{milliseconds:12.1f}"
                for share in BUSY:
                    batches = Batches(crops, crops, batch_size=each, steps=10**9)
                    with closing(batches.loader(0, cores())) as loader:
                        told += f"{waits(loader, step, share * step, int(options.seconds / step)):>20.1%}"
                print(told, flush=True)


if __name__ == "__main__":
    main()
