"""An experiment is a value: frozen, validated, and named by a hash of what decides its result."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from sshpe_lib.config.augment import Augment, Mum
from sshpe_lib.config.data import SOURCES, Data
from sshpe_lib.config.frozen import Frozen
from sshpe_lib.config.model import NETWORKS, Model, SimpleBaseline
from sshpe_lib.errors import SSHPEError
from sshpe_lib.seeding import derive

# Bumped by hand when a change of code changes results that the fields below do not show.
METHOD_VERSION = 2


class Teacher(Frozen):
    """Who makes the pseudo heatmaps.

    Nobody (supervised), the student itself (single), its running average (ema, eman), or the other network
    of a pair (dual).
    """

    kind: Literal["none", "single", "ema", "eman", "dual"] = "none"
    decay: float | None = Field(None, ge=0, lt=1)  # tau of Eq. 2 and 3
    warmup: bool = False  # min(tau, (1 + t) / (10 + t))
    ramp: int = Field(0, ge=0)  # steps in which the decay rises from 0.5 to tau, as in MUM's own training
    std: bool = False  # average the standard deviation (Eq. 3 to the letter) and not the variance

    @model_validator(mode="after")
    def _decay_where_it_averages(self) -> Teacher:
        averages = self.kind in ("ema", "eman")
        if averages and self.decay is None:
            raise ValueError(f"teacher.kind {self.kind!r} needs a teacher.decay between 0 and 1, such as 0.6")
        if not averages and (self.decay is not None or self.warmup or self.ramp):
            raise ValueError(
                f"teacher.kind {self.kind!r} averages nothing: leave out teacher.decay, teacher.warmup and teacher.ramp"
            )
        if self.warmup and self.ramp:
            raise ValueError("teacher.warmup and teacher.ramp are two ways to raise the decay; choose one")
        if self.std and self.kind != "eman":
            raise ValueError("teacher.std is about averaged statistics: only teacher.kind 'eman' has them")
        return self


class Train(Frozen):
    """The schedule. Exactly one of `epochs` (passes over the unlabelled pool) and `steps` is given.

    `milestones` are fractions of the whole length at which the rate falls tenfold; `burn_in` is the fraction
    of it that is supervised only (0 in the paper). `batch_size` is global, of labelled and of unlabelled
    images each. `forward`: labelled and unlabelled images go through the student "separate", each with its
    own batch statistics (the reference of Pose-MUM), or "joint", as one batch with one set of them (EMAN's FixMatch).
    """

    epochs: int | None = Field(None, gt=0)
    steps: int | None = Field(None, gt=0)
    batch_size: int = Field(32, gt=0)
    learning_rate: float = Field(1.0e-3, gt=0)
    milestones: tuple[float, ...] = (2 / 3, 5 / 6)
    burn_in: float = Field(0.0, ge=0, lt=1)
    warmup: int = Field(0, ge=0)  # steps in which the rate rises linearly from a thousandth to its value
    consistency: float = Field(1.0, ge=0)  # lambda_u of Eq. 1
    push: float = Field(1.0e-3, ge=0)  # weights of what parts the tags of two people, and of what
    pull: float = Field(1.0e-3, ge=0)  # keeps those of one together (bottom-up)
    # Only these, the worst of a person, count in the finest loss (OHKM).
    hard_keypoints: int | None = Field(None, gt=0)
    forward: Literal["separate", "joint"] = "separate"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    channels_last: bool = True  # where a CPU learns so (`models.layout`)
    sync_batch_norm: bool = False  # statistics of the whole batch, not of each GPU's share
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> Train:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of train.epochs and train.steps")
        if list(self.milestones) != sorted(self.milestones) or any(not 0 < m <= 1 for m in self.milestones):
            raise ValueError(f"train.milestones are rising fractions of the run in (0, 1]: {self.milestones}")
        return self


def check_scales(scales: Sequence[float], setting: str) -> None:
    """Raises ValueError, which names `setting`, where no bottom-up network can be tested at all of these scales.

    At the smallest, inputs have sides that are multiples of 64 (`evaluate.multi_scale.region`), and the network needs
    multiples of 32 at every one: whatever the images, only multiples of half of the smallest scale give these.
    """
    possible = all(0 < scale < math.inf for scale in scales) and len(set(scales)) == len(scales)
    # 2 x 0.6 / 0.2 is not quite 6
    if not possible or 1 not in scales or not all((2 * s / min(scales) + 1e-9) % 1 < 2e-9 for s in scales):
        told = ", ".join(f"{scale:g}" for scale in scales)
        raise ValueError(
            f"{setting} {told}: give positive scales, each once, with 1 among them, all of them multiples of half of "
            "the smallest, as 0.5, 1 and 2 are: the network reads only sides that are multiples of 32"
        )


class Evaluate(Frozen):
    """How the networks are measured: flip test, OKS-NMS, rescoring; by visibility too (AP-vis and AP-invis).

    protocol: "coco", or "crowdpose", whose AP has no sizes and a split by how crowded an image is. multi_scale: of
    a bottom-up network, the scales of one more test at the end (`check_scales`); its metrics end in "-ms".
    """

    times: int = Field(10, gt=0)  # evaluations on the way, the last at the end
    protocol: Literal["coco", "crowdpose"] = "coco"
    flip: bool = False
    multi_scale: tuple[float, ...] = ()
    nms: float = Field(0.9, gt=0, le=1)
    score_threshold: float = Field(0.2, ge=0, lt=1)  # keypoints that count in a person's score
    visibility: bool = False

    @model_validator(mode="after")
    def _scales(self) -> Evaluate:
        if self.multi_scale:
            check_scales(self.multi_scale, "evaluate.multi_scale")
        return self


class Experiment(Frozen):
    """Everything that decides a result; `start`, where given, is the experiment whose weights it goes on from."""

    data: Data
    model: Model = SimpleBaseline()
    augment: Augment = Augment()
    teacher: Teacher = Teacher()
    train: Train
    evaluate: Evaluate = Evaluate()
    start: Experiment | None = None

    @property
    def semi_supervised(self) -> bool:
        return self.teacher.kind != "none"

    @property
    def bottom_up(self) -> bool:
        """Whether the network reads whole images, and not a crop of every person."""
        return self.model.network == "higher_hrnet"

    @property
    def stream_seed(self) -> int:
        """What the data's order and the augmentations are drawn from: a second stage must not repeat its first."""
        return (
            self.train.seed
            if self.start is None
            else derive(self.train.seed, "after", self.start.stream_seed)
        )

    def key(self) -> str:
        """16 hex digits: the hash of the canonical JSON of everything but paths.

        Fields at their defaults stay out, so that an option added later leaves the keys of old records alone; a
        default that changes its meaning needs a new METHOD_VERSION.
        Raises SSHPEError where a COCO file's fingerprint is still unknown (`data.sources.pin` computes it).
        """
        identity = self.model_dump(mode="json", exclude_defaults=True)
        if self.start is not None:
            identity["start"] = self.start.key()
        for role in ("labeled", "extra", "unlabeled", "val"):
            source = identity["data"].get(role)
            if source and source["kind"] == "synthetic":
                source["version"] = getattr(self.data, role).version  # a new renderer makes new data
            elif source:
                if source.get("fingerprint") is None:
                    raise SSHPEError(
                        f"data.{role} ({source['annotations']}) has no fingerprint yet, so the experiment has no key; "
                        "point SSHPE_DATA at the data, or pin data fingerprints in the profile"
                    )
                for path in ("annotations", "images", "detections"):
                    source.pop(path, None)
        identity["method_version"] = METHOD_VERSION
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        if not self.semi_supervised and (self.augment.strong or self.train.burn_in):
            raise ValueError("a supervised run (teacher.kind 'none') has no strong view and no burn-in")
        if self.data.unlabeled is not None and not self.semi_supervised:
            raise ValueError("a supervised run (teacher.kind 'none') has no data.unlabeled")
        self._check_sizes()
        self._check_networks()
        self._check_paradigm()
        for operation in self.augment.strong:
            if operation.kind == "mum":
                self._check_mix(operation)
        return self

    def _check_sizes(self) -> None:
        multiple = self.model.multiple
        if any(side % multiple for side in self.data.input_size):
            cure = "for small inputs use output_stride 16, or 8"
            if self.model.network != "simple_baseline":
                cure = "choose another crop"
            raise ValueError(
                f"data.input_size {self.data.input_size} must be multiples of {multiple} ({self.model}); {cure}"
            )

    def _check_networks(self) -> None:
        if self.start is not None and self.start.model != self.model:
            raise ValueError(
                f"start trains {self.start.model}, not this model, {self.model}; start from the same one"
            )
        if self.start is not None and self.start.data != self.data:
            raise ValueError(
                "start has other data than this run; both stages learn from the same people and crops"
            )
        if self.semi_supervised and self.data.codec == "udp-offset":
            raise ValueError(
                "teachers make heatmaps, and data.codec 'udp-offset' has offsets beside them; "
                "use 'udp-gaussian' or 'msra' in semi-supervised runs"
            )
        if self.train.forward == "joint" and self.model.network == "rsn":
            raise ValueError("train.forward 'joint' cannot supervise the units of an RSN; use 'separate'")

    def _check_paradigm(self) -> None:
        if not self.bottom_up:
            if self.evaluate.multi_scale:
                raise ValueError(
                    f"evaluate.multi_scale is of bottom-up networks; {self.model} looks at crops"
                )
            if self.data.outside != "background":
                raise ValueError(f"data.outside is of whole images; {self.model} looks at crops")
            return
        width, height = self.data.input_size
        if width != height:
            raise ValueError(f"data.input_size {width}x{height}: {self.model} is trained on squares")
        if self.data.codec == "udp-offset":
            raise ValueError(
                f"{self.model} has no offsets; use data.codec 'udp-gaussian' (unbiased) or 'msra'"
            )
        if self.train.hard_keypoints is not None:
            raise ValueError("train.hard_keypoints are one person's; a bottom-up network sees many at once")
        if self.data.extra is not None:
            raise ValueError(
                "data.extra is for top-down networks; put whole images into one file, data.labeled"
            )
        placed = [one.kind for one in self.augment.strong if one.kind in ("joint_cutout", "cut_occlude")]
        if self.data.reduced:
            raise ValueError(f"data.reduced is of crops; {self.model} looks at whole images")
        if placed:
            raise ValueError(
                f"augment.strong has {placed}, placed at the joints of one person; {self.model} sees many at once"
            )

    def unmix_stage(self, mix: Mum) -> str:
        """The network stage after which a mix is undone."""
        if mix.unmix != "encoder":
            return mix.unmix
        return self.model.encoder

    def _check_mix(self, mix: Mum) -> None:
        stages = self.model.named_stages
        if not stages:
            raise ValueError(
                f"mum mixes and unmixes between the stages of a network, and {self.model} has none; use a ResNet or "
                "an HRNet"
            )
        foreign = [stage for stage in (*mix.sites, self.unmix_stage(mix)) if stage not in stages]
        if foreign:
            raise ValueError(
                f"mum names the stages {foreign}, which {self.model} does not have; it has {', '.join(stages)}"
            )
        if self.train.batch_size % mix.group:
            raise ValueError(
                f"train.batch_size {self.train.batch_size} does not divide into groups of {mix.group} (mum.group); "
                f"use a multiple of {mix.group}"
            )
        (width, height), (rows, cols) = self.data.input_size, mix.tiles
        if width % cols or height % rows:
            raise ValueError(
                f"data.input_size {width}x{height} (width x height) does not divide into {cols} columns x {rows} rows "
                "(mum.tiles)"
            )


def validate(values: dict, where: str) -> Experiment:
    """The experiment that nested `values` describe. Raises SSHPEError that lists every fault and names `where`."""
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise SSHPEError(f"{where}: " + "; ".join(_fault(dict(fault)) for fault in error.errors())) from None


def _fault(fault: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"] if part not in (*NETWORKS, *SOURCES))
    reason = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        reason = "no such setting; check the spelling"
    if fault["type"] == "missing":
        reason = "is missing"
    if fault["type"] == "union_tag_invalid":
        reason = f"there is no {fault['ctx']['tag']!r}; choose one of {fault['ctx']['expected_tags']}"
    return f"{place or 'experiment'}: {reason}"
