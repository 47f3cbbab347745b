"""Run an experiment: return its record if there is one, else train, evaluate and write it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from lightning_fabric import Fabric

from sshpe_lib import config, initial, paths, provenance, records, seeding
from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.cut_occlude import CutOcclude
from sshpe_lib.augment.cutout import Cutout
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.rand_augment import RandAugment
from sshpe_lib.augment.view import Operation, Strong
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.config import Experiment
from sshpe_lib.data import sources, splits
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.loaders import Batches, steps_per_epoch
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.top_down import TopDownEvaluation
from sshpe_lib.machine import Machine
from sshpe_lib.methods.step import Teacher
from sshpe_lib.records import Example, Record
from sshpe_lib.skeleton import Skeleton
from sshpe_lib.teacher import EMA, EMAN, Dual, Single
from sshpe_lib.trainer import Trainer

EXAMPLES = 8


def run(
    experiment: Experiment,
    machine: Machine | None = None,
    *,
    records_folder: Path | None = None,
    runs_folder: Path | None = None,
) -> Record:
    """The record of `experiment`: found, or made by training.

    Two processes that ask for one experiment train it once: the second waits for the first. A run that was
    interrupted goes on from its checkpoint. Raises SSHPEError on bad data before training starts.
    """
    machine = machine or Machine()
    experiment = sources.pin(experiment)
    records_folder = records_folder or paths.records()
    folder = (runs_folder or paths.runs()) / experiment.key()
    found = records.find(records_folder, experiment.key())
    if found is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    if int(os.environ.get("RANK", 0)) > 0:
        return train(experiment, machine, folder)  # the first process holds the lock and writes the record
    with _lock(folder / "lock", machine.progress):
        found = records.find(records_folder, experiment.key())
        if found is not None:
            return found
        record = train(experiment, machine, folder)
        records.write(records_folder, record)
        return record


def _lock(path: Path, progress: bool) -> FileLock:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
        lock.release()
    except Timeout:
        if progress:
            print(f"another process trains this experiment; waiting for it ({path.parent})", flush=True)
    return lock


def train(experiment: Experiment, machine: Machine, folder: Path) -> Record:
    """Train and evaluate `experiment` in `folder`, whatever records exist, and return the new record."""
    started = datetime.now(UTC)
    if machine.threads:
        torch.set_num_threads(machine.threads)
    data = load(experiment)
    fabric = machine.fabric(experiment.train.precision, folder)
    codec = MSRAHeatmap(experiment.data.input_size, experiment.data.heatmap_size, experiment.data.sigma)
    batches = _batches(experiment, data, fabric)
    evaluation = _evaluation(experiment, data, codec, fabric)
    student = initial.build(experiment.model, len(data.skeleton), experiment.train.seed)
    trainer = Trainer(
        fabric, student, teacher_of(experiment, student), batches, codec, experiment.train, evaluation,
        key=experiment.key(), folder=folder, strong=strong_of(experiment),
        evaluations=experiment.evaluate.times, workers=machine.workers, progress=machine.progress,
    )  # fmt: skip
    curve = trainer.fit()
    headline = "teacher" if experiment.teacher.kind in ("ema", "eman") else "student"
    return Record(
        key=experiment.key(),
        experiment=experiment,
        headline=headline,
        metrics={name: {k: round(v, 3) for k, v in m.items()} for name, m in trainer.metrics.items()},
        curve=records.thin(curve),
        examples=examples(evaluation, trainer.evaluated()[headline]),
        provenance=provenance.collect(
            fabric,
            experiment.key(),
            data.facts,
            started,
            trainer.seconds,
            state_sha256(trainer.evaluated()[headline]),
        ),
    )


@dataclass(frozen=True)
class Loaded:
    """The data of an experiment, checked: labelled and unlabelled crops, test crops, ground truth."""

    labeled: Crops
    unlabeled: Crops | None
    val: Crops
    ground_truth: dict
    skeleton: Skeleton
    pool: int
    facts: dict[str, str | int]


def load(experiment: Experiment) -> Loaded:
    """Read, split and check the data of `experiment`. Raises SSHPEError on the first fault."""
    data = experiment.data
    everyone = sources.instances(data.labeled)
    choose = {"first": splits.first_instances, "random": splits.random_instances}[data.split]
    chosen = (
        choose(everyone, data.labels, data.split_seed)
        if data.split == "random"
        else choose(everyone, data.labels)
    )
    pool = everyone if data.unlabeled is None else sources.instances(data.unlabeled)
    val = sources.instances(data.val)
    for role, other in (("unlabeled", pool), ("val", val)):
        if other.skeleton != everyone.skeleton:
            raise SSHPEError(
                f"{other.source}: the keypoints of data.{role} ({other.skeleton.name}) are not those of data.labeled "
                f"({everyone.skeleton.name}, {everyone.source}); use files of one keypoint set"
            )
    cache = ImageCache(color=data.color)
    weak = WeakAffine(**experiment.augment.weak.model_dump())
    common = {"weak": weak, "seed": experiment.train.seed, "cache": cache}
    return Loaded(
        labeled=Crops(everyone.select(chosen), data.input_size, stream="labeled", **common),
        unlabeled=Crops(pool, data.input_size, stream="unlabeled", **common)
        if experiment.semi_supervised
        else None,
        val=Crops(val, data.input_size, cache=cache),
        ground_truth=sources.ground_truth(data.val),
        skeleton=everyone.skeleton,
        pool=len(pool),
        facts={
            "labeled": len(chosen),
            "unlabeled": len(pool) if experiment.semi_supervised else 0,
            "val": len(val),
            "labeled_ids_sha256": _digest(everyone.annotation_ids[chosen].tolist()),
        },
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def total_steps(experiment: Experiment, pool: int) -> int:
    """Optimiser steps of a run; an epoch is one pass over a pool of `pool` people, for every method."""
    train = experiment.train
    return train.steps or train.epochs * steps_per_epoch(pool, train.batch_size)


def _batches(experiment: Experiment, data: Loaded, fabric: Fabric) -> Batches:
    train, steps = experiment.train, total_steps(experiment, data.pool)
    if train.batch_size % fabric.world_size:
        raise SSHPEError(
            f"train.batch_size {train.batch_size} does not divide over {fabric.world_size} devices"
        )
    return Batches(
        data.labeled, data.unlabeled, batch_size=train.batch_size, steps=steps, burn_in=round(train.burn_in * steps),
        seed=train.seed, rank=fabric.global_rank, world=fabric.world_size,
    )  # fmt: skip


def _evaluation(
    experiment: Experiment, data: Loaded, codec: MSRAHeatmap, fabric: Fabric
) -> TopDownEvaluation:
    return TopDownEvaluation(
        data.val, codec, data.ground_truth, flip=experiment.evaluate.flip, nms=experiment.evaluate.nms,
        score_threshold=experiment.evaluate.score_threshold, device=fabric.device, autocast=fabric.autocast,
        rank=fabric.global_rank, world=fabric.world_size,
        reduce=lambda tensor: fabric.all_reduce(tensor.to(fabric.device), reduce_op="sum").cpu(),
    )  # fmt: skip


def teacher_of(experiment: Experiment, student: torch.nn.Module) -> Teacher | None:
    """The teacher an experiment names, built from the student; a partner starts from weights of its own."""
    teacher = experiment.teacher
    if teacher.kind == "none":
        return None
    if teacher.kind == "single":
        return Single(student)
    if teacher.kind == "dual":
        keypoints = student.final_layer.out_channels
        return Dual(
            initial.build(experiment.model, keypoints, seeding.derive(experiment.train.seed, "partner"))
        )
    average = {"decay": teacher.decay, "warmup": teacher.warmup, "ramp": teacher.ramp}
    return EMA(student, **average) if teacher.kind == "ema" else EMAN(student, std=teacher.std, **average)


OPERATIONS = {
    "affine": HardAffine,
    "rand_augment": RandAugment,
    "joint_cutout": JointCutout,
    "cutout": Cutout,
    "cut_occlude": CutOcclude,
    "mum": PoseMUM,
}


def strong_of(experiment: Experiment) -> Strong:
    """The student's strong augmentation, its operations in the experiment's order."""
    return Strong([_operation(operation) for operation in experiment.augment.strong])


def _operation(operation: config.Operation) -> Operation:
    settings = operation.model_dump(exclude={"kind"})
    if operation.kind == "mum":
        settings["unmix"] = operation.unmix_stage
    return OPERATIONS[operation.kind](**settings)


def examples(evaluation: TopDownEvaluation, network: torch.nn.Module) -> tuple[Example, ...]:
    """The first test people with their predicted keypoints, for the record's pictures."""
    crops = evaluation.crops
    few = Crops(
        crops.instances.select(np.arange(min(EXAMPLES, len(crops)))), crops.input_size, cache=crops.cache
    )
    alone = TopDownEvaluation(
        few, evaluation.codec, evaluation.ground_truth, device=evaluation.device, autocast=evaluation.autocast
    )
    predicted = alone.predict({"network": network})["network"]
    return tuple(
        Example(
            image_id=int(few.instances.image_ids[row]),
            annotation_id=int(few.instances.annotation_ids[row]),
            keypoints=tuple((round(x, 1), round(y, 1), round(s, 3)) for x, y, s in predicted[row].tolist()),
        )
        for row in range(len(few))
    )


def state_sha256(network: torch.nn.Module) -> str:
    """sha256 over names, types and bytes of a network's state: equal if and only if the networks are."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
