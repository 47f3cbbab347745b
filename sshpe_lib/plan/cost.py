"""What a run costs: steps, floating-point operations, bytes on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from sshpe_lib import initial
from sshpe_lib.config import Experiment, Model
from sshpe_lib.data.roles import total_steps
from sshpe_lib.models import cost
from sshpe_lib.parts import channels_of
from sshpe_lib.records import MAX_BYTES

# A training pass works out the heatmaps, the gradients of the features and those of the weights.
TRAINING_PASS = 3
COUNTING_RULE = (
    "FLOP: two for each multiply-accumulate of a convolution; a backward pass counts as two forward passes. A "
    "step of a batch of B labelled and B unlabelled people: labelled forward and backward (3 forward passes of "
    "B), teacher forward (1), strong view forward and backward (3); in the burn-in and without a teacher the "
    "labelled part alone; two networks (dual): all of it twice; one forward for both batches (joint): the "
    "same; of an RSN every unit answers in training. Evaluations are counted too: a forward pass for every person "
    "(bottom-up: image, as if it were square) and network, two with the flip test."
)
_FLOAT = 4  # bytes: weights, averages and moments stay float32 under every precision


@dataclass(frozen=True)
class Cost:
    """One run; None where the number of people, and so the number of steps or of test crops, is not known.

    step: FLOPs of one after the burn-in; steps: of the optimiser; training, evaluation: FLOPs of all steps and of
    all evaluations; checkpoint: bytes of the networks and of Adam's moments; record: bytes, at most.
    """

    step: int
    steps: int | None
    training: int | None
    evaluation: int | None
    checkpoint: int
    record: int = MAX_BYTES

    @property
    def flops(self) -> int | None:
        """Of the whole run."""
        if self.training is None or self.evaluation is None:
            return None
        return self.training + self.evaluation

    @property
    def disk(self) -> int:
        """Bytes that the run leaves behind."""
        return self.checkpoint + self.record


FREE = Cost(0, 0, 0, 0, 0, 0)  # of what is not run


@dataclass(frozen=True)
class NetworkCost:
    """One network: FLOPs of a forward pass of one crop, numbers of its parameters and of its buffers' values.

    learned: FLOPs of one as training makes it, which of an RSN are more: there every unit answers.
    """

    forward: int
    learned: int
    parameters: int
    buffers: int


def run_cost(experiment: Experiment, pool: int | None, tested: int | None, keypoints: int = 17) -> Cost:
    """The cost of a run on a `pool` of unlabelled people (or images), evaluated on `tested` of them.

    Every step counts a full batch, also the smaller one at the end of an epoch.
    """
    network = network_of(experiment, keypoints)
    steps = experiment.train.steps if pool is None else total_steps(experiment, pool)
    step, training, evaluation = step_flops(experiment, network.learned), None, None
    if steps is not None:
        burn_in = round(experiment.train.burn_in * steps)
        training = burn_in * step_flops(experiment, network.learned, supervised=True)
        training += (steps - burn_in) * step
    if steps is not None and tested is not None:
        evaluation = evaluation_flops(experiment, network.forward, steps, tested)
    return Cost(step, steps, training, evaluation, checkpoint_bytes(experiment, network))


def network_of(experiment: Experiment, keypoints: int) -> NetworkCost:
    """The cost of an experiment's network, whose outputs its codec asks for, for people of so many keypoints."""
    return network_cost(experiment.model, experiment.data.input_size, channels_of(experiment, keypoints))


@lru_cache(maxsize=32)
def network_cost(model: Model, input_size: tuple[int, int], channels: int) -> NetworkCost:
    """The cost of a network on crops of `input_size` = (W, H), counted on a network without storage."""
    with torch.device("meta"), cost.Undrawn():
        network = initial.network(model, channels)
    width, height = input_size
    buffers = sum(buffer.numel() for buffer in network.buffers())
    forward = 2 * cost.count_macs(network, (height, width))
    every = 2 * cost.count_macs(_EveryUnit(network), (height, width)) if model.network == "rsn" else forward
    return NetworkCost(forward, every, cost.count_parameters(network), buffers)


class _EveryUnit(nn.Module):
    """An RSN as `Supervision` asks it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        return self.network(images, every_unit=True)


def step_flops(experiment: Experiment, forward: int, supervised: bool = False) -> int:
    """FLOPs of one optimiser step; `supervised`: of one in the burn-in."""
    passes = TRAINING_PASS
    if experiment.semi_supervised and not supervised:
        passes += 1 + TRAINING_PASS
    return learners(experiment) * passes * experiment.train.batch_size * forward


def evaluation_flops(experiment: Experiment, forward: int, steps: int, tested: int) -> int:
    """FLOPs of all evaluations on the way and of the last one."""
    times = min(experiment.evaluate.times, steps)
    of_one_scale = tested * networks(experiment) * forward * (2 if experiment.evaluate.flip else 1)
    return round((times + sum(scale**2 for scale in experiment.evaluate.multi_scale)) * of_one_scale)


def learners(experiment: Experiment) -> int:
    """Networks that gradients descend on: two where two teach each other."""
    return 2 if experiment.teacher.kind == "dual" else 1


def networks(experiment: Experiment) -> int:
    """Networks with weights of their own, each evaluated and kept in the checkpoint."""
    return 2 if experiment.teacher.kind in ("dual", "ema", "eman") else 1


def checkpoint_bytes(experiment: Experiment, network: NetworkCost) -> int:
    """Bytes of a checkpoint: every network with its buffers, and Adam's two moments of those that learn."""
    kept = networks(experiment) * (network.parameters + network.buffers)
    return _FLOAT * (kept + 2 * learners(experiment) * network.parameters)
