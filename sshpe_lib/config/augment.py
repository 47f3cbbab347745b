"""The weak augmentation of every crop and the operations of the student's strong view."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, field_validator, model_validator

from sshpe_lib.config.frozen import Frozen


def _rising(limits: tuple[int, int]) -> tuple[int, int]:
    if not 0 < limits[0] <= limits[1]:
        raise ValueError(f"give the smallest and the largest half size, both above 0, not {limits}")
    return limits


def _ascending(low: float, high: float = inf) -> Callable[[tuple[float, ...]], tuple[float, ...]]:
    """A check of numbers from low to high, the smaller first."""

    def check(limits: tuple[float, ...]) -> tuple[float, ...]:
        if not all(low <= limit <= high for limit in limits) or list(limits) != sorted(limits):
            where = f"{low:g} or more" if high == inf else f"{low:g} to {high:g}"
            raise ValueError(f"give numbers of {where}, the smaller first, not {limits}")
        return limits

    return check


HalfSize = Annotated[tuple[int, int], AfterValidator(_rising)]
Shares = Annotated[tuple[float, float], AfterValidator(_ascending(0, 1))]
Ratios = Annotated[tuple[float, float], AfterValidator(_ascending(1e-3))]


class Weak(Frozen):
    """The easy augmentation ("A30") that every crop gets; rotation in degrees."""

    scale: float = Field(0.25, ge=0, lt=1)
    rotation: float = Field(30.0, ge=0)
    rotation_probability: float = Field(0.6, ge=0, le=1)
    flip: float = Field(0.5, ge=0, le=1)
    half_body: float = Field(0.0, ge=0, le=1)


class WeakScene(Frozen):
    """The easy augmentation of whole images (`data.scenes.SceneAffine`), the reference's of HigherHRNet.

    scale: smallest and largest side of the square that is shown, in short sides of the image; rotation in degrees;
    shift: of the square, in 200ths of its side.
    """

    scale: tuple[float, float] = (0.75, 1.5)
    rotation: float = Field(30.0, ge=0)
    shift: float = Field(40.0, ge=0)
    flip: float = Field(0.5, ge=0, le=1)

    @field_validator("scale")
    @classmethod
    def _rising(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"give the smallest and the largest share of the short side, not {scale}")
        return scale


class Affine(Frozen):
    """The hard affine ("A60") on top of the weak crop (`augment.affine.HardAffine`)."""

    kind: Literal["affine"]
    scale: float = Field(0.25, ge=0, lt=1)
    rotation: float = Field(30.0, ge=0)
    probability: float = Field(0.8, ge=0, le=1)
    legacy: bool = False


class RandAugment(Frozen):
    """Random photometric operations (`augment.rand_augment.RandAugment`); magnitude: 0 to 30."""

    kind: Literal["rand_augment"]
    number: int = Field(2, ge=1)
    magnitude: float = Field(20.0, ge=0, le=30)


class JointCutout(Frozen):
    """Cutout at joints that the teacher predicts (`augment.joint_cutout.JointCutout`).

    jitter and half_size are pixels of a 192x256 crop; another crop takes them in proportion to its width.
    """

    kind: Literal["joint_cutout"]
    joints: int = Field(5, ge=1)
    jitter: float = Field(10.0, ge=0)
    half_size: HalfSize = (10, 19)
    legacy_clamp: bool = False


class Cutout(Frozen):
    """Cutout at random places (`augment.cutout.Cutout`); half_size as in `JointCutout`."""

    kind: Literal["cutout"]
    holes: int = Field(5, ge=1)
    half_size: HalfSize = (10, 19)


class CutOcclude(Frozen):
    """Patches of other images' joints pasted over predicted joints (`augment.cut_occlude.CutOcclude`).

    jitter and half_size as in `JointCutout`.
    """

    kind: Literal["cut_occlude"]
    joints: int = Field(2, ge=1)
    jitter: float = Field(0.0, ge=0)
    half_size: HalfSize = (10, 19)


class Mum(Frozen):
    """MUM, or Pose-MUM where it has sites (`augment.mum.PoseMUM`).

    stages "independent": every site is mixed with `probability`; "uniform": the number of mixed sites is
    uniform over 0 to all of them, whichever they are. toss "batch": one toss decides for the whole batch;
    "group": one for every group. The sites of a ResNet are its layers, those of an HRNet its stages; the encoder
    ends with layer4 or stage4.
    """

    kind: Literal["mum"]
    group: int = Field(4, ge=2)
    tiles: tuple[PositiveInt, PositiveInt] = (4, 3)
    unmix: Literal["layer2", "encoder", "decoder"] = "encoder"
    sites: tuple[Literal["stem", "layer1", "layer2", "layer3", "stage2", "stage3"], ...] = ()
    probability: float = Field(0.5, ge=0, le=1)
    stages: Literal["independent", "uniform"] = "independent"
    toss: Literal["batch", "group"] = "batch"

    @model_validator(mode="after")
    def _sites_before_unmix(self) -> Mum:
        order = ("stem", "layer1", "layer2", "stage2", "layer3", "stage3", "encoder", "decoder")
        if list(self.sites) != sorted(set(self.sites), key=order.index):
            raise ValueError(f"name each mix site once and in the network's order, not {list(self.sites)}")
        late = [s for s in self.sites if order.index(s) >= order.index(self.unmix)]
        if late:
            raise ValueError(
                f"mix sites {late} are not before the unmix after {self.unmix!r}; drop them or unmix later"
            )
        return self


class RandomErasing(Frozen):
    """A rectangle of random area and aspect (`augment.dropping.RandomErasing`)."""

    kind: Literal["random_erasing"]
    probability: float = Field(0.5, ge=0, le=1)
    fill: Literal["black", "mean"] = "mean"
    area: Shares = (0.02, 0.4)
    aspect: Ratios = (0.3, 1 / 0.3)


class InformationCutout(Frozen):
    """AID's Cutout, an ellipse, or the square original (`augment.dropping.InformationCutout`)."""

    kind: Literal["information_cutout"]
    probability: float = Field(1.0, ge=0, le=1)
    fill: Literal["black", "mean"] = "black"
    shape: Literal["ellipse", "square"] = "ellipse"
    radius: Ratios = (0.2, 0.4)
    length: float = Field(0.5, ge=0)
    holes: int = Field(1, ge=1)


