"""The people of an experiment in their roles: labelled, unlabelled, test."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sshpe_lib.config import Experiment
from sshpe_lib.data import sources, splits
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.instances import Instances, concatenate
from sshpe_lib.data.loaders import steps_per_epoch
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import Skeleton


@dataclass(frozen=True)
class Roles:
    """The data of an experiment, checked: labelled and unlabelled crops, test crops, ground truth.

    pool: people in one epoch, the unlabelled ones or, for a supervised run, those that could be.
    """

    labeled: Crops
    unlabeled: Crops | None
    val: Crops
    ground_truth: dict
    skeleton: Skeleton
    pool: int
    facts: dict[str, str | int]


def load(experiment: Experiment) -> Roles:
    """Read, split and check the data of `experiment`. Raises SSHPEError on the first fault."""
    data = experiment.data
    everyone = sources.instances(data.labeled)
    if data.split == "random":
        chosen = splits.random_instances(everyone, data.labels, data.split_seed)
    else:
        chosen = splits.first_instances(everyone, data.labels)
    labeled = everyone.select(chosen)
    extra = None if data.extra is None else sources.instances(data.extra)
    pool = everyone if data.unlabeled is None else sources.instances(data.unlabeled)
    val = sources.instances(data.val)
    for role, other in (("extra", extra), ("unlabeled", pool), ("val", val)):
        if other is not None:
            _check_skeleton(role, other, everyone)
    cache = ImageCache(color=data.color)
    weak = WeakAffine(**experiment.augment.weak.model_dump())
    common = {"weak": weak, "seed": experiment.stream_seed, "cache": cache, "unbiased": data.unbiased}
    taught = labeled if extra is None else concatenate(labeled, extra)
    semi = experiment.semi_supervised
    return Roles(
        labeled=Crops(taught, data.input_size, stream="labeled", **common),
        unlabeled=Crops(pool, data.input_size, stream="unlabeled", **common) if semi else None,
        val=Crops(val, data.input_size, cache=cache, unbiased=data.unbiased),
        ground_truth=sources.ground_truth(data.val),
        skeleton=everyone.skeleton,
        pool=len(pool) + (len(extra) if extra is not None and not semi else 0),
        facts={
            "labeled": len(taught),
            "unlabeled": len(pool) if semi else 0,
            "val": len(val),
            "labeled_ids_sha256": _digest(labeled.annotation_ids.tolist()),
        },
    )


def _check_skeleton(role: str, other: Instances, labeled: Instances) -> None:
    if other.skeleton != labeled.skeleton:
        raise SSHPEError(
            f"{other.source}: the keypoints of data.{role} ({other.skeleton.name}) are not those of data.labeled "
            f"({labeled.skeleton.name}, {labeled.source}); use files of one keypoint set"
        )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def total_steps(experiment: Experiment, pool: int) -> int:
    """Optimiser steps of a run; an epoch is one pass over a pool of `pool` people, for every method."""
    train = experiment.train
    return train.steps or train.epochs * steps_per_epoch(pool, train.batch_size)
