"""Run an experiment: return its record if there is one, else train, evaluate and write it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sshpe_lib import checkpoints, initial, parts, paths, provenance, records
from sshpe_lib.config import Experiment
from sshpe_lib.data import roles, sources
from sshpe_lib.data.loaders import Batches, last_batch, steps_per_epoch
from sshpe_lib.data.roles import Roles
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.bottom_up import BottomUpEvaluation
from sshpe_lib.evaluate.hard_cases import hardest
from sshpe_lib.evaluate.top_down import TopDownEvaluation
from sshpe_lib.folder_lock import is_locked, locked
from sshpe_lib.machine import Machine, first_process
from sshpe_lib.records import MULTI_SCALE, Example, Record, SceneExample
from sshpe_lib.skeleton import COCO17, Skeleton
from sshpe_lib.trainer import Trainer
from sshpe_lib.writing import check_writable

if TYPE_CHECKING:
    from lightning_fabric import Fabric

EXAMPLES = 8
HARD_CASES = 6
SCENES, PEOPLE_OF_A_SCENE = 4, 6


def run(
    experiment: Experiment,
    machine: Machine | None = None,
    *,
    records_folder: Path | None = None,
    runs_folder: Path | None = None,
) -> Record:
    """The record of `experiment`: found, or made by training.

    Two processes that ask for one experiment train it once: the second waits for the first. Those that torchrun
    started train it together, and wait together. A run that was interrupted goes on from its checkpoint. Raises
    SSHPEError on bad data before training starts.
    """
    machine = machine or Machine()
    experiment = sources.pin(experiment)
    records_folder = records_folder or paths.records()
    folder = (runs_folder or paths.runs()) / experiment.key()

    def look() -> Record | None:
        return records.find(records_folder, experiment.key())

    found = machine.agreed(look)
    if found is not None:
        return found
    if experiment.start is not None:
        run(experiment.start, machine, records_folder=records_folder, runs_folder=runs_folder)
    for place in (records_folder, folder):
        check_writable(place)  # a full or read-only disk is better known before the training than after it
    with locked(folder, machine):
        found = machine.agreed(look)
        if found is not None:
            return found
        record = records.fitting(train(experiment, machine, folder))
        if first_process():
            records.write(records_folder, record)
        return record


def busy(experiment: Experiment, runs_folder: Path | None = None) -> bool:
    """Whether another process trains this experiment now, or the one it starts from, so that `run` would wait.

    Raises SSHPEError where its folder cannot be locked.
    """
    experiment = sources.pin(experiment)
    if is_locked((runs_folder or paths.runs()) / experiment.key()):
        return True
    return experiment.start is not None and busy(experiment.start, runs_folder)


def train(experiment: Experiment, machine: Machine, folder: Path) -> Record:
    """Train and evaluate `experiment` in `folder`, whatever records exist, and return the new record."""
    with machine.own_threads():
        return _train(experiment, machine, folder)


def _train(experiment: Experiment, machine: Machine, folder: Path) -> Record:
    started, code = datetime.now(UTC), provenance.revision()  # now: files may change while this trains
    data = roles.load(experiment, machine.pack, machine.progress)
    sources.pin(experiment)  # again: a file may have changed while this run waited for its turn, or read it
    fabric = machine.fabric(experiment.train.precision, folder)
    precision = machine.precision(experiment.train.precision)
    channels = parts.channels_of(experiment, len(data.skeleton))
    evaluation = parts.evaluation_of(
        experiment, data.val, data.ground_truth, data.skeleton, fabric, data.cache
    )
    student = initial.build(experiment.model, channels, experiment.train.seed)
    batches = _batches(experiment, data, fabric)
    facts, partner = data.facts, None
    if experiment.start is not None:
        earlier = _end_of(experiment.start, machine, folder.parent)
        student.load_state_dict(earlier["student"])
        start = {"start": experiment.start.key(), "start_steps": earlier["step"]}
        facts = facts | start | {"start_sha256": state_sha256(student)}
        partner = (earlier["teacher"] or {}).get("network")
    teacher = parts.teacher_of(experiment, student, channels)
    if teacher is not None and teacher.learns and partner is not None:
        teacher.network.load_state_dict(partner)
    trainer = Trainer(
        fabric, student, teacher, batches,
        parts.supervision_of(experiment), experiment.train, evaluation, key=experiment.key(), folder=folder,
        strong=parts.strong_of(experiment), dropping=parts.dropping_of(experiment), seed=experiment.stream_seed,
        evaluations=experiment.evaluate.times, workers=machine.workers, progress=machine.progress,
        cuda_graphs=machine.cuda_graphs, part=provenance.part(fabric, started, precision, code),
    )  # fmt: skip
    curve = trainer.fit()
    headline = "teacher" if experiment.teacher.kind in ("ema", "eman") else "student"
    networks = trainer.evaluated()
    metrics = _with_multi_scale(trainer.metrics, experiment, evaluation, networks)
    return Record(
        key=experiment.key(),
        experiment=experiment,
        headline=headline,
        metrics={name: {k: round(v, 3) for k, v in m.items()} for name, m in metrics.items()},
        curve=records.thin(curve),
        **_shown(experiment, evaluation, networks[headline]),
        provenance=provenance.collect(
            trainer.parts, experiment.key(), facts, trainer.seconds, state_sha256(networks[headline])
        ),
    )


def _with_multi_scale(
    metrics: dict[str, dict[str, float]],
    experiment: Experiment,
    evaluation: TopDownEvaluation | BottomUpEvaluation,
    networks: dict[str, torch.nn.Module],
) -> dict[str, dict[str, float]]:
    """The metrics, and where the experiment asks for it those of a test at several scales, named "AP-ms" and so on."""
    if not experiment.evaluate.multi_scale or not isinstance(evaluation, BottomUpEvaluation):
        return metrics
    again = replace(evaluation, scales=experiment.evaluate.multi_scale)(networks)
    return {
        name: found | {f"{metric}{MULTI_SCALE}": value for metric, value in again[name].items()}
        for name, found in metrics.items()
    }


def _end_of(start: Experiment, machine: Machine, runs_folder: Path) -> dict[str, Any]:
    """The checkpoint that an earlier stage ended with, trained first where it is not there."""
    folder = runs_folder / start.key()
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoints.of(folder)
    with locked(folder, machine):  # several second stages may want one first stage at a time
        if not machine.agreed(lambda: checkpoints.finished(path, start.key()) is not None):
            train(start, machine, folder)
        return checkpoints.read(path, start.key())


def _batches(experiment: Experiment, data: Roles, fabric: Fabric) -> Batches:
    train, steps = experiment.train, roles.total_steps(experiment, data.pool)
    if train.batch_size % fabric.world_size:
        raise SSHPEError(
            f"train.batch_size {train.batch_size} does not divide over {fabric.world_size} devices"
        )
    share = train.batch_size // fabric.world_size
    burn_in = round(train.burn_in * steps)
    fewest, where = share, ""
    if data.unlabeled is not None and steps - burn_in >= steps_per_epoch(data.pool, train.batch_size):
        fewest = -(-last_batch(data.pool, train.batch_size) // fabric.world_size)
        where = f" in the last batch of an epoch of {data.pool:,}" if share > 1 else ""
    if fewest == 1 and experiment.model.network == "rsn" and experiment.model.prm:
        raise SSHPEError(
            f"train.batch_size {train.batch_size} leaves each of {fabric.world_size} processes one image{where}, and "
            "the refine machine (model.prm) normalises one value a channel and image; choose one that leaves 2 or more"
        )
    mix = next((one for one in experiment.augment.strong if one.kind == "mum"), None)
    if mix is not None and share % mix.group:
        raise SSHPEError(
            f"train.batch_size {train.batch_size} leaves each of {fabric.world_size} processes {share} images, no "
            f"whole groups of {mix.group} (mum.group) to mix; start {train.batch_size // mix.group} processes at most"
        )
    if burn_in >= steps:
        raise SSHPEError(
            f"train.burn_in {train.burn_in} of {steps} steps leaves the teacher no step; train longer, or with less"
        )
    return Batches(
        data.labeled, data.unlabeled, batch_size=train.batch_size, steps=steps, burn_in=burn_in,
        seed=experiment.stream_seed, rank=fabric.global_rank, world=fabric.world_size,
    )  # fmt: skip


def _shown(
    experiment: Experiment, evaluation: TopDownEvaluation | BottomUpEvaluation, network: torch.nn.Module
) -> dict[str, tuple]:
    """What a record keeps for pictures, by the name of its field."""
    if isinstance(evaluation, BottomUpEvaluation):
        first = range(min(_few(SCENES, evaluation.images.skeleton), len(evaluation.images)))
        return {"scenes": scenes(evaluation, network, first) if len(first) else ()}
    people = evaluation.crops.instances
    first = range(min(_few(EXAMPLES, people.skeleton), len(people)))
    hard = hardest(people, _few(HARD_CASES, people.skeleton)) if experiment.evaluate.visibility else ()
    return {
        "examples": examples(evaluation, network, first) if len(first) else (),
        "hard_cases": examples(evaluation, network, hard) if len(hard) else (),
    }


def _few(most: int, skeleton: Skeleton) -> int:
    """So many pictures, fewer in proportion where people have more than COCO's keypoints: records stay small."""
    return most * len(COCO17) // max(len(COCO17), len(skeleton))


