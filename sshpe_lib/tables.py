"""Tables: the YAML of params/ turned into cells, and cells into experiments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from sshpe_lib import paths
from sshpe_lib.config import Evaluate, Experiment, Frozen, validate
from sshpe_lib.errors import SSHPEError
from sshpe_lib.profiles import (
    Profile,
    Schedule,
    load_methods,
    load_profile,
    load_schedules,
    merge,
    read_yaml,
    validated,
)

__all__ = [
    "Cell", "Profile", "Reference", "Schedule", "Table", "cell_experiments", "experiment", "load_methods",
    "load_profile", "load_schedules", "load_table", "merge", "names", "not_run", "read_yaml",
]  # fmt: skip

SETTINGS = ("devices", "methods", "schedules")  # files of params/ that are no tables


class Cell(Frozen):
    """One number of a table: where it stands, what the paper says, which experiment makes it here.

    method: None where the paper itself only quotes the number from other work. protocol: where it is not the
    table's. multi_scale: the number is that of the run's test at several scales. others: the paper's figures of the
    table's other metrics.
    """

    row: str
    column: str
    method: str | None = None
    backbone: str = "resnet18"
    amount: str = "1K"
    size: str | None = None
    schedule: str | None = None
    protocol: str | None = None
    multi_scale: bool = False
    set: dict[str, Any] = {}  # dotted settings of this cell alone
    marks: dict[str, str] = {}  # mark column -> what stands there, such as ✓
    paper: float | None = None
    others: dict[str, float] = {}


class Reference(Frozen):
    """The method that a table sets its other rows against, and what the paper calls it."""

    method: str
    name: str


class Table(Frozen):
    """A table of the paper: its cells, and what they are set against.

    baseline: the method that gains are counted from, shown beside the cells; baseline_paper: column -> the
    paper's figure of it, or amount of labels -> figure where a column has several. reference: the rows that
    the paper compares its own with, among the cells. marks: the columns of marks, such as Table 3's. others: the
    metrics beside the first one. protocol: the profile's settings for a paper whose training is another. unmeasured:
    why nobody but the paper can measure this table. file: which it was read from.
    """

    name: str
    file: Path | None = Field(None, exclude=True)
    title: str
    citation: str
    data_of_paper: str
    metric: str = "AP"
    others: tuple[str, ...] = ()
    protocol: str | None = None
    unmeasured: str | None = None
    baseline: str | None = None
    baseline_paper: dict[str, float | dict[str, float]] = {}
    reference: Reference | None = None
    marks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cells: tuple[Cell, ...]

    def place(self, cell: Cell) -> str:
        """Where a cell stands, for a message: the table's file, its row and column."""
        return f"{self.file or self.name}: row {cell.row!r}, column {cell.column!r}"

    def columns(self) -> list[str]:
        return list(dict.fromkeys(cell.column for cell in self.cells))

    def rows(self) -> list[str]:
        return list(dict.fromkeys(cell.row for cell in self.cells))

    def baseline_cell(self, cell: Cell) -> Cell:
        """The baseline beside a cell: its column, backbone, amount and size; its row names what varies there."""
        beside = [one for one in self.cells if one.column == cell.column]
        varying = [
            getattr(cell, name)
            for name in ("backbone", "amount", "size")
            if len({getattr(one, name) for one in beside}) > 1
        ]
        figure = self.baseline_paper.get(cell.column)
        if isinstance(figure, dict):
            figure = figure.get(cell.amount)
        elif varying:
            figure = None  # one figure cannot be that of several baselines
        return Cell(
            row=", ".join([self.baseline, *varying]),  # type: ignore[list-item]  # asked where there is a baseline
            column=cell.column, method=self.baseline,
            backbone=cell.backbone, amount=cell.amount, size=cell.size, protocol=cell.protocol, paper=figure,
        )  # fmt: skip

    @model_validator(mode="after")
    def _names_agree(self) -> Table:
        if not self.cells:
            raise ValueError("cells is empty; give it a cell at least, with row, column and method")
        places = [(cell.row, cell.column) for cell in self.cells]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"cells lists row {place[0]!r} of column {place[1]!r} twice; name one anew")
        unknown = {mark for cell in self.cells for mark in cell.marks} - set(self.marks)
        if unknown:
            raise ValueError(f"cells are marked {sorted(unknown)}, which marks does not list; add them there")
        beyond = {name for cell in self.cells for name in cell.others} - set(self.others)
        if beyond:
            raise ValueError(
                f"cells have figures of {sorted(beyond)}, which others does not list; add them there"
            )
        strange = self.baseline_paper.keys() - set(self.columns())
        if strange:
            raise ValueError(f"baseline_paper names {sorted(strange)}; the columns are {self.columns()}")
        if self.reference and self.reference.method not in {cell.method for cell in self.cells}:
            raise ValueError(f"reference.method is {self.reference.method!r}, which is no cell's method")
        return self


