"""Weights on disk: fetched, verified, loaded strictly, written as safetensors."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from filelock import FileLock
from torch import Tensor, nn

from sshpe_lib.errors import SSHPEError
from sshpe_lib.models.stages import belongs

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30
_COUNTER = "num_batches_tracked"  # absent from files older than torch 0.4.1; batch norm does not need it


@dataclass(frozen=True)
class Weights:
    """A file of weights that can be downloaded.

    Args:
        url: its address; the last part of the path is the file's name.
        sha256: hexadecimal digest, or the first eight or more characters of it.
        note: what it holds and where it comes from.
    """

    url: str
    sha256: str
    note: str

    def __post_init__(self) -> None:
        """Refuse a digest too short to verify anything."""
        if len(self.sha256) < 8 or set(self.sha256) - set("0123456789abcdef"):
            raise SSHPEError(f"{self.url}: sha256 {self.sha256!r} is not eight or more lower-case hex digits")

    @property
    def name(self) -> str:
        """The file's name."""
        return Path(urllib.parse.urlparse(self.url).path).name


def _imagenet(depth: int, digest: str) -> Weights:
    url = f"https://download.pytorch.org/models/resnet{depth}-{digest}.pth"
    return Weights(url, digest, f"torchvision's ResNet-{depth}, ImageNet-1k V1: the papers' initial trunk")


IMAGENET: dict[int, Weights] = {
    18: _imagenet(18, "5c106cde"),
    34: _imagenet(34, "333f7ec4"),
    50: _imagenet(50, "19c8e357"),
    101: _imagenet(101, "5d3b4d8f"),
    152: _imagenet(152, "b121ed2d"),
}

_OPENMMLAB = "https://download.openmmlab.com/mmpose/pretrain_models"
_HRNET = "HRNet-W{}, ImageNet-1k, trained by its authors and hosted by OpenMMLab"

IMAGENET_HRNET: dict[int, Weights] = {
    32: Weights(f"{_OPENMMLAB}/hrnet_w32-36af842e.pth", "36af842e", _HRNET.format(32)),
    48: Weights(f"{_OPENMMLAB}/hrnet_w48-8ef0771d.pth", "8ef0771d", _HRNET.format(48)),
}


def fetch(weights: Weights, cache: Path, opener: Callable[..., Any] = urllib.request.urlopen) -> Path:
    """Path of a verified local copy, downloaded into `cache` where it is not there yet.

    A download that breaks off is continued by the next call. The file appears under its name only when
    complete and verified; processes that ask for it together download it once.

    Args:
        weights: what to fetch.
        cache: folder, made where missing.
        opener: called as `urllib.request.urlopen(request, timeout=...)`.

    Raises:
        SSHPEError: the address cannot be reached, the download broke off, or the hash is another one.
    """
    cache = Path(cache)
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SSHPEError(f"{cache} cannot be a folder for weights ({error}); name another") from error
    target = cache / weights.name
    with FileLock(cache / f".{weights.name}.lock"):
        if not target.exists():
            partial = cache / f"{weights.name}.part"
            _download(weights, partial, target, opener)
            _verify(weights, partial, discard=True)
            os.replace(partial, target)
            return target
        _verify(weights, target, discard=False)
    return target


def load_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, from `.safetensors`, or from `.pth`, `.pt` or `.tar` by `weights_only`.

    A `state_dict` entry is unwrapped, and a `module.` that stands before every name is taken off.

    Raises:
        SSHPEError: the file is missing, cut short, of another kind, or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise SSHPEError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors":
        try:
            state = safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError) as error:
            raise SSHPEError(
                f"{path} is no complete safetensors file ({error}); fetch or save it again"
            ) from error
    elif path.suffix in (".pth", ".pt", ".tar"):
        state = _load_pickled(path)
    else:
        raise SSHPEError(f"{path}: weights are .safetensors, .pth, .pt or .pth.tar, not {path.suffix!r}")
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def load_pose(model: nn.Module, path: Path) -> None:
    """Load a whole network, strictly: every tensor of the model from the file, every tensor of the file used.

    Raises:
        SSHPEError: as `load_state`, or names or shapes differ; the model is then unchanged.
    """
    state = load_state(path)
    check_fit(state, model, path)
    model.load_state_dict(state, strict=False)  # checked above: an old file's counters may be missing


