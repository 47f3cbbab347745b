"""Profiles, methods and schedules: what the YAML of params/ says of scale, of training and of time."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, ValidationError

from sshpe_lib import paths
from sshpe_lib.config import SOURCES, Frozen
from sshpe_lib.errors import SSHPEError

Value = TypeVar("Value", bound=Frozen)
# What PyYAML raises: its own error, and whatever the conversion of a text that looks like a date or number does.
_YAML_FAULTS = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


class Profile(Frozen):
    """One scale of the whole protocol: data, sizes, schedule. Only values differ between profiles.

    base: an experiment without model and method; backbones: the paper's network -> model settings here, or the
    reason it is not run; amounts: the paper's number of labels -> settings here, or the reason; sizes: the paper's
    input -> settings here, or the reason; protocols: settings on top of the base for a paper whose training is
    another, or the reason; seeds: how many a table shows.
    """

    title: str
    description: str
    base: dict[str, Any]
    backbones: dict[str, dict[str, Any] | str]
    amounts: dict[str, dict[str, Any] | str]
    sizes: dict[str, dict[str, Any] | str] = {}
    protocols: dict[str, dict[str, Any] | str] = {}
    seeds: int = Field(gt=0)
    supervised: dict[str, Any] = {}  # settings of the supervised baseline only: its own schedule, if any

    def choices(self) -> dict[str, dict[str, dict[str, Any] | str]]:
        """What a cell chooses from, by the cell's own names."""
        return {
            "backbone": self.backbones,
            "amount": self.amounts,
            "size": self.sizes,
            "protocol": self.protocols,
        }

    def settings(self, kind: str, name: str) -> dict[str, Any]:
        """The settings of a choice. Raises SSHPEError, with the reason, for one that is not run."""
        chosen = self.choices()[kind][name]
        if isinstance(chosen, str):
            raise SSHPEError(chosen)
        return chosen


class Schedule(Frozen):
    """How long a run is and when its rate falls, in units of the profile's own length (Section 4.3.2 of AID).

    length: multiples of the profile's steps or epochs; milestones: fractions of the run; first: the schedule of
    a run without information dropping, of the same seed, whose weights this one goes on from.
    """

    length: int = Field(1, gt=0)
    milestones: tuple[float, ...]
    first: str | None = None


def load_profile(name: str | Path, folder: Path | None = None) -> Profile:
    """The profile params/profiles/NAME.yaml, or the one in a .yaml file.

    Raises SSHPEError with the known names, or with every fault.
    """
    folder, name = (folder or paths.params()) / "profiles", str(name)
    path = Path(name) if name.endswith(".yaml") else folder / f"{name}.yaml"
    if not os.path.exists(path):  # False for a name that no file can have, too
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise SSHPEError(f"no profile {name!r} in {path.parent}; choose one of: {known}, or a .yaml file")
    return validated(Profile, read_yaml(path), path)


def load_methods(folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """Method name -> its settings (teacher and augmentation), from params/methods.yaml."""
    path = (folder or paths.params()) / "methods.yaml"
    methods = read_yaml(path)
    for name, settings in methods.items():
        if not isinstance(settings, dict):
            raise SSHPEError(f"{path}: {name}: a mapping of settings is expected, not {settings!r}")
    return methods


def load_schedules(folder: Path | None = None) -> dict[str, Schedule]:
    """Schedule name -> schedule, from params/schedules.yaml."""
    path = (folder or paths.params()) / "schedules.yaml"
    return {name: validated(Schedule, values, path) for name, values in read_yaml(path).items()}


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping. Raises SSHPEError that names the file and, for a fault of its layout, the line."""
    try:
        values = copy.deepcopy(_parsed(path.read_text()))
    except (OSError, *_YAML_FAULTS) as error:
        raise SSHPEError(f"{path}: it cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise SSHPEError(f"{path}: a mapping is expected, not {type(values).__name__}")
    return values


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """A YAML text, parsed once: every table of an overview reads the same methods and profiles."""
    return yaml.safe_load(text)


def validated(kind: type[Value], values: dict, where: Path | str) -> Value:
    """A value made of a file's mapping. Raises SSHPEError that names `where` it stands and lists every fault."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        told = (([*map(str, f["loc"])], f["msg"].removeprefix("Value error, ")) for f in error.errors())
        faults = "; ".join(f"{'.'.join(place)}: {what}" if place else what for place, what in told)
        raise SSHPEError(f"{where}: {faults}") from None


def assignments(texts: Sequence[str], option: str, example: str) -> dict[str, Any]:
    """What was typed as "name=value", by name, the values read as YAML.

    option, example: for the message. Raises SSHPEError for a text without "=", or a value that YAML cannot read.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except _YAML_FAULTS:
            equals = ""
        if not equals or not name.strip():
            raise SSHPEError(f"{option} {text!r} assigns nothing; write it as {example}")
    return found


def merge(*layers: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings, the later ones winning; a list replaces a list, and a data source one of another kind."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            before = merged.get(name)
            if isinstance(value, dict) and isinstance(before, dict) and not _another_source(value, before):
                merged[name] = merge(before, value)
            else:
                merged[name] = value
    return merged


def _another_source(value: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether a data source takes the place of one of another kind, with which it shares no settings."""
    return value.get("kind") in SOURCES and value["kind"] != before.get("kind")
