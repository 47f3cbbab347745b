"""The only training loop: precision, devices, checkpoints, logs and progress around a method's step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from sshpe_lib import checkpoints
from sshpe_lib import progress as progress_bars
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.dropping import InformationDropping
from sshpe_lib.augment.view import Strong
from sshpe_lib.config import Train
from sshpe_lib.data.loaders import IN_USE, TrainBatch, lost_workers_told, usual_step
from sshpe_lib.errors import SSHPEError, in_one_line
from sshpe_lib.feed import Feed
from sshpe_lib.graphs import StepGraphs, add_up
from sshpe_lib.methods import semi_supervised, supervised
from sshpe_lib.methods.step import Losses, Prepared, Supervised, Teacher
from sshpe_lib.models.layout import layout_of
from sshpe_lib.parcel import Parcel, pack
from sshpe_lib.preparation import Preparation
from sshpe_lib.records import Point
from sshpe_lib.seeding import torch_stream
from sshpe_lib.streams import Pace
from sshpe_lib.tally import CURE, Tally
from sshpe_lib.teacher import Single
from sshpe_lib.training_log import TrainingLog

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# A run that is killed loses at most so much training, and the step or the evaluation that it was at.
SECONDS_BETWEEN_CHECKPOINTS = 60.0
# That a GPU may not have taken yet: so much work it has while the CPU waits for a batch, or for its turn. Their batches
# stay where they are so long.
STEPS_AHEAD = IN_USE - 1
WARMUP_FROM = 1e-3  # of the rate, where it is warmed up
PLAIN, WHOLE = Strong(()), InformationDropping()  # change nothing

Evaluation = Callable[[dict[str, nn.Module]], dict[str, dict[str, float]]]


class Batches(Protocol):
    """What a trainer asks of `data.loaders.Batches`."""

    steps: int
    burn_in: int

    def __getitem__(self, step: int, /) -> TrainBatch: ...

    def loader(self, start: int, workers: int, pin_memory: bool) -> Iterable[TrainBatch | Parcel]: ...


class Trainer:
    """Trains a student, with or without a teacher, for a fixed number of steps.

    `folder` receives `checkpoint.pt`, which the next `fit` resumes from bit for bit, and `log.csv`. `key` names the
    run inside the checkpoint. `evaluate` maps {"student": network, "teacher": network} to COCO statistics
    in percent; it is called `evaluations` times, the last time after the last step. `strong` makes the student's
    view of unlabelled crops, `dropping` drops information from labelled ones; both draw from `seed`, the run's own
    where left out. `cuda_graphs` gives a GPU each pass whole (`graphs`). `part` says what trains now
    (`provenance.part`); checkpoints keep it, and `parts` holds those of a run that went on in order.
    """

    def __init__(
        self,
        fabric: Fabric,
        student: nn.Module,
        teacher: Teacher | None,
        batches: Batches,
        teaching: Supervised,
        train: Train,
        evaluate: Evaluation,
        *,
        key: str,
        folder: Path,
        strong: Strong = PLAIN,
        dropping: InformationDropping = WHOLE,
        seed: int | None = None,
        evaluations: int = 1,
        workers: int = 0,
        progress: bool = True,
        cuda_graphs: bool = False,
        part: dict[str, Any] | None = None,
    ):
        self.layout = layout_of(student, train.channels_last, fabric.device)
        # The unwrapped networks that learn, the student first: teachers and checkpoints see these.
        self.networks = [student] if teacher is None or not teacher.learns else [student, teacher.network]
        self.network = student
        # A teacher may be the student itself, or the network that learns beside it: each of them once.
        self.all_networks = list(
            dict.fromkeys([*self.networks, *([] if teacher is None else [teacher.network])])
        )
        for network in self.all_networks:
            network.to(memory_format=self.layout)  # type: ignore[call-overload]  # of which torch's own types do not know
            if train.sync_batch_norm:
                _synchronise(network, fabric)
        # The largest first: a GPU's Adam takes so many tensors at a time, and has little to do for a row of small ones.
        # Each is learned by itself, in any order.
        parameters = sorted(
            (p for network in self.networks for p in network.parameters()), key=Tensor.numel, reverse=True
        )
        self.students = [fabric.setup_module(network) for network in self.networks]
        adam = torch.optim.Adam(parameters, lr=train.learning_rate, fused=True)
        # Wrapped; several for several.
        self.optimizer = cast(torch.optim.Optimizer, fabric.setup_optimizers(adam))
        self.fabric, self.teacher, self.batches, self.teaching = fabric, teacher, batches, teaching
        self.pairs: list[tuple[nn.Module, Teacher]] = []
        if teacher is not None:
            teacher.network.to(fabric.device)
            self.pairs = list(zip(self.students, [teacher, Single(student)], strict=False))
        self.train, self.evaluate, self.strong = train, evaluate, strong
        self.seed = train.seed if seed is None else seed
        self.key, self.folder, self.workers, self.progress = key, folder, workers, progress
        self.log = TrainingLog(folder)
        self.steps, self.burn_in = batches.steps, batches.burn_in
        self.evaluate_at = {round(self.steps * (i + 1) / evaluations) for i in range(evaluations)}
        self.step, self.seconds = 0, 0.0
        self.curve: list[Point] = []
        self.metrics: dict[str, dict[str, float]] = {}
        self.parts = [] if part is None else [part]
        self.tally = Tally(fabric, self.log, self.steps)
        self.preparation = Preparation(teaching, dropping, self.layout, _read_in(fabric))
        self._feed = Feed(fabric.device)
        self._pace = Pace(fabric.device, STEPS_AHEAD)
        self.graphs = StepGraphs(self.all_networks, cuda_graphs)

    @property
    def checkpoint(self) -> Path:
        return checkpoints.of(self.folder)

    def fit(self) -> list[Point]:
        """Train to the end, from the checkpoint if there is one, and return the learning curve.

        Raises SSHPEError where the loss or a weight is not finite, a loader process is lost, or the checkpoint is
        foreign or corrupt.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.resume()
        for student in self.students:
            student.train()
        saved = started = time.monotonic()
        before = self.seconds
        show = self.progress and self.fabric.is_global_zero
        bar = progress_bars.bar(self.steps, f"train {self.key[:8]}", start=self.step, show=show)
        with lost_workers_told(), closing(self.graphs), closing(self._feed):
            if self.graphs.wanted and self.step < self.steps:
                self.record(self.batches[usual_step(self.batches)])
            for batch in self.batches.loader(self.step, self.workers, self.fabric.device.type == "cuda"):
                self.take_step(batch)
                self.seconds = before + time.monotonic() - started
                bar.update()
                if self.step in self.evaluate_at:
                    self._evaluate(bar)
                    self.seconds = before + time.monotonic() - started
                if self.step in self.evaluate_at or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    self.save()
                    saved = time.monotonic()
        self.tally.look()
        bar.close()
        self.fabric.barrier()  # the others may read the checkpoint that the first has written
        return self.curve

    def take_step(self, batch: TrainBatch | Parcel) -> None:
        """One step on a batch that is anywhere. A GPU is given the step and not waited for."""
        self._set_rate()
        with self.graphs.step():
            losses = self._update(self._forward(self._prepared(batch)))
        self.step += 1
        self.tally.add(self.step, self.rate, losses)
        self._pace()
        self.tally.look(but=STEPS_AHEAD)

    def record(self, batch: TrainBatch | Parcel) -> None:
        """Record a step on such a batch, where CUDA graphs are wanted; before a loader pins memory meanwhile."""
        parcel = batch if isinstance(batch, Parcel) else pack(batch)
        self._feed.record(self.preparation, parcel, *self._drawn(parcel))
        self.graphs.record(lambda: self._forward(self._prepared(parcel)))

    def _prepared(self, batch: TrainBatch | Parcel) -> Prepared:
        return self._feed(self.preparation, batch, *self._drawn(batch))

    def _drawn(self, batch: TrainBatch | Parcel) -> list[Parcel]:
        if not self.preparation.dropping.operations:
            return []
        return [self.preparation.drawn(batch, self._draw("dropping"))]

    def _forward(self, batch: Prepared) -> Losses:
        if batch.unlabeled is None:
            return supervised.train_step(self.students, batch.labeled, self.teaching)
        if self.step == self.burn_in and self.burn_in > 0 and self.teacher is not None:
            self.teacher.reset(self.network)
        with self.fabric.autocast():
            return semi_supervised.train_step(
                self.pairs, batch.labeled, self.teaching, batch.unlabeled, self.strong, self.train.consistency,
                self._draw("strong"), joint=self.train.forward == "joint",
            )  # fmt: skip

    def _draw(self, stream: str) -> Draw:
        generator = torch_stream(self.seed, stream, self.step)
        return Draw(generator, self.fabric.global_rank, self.fabric.world_size, self.fabric.device)

    def _update(self, losses: Losses) -> Losses:
        """Learn from a step's losses; returns them, of several processes their means."""
        self.optimizer.zero_grad(set_to_none=True)
        if losses.consistency is None or self.train.forward == "joint":
            self.backward(losses.total)
        else:
            self.backward(losses.total, losses.supervised, self.train.consistency * losses.consistency)
        self.optimizer.step()
        if self.fabric.world_size > 1:
            losses = self._averaged(losses)
        if self.teacher is not None and self.step >= self.burn_in:
            self.teacher.update(self.network)
        return losses

    def backward(self, loss: Tensor, *terms: Tensor) -> None:
        """Gradients of a loss; terms: what it is the sum of, where these have nothing in common but weights."""
        if terms and self.graphs.wanted:
            add_up(terms, self.optimizer.param_groups[0]["params"], self.fabric.backward)
        else:
            self.fabric.backward(loss)

    def _averaged(self, losses: Losses) -> Losses:
        """The means of the ranks' losses; the means of their batch-norm statistics, in the same message, are set.

        An EMA teacher moves its own, as it predicts in training mode; those of EMAN follow from the student's. Losses
        are those of all from here on, so that one checkpoint holds what every rank has counted.
        """
        moved = [network for network in self.all_networks if network.training]
        buffers = [b for network in moved for b in network.buffers() if b.is_floating_point()]
        terms = [term.detach() for term in losses if term is not None]
        ours = torch.cat([one.flatten() for one in (*buffers, *terms)])
        # Not Fabric's, which has the processes meet before, and for that a GPU drained, at every step.
        torch.distributed.all_reduce(ours)
        parts = ours.div_(self.fabric.world_size).split([one.numel() for one in (*buffers, *terms)])
        means = [part.view_as(one) for part, one in zip(parts, (*buffers, *terms), strict=True)]
        if buffers:
            torch._foreach_copy_(buffers, means[: len(buffers)])
        return Losses(*means[len(buffers) :])

    def _set_rate(self) -> None:
        passed = sum(self.step >= round(fraction * self.steps) for fraction in self.train.milestones)
        warmth = min(1.0, WARMUP_FROM + (1 - WARMUP_FROM) * self.step / max(self.train.warmup, 1))
        self.rate = self.train.learning_rate * 0.1**passed * (warmth if self.train.warmup else 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate

    def evaluated(self) -> dict[str, nn.Module]:
        """The student, and the teacher where it is another network that already teaches."""
        networks = {"student": self.network}
        if self.teacher is not None and self.teacher.network is not self.network and self.step > self.burn_in:
            networks["teacher"] = self.teacher.network
        return networks

    def _look_back(self) -> None:
        """Read the losses of all steps, and see that their updates left only numbers.

        A gradient may be infinite where every loss is finite.
        """
        self.tally.look()
        state = [
            v for network in self.all_networks for v in network.state_dict().values() if v.is_floating_point()
        ]
        if not bool(torch.stack(torch._foreach_norm(state)).isfinite().all()):
            raise SSHPEError(f"{self.folder}: the network is no longer finite after step {self.step}; {CURE}")

    def _evaluate(self, bar: tqdm) -> None:
        self._look_back()
        self.metrics = self.evaluate(self.evaluated())
        mean = self.tally.mean(self.step - self.burn_in)
        teacher = self.metrics.get("teacher")
        point = Point(
            step=self.step,
            loss=round(mean["loss"], 8),
            supervised=round(mean["supervised"], 8),
            consistency=round(mean["consistency"], 8) if self.step > self.burn_in else None,
            student_ap=round(self.metrics["student"]["AP"], 2),
            teacher_ap=round(teacher["AP"], 2) if teacher else None,
        )
        self.curve.append(point)
        shown = {"AP": point.student_ap} | ({"teacher AP": point.teacher_ap} if teacher else {})
        bar.set_postfix(shown | {"loss": f"{point.loss:.2e}"}, refresh=False)

    def save(self) -> None:
        """Write the whole state (temporary file, then rename), unless it is not worth keeping: SSHPEError."""
        self._look_back()
        if not self.fabric.is_global_zero:
            return
        state = {
            "key": self.key,
            "step": self.step,
            "steps": self.steps,
            "seconds": self.seconds,
            "sums": self.tally.sums,
            "curve": [point.model_dump() for point in self.curve],
            "metrics": self.metrics,
            "parts": self.parts,
            "student": self.network.state_dict(),
            "teacher": self.teacher.state() if self.teacher is not None else None,
            "optimizer": self.optimizer.state_dict(),
        }
        checkpoints.write(self.checkpoint, state)

    def resume(self) -> None:
        """Continue from the checkpoint, where there is one.

        Raises SSHPEError on a foreign or corrupt file, and where one process of several finds another than the first.
        """
        if self.checkpoint.exists():
            self._take_over()
        elif self.fabric.is_global_zero:
            self.log.clear()
        first = self.fabric.broadcast(self.step)
        if self.step != first:
            raise SSHPEError(
                f"{self.checkpoint}: the first process goes on from step {first}, process {self.fabric.global_rank} "
                f"from {self.step}; give all machines the same folder of runs (SSHPE_RUNS)"
            )

    def _take_over(self) -> None:
        state = checkpoints.read(self.checkpoint, self.key, self.fabric.device)
        try:
            self.network.load_state_dict(state["student"])
            if self.teacher is not None:
                self.teacher.load(state["teacher"])
            self.optimizer.load_state_dict(state["optimizer"])
            self._check_optimizer()
            self.step, self.seconds = state["step"], state["seconds"]
            self.tally.sums, self.metrics = state["sums"], state["metrics"]
            self.curve = [Point.model_validate(point) for point in state["curve"]]
            self.parts = [*state.get("parts", ()), *self.parts]  # none from before they were noted
        except Exception as error:  # of many kinds: what another version kept is not known here
            raise SSHPEError(
                f"{self.checkpoint}: of another version of the code ({in_one_line(error)}); {checkpoints.CURE}"
            ) from None
        if self.fabric.is_global_zero:
            self.log.forget_after(self.step)

    def _check_optimizer(self) -> None:
        """PyTorch takes parameters over by their number alone. Raises ValueError where another one has its place."""
        for parameter, state in self.optimizer.state.items():
            if state["exp_avg"].shape != parameter.shape:
                raise ValueError("the optimiser has the parameters in another order")


def _read_in(fabric: Fabric) -> torch.dtype:
    """What a GPU's networks read images in; Fabric casts those of a CPU, and always has."""
    kind = fabric.device.type
    with fabric.autocast():
        mixed = kind == "cuda" and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if mixed else torch.float32


def _synchronise(network: nn.Module, fabric: Fabric) -> None:
    """Let batch norms see the batch of all processes. Raises SSHPEError where several processes have no GPUs."""
    if fabric.world_size > 1 and fabric.device.type != "cuda":
        raise SSHPEError(
            "train.sync_batch_norm works between GPUs, and these processes train on a CPU; leave it out, or train in "
            "one process, whose batch norms see the whole batch anyway"
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(network)
