"""Profiles, methods and tables: the YAML of params/ turned into experiments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from sshpe_lib import paths
from sshpe_lib.config import Experiment, Frozen, validate
from sshpe_lib.errors import SSHPEError


class Profile(Frozen):
    """One scale of the whole protocol: data, sizes, schedule. Only values differ between profiles.

    base: an experiment without model and method; backbones: the paper's network -> model settings here, or the
    reason it is not run; amounts: the paper's number of labels -> settings here, or the reason; seeds: how many
    a table shows.
    """

    title: str
    description: str
    base: dict[str, Any]
    backbones: dict[str, dict[str, Any] | str]
    amounts: dict[str, dict[str, Any] | str]
    seeds: int = Field(gt=0)
    supervised: dict[str, Any] = {}  # settings of the supervised baseline only: its own schedule, if any


class Cell(Frozen):
    """One number of a table: where it stands, what the paper says, which experiment makes it here."""

    row: str
    column: str
    method: str
    backbone: str = "resnet18"
    amount: str = "1K"
    set: dict[str, Any] = {}  # dotted settings of this cell alone
    marks: dict[str, str] = {}  # mark column -> what stands there, such as ✓
    paper: float | None = None


class Reference(Frozen):
    """The method that a table sets its other rows against, and what the paper calls it."""

    method: str
    name: str


class Table(Frozen):
    """A table of the paper: its cells, and what they are set against.

    baseline: the method that gains are counted from, shown beside the cells; baseline_paper: column -> the
    paper's figure of it, or amount of labels -> figure where a column has several. reference: the rows that
    the paper compares its own with, among the cells. marks: the columns of marks, such as Table 3's.
    """

    name: str
    title: str
    citation: str
    data_of_paper: str
    metric: str = "AP"
    baseline: str | None = None
    baseline_paper: dict[str, float | dict[str, float]] = {}
    reference: Reference | None = None
    marks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cells: tuple[Cell, ...]

    def columns(self) -> list[str]:
        return list(dict.fromkeys(cell.column for cell in self.cells))

    def rows(self) -> list[str]:
        return list(dict.fromkeys(cell.row for cell in self.cells))

    def baseline_cell(self, column: str, backbone: str, amount: str) -> Cell:
        """The baseline beside the cells of a column, backbone and amount; its row names what varies there."""
        beside = [cell for cell in self.cells if cell.column == column]
        backbones, amounts = ({getattr(cell, name) for cell in beside} for name in ("backbone", "amount"))
        varying = [backbone] * (len(backbones) > 1) + [amount] * (len(amounts) > 1)
        figure = self.baseline_paper.get(column)
        if isinstance(figure, dict):
            figure = figure.get(amount)
        elif varying:
            figure = None  # one figure cannot be that of several baselines
        row = ", ".join([self.baseline, *varying])
        return Cell(
            row=row, column=column, method=self.baseline, backbone=backbone, amount=amount, paper=figure
        )

    @model_validator(mode="after")
    def _names_agree(self) -> Table:
        places = [(cell.row, cell.column) for cell in self.cells]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"cells lists row {place[0]!r} of column {place[1]!r} twice; name one anew")
        unknown = {mark for cell in self.cells for mark in cell.marks} - set(self.marks)
        if unknown:
            raise ValueError(f"cells are marked {sorted(unknown)}, which marks does not list; add them there")
        strange = self.baseline_paper.keys() - set(self.columns())
        if strange:
            raise ValueError(f"baseline_paper names {sorted(strange)}; the columns are {self.columns()}")
        if self.reference and self.reference.method not in {cell.method for cell in self.cells}:
            raise ValueError(f"reference.method is {self.reference.method!r}, which is no cell's method")
        return self


def load_profile(name: str, folder: Path | None = None) -> Profile:
    """The profile params/profiles/NAME.yaml. Raises SSHPEError with the known names, or with every fault."""
    folder = (folder or paths.params()) / "profiles"
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise SSHPEError(f"no profile {name!r} in {folder}; choose one of: {known}")
    return _validated(Profile, read_yaml(path), path)


def load_methods(folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """Method name -> its settings (teacher and strong augmentation), from params/methods.yaml."""
    return read_yaml((folder or paths.params()) / "methods.yaml")


def load_table(name: str | Path, folder: Path | None = None) -> Table:
    """The table params/NAME.yaml, or the one in a file. Raises SSHPEError where it is missing or wrong."""
    path = Path(name)
    if path.suffix != ".yaml":
        path = (folder or paths.params()) / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in paths.params().glob("*table*.yaml")))
        raise SSHPEError(f"no table {path}; choose one of: {known}")
    return _validated(Table, {"name": path.stem} | read_yaml(path), path)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping. Raises SSHPEError that names the file and the line."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SSHPEError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise SSHPEError(f"{path}: a mapping is expected, not {type(values).__name__}")
    return values


def _validated(kind: type[Frozen], values: dict, path: Path):
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors())
        raise SSHPEError(f"{path}: {faults}") from None


def experiment(
    profile: str | Profile,
    method: str,
    *,
    backbone: str = "resnet18",
    amount: str = "1K",
    seed: int = 0,
    set: dict[str, Any] | None = None,
    folder: Path | None = None,
) -> Experiment:
    """The experiment of a method on a profile; `set` overrides dotted settings ("teacher.decay").

    Raises SSHPEError for an unknown name, a wrong setting, or a backbone or amount the profile does not run.
    """
    name = profile if isinstance(profile, str) else profile.title
    profile = load_profile(profile, folder) if isinstance(profile, str) else profile
    return _experiment(profile, name, load_methods(folder), method, backbone, amount, seed, set or {})


def _experiment(
    profile: Profile,
    name: str,
    methods: dict[str, dict[str, Any]],
    method: str,
    backbone: str,
    amount: str,
    seed: int,
    changes: dict[str, Any],
) -> Experiment:
    reason = not_run(profile, backbone, amount)
    if reason:
        raise SSHPEError(f"profile {name}: {reason}")
    if method not in methods:
        raise SSHPEError(f"no method {method!r}; choose one of: {', '.join(methods)}")
    values = merge(
        profile.base, {"model": profile.backbones[backbone]}, profile.amounts[amount], methods[method]
    )
    if values.get("teacher", {}).get("kind", "none") == "none":
        values = _supervised(merge(values, profile.supervised))
    for place, value in {"train.seed": seed, **changes}.items():
        values = _with(values, place.split("."), value)
    return validate(values, f"profile {name}, method {method}")


def _supervised(values: dict) -> dict:
    """A supervised run keeps the schedule's length and drops what only a teacher needs."""
    data = {k: v for k, v in values["data"].items() if k != "unlabeled"}
    train = {k: v for k, v in values["train"].items() if k not in ("burn_in", "consistency")}
    return values | {"data": data, "train": train}


def not_run(profile: Profile, backbone: str, amount: str) -> str | None:
    """Why the profile does not run this backbone or amount; None where it does."""
    for kind, choices, choice in (
        ("backbone", profile.backbones, backbone),
        ("amount", profile.amounts, amount),
    ):
        if choice not in choices:
            return f"no {kind} {choice!r}; choose one of: {', '.join(choices)}"
        if isinstance(choices[choice], str):
            return choices[choice]
    return None


def merge(*layers: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings, the later ones winning; a list replaces a list."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = merge(merged[name], value) if both else value
    return merged


def _with(values: dict, place: list[str], value: Any) -> dict:
    head, *rest = place
    return values | {head: _with(values.get(head) or {}, rest, value) if rest else value}


def cell_experiments(table: Table, profile: str, seeds: int) -> Iterator[tuple[Cell, int, Experiment | str]]:
    """For every cell and seed its experiment, or the reason why the profile does not run it."""
    loaded, methods = load_profile(profile), load_methods()
    for cell in table.cells:
        reason = not_run(loaded, cell.backbone, cell.amount)
        settings = cell.method, cell.backbone, cell.amount
        for seed in range(seeds):
            yield cell, seed, reason or _experiment(loaded, profile, methods, *settings, seed, cell.set)