def scenes(
    evaluation: BottomUpEvaluation, network: torch.nn.Module, rows: Sequence[int]
) -> tuple[SceneExample, ...]:
    """The test images of `rows` with the people found there, for the record's pictures."""
    few = evaluation.alone(images=evaluation.images.select(rows))
    found = few.predict({"network": network})["network"]
    return tuple(
        SceneExample(
            image_id=int(image_id),
            people=tuple(_rounded(person) for person in people[:PEOPLE_OF_A_SCENE].tolist()),
            scores=tuple(round(score, 3) for score in scores[:PEOPLE_OF_A_SCENE].tolist()),
        )
        for image_id, (people, scores) in zip(few.images.ids, found, strict=True)
    )


def _rounded(person: list[list[float]]) -> tuple[tuple[float, float, float], ...]:
    return tuple((round(x, 1), round(y, 1), round(score, 3)) for x, y, score in person)


def examples(
    evaluation: TopDownEvaluation, network: torch.nn.Module, rows: Sequence[int] | np.ndarray
) -> tuple[Example, ...]:
    """The test people of `rows` with their predicted keypoints, for the record's pictures."""
    few = evaluation.alone(crops=evaluation.crops.select(rows))
    predicted = few.predict({"network": network})["network"]
    return tuple(
        Example(
            image_id=int(few.crops.instances.image_ids[row]),
            annotation_id=int(few.crops.instances.annotation_ids[row]),
            keypoints=_rounded(predicted[row].tolist()),
        )
        for row in range(len(few.crops))
    )


def state_sha256(network: torch.nn.Module) -> str:
    """sha256 over names, types and bytes of a network's state: equal if and only if the networks are."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
