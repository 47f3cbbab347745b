"""The parts of a Residual Steps Network: its convolution, its block, and its two kinds of attention."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BRANCHES = 4
SQUEEZE = 8

Variant = Literal["official", "udp"]


def branch_channels(measure: int) -> int:
    """Channels of one branch of a block, from those that it is measured by: 26 of 64."""
    return measure * 26 // 64


class ConvBN(nn.Module):
    """A convolution with bias, batch norm and, unless told otherwise, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, relu: bool = True, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups)
        self.bn = nn.BatchNorm2d(outputs)
        self.active = relu

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        normalized = self.bn(self.conv(features))
        return F.relu(normalized, inplace=True) if self.active else normalized


class Block(nn.Module):
    """Residual Steps Block (Cai et al. 2020, Fig. 3): branch i has i convolutions, the last of them seeing the most.

    The j-th convolution of a branch reads what came before it in the branch, and beside it the j-th result of the
    branch before, so that features of close receptive fields meet.

    Args:
        inputs, outputs: channels.
        branch: channels of one branch.
        stride: of the first convolution and of the shortcut.
        attention: over the channels of what the branches found.
    """

    def __init__(self, inputs: int, outputs: int, branch: int, stride: int, attention: bool) -> None:
        super().__init__()
        self.conv_bn_relu1 = ConvBN(inputs, BRANCHES * branch, stride=stride)
        for i in range(1, BRANCHES + 1):
            for j in range(1, i + 1):
                self.add_module(f"conv_bn_relu2_{i}_{j}", ConvBN(branch, branch, 3))
        self.conv_bn_relu3 = ConvBN(BRANCHES * branch, outputs, relu=False)
        self.se = SqueezeExcitation(outputs) if attention else nn.Identity()
        changes = stride != 1 or inputs != outputs
        self.downsample = ConvBN(inputs, outputs, stride=stride, relu=False) if changes else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        before: list[Tensor] = []
        ends: list[Tensor] = []
        for i, result in enumerate(self.conv_bn_relu1(features).chunk(BRANCHES, dim=1), start=1):
            results = []
            for j in range(1, i + 1):
                beside = before[j - 1] if j < i else 0
                result = self.get_submodule(f"conv_bn_relu2_{i}_{j}")(result + beside)
                results.append(result)
            before = results
            ends.append(result)
        return F.relu(self.se(self.conv_bn_relu3(torch.cat(ends, dim=1))) + self.downsample(features))


class SqueezeExcitation(nn.Module):
    """Attention over channels, from their means (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(channels // SQUEEZE, 1)
        self.fc = nn.Sequential(
            nn.Linear(channels, squeezed, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(squeezed, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w), each channel weighted by a number in (0, 1)."""
        return features * self.fc(features.mean(dim=(2, 3)))[:, :, None, None]


class PoseRefineMachine(nn.Module):
    """Attention over channels and over positions, for the finest features (Cai et al. 2020, Fig. 5)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_bn_relu_prm_1 = ConvBN(width, width, 3)
        self.conv_bn_relu_prm_2_1 = ConvBN(width, width)
        self.conv_bn_relu_prm_2_2 = ConvBN(width, width)
        self.conv_bn_relu_prm_3_1 = ConvBN(width, width)
        self.conv_bn_relu_prm_3_2 = ConvBN(width, width, 9, groups=width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, h, w), refined."""
        local = self.conv_bn_relu_prm_1(features)
        means = local.mean(dim=(2, 3), keepdim=True)
        channels = torch.sigmoid(self.conv_bn_relu_prm_2_2(self.conv_bn_relu_prm_2_1(means)))
        positions = torch.sigmoid(self.conv_bn_relu_prm_3_2(self.conv_bn_relu_prm_3_1(local)))
        return local * (1 + channels * positions)
