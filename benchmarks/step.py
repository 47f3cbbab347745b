"""A whole training step beside the bare passes of its network, in one process, turn by turn.

    python benchmarks/step.py [--repeats 9] [--threads 1] [--batch 8] [--networks resnet18 resnet50 hrnet-w32]

The bare passes are what no such step can do without: the student forwards and backwards on the labelled and, where
there are any, on the unlabelled crops, and the teacher forwards on those, in the same precision and memory layout. The
step adds targets, normalisation, mixing or dropping, the loss, the optimiser and the teacher's update, which cost the
same for a small batch as for a large one. Its crops are cut beforehand, as loader processes do. Then one method with as
many crops as the papers have, and in several precisions and layouts; compiled is the network under `torch.compile`,
beside the bare passes of the same. What a step has more is told of every turn by itself: the median and the quartiles.

On a GPU a turn is many steps in a row, as in training, with 32 crops by default, and nothing is compiled. Four
columns more tell the operations a second of the whole step, their share of those of a large matrix product in the same
precision, the memory, and the milliseconds from the first to the last of Adam's kernels in a step. "CUDA graphs" are
those of `sshpe run --cuda-graphs`; the bare passes are replayed from the same, one after the other, where a step has
an averaging teacher predict beside the student.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from timing import Call, median_ms, timing, turns

from sshpe_lib import tables
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.config import Experiment
from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.losses import added
from sshpe_lib.machine import Machine
from sshpe_lib.parcel import Parcel, pack
from sshpe_lib.plan import cost
from sshpe_lib.plan.measure import KEYPOINTS, noise_batch, unsaved_trainer
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
PUBLISHED = 32  # labelled crops of a step in the papers, and as many unlabelled ones
IN_A_ROW = 5  # steps, or passes, of a turn on a GPU, at least
# Milliseconds of such a turn: long beside the one or two before a GPU has work, which training has only once.
TURN = 500.0
SIDE = 8192  # of the matrices that say what a GPU can do


class Fixed:
    """A stand-in for the loader, for a trainer that is given its batches."""

    steps, burn_in = 10**9, 0


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


def bare(trainer: Trainer, batch: Parcel) -> Call:
    """The passes alone; gradients of the mean of the heatmaps."""
    there: TrainBatch = batch.to(trainer.fabric.device).open()
    dtypes = trainer.preparation.dtype, torch.float32
    seen = [
        normalize(one.image, dtype).contiguous(memory_format=trainer.layout)
        for one, dtype in zip(there, dtypes, strict=True)
        if one is not None
    ]
    teacher = trainer.teacher.network if trainer.teacher is not None else None
    if teacher is not None and teacher is not trainer.network:
        teacher.eval()  # as EMAN's; the student that teaches itself stays in training

    def passes() -> None:
        trainer.optimizer.zero_grad(set_to_none=True)
        with trainer.graphs.step():
            if teacher is not None:
                with torch.no_grad(), trainer.fabric.autocast():
                    teacher(seen[1])
            terms = [trainer.students[0](images).mean() for images in seen]
            trainer.backward(added(terms), *terms)

    return passes


def stepping(made: Experiment, machine: Machine, folder: Path) -> Trainer:
    """A trainer that keeps nothing, ready to take steps."""
    trainer = unsaved_trainer(made, machine, Fixed(), folder)
    trainer.students[0].train()
    return trainer


def in_a_row(call: Call, times: int) -> Call:
    """The call again and again, which a GPU is not waited for in between."""

    def calls() -> None:
        for _ in range(times):
            call()

    return calls


def row(
    name: str, made: Experiment, options: argparse.Namespace, compiled: bool = False, graphs: bool = False
) -> None:
    """One line: bare passes, whole step, what the step has more; on a GPU also how much of it is used."""
    machine = Machine(
        threads=options.threads, accelerator=options.accelerator, progress=False, cuda_graphs=graphs
    )
    batch, times = pack(noise_batch(made)), 1
    if machine.on_gpu:
        gc.collect()  # the trainer of the last line, and its memory
        batch = batch.pin_memory()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        trainer = stepping(made, machine, Path(folder))
        if compiled:
            trainer.network.compile()
        if graphs:
            trainer.record(batch)
        forms = [bare(trainer, batch), lambda: trainer.take_step(batch)]
        if machine.on_gpu:
            one = median_ms(in_a_row(forms[1], IN_A_ROW), 1) / IN_A_ROW
            times = max(IN_A_ROW, round(TURN / one))
            memory = torch.cuda.max_memory_allocated() / 2**30
        if graphs:
            # Whole ones: a step's are in parts where features are mixed between them.
            trainer.graphs.record(forms[0])
        passes, step = (
            np.array(ms) / times for ms in turns([in_a_row(form, times) for form in forms], options.repeats)
        )
        adam = adam_ms(trainer, forms[1], times) if machine.on_gpu else 0.0
    more = timing(100 * (step / passes - 1))
    told = f"{more.median:7.1f} % ({more.first:.1f} – {more.third:.1f})"
    digits = 2 if machine.on_gpu else 0
    line = f"{name:42} {np.median(passes):10,.{digits}f} {np.median(step):10,.{digits}f} {told:>22}"
    if machine.on_gpu:
        flops = cost.step_flops(made, cost.network_of(made, KEYPOINTS).learned)
        rate = flops / (1e9 * np.median(step))
        share = rate / options.peak[made.train.precision]
        line += f" {rate:8.1f} {share:6.1%} {memory:6.1f} {adam:7.2f}"
    print(line, flush=True)


def adam_ms(trainer: Trainer, step: Call, times: int) -> float:
    """What the GPU takes for the optimiser in each of some steps in a row: the median."""
    events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
    update = trainer.optimizer.step

    def timed() -> None:
        events.append((torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)))
        events[-1][0].record()
        update()
        events[-1][1].record()

    with mock.patch.object(trainer.optimizer, "step", timed):
        in_a_row(step, times)()
    torch.cuda.synchronize()
    return float(np.median([before.elapsed_time(after) for before, after in events]))


def peaks() -> dict[str, float]:
    """TFLOP/s of a product of two large random matrices in each precision; float32 as convolutions take it, TF32."""
    torch.backends.cuda.matmul.allow_tf32 = True
    found = {}
    for precision, dtype in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        one, other = (torch.randn(SIDE, SIDE, device="cuda", dtype=dtype) for _ in range(2))
        product = in_a_row(lambda one=one, other=other: one @ other, IN_A_ROW)
        found[precision] = IN_A_ROW * 2 * SIDE**3 / (1e9 * median_ms(product, 5))
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


def heading(name: str, options: argparse.Namespace) -> None:
    """The head of the columns of `row`, an empty line before it."""
    more = "" if options.peak is None else f" {'TFLOP/s':>8} {'share':>6} {'GiB':>6} {'Adam':>7}"
    print(f"\n{name:42} {'passes':>10} {'step':>10} {'more':>22}{more}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, help="turns; 9, or 3 on a GPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--batch", type=int, help="labelled crops, and as many unlabelled ones; 8, or 32 on a GPU"
    )
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet50", "hrnet-w32"])
    parser.add_argument("--accelerator", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    on_gpu = Machine(accelerator=options.accelerator).on_gpu
    options.batch = options.batch or (32 if on_gpu else 8)
    options.repeats = options.repeats or (3 if on_gpu else 9)
    options.peak = peaks() if on_gpu else None
    crops = f"{options.batch} + {options.batch} crops of 192x256"
    turn = f"turns of {IN_A_ROW} or more" if on_gpu else "turns"
    print(
        f"{crops}, {options.threads} thread(s), ms, medians of {options.repeats} {turn}; in brackets the quartiles"
    )
    if on_gpu:
        told = ", ".join(f"{rate:.0f} TFLOP/s in {name}" for name, rate in options.peak.items())
        print(f"a product of {SIDE}x{SIDE} matrices: {told}")
    first = options.networks[0]
    if on_gpu:
        on_a_gpu(options, first)
    else:
        heading("float32", options)
        for network in options.networks:
            for method in METHODS:
                row(f"{network}, {method}", experiment(method, network, options.batch, {}), options)
        papers = experiment("Pose-MUM+", first, PUBLISHED, {})
        row(f"{first}, Pose-MUM+, {PUBLISHED} + {PUBLISHED} crops", papers, options)
        heading(f"{first}, Pose-MUM+", options)
        for name, settings in FORMS.items():
            row(name, experiment("Pose-MUM+", first, options.batch, settings), options)
        for name in ("float32", "bf16-mixed"):
            made = experiment("Supervised", first, options.batch, FORMS[name])
            for compiled in (False, True):
                row(f"Supervised, {name}{', compiled' if compiled else ''}", made, options, compiled)


def on_a_gpu(options: argparse.Namespace, first: str) -> None:
    """All methods with CUDA graphs; then what graphs, precision and layout do."""
    heading("bf16-mixed, CUDA graphs", options)
    for network in options.networks:
        for method in METHODS:
            made = experiment(method, network, options.batch, FORMS["bf16-mixed"])
            row(f"{network}, {method}", made, options, graphs=True)
    heading("bf16-mixed, kernel by kernel", options)
    for network in options.networks:
        row(
            f"{network}, Pose-MUM+",
            experiment("Pose-MUM+", network, options.batch, FORMS["bf16-mixed"]),
            options,
        )
    heading(f"{first}, Pose-MUM+, CUDA graphs", options)
    for name, settings in FORMS.items():
        row(name, experiment("Pose-MUM+", first, options.batch, settings), options, graphs=True)
    heading(f"{first}, Supervised, bf16-mixed", options)
    made = experiment("Supervised", first, options.batch, FORMS["bf16-mixed"])
    for name, graphs in (("kernel by kernel", False), ("CUDA graphs", True)):
        row(name, made, options, graphs=graphs)


if __name__ == "__main__":
    main()
