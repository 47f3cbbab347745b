"""Networks: which one, how large, where its weights start."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Discriminator, Field, PositiveInt, Tag, model_validator

from sshpe_lib.config.frozen import Frozen


class Network(Frozen):
    """What the settings of every network say; a subclass adds `network`, its kind, `init`, and its sizes.

    named_stages: those after which it calls `after_stage`, in order; none where nothing can be mixed on the way.
    """

    named_stages: ClassVar[tuple[str, ...]] = ()
    encoder: ClassVar[str] = ""  # the stage that ends it, of a network with stages

    @property
    def multiple(self) -> int:
        """What both sides of the input must be multiples of, pixels: of most, the coarsest map is at 1/32."""
        return 32

    @property
    def architecture(self) -> Self:
        """The same network from scratch: what decides its cost."""
        return self.model_copy(update={"init": "scratch"})

    @property
    def short(self) -> str:
        """The kind and its size, as a column of a table has it."""
        return str(self)

    def __str__(self) -> str:
        """The network in words, such as "Plain" of a class of that name."""
        return type(self).__name__


class SimpleBaseline(Network):
    """SimpleBaseline: depth of the trunk, its base width, the decoder's channels (`models.resnet`).

    init: "scratch"; "imagenet", torchvision's weights (the papers'); "objects", the shipped trunk of this depth,
    width and stride, whose sha256 starts with the 16 digits of `trunk`.
    """

    named_stages: ClassVar[tuple[str, ...]] = ("stem", "layer1", "layer2", "layer3", "layer4", "decoder")
    encoder: ClassVar[str] = "layer4"

    network: Literal["simple_baseline"] = "simple_baseline"
    depth: Literal[18, 34, 50, 101, 152] = 18
    width: int = Field(64, gt=0)
    deconv_channels: int = Field(256, gt=0)
    output_stride: Literal[8, 16, 32] = 32
    init: Literal["scratch", "imagenet", "objects"] = "imagenet"
    trunk: str | None = Field(None, pattern="^[0-9a-f]{16}$")

    @property
    def multiple(self) -> int:
        """What both sides of the input must be multiples of, pixels."""
        return self.output_stride

    @property
    def architecture(self) -> Self:
        """The same network from scratch: what decides its cost."""
        return self.model_copy(update={"init": "scratch", "trunk": None})

    @property
    def short(self) -> str:
        """Such as "R18": the kind and its size, without what makes it narrower."""
        return f"R{self.depth}"

    def __str__(self) -> str:
        """Such as "ResNet-18 of width 16"."""
        return f"ResNet-{self.depth}" + (f" of width {self.width}" if self.width != 64 else "")

    @model_validator(mode="after")
    def _named_trunk(self) -> SimpleBaseline:
        if (self.init == "objects") != (self.trunk is not None):
            raise ValueError(
                "model.trunk, the first 16 digits of the sha256 in params/weights/objects-*.json, goes with model.init "
                f"'objects' and with no other; init is {self.init!r} and trunk {self.trunk!r}"
            )
        return self


class _HRNetTrunk(Network):
    """What HRNet and HigherHRNet share: channels of the finest branch and of the stem, modules of stages 2 to 4,
    blocks of a branch.

    init: "scratch", or "imagenet", the published trunks of width 32 and 48.
    """

    named_stages: ClassVar[tuple[str, ...]] = ("stem", "layer1", "stage2", "stage3", "stage4")
    encoder: ClassVar[str] = "stage4"

    width: int = Field(32, gt=0)
    stem: int = Field(64, gt=0)
    modules: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 4, 3)
    blocks: int = Field(4, gt=0)
    init: Literal["scratch", "imagenet"] = "imagenet"

    @property
    def short(self) -> str:
        """Such as "HRNet-W32"."""
        return f"HRNet-W{self.width}"

    def __str__(self) -> str:
        """Such as "HRNet-W32", or "HRNet-W48 of 2, 8, 6 modules"."""
        deeper = f" of {', '.join(map(str, self.modules))} modules" if self.modules != (1, 4, 3) else ""
        return self.short + deeper

    @property
    def _published(self) -> bool:
        return (self.width in (32, 48), self.stem, self.modules, self.blocks) == (True, 64, (1, 4, 3), 4)

    @model_validator(mode="after")
    def _possible(self) -> _HRNetTrunk:
        if self.init == "imagenet" and not self._published:
            raise ValueError(
                f"there are ImageNet weights for HRNet-W32 and HRNet-W48, and none for {self} with a stem of "
                f"{self.stem} channels and {self.blocks} blocks a branch; set model.init: scratch"
            )
        return self


class HRNet(_HRNetTrunk):
    """HRNet (`models.hrnet`); wide_fuse: the last fusion ends in four times the width, as in UDP's reference."""

    network: Literal["hrnet"]
    wide_fuse: bool = False


class HigherHRNet(_HRNetTrunk):
    """HigherHRNet, which reads whole images (`models.higher_hrnet`); higher: predict at 1/2 of the input too.

    Without `higher` it is HRNet for bottom-up pose.
    """

    named_stages: ClassVar[tuple[str, ...]] = (*_HRNetTrunk.named_stages, "decoder")

    network: Literal["higher_hrnet"]
    higher: bool = True

    @property
    def short(self) -> str:
        """Such as "HigherHRNet-W32"."""
        return f"HigherHRNet-W{self.width}" if self.higher else super().short


class RSN(Network):
    """Residual Steps Network: depth, number of stages, base width, channels of its units (`models.rsn`).

    variant: "official", or "udp", the one of UDP's reference with a three-convolution stem and attention; prm:
    the pose refine machine; expansion: 4 for levels of four times the channels, which cost what was published for
    RSN-50; floor: the weights are of the official code, whose keypoints stand on the pixel below. Every unit of every
    stage is supervised. There is no public ImageNet file, so it starts from scratch. It names no stages: its branches
    lead past one another, and nothing is mixed on the way.
    """

    network: Literal["rsn"]
    depth: Literal[18, 50] = 18
    stages: int = Field(1, ge=1, le=4)
    width: int = Field(64, gt=0)
    unit_channels: int = Field(256, gt=0)
    variant: Literal["official", "udp"] = "official"
    prm: bool = False
    expansion: Literal[1, 4] = 1
    floor: bool = False
    init: Literal["scratch"] = "scratch"

    @property
    def short(self) -> str:
        """Such as "2xRSN-50"."""
        return (f"{self.stages}x" if self.stages > 1 else "") + f"RSN-{self.depth}"

    def __str__(self) -> str:
        """Such as "2xRSN-50", "RSN-18 of width 16", or "2xRSN-50 of expansion 4"."""
        sizes = [("width", self.width, 64), ("expansion", self.expansion, 1)]
        told = " and ".join(f"{name} {size}" for name, size, usual in sizes if size != usual)
        return self.short + (f" of {told}" if told else "")


def _network(model: Any) -> str:
    """The kind of a network; settings that do not name one are a SimpleBaseline's."""
    if isinstance(model, dict):
        return model.get("network", "simple_baseline")
    return getattr(model, "network", "simple_baseline")


Model = Annotated[
    Annotated[SimpleBaseline, Tag("simple_baseline")]
    | Annotated[HRNet, Tag("hrnet")]
    | Annotated[HigherHRNet, Tag("higher_hrnet")]
    | Annotated[RSN, Tag("rsn")],
    Discriminator(_network),
]

_KINDS, _ = get_args(Model)
NETWORKS = tuple(tag.tag for _, tag in map(get_args, get_args(_KINDS)))  # "simple_baseline", "hrnet", ...
