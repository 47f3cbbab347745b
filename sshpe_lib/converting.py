"""Official checkpoints as networks of this library: a file that says what made it, and that `sshpe predict` reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sshpe_lib import profiles, recipe, trained
from sshpe_lib.config import Experiment, validate
from sshpe_lib.data import coco
from sshpe_lib.data.documents import fingerprint
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import weights
from sshpe_lib.models.recognise import Recognised, recognise
from sshpe_lib.models.rsn import REFERENCE_PEAK
from sshpe_lib.skeleton import COCO17, Skeleton
from sshpe_lib.trained import Trained

Codec = Literal["msra", "udp-gaussian", "udp-offset"]
Color = Literal["rgb", "bgr"]


def convert(
    file: Path,
    *,
    size: tuple[int, int] | None = None,
    codec: Codec | None = None,
    color: Color | None = None,
    keypoints: Path | None = None,
    category: str | int | None = None,
) -> Trained:
    """The network of an official checkpoint of SimpleBaseline, HRNet, HigherHRNet or RSN, ready to predict.

    The file's tensors say which network it is. What they do not say: size, (height, width) of its input in pixels, read
    from names such as pose_hrnet_w32_256x192.pth where left out; codec: how its heatmaps are read, where left out
    "udp-offset" for three channels a keypoint, "udp-gaussian" for one of a network that only UDP's code makes (an HRNet
    with a widened last fuse, an RSN with a stem of three convolutions), and otherwise "msra"; color: the order of
    channels that it learned from, where left out "bgr" for SimpleBaseline, whose code does not convert what OpenCV
    reads, and "rgb" for the others; keypoints: a COCO-format file whose category names them, COCO's 17 where left out;
    category: which one of that file, as of `coco.load_instances`. RSN's code and UDP's of RSN read BGR with the
    statistics of BGR and answer up to 255: first and last layers are changed so that they take RGB and answer up to 1.
    RSN's own keypoints stand on the pixel below, which `floor` of `config.RSN` makes up for.

    Raises SSHPEError as `weights.load_state` and `recognise`, for a file that `trained.save` wrote, tensors that do not
    fit or are not finite, keypoints that are not the network's, and where the size is not told.
    """
    file = Path(file)
    if trained.is_network(file):
        raise SSHPEError(f"{file}: it is a network for `sshpe predict` already; there is nothing to convert")
    state = weights.load_state(file)
    found = recognise(state, str(file))
    skeleton = COCO17 if keypoints is None else coco.parse(Path(keypoints), category).skeleton
    codec = codec or _codec(found, skeleton, file)
    height, width = size or _size(file, found)
    settings = found.settings | ({"floor": True} if _floors(found, codec) else {})
    made = _experiment(found.network, settings, (width, height), codec, color or _color(found), file)
    try:
        network = trained.filled(made, skeleton, state, file)
    except ValueError as error:
        raise SSHPEError(f"{file}: its tensors are of no network that can be made ({error})") from None
    if found.network == "rsn":
        network.load_state_dict(_rgb_to_one(network.state_dict()))
    origin = f"converted from {file.name}, sha256 {fingerprint(file)[:16]}"
    return Trained(network.eval(), made, skeleton, "", {}, "", origin)


def run(file: Path, output: Path | None, size: str | None, **choices: Any) -> str:
    """The command `sshpe weights convert`: writes the network, and returns what it is, in words.

    size: HEIGHTxWIDTH; choices: as of `convert`. Raises SSHPEError as `convert` and `trained.save`, and where the file
    itself would be written over.
    """
    output = output or Path(f"{Path(file).name.split('.')[0]}.safetensors")
    trained.check_name(output)
    if output.resolve() == Path(file).resolve():
        raise SSHPEError(f"{output}: it is the checkpoint itself; name another file by --output")
    made = convert(file, size=None if size is None else _sides(size), **choices)
    digest = trained.save(made, output)
    data = made.experiment.data
    return (
        f"{output}: {made.experiment.model}, input {data.input_size[1]}x{data.input_size[0]}, codec {data.codec}, "
        f"{data.color.upper()}, {len(made.skeleton)} keypoints; {made.about}; sha256 {digest[:16]}"
    )


def _sides(size: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if match is None:
        raise SSHPEError(f"--size {size!r} is no size; write height and width, such as 256x192")
    return int(match[1]), int(match[2])


def _size(file: Path, found: Recognised) -> tuple[int, int]:
    """Height and width from a name such as pose_hrnet_w32_256x192.pth or pose_higher_hrnet_w32_512.pth."""
    pair = re.search(r"(?<!\d)(\d{2,4})x(\d{2,4})(?!\d)", file.name)
    if pair:
        return int(pair[1]), int(pair[2])
    side = re.search(r"_(\d{3,4})(?!\d)", file.name)
    if side and found.network == "higher_hrnet":
        return int(side[1]), int(side[1])
    raise SSHPEError(f"{file}: its name does not tell the size of the input; give it, such as --size 256x192")


def _codec(found: Recognised, skeleton: Skeleton, file: Path) -> Codec:
    if found.outputs == len(skeleton):
        return "udp-gaussian" if _of_udp(found) else "msra"
    if found.outputs == 3 * len(skeleton) and found.network != "higher_hrnet":
        return "udp-offset"
    raise SSHPEError(
        f"{file}: it answers with {found.outputs} channels, which are not {skeleton.name}'s {len(skeleton)} keypoints; "
        "name a COCO-format file of its keypoints by --keypoints"
    )


def _of_udp(found: Recognised) -> bool:
    """Whether only UDP's code makes such a network, which learns unbiased Gaussians where it has no offsets."""
    return bool(found.settings.get("wide_fuse")) or found.settings.get("variant") == "udp"


def _color(found: Recognised) -> Color:
    return "bgr" if found.network == "simple_baseline" else "rgb"


def _floors(found: Recognised, codec: Codec) -> bool:
    """Whether a keypoint of the network stands on the pixel below it, and not on the nearest."""
    return found.network == "rsn" and not _of_udp(found) and codec == "msra"


def _experiment(
    network: str,
    settings: dict[str, Any],
    input_size: tuple[int, int],
    codec: Codec,
    color: Color,
    file: Path,
) -> Experiment:
    """What the profile `paper` makes of such a network: its data, and the tests of the official code."""
    profile = profiles.load_profile("paper")
    protocol = profile.settings("protocol", "aid bottom-up") if network == "higher_hrnet" else {}
    told = {
        "model": {"network": network, "init": "scratch"} | settings,
        "data": {"labels": None, "input_size": input_size, "codec": codec, "color": color},
        "evaluate": {"flip": True},
    }
    return validate(recipe.supervised_only(profiles.merge(profile.base, protocol, told)), str(file))


def _rgb_to_one(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an RSN of its own code or UDP's for RGB and for heatmaps up to 1."""
    changed = dict(state)
    stem = "top.conv.conv.weight"
    stem = stem if stem in state else "top.conv.0.conv.weight"  # the first of UDP's three convolutions
    changed[stem] = state[stem].flip(1)
    for name, tensor in state.items():
        if re.fullmatch(r"stage\d+\.upsample\.up\d\.res_conv2\.bn\.(weight|bias)", name):
            changed[name] = torch.div(tensor, REFERENCE_PEAK)
    return changed
