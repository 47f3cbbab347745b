"""A trained network: from the checkpoint of a run, or from a file that holds its experiment too."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import safetensors
import torch
from pydantic import BaseModel, ValidationError, model_validator
from torch import Tensor, nn

from sshpe_lib import checkpoints, initial, parts, paths, records
from sshpe_lib.config import Experiment, HigherHRNet, HRNet
from sshpe_lib.data import sources
from sshpe_lib.errors import SSHPEError, in_one_line
from sshpe_lib.experiment import state_sha256
from sshpe_lib.models import weights
from sshpe_lib.records import Record
from sshpe_lib.skeleton import Skeleton
from sshpe_lib.writing import check_writable

HEADER = "sshpe"  # the entry of a file's metadata that holds the JSON
SHIPPED = "people-r18-w16"  # the file in params/weights that `sshpe predict` takes by default


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode, and what made it.

    skeleton: of the people it finds; key: of its record; metrics: the record's, in percent; commit: its code. A network
    that was trained elsewhere has none of these, and an `origin` in words; one that was trained again and is another
    than the record's has an origin, and its own metrics and commit.
    """

    network: nn.Module
    experiment: Experiment
    skeleton: Skeleton
    key: str
    metrics: dict[str, float]
    commit: str
    origin: str = ""

    @property
    def about(self) -> str:
        """Where it comes from, in words: its record and the AP there, or its origin."""
        return self.origin or f"record {self.key}, AP {self.metrics['AP']:.1f}"

    @property
    def learned_from(self) -> str:
        """What it was trained on, in words."""
        source = self.experiment.data.labeled
        return "drawn people" if source.kind == "synthetic" else Path(source.annotations).name


def of_record(record: Record, skeleton: Skeleton, runs_folder: Path | None = None) -> nn.Module:
    """The network whose result a record quotes. Arguments and errors as of `networks`."""
    return networks(record, skeleton, runs_folder)[record.headline]


def networks(record: Record, skeleton: Skeleton, runs_folder: Path | None = None) -> dict[str, nn.Module]:
    """The student of a record, and its teacher where that is another network, from its checkpoint, in eval mode.

    skeleton: of the people it was trained on; runs_folder: `paths.runs()` where left out.
    Raises SSHPEError where the run has no checkpoint of its end, or where its networks do not have these keypoints.
    """
    return _filled(record, skeleton, _checkpoint(record, runs_folder))


class _Kept(NamedTuple):
    """Of the checkpoint of a run that is over: where it is, its networks' states and measurements by name, its code."""

    path: Path
    states: dict[str, dict]
    metrics: dict[str, dict[str, float]]
    commit: str


def _checkpoint(record: Record, runs_folder: Path | None = None) -> _Kept:
    path = checkpoints.of((runs_folder or paths.runs()) / record.key)
    state = checkpoints.finished(path, record.key)
    cure = f"train it again: sshpe reproduce {record.key} --keep"
    if state is None:
        raise SSHPEError(f"{path}: no checkpoint of a finished run; {cure}")
    states = {"student": state["student"]}
    if "network" in (state["teacher"] or {}):
        states["teacher"] = state["teacher"]["network"]
    parts = state.get("parts") or [{"commit": "unknown"}]  # none from before they were noted
    return _Kept(path, states, state["metrics"], parts[-1]["commit"])


def _filled(record: Record, skeleton: Skeleton, kept: _Kept) -> dict[str, nn.Module]:
    made = {name: empty(record.experiment, skeleton) for name in kept.states}
    for name, network in made.items():
        try:
            network.load_state_dict(kept.states[name])
        except RuntimeError:
            raise SSHPEError(
                f"{kept.path}: its {name} is not a network of the {len(skeleton)} keypoints of {skeleton.name}; choose "
                "a record of people with those"
            ) from None
    return {name: network.eval() for name, network in made.items()}


def empty(experiment: Experiment, skeleton: Skeleton) -> nn.Module:
    """The experiment's network with weights that nothing has taught; torch's global generator is left as found."""
    with torch.random.fork_rng(devices=[]):
        return initial.network(experiment.model, parts.channels_of(experiment, len(skeleton)))


def from_record(record: Record, skeleton: Skeleton, runs_folder: Path | None = None) -> Trained:
    """The same with everything that is known of it. Arguments and errors as of `of_record`."""
    return _known(record, skeleton, _checkpoint(record, runs_folder))


def _known(record: Record, skeleton: Skeleton, kept: _Kept) -> Trained:
    network = _filled(record, skeleton, kept)[record.headline]
    about = record.experiment, skeleton, record.key
    if state_sha256(network) == record.provenance.checkpoint_sha256:
        return Trained(network, *about, record.metrics[record.headline], record.provenance.commit)
    metrics = {name: round(value, 3) for name, value in kept.metrics[record.headline].items()}
    origin = f"trained again after record {record.key}, AP {metrics['AP']:.1f} (AP {record.ap:.1f} there)"
    return Trained(network, *about, metrics, kept.commit, origin)