def names(folder: Path | None = None) -> list[str]:
    """The tables of params/, or of another folder, sorted: every YAML file beside the settings that they share."""
    return sorted(
        path.stem for path in (folder or paths.params()).glob("*.yaml") if path.stem not in SETTINGS
    )


def load_table(name: str | Path, folder: Path | None = None) -> Table:
    """The table params/NAME.yaml, or the one in a file. Raises SSHPEError where it is missing or wrong."""
    path = Path(name)
    if path.suffix != ".yaml":
        path = (folder or paths.params()) / f"{name}.yaml"
    if not path.exists():
        raise SSHPEError(f"no table {path}; choose one of: {', '.join(names(folder))}")
    return validated(Table, {"name": path.stem} | read_yaml(path) | {"file": path}, path)


def experiment(
    profile: str | Profile,
    method: str,
    *,
    backbone: str = "resnet18",
    amount: str = "1K",
    size: str | None = None,
    schedule: str | None = None,
    protocol: str | None = None,
    seed: int = 0,
    set: dict[str, Any] | None = None,
    folder: Path | None = None,
) -> Experiment:
    """The experiment of a method on a profile; `set` overrides dotted settings ("teacher.decay").

    Raises SSHPEError for an unknown name, a wrong setting, or a choice that the profile does not run.
    """
    name = profile.title if isinstance(profile, Profile) else profile
    profile = profile if isinstance(profile, Profile) else load_profile(profile, folder)
    cell = Cell(
        row=method, column=backbone, method=method, backbone=backbone, amount=amount, size=size, schedule=schedule,
        set=set or {},
    )  # fmt: skip
    return _Maker(name, profile, load_methods(folder), load_schedules(folder), protocol).experiment(
        cell, seed
    )


@dataclass(frozen=True)
class _Maker:
    """Makes the experiments of one profile and protocol."""

    name: str
    profile: Profile
    methods: dict[str, dict[str, Any]]
    schedules: dict[str, Schedule]
    protocol: str | None

    def experiment(self, cell: Cell, seed: int) -> Experiment:
        """The experiment of a cell. Raises SSHPEError for an unknown name or a wrong setting."""
        reason = not_run(self.profile, cell, self.protocol)
        if reason:
            raise SSHPEError(f"profile {self.name}: {reason}")
        for kind, name, known in (
            ("method", cell.method, self.methods),
            ("schedule", cell.schedule, self.schedules),
        ):
            if name is not None and name not in known:
                raise SSHPEError(f"no {kind} {name!r}; choose one of: {', '.join(known)}")
        values = merge(
            self.profile.base, self._chosen("protocol", cell.protocol or self.protocol),
            self._chosen("size", cell.size),
            {"model": self._chosen("backbone", cell.backbone)}, self._chosen("amount", cell.amount),
            self.methods[cell.method],  # type: ignore[index]  # `not_run` has a reason where it is None
        )  # fmt: skip
        self._check(values, cell)
        if values.get("teacher", {}).get("kind", "none") == "none":
            values = merge(values, self.profile.supervised)
            self._check(values, cell)
            values = supervised_only(values)
        if cell.schedule is not None:
            values = self._scheduled(values, self.schedules[cell.schedule], cell, seed)
        for place, value in {"train.seed": seed, **cell.set}.items():
            values = _with(values, place.split("."), value)
        made = validate(values, f"profile {self.name}, method {cell.method}")
        _check_effect(cell.set, made)
        return made

    def _check(self, values: dict, cell: Cell) -> None:
        """Raises SSHPEError where a part that is looked into below is no mapping, or a length no number."""
        where = f"profile {self.name}, method {cell.method}"
        for part in ("data", "teacher", "train", "evaluate"):
            if not isinstance(values.get(part, {}), dict):
                raise SSHPEError(f"{where}: {part}: a mapping of settings is expected, not {values[part]!r}")
        for part, name in (("train", "steps"), ("train", "epochs"), ("evaluate", "times")):
            value = values.get(part, {}).get(name, 1)
            if not isinstance(value, int | float):
                raise SSHPEError(f"{where}: {part}.{name}: a number is expected, not {value!r}")

    def _chosen(self, kind: str, name: str | None) -> dict[str, Any]:
        return {} if name is None else self.profile.settings(kind, name)

    def _scheduled(self, values: dict, schedule: Schedule, cell: Cell, seed: int) -> dict:
        """A run of the schedule's length; where it has a first stage, that is the same run without dropping."""
        train = values.get("train", {})
        longer = {name: train[name] * schedule.length for name in ("steps", "epochs") if name in train}
        times = values.get("evaluate", {}).get("times", Evaluate().times) * schedule.length
        added = {"train": longer | {"milestones": schedule.milestones}, "evaluate": {"times": times}}
        if schedule.first is not None:
            first = self.experiment(cell.model_copy(update={"schedule": schedule.first}), seed)
            plain = first.augment.model_copy(update={"dropping": ()})
            added["start"] = first.model_copy(update={"augment": plain}).model_dump()
        return merge(values, added)


