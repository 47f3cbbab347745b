"""HRNet: branches at 1/4, 1/8, 1/16 and 1/32 of the input run side by side and exchange what they found."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sshpe_lib.errors import SSHPEError
from sshpe_lib.models._torchvision import import_torchvision
from sshpe_lib.models.stages import AfterStage, check_images, check_sizes, keep

COARSEST = 32  # input over the resolution of the last branch


class Trunk(nn.Module):
    """HRNet without a head, for networks that keep the official flat names (Sun et al. 2019, Fig. 1).

    The state dict has `conv1`, `bn1`, `conv2`, `bn2`, `layer1`, `transition1` to `transition3` and `stage2` to
    `stage4`. A subclass adds its head, calls `_initialise`, and reads `features`.

    Args:
        width: C, channels of the finest branch; the others have 2C, 4C and 8C. Any number, 32 in W32.
        stem: channels of the two stem convolutions and of layer1's bottlenecks, which end in four times as many.
            64 in every published HRNet; they run at 1/2 and 1/4 of the input, so a narrow network needs less.
        modules: number of modules, each four branches and one exchange, of stages 2, 3 and 4.
        blocks: residual blocks of a branch in one module.
        wide_fuse: the last exchange ends in 4C channels instead of C, as in UDP's own HRNet.

    Raises:
        SSHPEError: a size below 1, or not three numbers of modules.
    """

    stages: tuple[str, ...] = ("stem", "layer1", "stage2", "stage3", "stage4")
    head: tuple[str, ...]  # what an ImageNet file does not hold
    # What only such a file holds: a classifier, and what it reads.
    imagenet_only: tuple[str, ...] = ("incre_modules", "downsamp_modules", "final_layer", "classifier")
    transition1: nn.ModuleList
    transition2: nn.ModuleList
    transition3: nn.ModuleList
    stage2: nn.Sequential
    stage3: nn.Sequential
    stage4: nn.Sequential

    def __init__(
        self,
        width: int = 32,
        *,
        stem: int = 64,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
        wide_fuse: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(width=width, stem=stem, blocks=blocks)
        if len(modules) != 3 or min(modules) < 1:
            raise SSHPEError(
                f"modules={tuple(modules)}; it names three numbers of at least 1, for stages 2, 3 and 4"
            )
        self.out_channels = 4 * width if wide_fuse else width
        self.conv1 = nn.Conv2d(3, stem, kernel_size=3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.conv2 = nn.Conv2d(stem, stem, kernel_size=3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _bottlenecks(stem, 4)
        before = [4 * stem]
        for stage, count in zip((2, 3, 4), modules, strict=True):
            widths = [width * 2**branch for branch in range(stage)]
            ends = [widths] * count
            if stage == 4:  # only the finest branch goes on
                ends[-1] = [self.out_channels]
            self.add_module(f"transition{stage - 1}", _transition(before, widths))
            self.add_module(f"stage{stage}", nn.Sequential(*(Module(widths, end, blocks) for end in ends)))
            before = widths
        # Coarser outputs of the last exchange, which are read by the classifier alone.
        self.imagenet_only += tuple(f"stage4.{modules[2] - 1}.fuse_layers.{output}" for output in (1, 2, 3))

    def features(self, images: Tensor, after_stage: AfterStage | None = None) -> Tensor:
        """The finest branch after the last exchange, (B, C, H/4, W/4), or 4C channels with `wide_fuse`.

        Args:
            images: (B, 3, H, W), normalised; H and W multiples of 32.
            after_stage: called once after each of `stages`, in order, with the stage's name and its features;
                what it returns takes their place. After stem and layer1 they are one tensor; from stage2 on a
                list of branches, finest first: 2, 3, and after stage4 the one that its last exchange leaves.

        Raises:
            SSHPEError: the images' shape does not fit.
        """
        check_images(images, COARSEST, type(self).__name__)
        after = after_stage or keep
        stem = self.relu(self.bn1(self.conv1(images)))
        stem = after("stem", self.relu(self.bn2(self.conv2(stem))))
        branches = [after("layer1", self.layer1(stem))]
        for name, transition, stage in (
            ("stage2", self.transition1, self.stage2),
            ("stage3", self.transition2, self.stage3),
            ("stage4", self.transition3, self.stage4),
        ):
            # the new branch starts from the coarsest one there is
            starts = [*branches, branches[-1]] if name != "stage2" else branches * 2
            branches = after(
                name, stage([path(start) for path, start in zip(transition, starts, strict=True)])
            )
        return branches[0]

    def _initialise(self) -> None:
        """N(0, 0.001) for every convolution and 0 for every bias, as the reference; batch norm keeps 1 and 0."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, std=0.001)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class HRNet(Trunk):
    """HRNet for top-down pose: `Trunk` and a 1x1 head; the state dict has the official names.

    Weights are drawn from torch's global generator, as in any module; `initial.build` takes a seed.

    Args:
        width: C of `Trunk`.
        channels: of the output: K heatmaps, or 3K where offsets are predicted too.
        stem, modules, blocks, wide_fuse: as `Trunk`.

    Raises:
        SSHPEError: as `Trunk`.
    """

    def __init__(
        self,
        width: int = 32,
        channels: int = 17,
        *,
        stem: int = 64,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
        wide_fuse: bool = False,
    ) -> None:
        super().__init__(width, stem=stem, modules=modules, blocks=blocks, wide_fuse=wide_fuse)
        check_sizes(channels=channels)
        self.final_layer = nn.Conv2d(self.out_channels, channels, kernel_size=1)
        self.head = ("final_layer",)
        if wide_fuse:
            exchange = f"stage4.{modules[2] - 1}.fuse_layers"
            self.head += (exchange,)
            self.imagenet_only += (exchange,)
        self._initialise()

    def forward(self, images: Tensor, after_stage: AfterStage | None = None) -> Tensor:
        """Predict maps at a quarter of the input, (B, channels, H/4, W/4).

        Args:
            images: (B, 3, H, W), normalised; H and W multiples of 32.
            after_stage: as `Trunk.features`.

        Raises:
            SSHPEError: the images' shape does not fit.
        """
        return self.final_layer(self.features(images, after_stage))


