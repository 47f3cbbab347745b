"""Trunks that come with the library: small files of float16, each beside the record of its training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torch import Tensor, nn

from sshpe_lib import paths
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import weights


def load_shipped_trunk(model: nn.Module, name: str) -> dict:
    """Load a shipped trunk, strictly: everything but the model's own head, which stays as it is.

    The values are float16 in the file and become the model's own type; `sshpe_lib.pretrain` makes such files.

    Args:
        model: names the modules that the file does not hold in `head`.
        name: of a file in `params/weights`, such as objects-r18-w16-s32.

    Returns:
        The record of the training.

    Raises:
        SSHPEError: no such file, a record that cannot be read, bytes that are not the record's, or tensors
            that do not fit; the model is then unchanged.
    """
    file = paths.params() / "weights" / f"{name}.safetensors"
    if not file.is_file():
        shipped = (
            ", ".join(sorted(other.stem for other in file.parent.glob("objects-*.safetensors"))) or "none"
        )
        raise SSHPEError(
            f"{file}: no such shipped trunk (there are: {shipped}); `python -m sshpe_lib.pretrain` makes one"
        )
    record = verified(file)
    state = weights.load_state(file)
    _check_fit(state, model, file)
    model.load_state_dict(state, strict=False)  # checked above: only the head is missing
    return record


def verified(file: Path) -> dict:
    """The record beside a shipped trunk, once the file's bytes are those it records. Raises SSHPEError where not."""
    record = _record(file.with_suffix(".json"))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != record["sha256"]:
        raise SSHPEError(
            f"{file}: sha256 is {digest}, but {file.stem}.json records {record['sha256']}; "
            f"check both files out again, or train them again with the record's command and --out {file.parent}"
        )
    return record


def _record(file: Path) -> dict:
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise SSHPEError(
            f"{file}: the trunk's record cannot be read ({error}); check it out again"
        ) from error
    if not isinstance(record, dict) or not isinstance(record.get("sha256"), str):
        raise SSHPEError(f"{file}: no sha256 in the trunk's record; check it out again")
    return record


def _check_fit(state: dict[str, Tensor], model: nn.Module, file: Path) -> None:
    """The file holds the model's trunk: every tensor, in its shape, and nothing else."""
    own = weights.trunk_state(model)
    wrong = sorted(own.keys() ^ state.keys())
    wrong += [name for name in own if name in state and own[name].shape != state[name].shape]
    if wrong:
        told = ", ".join(wrong[:3])
        raise SSHPEError(
            f"{file} does not fit this {type(model).__name__}: {len(wrong)} tensors are missing, left over or "
            f"of another shape ({told}, ...); choose the trunk of the model's depth and width"
        )