# Settings that the training of another kind of network, or of a network alone, never asks for: two keys of one result.
_WITHOUT_EFFECT = {
    "whole images, and {} looks at crops": (
        "augment.scene",
        "data.masks",
        "data.people",
        "train.push",
        "train.pull",
    ),
    "crops, and {} looks at whole images": ("augment.weak", "evaluate.nms", "evaluate.score_threshold"),
    "training with a teacher, and {} has none": ("train.consistency", "train.forward"),
}


def _check_effect(names: Iterable[str], made: Experiment) -> None:
    """Raises SSHPEError where a setting that is named changes nothing but the experiment's key."""
    idle = (not made.bottom_up, made.bottom_up, not made.semi_supervised)
    for (what, settings), applies in zip(_WITHOUT_EFFECT.items(), idle, strict=True):
        for name in names if applies else ():
            if any(name == one or name.startswith(f"{one}.") for one in settings):
                raise SSHPEError(
                    f"{name} has no effect here: it is of {what.format(made.model)}; leave it out"
                )


def supervised_only(values: dict) -> dict:
    """A supervised run keeps the schedule's length and drops what only a teacher needs."""
    dropped = {"data": {"unlabeled"}, "train": {"burn_in", "consistency"}}
    kept = {
        part: {name: value for name, value in values[part].items() if name not in names}
        for part, names in dropped.items()
        if part in values
    }
    return values | kept


def not_run(profile: Profile, cell: Cell, protocol: str | None = None) -> str | None:
    """Why the profile does not run a cell; None where it does."""
    if cell.method is None:
        return "quoted by the paper from other work"
    for kind, choice, choices in _choices(profile, cell, protocol):
        if choice not in choices:
            return f"no {kind} {choice!r}; choose one of: {', '.join(choices)}"
        chosen = choices[choice]
        if isinstance(chosen, str):
            return chosen
    return None


def _choices(profile: Profile, cell: Cell, protocol: str | None) -> Iterator[tuple[str, str, dict]]:
    """What a cell chooses, of which kind, and what the profile has of that kind."""
    for kind, choices in profile.choices().items():
        choice = getattr(cell, kind) or (protocol if kind == "protocol" else None)
        if choice is not None:
            yield kind, choice, choices


def _misspelt(profile: Profile, cell: Cell, protocol: str | None) -> bool:
    """Whether a choice of a cell is in no profile at all, and so a slip, rather than left out of this one."""
    missing = [
        (kind, name) for kind, name, choices in _choices(profile, cell, protocol) if name not in choices
    ]
    if not missing:
        return False
    every = [load_profile(path.stem).choices() for path in (paths.params() / "profiles").glob("*.yaml")]
    return any(all(name not in choices[kind] for choices in every) for kind, name in missing)


def _with(values: dict, place: list[str], value: Any) -> dict:
    head, *rest = place
    inside = values.get(head)
    return values | {head: _with(inside if isinstance(inside, dict) else {}, rest, value) if rest else value}


def cell_experiments(
    table: Table, profile: str, seeds: int
) -> Iterator[tuple[Cell, tuple[Experiment, ...] | str]]:
    """Every cell with its experiments, seed by seed, or the reason why the profile does not run it.

    Raises SSHPEError that names the table's file and the cell, for a wrong setting and for a name that is unknown.
    """
    loaded = load_profile(profile)
    maker = _Maker(profile, loaded, load_methods(), load_schedules(), table.protocol)
    for cell in table.cells:
        reason = not_run(loaded, cell, table.protocol)
        if cell.method is not None and _misspelt(loaded, cell, table.protocol):
            raise SSHPEError(f"{table.place(cell)}: {reason}")
        if cell.method is not None and table.unmeasured:
            reason = table.unmeasured
        try:
            wanted = reason or tuple(maker.experiment(cell, seed) for seed in range(seeds))
        except SSHPEError as error:
            raise SSHPEError(f"{table.place(cell)}: {error}") from None
        yield cell, wanted
