"""An experiment is a value: frozen, validated, and named by a hash of what decides its result."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sshpe_lib.errors import SSHPEError

# Bumped by hand when a change of code changes results that the fields below do not show.
METHOD_VERSION = 1


class Frozen(BaseModel):
    """A value: no field changes after validation, none is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SyntheticSource(Frozen):
    """Embedded synthetic people; the fields decide every pixel (`data.synthetic.SyntheticPeople`)."""

    kind: Literal["synthetic"]
    images: int = Field(gt=0)
    seed: int = 0
    height: int = Field(128, gt=0)
    width: int = Field(96, gt=0)
    people: tuple[int, int] = (1, 1)
    crowding: float = Field(0.0, ge=0, le=1)
    difficulty: float = Field(1.0, ge=0, le=1)
    version: int = 5


class CocoSource(Frozen):
    """A COCO-format keypoint file and its images; relative paths start at the data folder (SSHPE_DATA).

    `fingerprint` is the sha256 of the annotation file: it stands in the experiment's key in the place of the
    paths. Where a profile does not pin it, it is computed from the file.
    """

    kind: Literal["coco"]
    annotations: str
    images: str
    detections: str | None = None
    fingerprint: str | None = None
    detections_fingerprint: str | None = None


Source = Annotated[SyntheticSource | CocoSource, Field(discriminator="kind")]


class Data(Frozen):
    """What is learned from: `labels` instances of `labeled`, all of `unlabeled`; measured on `val`."""

    labeled: Source
    unlabeled: Source | None = None  # None: the same people as `labeled`, the labelled ones included
    val: Source
    labels: int = Field(gt=0)
    split: Literal["first", "random"] = "first"  # the reference's, or seeded
    split_seed: int = 0
    input_size: tuple[int, int] = (192, 256)  # width, height of the crop, pixels
    sigma: float = Field(2.0, gt=0)  # of the target Gaussian, heatmap pixels
    color: Literal["rgb", "bgr"] = "rgb"  # bgr: the reference's unconverted OpenCV order

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """Width and height of the heatmaps: a quarter of the crop."""
        return self.input_size[0] // 4, self.input_size[1] // 4


class Model(Frozen):
    """SimpleBaseline: depth of the trunk, its base width, the decoder's channels, where its weights start."""

    depth: Literal[18, 34, 50, 101, 152] = 18
    width: int = Field(64, gt=0)
    deconv_channels: int = Field(256, gt=0)
    output_stride: Literal[8, 16, 32] = 32
    init: Literal["scratch", "imagenet", "objects"] = "imagenet"


class Weak(Frozen):
    """The easy augmentation ("A30") that every crop gets; rotation in degrees."""

    scale: float = Field(0.25, ge=0, lt=1)
    rotation: float = Field(30.0, ge=0)
    rotation_probability: float = Field(0.6, ge=0, le=1)
    flip: float = Field(0.5, ge=0, le=1)


class Affine(Frozen):
    """The hard affine ("A60") on top of the weak crop (`augment.affine.HardAffine`)."""

    kind: Literal["affine"]
    scale: float = Field(0.25, ge=0, lt=1)
    rotation: float = Field(30.0, ge=0)
    probability: float = Field(0.8, ge=0, le=1)
    legacy: bool = False


class Mum(Frozen):
    """MUM, or Pose-MUM where it has sites (`augment.mum.PoseMUM`)."""

    kind: Literal["mum"]
    group: int = Field(4, ge=2)
    tiles: tuple[int, int] = (4, 3)
    unmix: Literal["layer2", "encoder", "decoder"] = "encoder"
    sites: tuple[Literal["stem", "layer1", "layer2", "layer3"], ...] = ()
    probability: float = Field(0.5, ge=0, le=1)

    @property
    def unmix_stage(self) -> str:
        """The network stage after which the mix is undone; the encoder ends with layer 4."""
        return "layer4" if self.unmix == "encoder" else self.unmix

    @model_validator(mode="after")
    def _sites_before_unmix(self) -> Mum:
        order = ("stem", "layer1", "layer2", "layer3", "layer4", "decoder")
        late = [s for s in self.sites if order.index(s) >= order.index(self.unmix_stage)]
        if late:
            raise ValueError(
                f"mix sites {late} are not before the unmix after {self.unmix!r}; drop them or unmix later"
            )
        return self


Operation = Annotated[Affine | Mum, Field(discriminator="kind")]


class Augment(Frozen):
    """The weak augmentation of every crop, and the operations that make the student's strong view, in order."""

    weak: Weak = Weak()
    strong: tuple[Operation, ...] = ()

    @model_validator(mode="after")
    def _affine_before_mix(self) -> Augment:
        kinds = [operation.kind for operation in self.strong]
        if "mum" in kinds and "affine" in kinds[kinds.index("mum") :]:
            raise ValueError(
                "affine must come before mum in augment.strong: the tiles of a group share one geometry"
            )
        if kinds.count("mum") > 1:
            raise ValueError("augment.strong lists mum twice; use its sites to mix more than once")
        return self


