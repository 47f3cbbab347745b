"""A whole training step beside the bare passes of its network, in one process, turn by turn.

    python benchmarks/step.py [--repeats 5] [--threads 1] [--batch 8] [--networks resnet18 resnet50 hrnet-w32]

The bare passes are what no such step can do without: the student forwards and backwards on the labelled and, where
there are any, on the unlabelled crops, and the teacher forwards on those, in the same precision and memory layout. The
step adds targets, normalisation, mixing or dropping, the loss, the optimiser and the teacher's update, which cost the
same for a small batch as for a large one. Its crops are cut beforehand, as loader processes do. Then one method in
several precisions and layouts; compiled is the network under `torch.compile`, beside the bare passes of the same. What
a step has more is told of every turn by itself: the median and the quartiles.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Call, timing, turns

from sshpe_lib import tables
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.config import Experiment
from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.machine import Machine
from sshpe_lib.plan.measure import noise_batch, unsaved_trainer
from sshpe_lib.trainer import Trainer

METHODS = {
    "Supervised": ("supervised", "1K", None),
    "Single": ("jc-single", "1K", None),
    "EMAN": ("affine-eman", "1K", None),
    "Pose-MUM+": ("pose-mum+", "1K", None),
    "AID": ("aid-cutout", "all", "aid on true boxes"),
}
FORMS = {
    "float32": {"train.precision": "32-true"},
    "float32, channels first": {"train.precision": "32-true", "train.channels_last": False},
    "bf16-mixed": {"train.precision": "bf16-mixed"},
    "bf16-mixed, channels first": {"train.precision": "bf16-mixed", "train.channels_last": False},
}


class Fixed:
    """A stand-in for the loader: one batch in memory, again and again."""

    def __init__(self, batch: TrainBatch):
        self.batch, self.steps, self.burn_in = batch, 10**9, 0


def experiment(method: str, network: str, batch: int, settings: dict[str, Any]) -> Experiment:
    """A method as the papers train it, from scratch."""
    name, amount, protocol = METHODS[method]
    if method == "Pose-MUM+" and network.startswith("hrnet"):
        sites = ["layer1", "stage2", "stage3"]
        settings = {"augment.strong": [{"kind": "mum", "sites": sites}], **settings}
    made = tables.experiment(
        "paper", name, backbone=network, amount=amount, size="256x192", protocol=protocol,
        set={"train.batch_size": batch, "train.precision": "32-true", **settings},
    )  # fmt: skip
    return made.model_copy(update={"model": made.model.architecture})


def bare(trainer: Trainer, batch: TrainBatch) -> Call:
    """The passes alone; gradients of the mean of the heatmaps."""
    layout = torch.channels_last if trainer.train.channels_last else torch.contiguous_format
    seen = [normalize(one.image).contiguous(memory_format=layout) for one in batch if one is not None]
    teacher = trainer.teacher.network.eval() if trainer.teacher is not None else None

    def passes() -> None:
        trainer.optimizer.zero_grad(set_to_none=True)
        if teacher is not None and teacher is not trainer.network:
            with torch.no_grad(), trainer.fabric.autocast():
                teacher(seen[1])
        elif teacher is not None:
            with torch.no_grad():
                trainer.students[0](seen[1])
        trainer.fabric.backward(sum(trainer.students[0](images).mean() for images in seen))

    return passes


def whole(trainer: Trainer, batch: TrainBatch) -> Call:
    """The whole step of a trainer of `stepping`."""
    return lambda: trainer._update(trainer._forward(batch))


def stepping(made: Experiment, machine: Machine, batch: TrainBatch, folder: Path) -> Trainer:
    """A trainer that keeps nothing, ready to take steps on one batch."""
    trainer = unsaved_trainer(made, machine, Fixed(batch), folder)
    trainer.students[0].train()
    return trainer


def row(name: str, made: Experiment, options: argparse.Namespace, compiled: bool = False) -> None:
    """One line: bare passes, whole step, what the step has more."""
    machine = Machine(threads=options.threads, accelerator=options.accelerator, progress=False)
    batch = noise_batch(made)
    with tempfile.TemporaryDirectory() as folder:
        trainer = stepping(made, machine, batch, Path(folder))
        if compiled:
            trainer.network.compile()
        passes, step = (
            np.array(ms) for ms in turns([bare(trainer, batch), whole(trainer, batch)], options.repeats)
        )
    more = timing(100 * (step / passes - 1))
    told = f"{more.median:7.1f} % ({more.first:.1f} – {more.third:.1f})"
    print(f"{name:42} {np.median(passes):10,.0f} {np.median(step):10,.0f} {told:>22}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet50", "hrnet-w32"])
    parser.add_argument("--accelerator", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    crops = f"{options.batch} + {options.batch} crops of 192x256"
    print(
        f"{crops}, {options.threads} thread(s), ms, medians of {options.repeats} turns; in brackets the quartiles"
    )
    print(f"{'float32':42} {'passes':>10} {'step':>10} {'more':>10}")
    for network in options.networks:
        for method in METHODS:
            row(f"{network}, {method}", experiment(method, network, options.batch, {}), options)
    network = options.networks[0]
    print(f"\n{network + ', Pose-MUM+':42} {'passes':>10} {'step':>10} {'more':>10}")
    for name, settings in FORMS.items():
        row(name, experiment("Pose-MUM+", network, options.batch, settings), options)
    for name in ("float32", "bf16-mixed"):
        made = experiment("Supervised", network, options.batch, FORMS[name])
        for compiled in (False, True):
            row(f"Supervised, {name}{', compiled' if compiled else ''}", made, options, compiled)


if __name__ == "__main__":
    main()
