"""The network an experiment starts from."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sshpe_lib import paths, seeding
from sshpe_lib.config import HigherHRNet, HRNet, Model, SimpleBaseline
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import higher_hrnet, hrnet, published, resnet, rsn, shipped, weights
from sshpe_lib.models.stages import seeded

# Networks, and what each calls the number of its outputs.
KINDS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "simple_baseline": (resnet.SimpleBaseline, "keypoints"),
    "hrnet": (hrnet.HRNet, "channels"),
    "higher_hrnet": (higher_hrnet.HigherHRNet, "keypoints"),
    "rsn": (rsn.RSN, "channels"),
}


def network(model: Model, channels: int) -> nn.Module:
    """The network that a model's settings describe, drawn from torch's global generator.

    channels: of its output; of a bottom-up network the number of keypoints.
    """
    settings = model.model_dump(exclude={"network", "init", "trunk"})
    kind, outputs = KINDS[model.network]
    return kind(**settings, **{outputs: channels})


def trunk_of(model: SimpleBaseline | HRNet | HigherHRNet) -> published.Weights:
    """The published ImageNet trunk of a model whose `init` is "imagenet"."""
    if isinstance(model, HRNet | HigherHRNet):
        return published.IMAGENET_HRNET[model.width]
    return published.IMAGENET[model.depth]


def build(model: Model, channels: int, seed: int) -> nn.Module:
    """A network of `channels` outputs with its starting weights; fresh parts are drawn from `seed`.

    init: "scratch"; "imagenet", published weights; "objects", the trunk of `sshpe_lib.pretrain` for this depth,
    width and stride in params/weights. Torch's global generator is left as found. Raises SSHPEError where the
    weights are not there, cannot be fetched, or are not those that the experiment names.
    """
    with seeded(seeding.derive(seed, "init")):
        made = network(model, channels)
    if model.init == "imagenet":
        file = published.fetch(trunk_of(model), paths.cache() / "weights")
        weights.load_trunk(made, weights.load_state(file))
    if model.init == "objects":
        name = f"objects-r{model.depth}-w{model.width}-s{model.output_stride}"
        digest = shipped.load_shipped_trunk(made, name)["sha256"]
        if not digest.startswith(model.trunk):
            raise SSHPEError(
                f"params/weights/{name}.safetensors has sha256 {digest[:16]}..., but model.trunk is {model.trunk}; "
                "check out the file that the experiment was made with, or set model.trunk for a new experiment"
            )
    return made
