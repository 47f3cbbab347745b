"""The parts of a run, made of an experiment's settings: codec, supervision, teacher, augmentations, evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

from torch import Tensor, nn

from sshpe_lib import config, initial, seeding
from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.cut_occlude import CutOcclude
from sshpe_lib.augment.cutout import Cutout
from sshpe_lib.augment.dropping import (
    GridMask,
    HideAndSeek,
    InformationCutout,
    InformationDropping,
    RandomErasing,
)
from sshpe_lib.augment.dropping.operation import Dropping
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.rand_augment import RandAugment
from sshpe_lib.augment.view import Operation, Strong
from sshpe_lib.codec import Codec, MSRAHeatmap, UDPHeatmap
from sshpe_lib.codec.crowd import CrowdHeatmap
from sshpe_lib.config import Data, Experiment
from sshpe_lib.crowd_supervision import CrowdSupervision
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.roles import strides
from sshpe_lib.data.top_down import Crops
from sshpe_lib.data.whole_images import WholeImages
from sshpe_lib.evaluate.bottom_up import BottomUpEvaluation
from sshpe_lib.evaluate.top_down import TopDownEvaluation
from sshpe_lib.grouping import COCO_ORDER, Grouping
from sshpe_lib.methods.step import Teacher
from sshpe_lib.skeleton import Skeleton
from sshpe_lib.supervision import Supervision, unit_scales
from sshpe_lib.teacher import EMA, EMAN, Dual, Single

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def codec_of(data: Data) -> Codec:
    """The codec that an experiment's data names."""
    if data.codec == "msra":
        return MSRAHeatmap(data.input_size, data.heatmap_size, data.sigma)
    target: Literal["gaussian", "offset"] = "offset" if data.codec == "udp-offset" else "gaussian"
    return UDPHeatmap(data.input_size, data.heatmap_size, target, data.sigma, data.radius, data.kernel)


def crops_of(data: Data, people: Instances, cache: ImageCache | None = None) -> Crops:
    """The crops of people as an experiment's test sees them: of its size, convention, decoding and order of channels.

    cache: where their images are read, of the data's `color`; a new one where left out.
    """
    cache = cache or ImageCache(color=data.color)
    return Crops(people, data.input_size, cache=cache, unbiased=data.unbiased, reduced=data.reduced)


def channels_of(experiment: Experiment, keypoints: int) -> int:
    """Outputs of the experiment's network, for people of so many keypoints."""
    return keypoints if experiment.bottom_up else codec_of(experiment.data).channels(keypoints)


def supervision_of(experiment: Experiment) -> Supervision | CrowdSupervision:
    """What labelled people teach each output of the experiment's network."""
    return _crowd_supervision(experiment) if experiment.bottom_up else _supervision(experiment)


def _supervision(experiment: Experiment) -> Supervision:
    model, codec = experiment.model, codec_of(experiment.data)
    scales = unit_scales(model.stages) if model.network == "rsn" else (1.0,)
    return Supervision(codec, scales, experiment.train.hard_keypoints)


def _crowd_supervision(experiment: Experiment) -> CrowdSupervision:
    data, train = experiment.data, experiment.train
    codecs = [CrowdHeatmap((side, side), data.sigma, data.unbiased) for side in heatmap_sides(experiment)]
    return CrowdSupervision(codecs, data.input_size[0], train.push, train.pull, data.unbiased)


def heatmap_sides(experiment: Experiment) -> list[int]:
    """Sides of the heatmaps of a bottom-up network, in the order of its outputs."""
    return [experiment.data.input_size[0] // stride for stride in strides(experiment.model)]


def grouping_of(experiment: Experiment, keypoints: int) -> Grouping:
    """How a bottom-up experiment's people are found among their joints."""
    order = (*(joint for joint in COCO_ORDER if joint < keypoints), *range(len(COCO_ORDER), keypoints))
    return Grouping(order, max_people=experiment.data.people, unbiased=experiment.data.unbiased)


def evaluation_of(
    experiment: Experiment,
    tested: Crops | WholeImages,
    ground_truth: dict,
    skeleton: Skeleton,
    fabric: Fabric,
    cache: ImageCache | None = None,
) -> TopDownEvaluation | BottomUpEvaluation:
    """How the experiment's networks are measured, on this process's share of the test data.

    tested: people, or whole images for a bottom-up network; skeleton: theirs; cache: where whole images are read, of
    the data's `color`; a new one where left out.
    """
    how = experiment.evaluate
    evaluation: TopDownEvaluation | BottomUpEvaluation
    if isinstance(tested, WholeImages):
        evaluation = BottomUpEvaluation(
            tested, grouping_of(experiment, len(skeleton)), ground_truth=ground_truth,
            side=experiment.data.input_size[0], unbiased=experiment.data.unbiased,
            cache=cache or ImageCache(color=experiment.data.color),
        )  # fmt: skip
    else:
        evaluation = TopDownEvaluation(
            tested, codec_of(experiment.data), ground_truth=ground_truth,
            nms=how.nms, score_threshold=how.score_threshold,
        )  # fmt: skip

    def over_ranks(tensor: Tensor) -> Tensor:
        return cast(Tensor, fabric.all_reduce(tensor.to(fabric.device), reduce_op="sum")).cpu()

    return replace(
        evaluation, flip=how.flip, visibility=how.visibility, protocol=how.protocol, device=fabric.device,
        autocast=fabric.autocast, rank=fabric.global_rank, world=fabric.world_size, reduce=over_ranks,
    )  # fmt: skip


def teacher_of(experiment: Experiment, student: nn.Module, channels: int) -> Teacher | None:
    """The teacher an experiment names, built from the student; a partner has a fresh decoder of its own."""
    teacher = experiment.teacher
    if teacher.kind == "none":
        return None
    if teacher.kind == "single":
        return Single(student)
    if teacher.kind == "dual":
        return Dual(
            initial.build(experiment.model, channels, seeding.derive(experiment.train.seed, "partner"))
        )
    decay = cast(float, teacher.decay)  # an average has one
    if teacher.kind == "ema":
        return EMA(student, decay, warmup=teacher.warmup, ramp=teacher.ramp)
    return EMAN(student, decay, warmup=teacher.warmup, ramp=teacher.ramp, std=teacher.std)


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
    return Strong([_operation(operation, experiment) for operation in experiment.augment.strong])


def dropping_of(experiment: Experiment) -> InformationDropping:
    """Information dropping on labelled crops, its operations in the experiment's order; none leave them alone."""
    operations = [_operation(operation, experiment) for operation in experiment.augment.dropping]
    return InformationDropping(cast(list[Dropping], operations))


def _operation(operation: config.Operation, experiment: Experiment) -> Operation:
    settings = operation.model_dump(exclude={"kind"})
    if operation.kind == "mum":
        settings["unmix"] = experiment.unmix_stage(operation)
    if operation.kind in ("affine", "joint_cutout", "cut_occlude"):  # which read places off the heatmaps
        settings["unbiased"] = experiment.data.unbiased
    return OPERATIONS[operation.kind](**settings)
