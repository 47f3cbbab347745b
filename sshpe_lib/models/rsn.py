"""Residual Steps Network: branches of growing depth that hand their features on, in one stage or several."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sshpe_lib.errors import SSHPEError
from sshpe_lib.models.residual_steps import Block, ConvBN, PoseRefineMachine, Variant, branch_channels
from sshpe_lib.models.stages import AfterStage, check_images, check_sizes, keep

COARSEST = 32  # input over the resolution of the last level
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}  # in the four levels
LEVELS = 4
HALF_STRIDE = 2  # of the maps, pixels of the input
EXPANSIONS = (1, 4)  # channels of a level over what its width asks
REFERENCE_PEAK = 255  # of the heatmaps that the official code teaches; ours peak at 1


class RSN(nn.Module):
    """RSN (Cai et al. 2020): encoder and decoder of four levels, once or several times in a row.

    The state dict has the names of the official code: `top`, and in every `stageN` a `downsample` and an `upsample`.
    Weights are drawn from torch's global generator, as in any module.

    Args:
        channels: of every output: K heatmaps, or 3K where offsets are predicted too.
        depth: 18, or 50: the blocks of a ResNet-50 in each level, as MMPose and the author's advice have RSN-50.
        stages: encoders and decoders in a row; "2xRSN-50" has two.
        width: channels of the finest level; the others have 2, 4 and 8 times as many.
        unit_channels: of a decoder's units, which predict.
        variant: "official", or "udp", that of UDP's code: three convolutions for a stem, branches as wide as the
            block's output asks, and attention over channels in every block.
        prm: the pose refine machine, in front of the finest prediction of a stage.
        expansion: 1, or 4: levels have four times their channels, and branches stay as wide as a quarter asks, as in
            a ResNet's bottleneck. It is in no public file. With `depth` 50 it costs what was published for RSN-50.
        floor: for weights of the official code, to which a keypoint stands on the pixel below it, `int(x / 4)`, and
            which are to answer with the nearest: the images are moved by half a stride, 2 px right and down.

    Raises:
        SSHPEError: an unknown depth, variant or expansion, a size below 1, or branches without a channel.
    """

    def __init__(
        self,
        channels: int = 17,
        *,
        depth: int = 18,
        stages: int = 1,
        width: int = 64,
        unit_channels: int = 256,
        variant: Variant = "official",
        prm: bool = False,
        expansion: int = 1,
        floor: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, stages=stages, width=width, unit_channels=unit_channels)
        if depth not in BLOCKS or variant not in ("official", "udp") or expansion not in EXPANSIONS:
            raise SSHPEError(
                f"no RSN of depth {depth}, variant {variant!r} and expansion {expansion}; depths: "
                f"{', '.join(map(str, BLOCKS))}, variants: official, udp, expansions: {', '.join(map(str, EXPANSIONS))}"
            )
        check_sizes(**{"channels of a branch": branch_channels(width)})
        self.floor = floor
        self.top = Stem(width, variant)
        for index in range(stages):
            hands_on = index < stages - 1
            stage = Stage(channels, BLOCKS[depth], width, expansion, unit_channels, variant, prm, hands_on)
            self.add_module(f"stage{index}", stage)
        self.stages = ("stem", *(f"stage{index}" for index in range(stages)))
        self._initialise()

    def forward(
        self, images: Tensor, after_stage: AfterStage | None = None, every_unit: bool = False
    ) -> Tensor | list[Tensor]:
        """Predict maps at a quarter of the input.

        Args:
            images: (B, 3, H, W), normalised; H and W multiples of 32.
            after_stage: called after the stem and with the finest features of every stage; what it returns takes
                their place.
            every_unit: return the predictions of all units, which training supervises.

        Returns:
            (B, channels, H/4, W/4) of the finest unit of the last stage; or a list of four a stage, coarse to fine.

        Raises:
            SSHPEError: the images' shape does not fit.
        """
        check_images(images, COARSEST, "RSN")
        after = after_stage or keep
        if self.floor:
            images = F.pad(images, (HALF_STRIDE, -HALF_STRIDE) * 2)
        features, skips, predictions = after("stem", self.top(images)), None, []
        size = features.shape[-2:]
        for name in self.stages[1:]:
            stage: Stage = self.get_submodule(name)  # type: ignore[assignment]  # as made above
            levels, units = stage(features, skips)
            units[-1] = after(name, units[-1])
            last = name == self.stages[-1]
            if every_unit:
                predictions += [
                    unit.predict(made, size) for unit, made in zip(stage.upsample.units, units, strict=True)
                ]
            elif last:
                return stage.upsample.up4.predict(units[-1], size)
            if not last:
                features, skips = stage.upsample.hand_on(levels, units)
        return predictions

    def _initialise(self) -> None:
        """He's rule over the outputs for the encoders' convolutions, as the reference; torch's own elsewhere.

        Predictions end in a batch norm, whose answers have a standard deviation of 1. That is little beside the
        reference's targets, which peak at 255; beside ours, which peak at 1, it would take a thousand steps of Adam to
        shrink. So it starts as much smaller as the targets are.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and ".downsample." in name:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Unit):
                nn.init.constant_(module.res_conv2.bn.weight, 1 / REFERENCE_PEAK)


