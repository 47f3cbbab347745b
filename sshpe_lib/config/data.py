"""What is learned from and measured on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sshpe_lib.config.frozen import Frozen


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