def load_trunk(model: nn.Module, state: dict[str, Tensor]) -> list[str]:
    """Load an ImageNet trunk, strictly: every tensor of the model but its head's, and nothing else but a classifier's.

    Args:
        model: names the modules that the file cannot hold in `head`, and those that only the file has in
            `imagenet_only`.
        state: torchvision's names, or HRNet's own.

    Returns:
        The names that were loaded.

    Raises:
        SSHPEError: names or shapes differ; the model is then unchanged.
    """
    trunk = {name: tensor for name, tensor in state.items() if not belongs(name, model.imagenet_only)}
    own = {name: value for name, value in model.state_dict().items() if not belongs(name, model.head)}
    _check_fit(trunk, own, "the ImageNet weights", f"{type(model).__name__}'s trunk")
    model.load_state_dict(trunk, strict=False)
    return list(trunk)


def save_state(model: nn.Module, path: Path, metadata: dict[str, str]) -> str:
    """Write the model's state dict as safetensors, by a temporary file and a rename.

    Equal tensors and metadata give equal bytes.

    Returns:
        sha256 of the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = _sort_header(safetensors.torch.save(state, metadata))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return hashlib.sha256(content).hexdigest()


def _download(weights: Weights, partial: Path, target: Path, opener: Callable[..., Any]) -> None:
    """Bring `partial` to full length, from where it stands if the server can continue."""
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(weights.url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = opener(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            return  # nothing is left to send: the hash tells whether this is the file
        raise _unreachable(weights, target, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(weights, target, error) from error
    # file: and servers without ranges begin again
    continued = getattr(response, "status", None) == http.HTTPStatus.PARTIAL_CONTENT
    length = response.headers.get("Content-Length")
    try:
        with response, open(partial, "ab" if continued else "wb") as file:
            start = file.tell()
            shutil.copyfileobj(response, file, _CHUNK)
            received = file.tell() - start
    except (OSError, http.client.HTTPException) as error:
        raise SSHPEError(f"{weights.url}: broke off ({error}); run again to continue") from error
    if length is not None and received < int(length):
        raise SSHPEError(f"{weights.url}: broke off at {received} of {length} bytes; run again to continue")


def _unreachable(weights: Weights, target: Path, error: Exception) -> SSHPEError:
    return SSHPEError(
        f"{weights.url} cannot be had ({error}); bring the file by other means and put it at {target} "
        f"(its sha256 begins {weights.sha256[:16]})"
    )


def _verify(weights: Weights, path: Path, *, discard: bool) -> None:
    """Compare the hash; a download that fails is discarded, a file that somebody put there is not."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest.startswith(weights.sha256):
        return
    if discard:
        path.unlink()
    cure = "the download was discarded; run again" if discard else "delete it to download it again"
    raise SSHPEError(f"{path}: sha256 is {digest}, but {weights.url} has {weights.sha256}; {cure}")


def _load_pickled(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes break the unpickler in every way there is
        reason = str(error).strip().split("\n")[0]
        raise SSHPEError(
            f"{path} is no plain file of tensors ({type(error).__name__}: {reason}); pickled objects are not "
            "run: where you trust the file, save its tensors as .safetensors and name that"
        ) from error
    while isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        kind = type(state).__name__
        raise SSHPEError(f"{path} holds a {kind}, not tensors by name; save model.state_dict()")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise SSHPEError(
                f"{path}: entry {name!r} is a {type(value).__name__}, not a tensor; save model.state_dict()"
            )
    return {name: value.detach() for name, value in state.items()}


def check_fit(state: dict[str, Tensor], model: nn.Module, path: Path) -> None:
    """Raises SSHPEError where a file's tensors are not the model's, by name and shape."""
    _check_fit(state, model.state_dict(), str(path), type(model).__name__)


def _check_fit(state: dict[str, Tensor], wanted: dict[str, Tensor], source: str, target: str) -> None:
    """Names and shapes agree; an old file without any batch counter keeps the model's."""
    counted = any(name.endswith(_COUNTER) for name in state)
    missing = [n for n in wanted if n not in state and (counted or not n.endswith(_COUNTER))]
    unexpected = sorted(name for name in state if name not in wanted)  # safetensors keep no module order
    reshaped = [
        f"{name} {tuple(state[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    told = [f"{len(names)} {fault} ({_first(names)})" for fault, names in faults.items() if names]
    if told:
        raise SSHPEError(
            f"{source} does not fit {target}: {'; '.join(told)}; "
            "choose the depth, width and keypoints it was made with"
        )


def _first(names: Iterable[str], count: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _sort_header(content: bytes) -> bytes:
    """The same safetensors file with its metadata in order; the library writes them in a random one."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps({"__metadata__": header.pop("__metadata__"), **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