class Stem(nn.Module):
    """`top`: the image at a quarter of its size, in `width` channels."""

    def __init__(self, width: int, variant: Variant) -> None:
        super().__init__()
        self.conv: nn.Module
        if variant == "udp":
            self.conv = nn.Sequential(
                ConvBN(3, width, 3, 2), ConvBN(width, width, 7), ConvBN(width, width, 3, 2)
            )
        else:
            self.conv = ConvBN(3, width, 7, 2)
        self.pools = variant == "official"

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, width, H/4, W/4)."""
        features = self.conv(images)
        return F.max_pool2d(features, 3, 2, padding=1) if self.pools else features


class Stage(nn.Module):
    """One encoder and its decoder. `hands_on`: another stage follows."""

    def __init__(
        self,
        channels: int,
        blocks: Sequence[int],
        width: int,
        expansion: int,
        unit_channels: int,
        variant: Variant,
        prm: bool,
        hands_on: bool,
    ) -> None:
        super().__init__()
        self.downsample = Encoder(blocks, width, expansion, variant)
        self.upsample = Decoder(channels, width, expansion, unit_channels, prm, hands_on)

    def forward(self, features: Tensor, skips: list[Tensor] | None) -> tuple[list[Tensor], list[Tensor]]:
        """Features of the levels, finest first, and of the units, coarsest first; `skips`: of the stage before."""
        levels = self.downsample(features, skips)
        return levels, self.upsample(levels)


class Encoder(nn.Module):
    """Four levels of blocks, each at half the resolution and with twice the channels of the one before."""

    def __init__(self, blocks: Sequence[int], width: int, expansion: int, variant: Variant) -> None:
        super().__init__()
        inputs = width
        for level, count in enumerate(blocks):
            made, asked = [], width * 2**level  # channels of the level, before it is expanded
            for index in range(count):
                measure = inputs if variant == "official" and expansion == 1 else asked
                stride = 2 if level and not index else 1
                attention = variant == "udp"
                made.append(Block(inputs, expansion * asked, branch_channels(measure), stride, attention))
                inputs = expansion * asked
            self.add_module(f"layer{level + 1}", nn.Sequential(*made))

    def forward(self, features: Tensor, skips: list[Tensor] | None) -> list[Tensor]:
        """(B, width, h, w) to the levels, finest first; `skips` are added to each, in the same order."""
        levels = []
        for level in range(LEVELS):
            features = self.get_submodule(f"layer{level + 1}")(features)
            if skips is not None:
                features = features + skips[level]
            levels.append(features)
        return levels


class Decoder(nn.Module):
    """Four units, coarse to fine; each merges a level with the unit before and predicts."""

    up4: Unit

    def __init__(
        self, channels: int, width: int, expansion: int, unit_channels: int, prm: bool, hands_on: bool
    ) -> None:
        super().__init__()
        for index in range(LEVELS):
            inputs = expansion * width * 2 ** (LEVELS - 1 - index)
            finest = index == LEVELS - 1
            unit = Unit(
                inputs,
                unit_channels,
                channels,
                first=index == 0,
                prm=prm and finest,
                hands_on=hands_on,
                next_width=width if finest and hands_on else None,
            )
            self.add_module(f"up{index + 1}", unit)

    @property
    def units(self) -> list[Unit]:
        """Coarsest first."""
        return [
            self.get_submodule(f"up{index + 1}")  # type: ignore[misc]  # as made above
            for index in range(LEVELS)
        ]

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Levels, finest first, to the units' features (B, unit_channels, h, w), coarsest first."""
        made: list[Tensor] = []
        for unit, level in zip(self.units, reversed(levels), strict=True):
            made.append(unit(level, made[-1] if made else None))
        return made

    def hand_on(self, levels: list[Tensor], made: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """What the next stage starts from, (B, width, h, w), and the skips of its levels, finest first."""
        units = self.units
        skips = [
            unit.skip1(level) + unit.skip2(features)
            for unit, level, features in zip(reversed(units), levels, reversed(made), strict=True)
        ]
        return units[-1].cross_conv(made[-1]), skips


class Unit(nn.Module):
    """One step of the decoder.

    Args:
        inputs: channels of its level.
        width: channels of the units.
        channels: of the prediction.
        first: there is no coarser unit to read.
        prm: refine its features for the prediction.
        hands_on: give the next stage its skips.
        next_width: channels of the features that the next stage starts from; None where that is another unit's.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        channels: int,
        *,
        first: bool,
        prm: bool,
        hands_on: bool,
        next_width: int | None,
    ) -> None:
        super().__init__()
        self.u_skip = ConvBN(inputs, width, relu=False)
        if not first:
            self.up_conv = ConvBN(width, width, relu=False)
        if hands_on:
            self.skip1 = ConvBN(inputs, inputs)
            self.skip2 = ConvBN(width, inputs)
        if next_width is not None:
            self.cross_conv = ConvBN(width, next_width)
        self.res_conv1 = ConvBN(width, width)
        self.res_conv2 = ConvBN(width, channels, 3, relu=False)
        self.prm = PoseRefineMachine(width) if prm else nn.Identity()

    def forward(self, level: Tensor, coarser: Tensor | None) -> Tensor:
        """(B, inputs, h, w) and, unless first, (B, width, h/2, w/2) to (B, width, h, w)."""
        features = self.u_skip(level)
        if coarser is not None:
            features = features + self.up_conv(_resize(coarser, features.shape[-2:]))
        return F.relu(features)

    def predict(self, features: Tensor, size: Sequence[int]) -> Tensor:
        """(B, width, h, w) to (B, channels, *size)."""
        return _resize(self.res_conv2(self.res_conv1(self.prm(features))), size)


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, corners on corners, as the reference."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=True)
