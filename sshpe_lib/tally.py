"""The losses of a run's steps, counted and logged when a GPU has come to them."""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from sshpe_lib.errors import SSHPEError
from sshpe_lib.methods.step import Losses
from sshpe_lib.training_log import TrainingLog
from sshpe_lib.transfer import Reading

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STEPS_BETWEEN_LOG_ROWS = 20
# Whose losses a GPU sends here at once: each time it has to stop between two kernels.
STEPS_TOGETHER = 8
# For a run that numbers have left.
CURE = "lower train.learning_rate or use train.precision 32-true. The last checkpoint is kept"


class Step(NamedTuple):
    """A step's number, counted from 1, its rate of learning and its losses, scalars."""

    step: int
    rate: float
    terms: list[Tensor]


class Tally:
    """Sums of the losses since the last `mean`, and a row in the log every so many steps.

    A GPU is not waited for: `add` has the losses of some steps sent here, and `look` reads those that should be there.
    Losses are of all processes, as `add` is given them, so that every process has the same sums.
    steps: of the whole run, whose last has a row of its own. sums: for a checkpoint.
    """

    def __init__(self, fabric: Fabric, log: TrainingLog, steps: int) -> None:
        self.sums: dict[str, float] = {"count": 0, "loss": 0.0, "supervised": 0.0, "consistency": 0.0}
        self._fabric, self._log, self._steps = fabric, log, steps
        self._together = STEPS_TOGETHER if fabric.device.type == "cuda" else 1
        self._unsent: list[Step] = []
        self._sent: deque[tuple[list[Step], Reading]] = deque()  # not looked at yet

    def add(self, step: int, rate: float, losses: Losses) -> None:
        """Have the losses of a step read. step: counted from 1; rate: of learning, for the log."""
        self._unsent.append(Step(step, rate, [term.detach() for term in losses if term is not None]))
        if len(self._unsent) >= self._together:
            self._send()

    def look(self, but: int = 0) -> None:
        """Count and log the losses that were read, but those of the last few steps.

        Raises:
            SSHPEError: one is not finite, or the log cannot be written.
        """
        if not but and self._unsent:
            self._send()
        later = len(self._unsent) + sum(len(steps) for steps, _ in self._sent)
        while self._sent and later - len(self._sent[0][0]) >= but:
            steps, reading = self._sent.popleft()
            later -= len(steps)
            values = iter(reading.values())
            for one in steps:
                self._count(one.step, one.rate, list(islice(values, len(one.terms))))

    def _send(self) -> None:
        self._sent.append((self._unsent, Reading([term for one in self._unsent for term in one.terms])))
        self._unsent = []

    def mean(self, taught: int) -> dict[str, float]:
        """The means of all steps counted since the last call; counts from 0 again.

        taught: steps of the run that a teacher had a part in, the last ones; the consistency is the mean of those.
        """
        count = max(self.sums["count"], 1)
        counts = {"consistency": max(min(taught, count), 1)}
        mean = {name: total / counts.get(name, count) for name, total in self.sums.items()}
        self.sums = dict.fromkeys(self.sums, 0)
        return mean

    def _count(self, step: int, rate: float, values: list[float]) -> None:
        total, supervised, *consistency = values
        if not math.isfinite(total):
            raise SSHPEError(f"{self._log.file.parent}: the loss became {total} at step {step - 1}; {CURE}")
        row = {"loss": total, "supervised": supervised, "consistency": sum(consistency, 0.0)}
        for name, value in row.items():
            self.sums[name] += value
        self.sums["count"] += 1
        if self._fabric.is_global_zero and (step % STEPS_BETWEEN_LOG_ROWS == 0 or step == self._steps):
            self._log.add({"step": step, "rate": rate} | row)
            self._fabric.log_dict(row, step=step)
