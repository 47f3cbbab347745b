"""The data of an experiment in its roles: labelled, unlabelled, test."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial

from sshpe_lib.config import Data, Experiment, HigherHRNet, Model
from sshpe_lib.data import sources, splits
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.images import Color
from sshpe_lib.data.instances import Instances, concatenate
from sshpe_lib.data.loaders import steps_per_epoch
from sshpe_lib.data.packed import PackedImages, pack
from sshpe_lib.data.scenes import SceneAffine, Scenes
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.data.whole_images import WholeImages
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import Skeleton


def strides(model: Model) -> tuple[int, ...]:
    """Input over heatmaps of a bottom-up network, in the order of its outputs."""
    return (4, 2) if isinstance(model, HigherHRNet) and model.higher else (4,)


@dataclass(frozen=True)
class Roles:
    """The data of an experiment, checked: what is learned from and measured on, and the ground truth.

    labeled, unlabeled, val: crops of people, or whole images where the network is a bottom-up one. pool: people, or
    images, in one epoch, the unlabelled ones or, for a supervised run, those that could be. cache: where the images of
    all roles are read.
    """

    labeled: Crops | Scenes
    unlabeled: Crops | Scenes | None
    val: Crops | WholeImages
    ground_truth: dict
    skeleton: Skeleton
    pool: int
    facts: dict[str, str | int]
    cache: ImageCache


def load(experiment: Experiment, packed: bool = False, progress: bool = True) -> Roles:
    """Read, split and check the data of `experiment`. Raises SSHPEError on the first fault.

    packed: read images out of files of decoded ones (`data.packed`), which are made first where they are not there.
    """
    cache = ImageCache(color=experiment.data.color)
    found = (_whole_images if experiment.bottom_up else _people)(experiment, cache)
    if packed:
        cache.packs = _packed(found, experiment.data.color, progress)
    return found


def _packed(found: Roles, color: Color, progress: bool) -> list[PackedImages]:
    """The packed images of every role; those of the labelled people are often among those of the pool."""
    packed: list[PackedImages] = []
    for role in (found.unlabeled, found.labeled, found.val):
        if role is None:
            continue
        pictures = role.pictures if isinstance(role, WholeImages) else role.instances.pictures
        if not any(all(path in done for path in pictures.paths()) for done in packed):
            packed.append(pack(pictures, color, progress))
    return packed


def _people(experiment: Experiment, cache: ImageCache) -> Roles:
    """Crops of people, for a top-down network."""
    data, semi = experiment.data, experiment.semi_supervised
    everyone = sources.instances(data.labeled)
    if data.split == "random" and data.labels is not None:
        chosen = splits.random_instances(everyone, data.labels, data.split_seed)
    else:
        chosen = splits.first_instances(everyone, data.labels)
    labeled = everyone.select(chosen)
    extra, pool = _others(data, everyone)
    val = sources.instances(data.val)
    _check_skeleton("val", val, everyone)
    weak = WeakAffine(**experiment.augment.weak.model_dump())
    crops = partial(
        Crops, input_size=data.input_size, cache=cache, unbiased=data.unbiased, reduced=data.reduced
    )
    learned = partial(crops, weak=weak, seed=experiment.stream_seed)
    taught = labeled if extra is None else concatenate(labeled, extra)
    return Roles(
        labeled=learned(taught, stream="labeled"),
        unlabeled=learned(pool, stream="unlabeled") if semi else None,
        val=crops(val),
        ground_truth=sources.ground_truth(data.val),
        skeleton=everyone.skeleton,
        pool=len(pool) + (len(extra) if extra is not None and not semi else 0),
        facts={
            "labeled": len(taught),
            "unlabeled": len(pool) if semi else 0,
            "val": len(val),
            "labeled_ids_sha256": _digest(labeled.annotation_ids.tolist()),
        },
        cache=cache,
    )


def _whole_images(experiment: Experiment, cache: ImageCache) -> Roles:
    """Whole images with all their people, for a bottom-up network; `labels` counts images."""
    data, semi = experiment.data, experiment.semi_supervised
    everyone = sources.instances(data.labeled)
    if data.split == "random" and data.labels is not None:
        chosen = splits.random_images(everyone, data.labels, data.split_seed)
    else:
        chosen = splits.first_images(everyone, data.labels)
    labeled = everyone.select(chosen)
    _, pool = _others(data, everyone)
    val = sources.whole_images(data.val)
    _check_skeleton("val", val, everyone)
    scenes = partial(
        Scenes, side=data.input_size[0], affine=SceneAffine(**experiment.augment.scene.model_dump()),
        most=data.people, seed=experiment.stream_seed, cache=cache, unbiased=data.unbiased,
        strides=strides(experiment.model),
    )  # fmt: skip
    hidden = sources.unlabelled_people(data.labeled) if data.masks else None
    return Roles(
        labeled=scenes(labeled, stream="labeled", unlabelled=hidden, outside=data.outside),
        unlabeled=scenes(pool, stream="unlabeled") if semi else None,
        val=val,
        ground_truth=sources.ground_truth(data.val),
        skeleton=everyone.skeleton,
        pool=len(pool.file_names),
        facts={
            "labeled": len(labeled.file_names),
            "labeled_people": len(labeled),
            "unlabeled": len(pool.file_names) if semi else 0,
            "val": len(val),
            "labeled_ids_sha256": _digest(labeled.annotation_ids.tolist()),
        },
        cache=cache,
    )


def _others(data: Data, everyone: Instances) -> tuple[Instances | None, Instances]:
    """More labelled people, if any, and the unlabelled pool; both have the keypoints of `everyone`."""
    extra = None if data.extra is None else sources.instances(data.extra)
    pool = everyone if data.unlabeled is None else sources.instances(data.unlabeled)
    for role, other in (("extra", extra), ("unlabeled", pool)):
        if other is not None:
            _check_skeleton(role, other, everyone)
    return extra, pool


def _check_skeleton(role: str, other: Instances | WholeImages, labeled: Instances) -> None:
    different = labeled.skeleton.difference(other.skeleton)
    if different is not None:
        raise SSHPEError(
            f"{other.source}: the keypoints of data.{role} ({other.skeleton.name}) are not those of data.labeled "
            f"({labeled.skeleton.name}, {labeled.source}): {different}; use files of one keypoint set"
        )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def total_steps(experiment: Experiment, pool: int) -> int:
    """Optimiser steps of a run; an epoch is one pass over a pool of so many people or images, for every method."""
    train = experiment.train
    epochs = train.epochs or 0  # where there are none, there are steps
    return train.steps or epochs * steps_per_epoch(pool, train.batch_size)
