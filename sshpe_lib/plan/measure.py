"""A few real training steps, timed: how many FLOP/s this machine sustains."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sshpe_lib import initial, parts, progress
from sshpe_lib.config import Experiment
from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.data.scenes import SceneBatch
from sshpe_lib.data.top_down import CropBatch
from sshpe_lib.machine import Machine
from sshpe_lib.parcel import Parcel, pack
from sshpe_lib.plan import cost
from sshpe_lib.trainer import Trainer

KEYPOINTS = 17
PEOPLE = 5  # of a whole image
WARM_UP, TIMED = 1, 3
TOGETHER = 20  # steps on a GPU, timed from their first to their last: it is not waited for between them


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step, by which clock, and its FLOPs: the fastest of `times`, or of means of `together`."""

    seconds: float
    clock: str
    flops: int
    times: int
    together: int = 1

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds

    def __str__(self) -> str:
        means = f" means of {self.together}" if self.together > 1 else ""
        return f"{self.seconds:.3g} s of {self.clock} a step, the fastest of {self.times}{means}"


def measure(experiment: Experiment, machine: Machine, description: str = "measuring") -> Speed:
    """Time a few steps of an experiment's own size with the trainer that trains it, and keep nothing.

    The network starts from scratch and sees random crops held in memory: neither weights nor data are needed,
    and reading and cropping images is not timed. The burn-in is left out. One thread of a CPU is timed by
    its own time, which other programs on the machine do not lengthen; anything else by the clock on the wall.
    """
    with machine.own_threads():
        return _measured(experiment, machine, description)


def _measured(experiment: Experiment, machine: Machine, description: str) -> Speed:
    scratch = experiment.model_copy(update={"model": experiment.model.architecture, "start": None})
    with tempfile.TemporaryDirectory() as folder:
        together = TOGETHER if machine.on_gpu else 1
        bar = progress.bar((WARM_UP + TIMED) * together, description, show=machine.progress)
        batches = Repeated(noise_batch(scratch), bar, together)
        alone = not machine.on_gpu and torch.get_num_threads() == 1
        batches.clock = gpu_clock if machine.on_gpu else time.process_time if alone else time.perf_counter
        unsaved_trainer(scratch, machine, batches, Path(folder)).fit()
        bar.close()
    learned = cost.network_of(experiment, KEYPOINTS).learned
    times = [end - start for start, end in zip(batches.asked, batches.asked[1:], strict=False)]
    seconds, clock = min(times[WARM_UP:]) / together, "CPU time" if alone else "wall time"
    return Speed(seconds, clock, cost.step_flops(experiment, learned), TIMED, together)


def gpu_clock() -> float:
    """Seconds, when the GPU has done all it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


class Repeated:
    """The loader's stand-in: one batch again and again, and when it was asked for, once for so many `together`."""

    def __init__(self, batch: TrainBatch, bar: tqdm, together: int = 1):
        self.batch, self.bar, self.together = batch, bar, together
        self.asked: list[float] = []
        self.clock: Callable[[], float] = time.perf_counter
        self.steps = (WARM_UP + TIMED) * together
        self.burn_in = self.steps if batch.unlabeled is None else 0

    def __getitem__(self, step: int) -> TrainBatch:
        return self.batch

    def loader(self, start: int, workers: int, pin_memory: bool) -> Iterator[TrainBatch | Parcel]:
        batch = pack(self.batch).pin_memory() if pin_memory else self.batch
        for step in range(start, self.steps):
            if step % self.together == 0:
                self.asked.append(self.clock())
            yield batch
            self.bar.update()  # the next batch is asked for when the step is over
        self.asked.append(self.clock())


class _Unsaved(Trainer):
    """A trainer whose state is worth nothing; on a slow machine it would be written while steps are timed."""

    def save(self) -> None:
        """Write nothing."""


def unsaved_trainer(experiment: Experiment, machine: Machine, batches: Repeated, folder: Path) -> Trainer:
    """The trainer that would train an experiment, from scratch, with other batches; it keeps nothing."""
    fabric = machine.fabric(experiment.train.precision, folder)
    channels = parts.channels_of(experiment, KEYPOINTS)
    student = initial.build(experiment.model, channels, experiment.train.seed)
    return _Unsaved(
        fabric, student, parts.teacher_of(experiment, student, channels), batches,
        parts.supervision_of(experiment), experiment.train, lambda networks: {}, key="measured", folder=folder,
        strong=parts.strong_of(experiment), dropping=parts.dropping_of(experiment), evaluations=0, progress=False,
        cuda_graphs=machine.cuda_graphs,
    )  # fmt: skip


def noise_batch(experiment: Experiment) -> TrainBatch:
    """A batch of an experiment's size: noise, with people anywhere in it."""
    generator = torch.Generator().manual_seed(0)
    made = _scenes if experiment.bottom_up else _crops
    labeled, unlabeled = (made(experiment, generator) for _ in range(2))
    return TrainBatch(labeled, unlabeled if experiment.semi_supervised else None)


def _noise(experiment: Experiment, generator: torch.Generator, people: int) -> tuple[Tensor, Tensor]:
    """Images of noise in the memory layout of real ones, and keypoints (B, P, K, 2) anywhere in them."""
    count, (width, height) = experiment.train.batch_size, experiment.data.input_size
    image = torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)
    places = torch.rand(count, people, KEYPOINTS, 2, generator=generator)
    return image.permute(0, 3, 1, 2), places * torch.tensor([width - 1.0, height - 1.0])


def _crops(experiment: Experiment, generator: torch.Generator) -> CropBatch:
    """Crops of noise with every keypoint visible."""
    image, points = _noise(experiment, generator, 1)
    visible, box = torch.ones(len(image), KEYPOINTS), torch.zeros(len(image), 2)
    return CropBatch(image, points[:, 0], visible, box, box, torch.arange(len(image)))


def _scenes(experiment: Experiment, generator: torch.Generator) -> SceneBatch:
    """Whole images of noise, each with `PEOPLE` people of whom every keypoint is visible."""
    image, points = _noise(experiment, generator, PEOPLE)
    masks = tuple(torch.ones(len(image), side, side) for side in parts.heatmap_sides(experiment))
    return SceneBatch(image, points, torch.ones(points.shape[:-1]), masks, torch.arange(len(image)))
