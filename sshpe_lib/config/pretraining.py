"""How a trunk is pretrained on procedural objects."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from sshpe_lib.config.frozen import Frozen

_MARGIN = 1.125  # pictures are rendered this much larger than the crops that are learned from


class Pretraining(Frozen):
    """Everything that decides the weights, but for the number of threads and the processor.

    `images` are rendered once and seen several times; `input_size` is (height, width).
    """

    depth: int = 18
    width: int = Field(16, gt=0)
    output_stride: int = 16
    input_size: tuple[PositiveInt, PositiveInt] = (64, 48)
    images: int = Field(48_000, gt=0)
    val_images: int = Field(3_200, gt=0)
    steps: int = Field(3_750, gt=0)
    batch_size: int = Field(64, gt=1)
    learning_rate: float = Field(2.0e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(0.05, ge=0, allow_inf_nan=False)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    warmup: float = Field(0.05, ge=0, lt=1)  # share of the steps
    jitter: float = Field(0.3, ge=0, lt=1)  # of brightness, and of each colour by half of it
    bf16: bool = True
    seed: int = Field(0, ge=0)

    @property
    def name(self) -> str:
        """Name of the files, such as objects-r18-w16-s32."""
        return f"objects-r{self.depth}-w{self.width}-s{self.output_stride}"

    @property
    def rendered_size(self) -> tuple[int, int]:
        """(H, W) of the pictures before the random crop."""
        return round(_MARGIN * self.input_size[0]), round(_MARGIN * self.input_size[1])