def of_key(key: str) -> Trained:
    """The network of the record whose key begins so. Raises SSHPEError as `records.only` and `of_record`."""
    record = records.only(paths.records(), key)
    kept = _checkpoint(record)  # before the people, who may have to be drawn, or fetched by hand
    return _known(record, sources.skeleton(sources.pin(record.experiment).data.labeled), kept)


def named(which: str) -> Trained:
    """The network of a .safetensors file, or of the record whose key begins so.

    Raises SSHPEError as `load` and `of_key`, and for another file.
    """
    path = Path(which)
    if path.suffix == ".safetensors":
        return load(path)
    if path.suffix or path.is_file():
        raise SSHPEError(
            f"{which}: neither the key of a record nor a .safetensors file that `sshpe export` wrote; of an official "
            "checkpoint `sshpe weights convert` makes one"
        )
    return of_key(which)


def save(made: Trained, path: Path) -> str:
    """Write a network as safetensors with its experiment inside.

    Returns the file's sha256. Raises SSHPEError as `check_name`.
    """
    check_name(path)
    about = {
        "experiment": made.experiment.model_dump(mode="json", exclude_defaults=True),
        "skeleton": asdict(made.skeleton),
        "key": made.key,
        "metrics": made.metrics,
        "commit": made.commit,
        "origin": made.origin,
    }
    return weights.save_state(made.network, Path(path), {HEADER: json.dumps(about, sort_keys=True)})


def check_name(path: Path) -> None:
    """Raises SSHPEError where a network cannot be written to `path`: another suffix, a folder, or none for it."""
    path = Path(path)
    weights.check_suffix(path)
    if path.is_dir():
        raise SSHPEError(f"{path} is a folder; name a file")
    check_writable(path.parent)


def load(path: Path) -> Trained:
    """The network of a file that `save` wrote, loaded strictly.

    Raises SSHPEError where the file is missing, cut short, holds no experiment, one that this version cannot read, or
    one of another network than its tensors, or where a weight is not finite.
    """
    path = Path(path)
    state = weights.load_state(path)
    about = _about(path)
    try:
        network = filled(about.experiment, about.skeleton, state, path)
    except ValueError as error:
        raise _unreadable(path, str(error)) from None
    return Trained(network.eval(), **dict(about))


def filled(experiment: Experiment, skeleton: Skeleton, state: dict[str, Tensor], path: Path) -> nn.Module:
    """The experiment's network with the tensors of a file, made only once they are known to be its own.

    A few bytes can ask for any width: without storage first, so that no more memory is taken than the file has.
    Raises ValueError where there can be no such network, and SSHPEError where the tensors are not its own or not
    finite.
    """
    model = experiment.model
    try:
        if isinstance(model, HRNet | HigherHRNet) and model.blocks * sum(model.modules) > len(state):
            raise ValueError(f"it has more blocks than the file has tensors, {len(state)}")
        with torch.device("meta"):
            planned = empty(experiment, skeleton)
    except (SSHPEError, RuntimeError, TypeError) as error:  # torch's, of sizes beyond 64 bits
        raise ValueError(str(error)) from None
    weights.check_fit(state, planned.state_dict(), str(path), type(planned).__name__)
    network = empty(experiment, skeleton)
    weights.fill(network, state, path)
    weights.check_finite(network.state_dict(), path)
    return network


def shipped() -> Path:
    """The network that comes with the package: small, and trained on drawn people."""
    return paths.params() / "weights" / f"{SHIPPED}.safetensors"


def is_network(path: Path) -> bool:
    """Whether a file says that it holds a network and the experiment that made it."""
    return _header(Path(path)) is not None


class _About(BaseModel):
    """What a file says of its network."""

    experiment: Experiment
    skeleton: Skeleton
    key: str
    metrics: dict[str, float]
    commit: str
    origin: str = ""

    @model_validator(mode="after")
    def _whole(self) -> _About:
        if not self.origin and "AP" not in self.metrics:
            raise ValueError("metrics: there is no AP")
        self.skeleton.check()
        return self


def _about(path: Path) -> _About:
    about = _header(path)
    if about is None:
        raise SSHPEError(
            f"{path}: weights without the experiment that made them; give a file that `sshpe export` wrote, or make "
            "one of an official checkpoint: sshpe weights convert FILE"
        )
    try:
        return _About.model_validate(about)
    except ValidationError as error:
        raise _unreadable(path, in_one_line(error)) from None


def _unreadable(path: Path, reason: str) -> SSHPEError:
    return SSHPEError(
        f"{path}: the experiment inside cannot be read ({reason.splitlines()[0][:200]}); write the file anew with this "
        "version: sshpe export KEY"
    )


def _header(path: Path) -> dict | None:
    if not path.is_file():  # of a pipe, the end may never come
        return None
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(HEADER) or "null")
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError):
        return None
    return about if isinstance(about, dict) else None
