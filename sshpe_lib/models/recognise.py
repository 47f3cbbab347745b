"""Which network a file of official weights belongs to, told by the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import resnet, rsn


@dataclass(frozen=True)
class Recognised:
    """A network that has such weights.

    network: its kind, as in `config.Model`; settings: of that kind; outputs: channels of its answer, for a bottom-up
    network the number of keypoints.
    """

    network: str
    settings: dict[str, Any]
    outputs: int


def recognise(state: Mapping[str, Tensor], source: str) -> Recognised:
    """The network of an official state dict: SimpleBaseline, HRNet, HigherHRNet or RSN.

    source: the file, for the message. Raises SSHPEError where the names are of no such network, or say of one that it
    has a depth that none has, and where a tensor that tells a width is no convolution's.
    """
    for mark, read in _MARKS:
        if mark in state:
            try:
                return read(state)
            except KeyError as error:
                raise SSHPEError(
                    f"{source}: it has {mark!r} and lacks {error}: a part of a network; give the whole state dict"
                ) from None
            except _UnknownDepth as error:
                raise SSHPEError(
                    f"{source}: {error}; the depths known are those of params/profiles"
                ) from None
            except _OddShape as error:
                raise SSHPEError(f"{source}: {error}; give a checkpoint as its code wrote it") from None
    first = next(iter(state), "nothing")
    raise SSHPEError(
        f"{source}: its tensors ({first}, ...) are of no official SimpleBaseline, HRNet, HigherHRNet or RSN; give a "
        "checkpoint of those codes, with its names unchanged"
    )


class _UnknownDepth(Exception):
    """Blocks of no known network."""


class _OddShape(Exception):
    """A tensor that cannot be what its name says."""


def _simple_baseline(state: Mapping[str, Tensor]) -> Recognised:
    blocks = tuple(_count(state, rf"layer{n}\.(\d+)\.") for n in range(1, 5))
    block = "Bottleneck" if "layer1.0.conv3.weight" in state else "BasicBlock"
    depth = next(
        (d for d, (kind, counts) in resnet.DEPTHS.items() if (kind, counts) == (block, blocks)), None
    )
    # Half are norms.
    deconvs = sum(1 for name in state if re.fullmatch(r"deconv_layers\.\d+\.weight", name)) // 2
    stride = next((s for s, strides in resnet.OUTPUT_STRIDES.items() if strides.deconvs == deconvs), None)
    if depth is None or stride is None:
        raise _UnknownDepth(f"no SimpleBaseline has layers of {blocks} {block}s and {deconvs} deconvolutions")
    channels, inputs = _shape(state, "final_layer.weight")[:2]
    settings = {"depth": depth, "width": _shape(state, "conv1.weight")[0], "deconv_channels": inputs}
    return Recognised("simple_baseline", settings | {"output_stride": stride}, channels)


def _hrnet_trunk(state: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "width": _shape(state, "stage2.0.branches.0.0.conv1.weight")[0],
        "stem": _shape(state, "conv1.weight")[0],
        "modules": tuple(_count(state, rf"stage{n}\.(\d+)\.") for n in (2, 3, 4)),
        "blocks": _count(state, r"stage2\.0\.branches\.0\.(\d+)\."),
    }


def _hrnet(state: Mapping[str, Tensor]) -> Recognised:
    channels, inputs = _shape(state, "final_layer.weight")[:2]
    trunk = _hrnet_trunk(state)
    return Recognised("hrnet", trunk | {"wide_fuse": inputs == 4 * trunk["width"]}, channels)


def _higher_hrnet(state: Mapping[str, Tensor]) -> Recognised:
    higher = {"higher": "final_layers.1.weight" in state}
    keypoints = _shape(state, "final_layers.0.weight")[0] // 2  # a heatmap and a tag map each
    return Recognised("higher_hrnet", _hrnet_trunk(state) | higher, keypoints)


def _rsn(state: Mapping[str, Tensor]) -> Recognised:
    blocks = tuple(_count(state, rf"stage0\.downsample\.layer{n}\.(\d+)\.") for n in range(1, 5))
    depth = next((d for d, counts in rsn.BLOCKS.items() if counts == blocks), None)
    if depth is None:
        raise _UnknownDepth(f"no RSN has levels of {blocks} blocks")
    finest, official = "stage0.upsample.up4", "top.conv.conv.weight" in state
    units, level = _shape(state, f"{finest}.u_skip.conv.weight")[:2]
    width = _shape(state, "top.conv.conv.weight" if official else "top.conv.2.conv.weight")[0]
    settings = {
        "depth": depth,
        "stages": _count(state, r"stage(\d+)\."),
        "width": width,
        "expansion": 4 if level == 4 * width else 1,
        "unit_channels": units,
        "variant": "official" if official else "udp",
        "prm": any(name.startswith(f"{finest}.prm.") for name in state),
    }
    return Recognised("rsn", settings, _shape(state, f"{finest}.res_conv2.conv.weight")[0])


def _shape(state: Mapping[str, Tensor], name: str) -> torch.Size:
    """Outputs, inputs, rows and columns of a convolution's weights."""
    shape = state[name].shape
    if len(shape) != 4:
        raise _OddShape(f"tensor {name} of shape {tuple(shape)} is no convolution")
    return shape


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different numbers stand where `pattern`, from the start of a name, has its group."""
    found = (re.match(pattern, name) for name in state)
    return len({match[1] for match in found if match})


# A tensor that only this kind of network has, in the order in which to look.
_MARKS = (
    ("final_layers.0.weight", _higher_hrnet),
    ("stage0.upsample.up4.res_conv2.conv.weight", _rsn),
    ("stage2.0.branches.0.0.conv1.weight", _hrnet),
    ("deconv_layers.0.weight", _simple_baseline),
)
