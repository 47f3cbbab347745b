"""What is learned from and measured on."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from sshpe_lib.config.frozen import Frozen

DRAWN_SIDE = (32, 1024)  # of a drawn image, pixels: smallest, largest
DRAWN_PEOPLE = 12  # in a drawn image, at most
DrawnSide = Annotated[int, Field(ge=DRAWN_SIDE[0], le=DRAWN_SIDE[1])]


class SyntheticSource(Frozen):
    """Embedded synthetic people; the fields decide every pixel (`data.synthetic.SyntheticPeople`)."""

    kind: Literal["synthetic"]
    images: int = Field(gt=0)
    seed: int = Field(0, ge=0)
    height: DrawnSide = 128
    width: DrawnSide = 96
    people: tuple[int, int] = (1, 1)  # fewest and most in an image
    crowding: float = Field(0.0, ge=0, le=1)
    difficulty: float = Field(1.0, ge=0, le=1)
    version: int = 5

    @field_validator("people")
    @classmethod
    def _people_in_order(cls, people: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= people[0] <= people[1] <= DRAWN_PEOPLE:
            raise ValueError(f"{people} is not (fewest, most), 1 <= fewest <= most <= {DRAWN_PEOPLE}")
        return people


class CocoSource(Frozen):
    """A COCO-format keypoint file and its images; relative paths start at the data folder (SSHPE_DATA).

    `fingerprint` is the sha256 of the annotation file: it stands in the experiment's key in the place of the
    paths. Where a profile does not pin it, it is computed from the file. `category` is the name or id of one with
    keypoints; where left out it is `person`, else the only one.
    """

    kind: Literal["coco"]
    annotations: str
    images: str
    category: str | int | None = None
    detections: str | None = None
    fingerprint: str | None = None
    detections_fingerprint: str | None = None


class AIChallengerSource(Frozen):
    """AI Challenger's keypoint file and its images, joints mapped to COCO's; paths as in `CocoSource`."""

    kind: Literal["ai_challenger"]
    annotations: str
    images: str
    fingerprint: str | None = None


Source = Annotated[SyntheticSource | CocoSource | AIChallengerSource, Field(discriminator="kind")]

_KINDS, _ = get_args(Source)
SOURCES = tuple(get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(_KINDS))  # "coco", ...


Side = Annotated[int, Field(gt=0, le=4096)]  # of an input, pixels; beyond it one image takes gigabytes


class Data(Frozen):
    """What is learned from: `labels` people of `labeled`, all of `extra` and `unlabeled`; measured on `val`.

    codec: how keypoints become heatmaps and back, and with it the convention of every crop: "msra" (SimpleBaseline
    and HRNet, with Pose-MUM), or the unbiased ones of UDP, whose targets are Gaussians or discs with offsets.

    Where the network is a bottom-up one, `labels` and an epoch count images and not people, `input_size` is a square
    in training and its side that of the short side in a test, and `people` and `masks` say how many people of an
    image are learned from and whether crowds and people without keypoints are left out of the loss. What a training
    square shows `outside` the image, which is black, is taught as "background", or "ignored" as HigherHRNet does.
    """

    labeled: Source
    extra: Source | None = None  # more labelled people: all of its own, such as AI Challenger's
    unlabeled: Source | None = None  # None: the same people as `labeled`, the labelled ones included
    val: Source
    labels: int | None = Field(gt=0)  # None: every valid person
    split: Literal["first", "random"] = "first"  # the reference's, or seeded
    split_seed: int = 0
    input_size: tuple[Side, Side] = (192, 256)  # width, height of the crop, pixels
    codec: Literal["msra", "udp-gaussian", "udp-offset"] = "msra"
    sigma: float = Field(2.0, gt=0)  # of the target Gaussian, heatmap pixels
    # Of the disc ("KPD"), heatmap pixels; None: 3.5 for 64 rows, and so on.
    radius: float | None = Field(None, gt=0)
    kernel: int = Field(7, gt=0)  # of UDP's blur before a heatmap is read, odd
    people: int = Field(30, gt=0)  # of an image, at most
    masks: bool = True
    outside: Literal["background", "ignored"] = "background"
    reduced: bool = False  # decode JPEGs at 1/2, 1/4 or 1/8 where the crop shrinks them more
    color: Literal["rgb", "bgr"] = "rgb"  # bgr: the reference's unconverted OpenCV order

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """Width and height of the heatmaps: a quarter of the crop."""
        return self.input_size[0] // 4, self.input_size[1] // 4

    @property
    def unbiased(self) -> bool:
        """Whether crops follow UDP: distances between pixels, and not numbers of them, are the unit."""
        return self.codec != "msra"

    @model_validator(mode="after")
    def _labels_have_keypoints(self) -> Data:
        for role in ("labeled", "extra"):
            if getattr(getattr(self, role), "detections", None):
                raise ValueError(
                    f"data.{role}.detections: detected boxes have no keypoints to learn from; leave it out, or give "
                    "the boxes to data.unlabeled or data.val"
                )
        return self

    @model_validator(mode="after")
    def _random_is_a_number(self) -> Data:
        if self.labels is None and self.split == "random":
            raise ValueError(
                "data.labels is all of them, so there is nothing to draw: use data.split 'first'"
            )
        return self

    @model_validator(mode="after")
    def _kernel_of_a_blur(self) -> Data:
        if self.kernel % 2 == 0:
            raise ValueError(f"data.kernel {self.kernel}: a blur has a middle; give an odd number")
        if self.kernel != 7 and self.codec == "msra":
            raise ValueError("data.kernel is of the codecs of UDP; codec is 'msra': leave it out")
        return self

    @model_validator(mode="after")
    def _radius_of_a_disc(self) -> Data:
        if self.radius is not None and self.codec != "udp-offset":
            raise ValueError(
                f"data.radius is of the discs of codec 'udp-offset'; codec is {self.codec!r}: leave it out"
            )
        return self
