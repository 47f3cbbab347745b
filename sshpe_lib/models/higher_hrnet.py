"""HigherHRNet: heatmaps and tags of all people in an image, and heatmaps again at twice the resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sshpe_lib.models._torchvision import import_torchvision
from sshpe_lib.models.hrnet import Trunk
from sshpe_lib.models.stages import AfterStage, check_sizes, keep

BLOCKS = 4  # residual blocks at the higher resolution


class HigherHRNet(Trunk):
    """HigherHRNet (Cheng et al. 2020), and with `higher=False` HRNet for bottom-up pose.

    The state dict has the official names: those of `Trunk`, `final_layers` and `deconv_layers`. Weights are drawn
    from torch's global generator, as in any module.

    Args:
        width, stem, modules, blocks: as `Trunk`.
        keypoints: K, of a heatmap and a tag map each.
        higher: predict heatmaps at half of the input's resolution too.

    Raises:
        SSHPEError: as `Trunk`.
    """

    def __init__(
        self,
        width: int = 32,
        keypoints: int = 17,
        *,
        stem: int = 64,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
        higher: bool = True,
    ) -> None:
        super().__init__(width, stem=stem, modules=modules, blocks=blocks)
        check_sizes(keypoints=keypoints)
        tagged = 2 * keypoints
        outputs = [tagged, keypoints] if higher else [tagged]
        self.final_layers = nn.ModuleList(nn.Conv2d(width, channels, kernel_size=1) for channels in outputs)
        self.deconv_layers = nn.ModuleList([_doubled(width + tagged, width)] if higher else [])
        self.head = ("final_layers", "deconv_layers")
        if higher:
            self.stages = (*Trunk.stages, "decoder")
        self._initialise()

    def forward(self, images: Tensor, after_stage: AfterStage | None = None) -> list[Tensor]:
        """Predict maps of every person at once.

        Args:
            images: (B, 3, H, W), normalised; H and W multiples of 32.
            after_stage: as `Trunk.features`; then after "decoder" with the features at half the resolution.

        Returns:
            Heatmaps and tags (B, 2K, H/4, W/4), heatmaps first; and, with `higher`, heatmaps (B, K, H/2, W/2).

        Raises:
            SSHPEError: the images' shape does not fit.
        """
        features = self.features(images, after_stage)
        outputs = [self.final_layers[0](features)]
        for deconv, final in zip(self.deconv_layers, self.final_layers[1:], strict=True):
            features = deconv(torch.cat([features, outputs[-1]], dim=1))
            outputs.append(final((after_stage or keep)("decoder", features)))
        return outputs


def _doubled(inputs: int, width: int) -> nn.Sequential:
    """A transposed convolution to twice the resolution, and residual blocks there."""
    block = import_torchvision("models.resnet").BasicBlock
    upsampled = nn.Sequential(
        nn.ConvTranspose2d(inputs, width, kernel_size=4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
    return nn.Sequential(upsampled, *(nn.Sequential(block(width, width)) for _ in range(BLOCKS)))
