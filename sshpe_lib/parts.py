"""The parts of a run, made of an experiment's settings: codec, supervision, teacher, augmentations."""

from __future__ import annotations

from torch import nn

from sshpe_lib import config, initial, seeding
from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.cut_occlude import CutOcclude
from sshpe_lib.augment.cutout import Cutout
from sshpe_lib.augment.dropping import GridMask, HideAndSeek, InformationCutout, RandomErasing
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.rand_augment import RandAugment
from sshpe_lib.augment.view import Operation, Strong
from sshpe_lib.codec import Codec, MSRAHeatmap, UDPHeatmap
from sshpe_lib.config import Data, Experiment
from sshpe_lib.methods.step import Teacher
from sshpe_lib.supervision import Supervision, unit_scales
from sshpe_lib.teacher import EMA, EMAN, Dual, Single


def codec_of(data: Data) -> Codec:
    """The codec that an experiment's data names."""
    if data.codec == "msra":
        return MSRAHeatmap(data.input_size, data.heatmap_size, data.sigma)
    target = data.codec.removeprefix("udp-")
    return UDPHeatmap(data.input_size, data.heatmap_size, target, data.sigma, data.radius, data.kernel)


def supervision_of(experiment: Experiment, codec: Codec) -> Supervision:
    """What labelled people teach each output of the experiment's network."""
    model = experiment.model
    scales = unit_scales(model.stages) if model.network == "rsn" else (1.0,)
    return Supervision(codec, scales, experiment.train.hard_keypoints)


def teacher_of(experiment: Experiment, student: nn.Module, channels: int) -> Teacher | None:
    """The teacher an experiment names, built from the student; a partner starts from weights of its own."""
    teacher = experiment.teacher
    if teacher.kind == "none":
        return None
    if teacher.kind == "single":
        return Single(student)
    if teacher.kind == "dual":
        return Dual(
            initial.build(experiment.model, channels, seeding.derive(experiment.train.seed, "partner"))
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
    "random_erasing": RandomErasing,
    "information_cutout": InformationCutout,
    "hide_and_seek": HideAndSeek,
    "grid_mask": GridMask,
}


def strong_of(experiment: Experiment) -> Strong:
    """The student's strong augmentation, its operations in the experiment's order."""
    return Strong(
        [_operation(operation, experiment.data.unbiased) for operation in experiment.augment.strong]
    )


def dropping_of(experiment: Experiment) -> Strong:
    """Information dropping on labelled crops, its operations in the experiment's order; none leave them alone."""
    return Strong(
        [_operation(operation, experiment.data.unbiased) for operation in experiment.augment.dropping]
    )


def _operation(operation: config.Operation, unbiased: bool) -> Operation:
    settings = operation.model_dump(exclude={"kind"})
    if operation.kind == "mum":
        settings["unmix"] = operation.unmix_stage
    if operation.kind == "affine":
        settings["unbiased"] = unbiased
    return OPERATIONS[operation.kind](**settings)
