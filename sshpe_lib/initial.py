"""The network an experiment starts from."""

from __future__ import annotations

from sshpe_lib import paths, seeding
from sshpe_lib.config import Model
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import resnet, shipped, weights


def build(model: Model, keypoints: int, seed: int) -> resnet.SimpleBaseline:
    """A SimpleBaseline with its starting weights; fresh parts are drawn from `seed`.

    init: "scratch"; "imagenet", torchvision's weights; "objects", the trunk of `sshpe_lib.pretrain` for this depth,
    width and stride in params/weights. Raises SSHPEError where the weights are not there, cannot be fetched, or
    are not those that the experiment names.
    """
    network = resnet.build(
        model.depth, keypoints, width=model.width, deconv_channels=model.deconv_channels,
        output_stride=model.output_stride, seed=seeding.derive(seed, "init"),
    )  # fmt: skip
    if model.init == "imagenet":
        file = weights.fetch(weights.IMAGENET[model.depth], paths.cache() / "weights")
        weights.load_trunk(network, weights.load_state(file))
    if model.init == "objects":
        name = f"objects-r{model.depth}-w{model.width}-s{model.output_stride}"
        digest = shipped.load_shipped_trunk(network, name)["sha256"]
        if not digest.startswith(model.trunk):
            raise SSHPEError(
                f"params/weights/{name}.safetensors has sha256 {digest[:16]}..., but model.trunk is {model.trunk}; "
                "check out the file that the experiment was made with, or set model.trunk for a new experiment"
            )
    return network
