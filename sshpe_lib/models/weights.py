"""Weights on disk: read, loaded strictly, written as safetensors."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from sshpe_lib.errors import SSHPEError, in_one_line
from sshpe_lib.models.stages import belongs
from sshpe_lib.writing import written_whole

_COUNTER = "num_batches_tracked"  # absent from files older than torch 0.4.1; batch norm does not need it
_WRAPPED = 3  # times that a state dict is unwrapped: a dict may be inside itself
_WRAPPERS = ("state_dict", "model")  # entries in which a checkpoint keeps it, the latter those of RSN's code
# Before every name of a network in DataParallel, of a compiled one, and of one that is both, either way round.
_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")


def load_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, from `.safetensors`, or from `.pth`, `.pt` or `.tar` by `weights_only`.

    A `state_dict` or `model` entry is unwrapped, and a `module.` or `_orig_mod.` that stands before every name, of a
    parallel or compiled network, is taken off.

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
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def load_pose(model: nn.Module, path: Path) -> None:
    """Load a whole network, strictly: every tensor of the model from the file, every tensor of the file used.

    Raises:
        SSHPEError: as `load_state`, or names or shapes differ; the model is then unchanged.
    """
    fill(model, load_state(path), path)


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
    foreign: tuple[str, ...] = model.imagenet_only  # type: ignore[assignment]  # names, no module
    trunk = {name: tensor for name, tensor in state.items() if not belongs(name, foreign)}
    check_fit(trunk, trunk_state(model), "the ImageNet weights", f"{type(model).__name__}'s trunk")
    model.load_state_dict(trunk, strict=False)
    return list(trunk)


def trunk_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors but those of its `head`, by name."""
    head: tuple[str, ...] = model.head  # type: ignore[assignment]  # names, no module
    return {name: value for name, value in model.state_dict().items() if not belongs(name, head)}


def check_suffix(path: Path) -> None:
    """Raises SSHPEError where a name does not end in .safetensors, as which networks are written."""
    if path.suffix != ".safetensors":
        raise SSHPEError(f"{path}: networks are written as .safetensors; end the name so")


def save_state(model: nn.Module, path: Path, metadata: dict[str, str]) -> str:
    """Write the model's state dict as safetensors, by a temporary file and a rename.

    Equal tensors and metadata give equal bytes; tensors that share memory are written one by one.

    Returns:
        sha256 of the file.

    Raises:
        SSHPEError: the name does not end in .safetensors, by which `load_state` knows what it is, or the file cannot be
            written.
    """
    path = Path(path)
    check_suffix(path)
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    content = _sort_header(safetensors.torch.save(state, metadata))
    with written_whole(path) as partial:
        partial.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load_plain(path: Path, device: torch.device | str = "cpu", *, checksums: bool = False) -> Any:
    """What `torch.save` wrote, by `weights_only`, in either of its formats.

    checksums: compare those of a zip's tensors with their bytes, which torch does not; it may be told to write none.
    Raises ValueError for a zip that would take more memory than the file has bytes, or whose checksums differ, and
    whatever torch and zipfile raise for foreign bytes.
    """
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"  # by which torch tells its formats apart
    if zipped:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise ValueError(
                    "its entries are compressed or share their bytes, as torch.save never writes them"
                )
            if checksums and (damaged := archive.testzip()) is not None:
                raise ValueError(f"{damaged} in it is damaged")
    return torch.load(path, map_location=device, weights_only=True)


def _load_pickled(path: Path) -> dict[str, Tensor]:
    try:
        state = load_plain(path)
    except Exception as error:  # foreign bytes break the unpickler in every way there is
        raise SSHPEError(
            f"{path} is no plain file of tensors ({in_one_line(error)}); pickled objects are not run: where "
            "you trust the file, save its tensors as .safetensors and name that"
        ) from error
    for wrapper in _WRAPPERS * _WRAPPED:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict):
        kind = type(state).__name__
        raise SSHPEError(f"{path} holds a {kind}, not tensors by name; save model.state_dict()")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise SSHPEError(
                f"{path}: entry {name!r} is a {type(value).__name__}, not a tensor; save model.state_dict()"
            )
    _check_bytes(state, path)
    return {name: value.detach() for name, value in state.items()}


def _check_bytes(state: dict[str, Tensor], path: Path) -> None:
    """Raises SSHPEError unless every value of the tensors has a place of its own in the file.

    Of a few bytes that are repeated, or a sparse tensor, a network would be made as large as they claim.
    """
    odd = (name for name, tensor in state.items() if not _is_plain(tensor))
    if (name := next(odd, None)) is not None:
        raise SSHPEError(
            f"{path}: tensor {name} is sparse, quantized, nested or without values; save it as a plain tensor"
        )
    stored = {
        storage.data_ptr(): storage.nbytes() for storage in (one.untyped_storage() for one in state.values())
    }
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if claimed > sum(stored.values()):
        raise SSHPEError(
            f"{path}: its tensors claim {claimed:,} bytes and have {sum(stored.values()):,}, as they are repeated or "
            "lie over one another; save copies of them"
        )


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_quantized or tensor.is_nested)


def fill(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Give a model the tensors of a file, strictly. Raises SSHPEError as `load_pose`; the model is then unchanged."""
    check_fit(state, model.state_dict(), str(path), type(model).__name__)
    model.load_state_dict(state, strict=False)  # checked above: an old file's counters may be missing


def check_finite(state: dict[str, Tensor], source: Path) -> None:
    """Raises SSHPEError that names the first tensor of floats with a value that is infinite or no number."""
    for name, value in state.items():
        if value.is_floating_point() and value.numel():
            plain = value.float() if value.element_size() == 1 else value  # torch computes little in 8 bits
            # The ends are NaN where any value is, and take a sixth of the time of isfinite of all values.
            if not bool(torch.stack(plain.aminmax()).isfinite().all()):
                problem = f"tensor {name} has values that are not finite"
                raise SSHPEError(f"{source}: {problem}; fetch or train it again")


def check_fit(state: dict[str, Tensor], wanted: dict[str, Tensor], source: str, target: str) -> None:
    """Raises SSHPEError unless names and shapes agree; an old file without any batch counter keeps the model's."""
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


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _sort_header(content: bytes) -> bytes:
    """The same safetensors file with its metadata in order; the library writes them in a random one."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps({"__metadata__": header.pop("__metadata__"), **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