class Module(nn.Module):
    """Residual blocks in every branch, then one exchange: each output sums all branches at its resolution.

    Args:
        widths: channels of the branches, finest first; each has half the resolution of the one before.
        ends: channels of the outputs, finest first; the coarser resolutions may be left out.
        blocks: residual blocks of a branch.
    """

    def __init__(self, widths: Sequence[int], ends: Sequence[int], blocks: int) -> None:
        super().__init__()
        block = import_torchvision("models.resnet").BasicBlock
        self.branches = nn.ModuleList(
            nn.Sequential(*(block(width, width) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_path(source, target, widths, end) for source in range(len(widths)))
            for target, end in enumerate(ends)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Branches (B, C, h, w), (B, 2C, h/2, w/2), ... to as many outputs as `ends`."""
        branches = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        return [
            self._exchange(paths, branches)  # type: ignore[arg-type]  # a list of modules, as made above
            for paths in self.fuse_layers
        ]

    def _exchange(self, paths: nn.ModuleList, branches: list[Tensor]) -> Tensor:
        terms = (path(branch) for path, branch in zip(paths, branches, strict=True))
        total = next(terms) + next(terms)  # a tensor of its own: a term may be a branch that others read
        for term in terms:
            total += term
        return self.relu(total)


def _bottlenecks(planes: int, blocks: int) -> nn.Sequential:
    """layer1: bottlenecks at 1/4, from `planes` channels to four times as many."""
    block = import_torchvision("models.resnet").Bottleneck
    shortcut = nn.Sequential(nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes))
    return nn.Sequential(
        block(planes, planes, 1, shortcut), *(block(4 * planes, planes) for _ in range(blocks - 1))
    )


def _transition(before: Sequence[int], widths: Sequence[int]) -> nn.ModuleList:
    """A path to every branch of the next stage: its own where the width stays, the last one halved for the new."""
    paths = [
        nn.Identity() if old == new else nn.Sequential(*_convolution(old, new), nn.ReLU(inplace=True))
        for old, new in zip(before, widths, strict=False)
    ]
    halved = nn.Sequential(*_convolution(before[-1], widths[-1], stride=2), nn.ReLU(inplace=True))
    return nn.ModuleList([*paths, nn.Sequential(halved)])


def _path(source: int, target: int, widths: Sequence[int], end: int) -> nn.Module:
    """Branch `source` at the resolution of output `target`, in `end` channels."""
    width = widths[source]
    if source > target:
        up = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(nn.Conv2d(width, end, 1, bias=False), nn.BatchNorm2d(end), up)
    if source == target:  # no batch norm where the last exchange is widened
        return nn.Identity() if width == end else nn.Sequential(nn.Conv2d(width, end, 1, bias=False))
    halvings = [
        nn.Sequential(*_convolution(width, width, stride=2), nn.ReLU(inplace=True))
        for _ in range(target - source - 1)
    ]
    return nn.Sequential(*halvings, nn.Sequential(*_convolution(width, end, stride=2)))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A 3x3 convolution and its batch norm."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs)
