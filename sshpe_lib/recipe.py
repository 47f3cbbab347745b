"""Recipes: a profile, a method and what else is chosen, made into an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sshpe_lib import paths
from sshpe_lib.config import Evaluate, Experiment, Frozen, validate
from sshpe_lib.errors import SSHPEError
from sshpe_lib.profiles import Profile, Schedule, load_methods, load_profile, load_schedules, merge


class Recipe(Frozen):
    """What an experiment is made of beside its profile, all by the names of params/.

    method: None where the paper itself only quotes a number from other work. protocol: where it is not the
    table's. set: dotted settings of this experiment alone.
    """

    method: str | None = None
    backbone: str = "resnet18"
    amount: str = "1K"
    size: str | None = None
    schedule: str | None = None
    protocol: str | None = None
    set: dict[str, Any] = {}


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
    recipe = Recipe(
        method=method, backbone=backbone, amount=amount, size=size, schedule=schedule, protocol=protocol, set=set or {}
    )  # fmt: skip
    return Maker(name, profile, load_methods(folder), load_schedules(folder)).experiment(recipe, seed)


@dataclass(frozen=True)
class Maker:
    """Makes the experiments of one profile from recipes; protocol: of those that name none."""

    name: str
    profile: Profile
    methods: dict[str, dict[str, Any]]
    schedules: dict[str, Schedule]
    protocol: str | None = None

    def experiment(self, recipe: Recipe, seed: int) -> Experiment:
        """The experiment of a recipe. Raises SSHPEError for an unknown name or a wrong setting."""
        reason = self.not_run(recipe)
        if reason:
            raise SSHPEError(f"profile {self.name}: {reason}")
        for kind, name, known in (
            ("method", recipe.method, self.methods),
            ("schedule", recipe.schedule, self.schedules),
        ):
            if name is not None and name not in known:
                raise SSHPEError(f"no {kind} {name!r}; choose one of: {', '.join(known)}")
        values = merge(
            self.profile.base, self._chosen("protocol", recipe.protocol or self.protocol),
            self._chosen("size", recipe.size),
            {"model": self._chosen("backbone", recipe.backbone)}, self._chosen("amount", recipe.amount),
            self.methods[recipe.method],  # type: ignore[index]  # `not_run` has a reason where it is None
        )  # fmt: skip
        self._check(values, recipe)
        if values.get("teacher", {}).get("kind", "none") == "none":
            values = merge(values, self.profile.supervised)
            self._check(values, recipe)
            values = supervised_only(values)
        if recipe.schedule is not None:
            values = self._scheduled(values, self.schedules[recipe.schedule], recipe, seed)
        for place, value in {"train.seed": seed, **recipe.set}.items():
            values = _with(values, place.split("."), value)
        made = validate(values, f"profile {self.name}, method {recipe.method}")
        _check_effect(recipe.set, made)
        return made

    def not_run(self, recipe: Recipe) -> str | None:
        """Why the profile does not run a recipe; None where it does."""
        if recipe.method is None:
            return "quoted by the paper from other work"
        for kind, choice, choices in self._choices(recipe):
            if choice not in choices:
                return f"no {kind} {choice!r}; choose one of: {', '.join(choices)}"
            chosen = choices[choice]
            if isinstance(chosen, str):
                return chosen
        return None

    def misspelt(self, recipe: Recipe) -> bool:
        """Whether a choice of a recipe is in no profile at all, and so a slip, rather than left out of this one."""
        missing = [(kind, name) for kind, name, choices in self._choices(recipe) if name not in choices]
        if not missing:
            return False
        every = [load_profile(path.stem).choices() for path in (paths.params() / "profiles").glob("*.yaml")]
        return any(all(name not in choices[kind] for choices in every) for kind, name in missing)

    def _choices(self, recipe: Recipe) -> Iterator[tuple[str, str, dict]]:
        """What a recipe chooses, of which kind, and what the profile has of that kind."""
        for kind, choices in self.profile.choices().items():
            choice = getattr(recipe, kind) or (self.protocol if kind == "protocol" else None)
            if choice is not None:
                yield kind, choice, choices

    def _check(self, values: dict, recipe: Recipe) -> None:
        """Raises SSHPEError where a part that is looked into below is no mapping, or a length no number."""
        where = f"profile {self.name}, method {recipe.method}"
        for part in ("data", "teacher", "train", "evaluate"):
            if not isinstance(values.get(part, {}), dict):
                raise SSHPEError(f"{where}: {part}: a mapping of settings is expected, not {values[part]!r}")
        for part, name in (("train", "steps"), ("train", "epochs"), ("evaluate", "times")):
            value = values.get(part, {}).get(name, 1)
            if not isinstance(value, int | float):
                raise SSHPEError(f"{where}: {part}.{name}: a number is expected, not {value!r}")

    def _chosen(self, kind: str, name: str | None) -> dict[str, Any]:
        return {} if name is None else self.profile.settings(kind, name)

    def _scheduled(self, values: dict, schedule: Schedule, recipe: Recipe, seed: int) -> dict:
        """A run of the schedule's length; where it has a first stage, that is the same run without dropping."""
        train = values.get("train", {})
        longer = {name: train[name] * schedule.length for name in ("steps", "epochs") if name in train}
        times = values.get("evaluate", {}).get("times", Evaluate().times) * schedule.length
        added = {"train": longer | {"milestones": schedule.milestones}, "evaluate": {"times": times}}
        if schedule.first is not None:
            first = self.experiment(recipe.model_copy(update={"schedule": schedule.first}), seed)
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


def _with(values: dict, place: list[str], value: Any) -> dict:
    head, *rest = place
    inside = values.get(head)
    return values | {head: _with(inside if isinstance(inside, dict) else {}, rest, value) if rest else value}