class Teacher(Frozen):
    """Who makes the pseudo heatmaps: nobody (supervised), the student itself, or its running average."""

    kind: Literal["none", "single", "ema", "eman"] = "none"
    decay: float | None = Field(None, ge=0, lt=1)  # tau of Eq. 2 and 3
    warmup: bool = False  # min(tau, (1 + t) / (10 + t))
    std: bool = False  # average the standard deviation (Eq. 3 to the letter) and not the variance

    @model_validator(mode="after")
    def _decay_where_it_averages(self) -> Teacher:
        averages = self.kind in ("ema", "eman")
        if averages and self.decay is None:
            raise ValueError(f"teacher.kind {self.kind!r} needs a teacher.decay between 0 and 1, such as 0.6")
        if not averages and (self.decay is not None or self.warmup):
            raise ValueError(
                f"teacher.kind {self.kind!r} averages nothing: leave out teacher.decay and teacher.warmup"
            )
        if self.std and self.kind != "eman":
            raise ValueError("teacher.std is about averaged statistics: only teacher.kind 'eman' has them")
        return self


class Train(Frozen):
    """The schedule. Exactly one of `epochs` (passes over the unlabelled pool) and `steps` is given.

    `milestones` are fractions of the whole length at which the rate falls tenfold; `burn_in` is the fraction
    of it that is supervised only (0 in the paper). `batch_size` is global, of labelled and of unlabelled
    images each.
    """

    epochs: int | None = Field(None, gt=0)
    steps: int | None = Field(None, gt=0)
    batch_size: int = Field(32, gt=0)
    learning_rate: float = Field(1.0e-3, gt=0)
    milestones: tuple[float, ...] = (2 / 3, 5 / 6)
    burn_in: float = Field(0.0, ge=0, lt=1)
    consistency: float = Field(1.0, ge=0)  # lambda_u of Eq. 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    channels_last: bool = True
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> Train:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of train.epochs and train.steps")
        if list(self.milestones) != sorted(self.milestones) or any(not 0 < m <= 1 for m in self.milestones):
            raise ValueError(f"train.milestones are rising fractions of the run in (0, 1]: {self.milestones}")
        return self


class Evaluate(Frozen):
    """How the networks are measured: ground-truth or detected boxes, flip test, OKS-NMS."""

    times: int = Field(10, gt=0)  # evaluations on the way, the last at the end
    flip: bool = False
    nms: float = Field(0.9, gt=0, le=1)
    score_threshold: float = Field(0.2, ge=0, lt=1)  # keypoints that count in a person's score


class Experiment(Frozen):
    """Everything that decides a result."""

    data: Data
    model: Model = Model()
    augment: Augment = Augment()
    teacher: Teacher = Teacher()
    train: Train
    evaluate: Evaluate = Evaluate()

    @property
    def semi_supervised(self) -> bool:
        return self.teacher.kind != "none"

    def key(self) -> str:
        """16 hex digits: the hash of the canonical JSON of everything but paths.

        Fields at their defaults stay out, so that an option added later leaves the keys of old records alone; a
        default that changes its meaning needs a new METHOD_VERSION.
        Raises SSHPEError where a COCO file's fingerprint is still unknown (`experiment.pin` computes it).
        """
        identity = self.model_dump(mode="json", exclude_defaults=True)
        for role in ("labeled", "unlabeled", "val"):
            source = identity["data"].get(role)
            if source and source["kind"] == "synthetic":
                source["version"] = getattr(self.data, role).version  # a new renderer makes new data
            if source and source["kind"] == "coco":
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
        for operation in self.augment.strong:
            if operation.kind == "mum":
                self._check_mix(operation)
        return self

    def _check_sizes(self) -> None:
        stride = self.model.output_stride
        if any(side % stride for side in self.data.input_size):
            raise ValueError(
                f"data.input_size {self.data.input_size} must be multiples of {stride} (model.output_stride); "
                "for small inputs use output_stride 16, or 8"
            )

    def _check_mix(self, mix: Mum) -> None:
        if self.train.batch_size % mix.group:
            raise ValueError(
                f"train.batch_size {self.train.batch_size} does not divide into groups of {mix.group} (mum.group); "
                f"use a multiple of {mix.group}"
            )
        (width, height), (rows, cols) = self.data.input_size, mix.tiles
        if width % cols or height % rows:
            raise ValueError(
                f"data.input_size {width}x{height} does not divide into {cols} columns x {rows} rows (mum.tiles)"
            )


def validate(values: dict, where: str) -> Experiment:
    """The experiment that nested `values` describe. Raises SSHPEError that lists every fault and names `where`."""
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise SSHPEError(f"{where}: " + "; ".join(_fault(fault) for fault in error.errors())) from None


def _fault(fault: dict) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    reason = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        reason = "no such setting; check the spelling"
    if fault["type"] == "missing":
        reason = "is missing"
    return f"{place or 'experiment'}: {reason}"
