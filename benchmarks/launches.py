"""How many kernels each augmentation has a GPU run, counted without one.

    python benchmarks/launches.py

The operations run on tensors without memory. What PyTorch is asked to do with them is counted, but for views, which are
no work, and for the numbers that are sent there; a sort counts once and is several kernels. A GPU takes some
microseconds for each, however small, and for a whole step of a small network a few milliseconds. For MUM and Pose-MUM
(every site mixed, its dearest case) the way through four stages and back is counted too.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sshpe_lib.augment import dropping
from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.cut_occlude import CutOcclude
from sshpe_lib.augment.cutout import Cutout
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.rand_augment import RandAugment
from sshpe_lib.augment.view import Operation, View

STAGES = {"layer1": (64, 64, 48), "layer2": (128, 32, 24), "layer3": (256, 16, 12), "layer4": (512, 8, 6)}
OPERATIONS: dict[str, Operation] = {
    "affine": HardAffine(),
    "RandAugment": RandAugment(),
    "joint cutout": JointCutout(),
    "cutout": Cutout(),
    "cut occlude": CutOcclude(),
    "MUM": PoseMUM(),
    "Pose-MUM": PoseMUM(sites=("layer1", "layer2", "layer3"), probability=1.0),
    "random erasing": dropping.RandomErasing(probability=1.0),
    "information cutout": dropping.InformationCutout(),
    "hide-and-seek": dropping.HideAndSeek(),
    "grid mask": dropping.GridMask(),
}
# No kernel runs for these.
NO_WORK = {"empty", "empty_like", "new_empty", "detach", "lift_fresh", "_unsafe_view"}


class Kernels(TorchDispatchMode):
    """Counts what has a tensor without memory to read or to write."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        made = operation(*arguments, **named or {})
        leaves = [
            leaf
            for leaf in tree_leaves((arguments, named, made))
            if isinstance(leaf, Tensor) and leaf.is_meta
        ]
        name = operation.overloadpacket.__name__
        sent = name == "_to_copy" and not arguments[0].is_meta
        self.count += bool(leaves) and not (operation.is_view or name in NO_WORK or sent)
        return made


def batch_of(*shape: int) -> Tensor:
    """32 maps without memory, channels last."""
    return torch.empty(32, *shape, device="meta").contiguous(memory_format=torch.channels_last)


def through_the_network(view: View) -> None:
    """Forwards through the stages and back."""
    for stage, shape in STAGES.items():
        features = batch_of(*shape).requires_grad_()
        moved = view.after_stage(stage, features)
        if moved is not features:
            moved.backward(features)


def main() -> None:
    print("32 crops of 192x256 with 17 heatmaps of 48x64")
    print(f"{'':24}{'kernels':>10}")
    for name, operation in OPERATIONS.items():
        image, heatmaps = batch_of(3, 256, 192), batch_of(17, 64, 48)
        draw = Draw(torch.Generator().manual_seed(0), device="meta")
        with Kernels() as kernels:
            view, _ = operation(View(image), heatmaps, draw)
            if view.after_stage is not None:
                through_the_network(view)
        print(f"{name:24}{kernels.count:10}")


if __name__ == "__main__":
    main()