class HideAndSeek(Frozen):
    """Patches of a grid, each hidden or not (`augment.dropping.HideAndSeek`); sizes in pixels of a crop 192 wide."""

    kind: Literal["hide_and_seek"]
    probability: float = Field(1.0, ge=0, le=1)
    fill: Literal["black", "mean"] = "black"
    sizes: Annotated[tuple[float, ...], AfterValidator(_ascending(0))] = (0, 16, 32, 44, 56)
    hide: float = Field(0.5, ge=0, le=1)
    legacy_index: bool = False
    legacy_rows: bool = False

    @model_validator(mode="after")
    def _drawn_from(self) -> HideAndSeek:
        if len(self.sizes) < (2 if self.legacy_index else 1):  # which never draws the last
            raise ValueError("sizes is too short; give one or more, and with legacy_index two or more")
        return self


class GridMask(Frozen):
    """Squares at regular intervals (`augment.dropping.GridMask`); spacing in widths of the image."""

    kind: Literal["grid_mask"]
    probability: float = Field(1.0, ge=0, le=1)
    fill: Literal["black", "mean"] = "mean"
    spacing: Ratios = (96 / 224, 1.0)
    ratio: float = Field(0.6, ge=0, le=1)
    rotate: float = Field(360.0, ge=0, le=360)
    invert: bool = True


Dropping = Annotated[RandomErasing | InformationCutout | HideAndSeek | GridMask, Field(discriminator="kind")]
Operation = Annotated[
    Affine | RandAugment | JointCutout | Cutout | CutOcclude | Mum
    | RandomErasing | InformationCutout | HideAndSeek | GridMask,
    Field(discriminator="kind"),
]  # fmt: skip


class Augment(Frozen):
    """The weak augmentation of every crop, and what happens to labelled and to unlabelled crops after it.

    weak: of crops; scene: of whole images. dropping: information dropping on labelled ones (AID); strong: the
    operations that make the student's view of unlabelled ones, in order.
    """

    weak: Weak = Weak()
    scene: WeakScene = WeakScene()
    dropping: tuple[Dropping, ...] = ()
    strong: tuple[Operation, ...] = ()

    @model_validator(mode="after")
    def _mix_last(self) -> Augment:
        kinds = [operation.kind for operation in self.strong]
        if kinds.count("mum") > 1:
            raise ValueError("augment.strong lists mum twice; use its sites to mix more than once")
        if "mum" in kinds[:-1]:
            raise ValueError(
                f"{kinds[-1]} must come before mum in augment.strong: a mixed image shows parts of several people"
            )
        return self
