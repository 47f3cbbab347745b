"""SimpleBaseline: a ResNet trunk, transposed convolutions and a 1x1 head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from sshpe_lib.errors import SSHPEError
from sshpe_lib.models._torchvision import import_torchvision
from sshpe_lib.models.stages import AfterStage, check_images, check_sizes, keep, seeded


class _Depth(NamedTuple):
    block: str  # torchvision's class
    blocks: tuple[int, int, int, int]  # in layer1 .. layer4


class _Block(Protocol):
    """A class of torchvision's residual blocks."""

    expansion: int  # of the channels, from a block's planes to its output

    def __call__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None, /
    ) -> nn.Module: ...


class _Strides(NamedTuple):
    pool: bool  # max-pooling in the stem
    layers: tuple[int, int, int, int]  # stride of layer1 .. layer4
    deconvs: int  # each doubles the resolution, back to 1/4


DEPTHS = {
    18: _Depth("BasicBlock", (2, 2, 2, 2)),
    34: _Depth("BasicBlock", (3, 4, 6, 3)),
    50: _Depth("Bottleneck", (3, 4, 6, 3)),
    101: _Depth("Bottleneck", (3, 4, 23, 3)),
    152: _Depth("Bottleneck", (3, 8, 36, 3)),
}

# 32 is the paper's. 16 and 8 keep a small input's last layer large enough for 4 x 3 tiles: 64x48 ends in 4x3
# at 16; 96x72, whose width 16 does not divide, in 12x9 at 8.
OUTPUT_STRIDES = {
    32: _Strides(True, (1, 2, 2, 2), 3),
    16: _Strides(False, (1, 2, 2, 2), 2),
    8: _Strides(False, (1, 2, 2, 1), 1),
}


class SimpleBaseline(nn.Module):
    """SimpleBaseline (Xiao et al. 2018): a ResNet trunk, transposed convolutions, a 1x1 head.

    The state dict has the official names: `conv1`, `bn1`, `layer1` to `layer4`, `deconv_layers` and
    `final_layer`. Weights are drawn from torch's global generator, as in any module; `build` takes a seed.

    Args:
        depth: 18, 34, 50, 101 or 152.
        keypoints: K, channels of the output.
        width: channels of the stem, 64 in the paper; layer n has width * 2**(n-1), bottlenecks 4 times that.
        deconv_channels: channels of every transposed convolution.
        output_stride: input over layer4 resolution, 32 (the paper's), 16 or 8. Below 32 the stem does not
            pool; at 8 layer4 does not stride either. The output is at 1/4 of the input in every case.

    Raises:
        SSHPEError: an unknown depth or output stride, or a size below 1.
    """

    stages = ("stem", "layer1", "layer2", "layer3", "layer4", "decoder")
    head = ("deconv_layers", "final_layer")  # what an ImageNet file does not hold
    imagenet_only = ("fc",)  # what only such a file holds
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        depth: int = 18,
        keypoints: int = 17,
        *,
        width: int = 64,
        deconv_channels: int = 256,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        _check_choices(depth, output_stride)
        check_sizes(keypoints=keypoints, width=width, deconv_channels=deconv_channels)
        self.output_stride = output_stride
        strides = OUTPUT_STRIDES[output_stride]
        block = getattr(import_torchvision("models.resnet"), DEPTHS[depth].block)

        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if strides.pool else nn.Identity()
        channels = width
        for index, (blocks, stride) in enumerate(zip(DEPTHS[depth].blocks, strides.layers, strict=True)):
            planes = width * 2**index
            self.add_module(f"layer{index + 1}", _residual_layer(block, channels, planes, blocks, stride))
            channels = planes * block.expansion
        self.deconv_layers = _deconvolutions(channels, deconv_channels, strides.deconvs)
        self.final_layer = nn.Conv2d(deconv_channels, keypoints, kernel_size=1)
        self._initialise()

    def forward(self, images: Tensor, after_stage: AfterStage | None = None) -> Tensor:
        """Predict heatmaps.

        Args:
            images: (B, 3, H, W), normalised; H and W multiples of the output stride.
            after_stage: called once after each of `stages`, in order, with the stage's name and its features
                (B, C, h, w); what it returns takes the features' place.

        Returns:
            heatmaps: (B, K, H/4, W/4).

        Raises:
            SSHPEError: the images' shape does not fit.
        """
        check_images(images, self.output_stride, "SimpleBaseline", cure=_cure(images.shape[-2:]))
        after = after_stage or keep
        features = after("stem", self.maxpool(self.relu(self.bn1(self.conv1(images)))))
        features = after("layer1", self.layer1(features))
        features = after("layer2", self.layer2(features))
        features = after("layer3", self.layer3(features))
        features = after("layer4", self.layer4(features))
        features = after("decoder", self.deconv_layers(features))
        return self.final_layer(features)

    def _initialise(self) -> None:
        """Trunk as torchvision's (He et al. 2015, fan out); decoder and head N(0, 0.001) as the reference."""
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.001)
            elif isinstance(module, nn.Conv2d) and module is not self.final_layer:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.final_layer.weight, std=0.001)
        if self.final_layer.bias is not None:
            nn.init.zeros_(self.final_layer.bias)


def build(
    depth: int = 18,
    keypoints: int = 17,
    *,
    width: int = 64,
    deconv_channels: int = 256,
    output_stride: int = 32,
    seed: int,
) -> SimpleBaseline:
    """A SimpleBaseline whose first weights depend on `seed` alone; torch's global generator is left as found.

    Raises:
        SSHPEError: as `SimpleBaseline`.
    """
    with seeded(seed):
        return SimpleBaseline(
            depth, keypoints, width=width, deconv_channels=deconv_channels, output_stride=output_stride
        )


def _residual_layer(block: _Block, channels: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    """`blocks` residual blocks; the first one strides and, where the shape changes, projects its shortcut."""
    out_channels = planes * block.expansion
    shortcut = None
    if stride != 1 or channels != out_channels:
        shortcut = nn.Sequential(
            nn.Conv2d(channels, out_channels, kernel_size=1, stride=stride, bias=False),
            nn.BatchNorm2d(out_channels),
        )
    first = block(channels, planes, stride, shortcut)
    return nn.Sequential(first, *(block(out_channels, planes) for _ in range(blocks - 1)))


def _deconvolutions(channels: int, deconv_channels: int, count: int) -> nn.Sequential:
    """`count` times: a transposed convolution that doubles the resolution, batch norm, ReLU."""
    layers: list[nn.Module] = []
    for index in range(count):
        layers += [
            nn.ConvTranspose2d(
                channels if index == 0 else deconv_channels,
                deconv_channels,
                kernel_size=4,
                stride=2,
                padding=1,
                bias=False,
            ),
            nn.BatchNorm2d(deconv_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _cure(sides: Sequence[int]) -> str:
    """What helps images whose sides the output stride does not divide."""
    fitting = [stride for stride in OUTPUT_STRIDES if not any(side % stride for side in sides)]
    also = f"or output_stride={fitting[0]}, which divides them" if fitting else "or pad the crop"
    return f"choose another input size, {also}"


def _check_choices(depth: int, output_stride: int) -> None:
    if depth not in DEPTHS:
        raise SSHPEError(f"no ResNet of depth {depth}; choose one of {', '.join(map(str, DEPTHS))}")
    if output_stride not in OUTPUT_STRIDES:
        choices = ", ".join(map(str, OUTPUT_STRIDES))
        raise SSHPEError(f"no trunk of output_stride={output_stride}; choose one of {choices}")
