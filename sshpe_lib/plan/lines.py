"""The plan of a table on a profile: a line for every cell, each run counted once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from sshpe_lib import checkpoints, initial, paths, profiles, records, tables
from sshpe_lib.config import Experiment, Source
from sshpe_lib.data import sources
from sshpe_lib.errors import SSHPEError, whole_number
from sshpe_lib.machine import Machine
from sshpe_lib.plan import data
from sshpe_lib.plan.cost import FREE, Cost, run_cost
from sshpe_lib.plan.devices import Rates, rates
from sshpe_lib.plan.schedule import makespan
from sshpe_lib.study import check_metrics
from sshpe_lib.tables import Cell, Table

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Line:
    """One cell: its experiments, one a seed, and what one of them does.

    people, pool: those who may have labels, and the unlabelled ones (images where the network is a bottom-up one),
    None where not known; hours: of one run,
    None where not known; recorded: seeds that have a record, None where that cannot be told; left: the experiments
    to be run, those that are not known to have one; same_as: the earlier line that has these very runs; not_run: why
    the profile does not run the cell.
    """

    cell: Cell
    experiments: tuple[Experiment, ...] = ()
    people: int | None = None
    pool: int | None = None
    cost: Cost = FREE
    hours: float | None = None
    recorded: int | None = None
    left: tuple[Experiment, ...] = ()
    same_as: Line | None = None
    not_run: str | None = None

    @property
    def epochs(self) -> float | None:
        """Passes over the pool; None where its size is not known, or a run counts steps and sees no pool."""
        first, train = self.experiments[0], self.experiments[0].train
        if train.steps is None or not self.pool or not first.semi_supervised:
            return train.epochs
        return train.steps * (1 - train.burn_in) * train.batch_size / self.pool

    @property
    def runs_left(self) -> int:
        """Runs that this line adds: those without a record that no earlier line has."""
        return 0 if self.same_as else len(self.left)


@dataclass(frozen=True)
class Plan:
    """What `sshpe run` would do: the lines of a table, baselines first, the data they need, and the rates.

    first_stages: what these lines' runs go on from, is none of them, and has no checkpoint here to go on from; found:
    what there is of every source, with its roles; weights: whether the trunks are there, in words; unknown_records: why
    it cannot be told which records exist, if so.
    """

    table: Table
    profile: str
    description: str
    seeds: int
    lines: tuple[Line, ...]
    rates: Rates
    found: tuple[tuple[tuple[str, ...], data.Found], ...]
    weights: tuple[str, ...] = ()
    first_stages: tuple[Line, ...] = ()
    unknown_records: str = ""

    @property
    def distinct(self) -> list[Line]:
        """The lines that are run and are no earlier line's runs again."""
        return [line for line in self.lines if not line.not_run and line.same_as is None]

    @property
    def left(self) -> list[tuple[Line, int]]:
        """The lines with runs to do, and how many; first stages that no line has, too."""
        return [(line, line.runs_left) for line in (*self.first_stages, *self.distinct) if line.runs_left]

    @property
    def flops(self) -> int | None:
        """Of all runs that are left; None where a run's are not known."""
        return _sum((line.cost.flops, count) for line, count in self.left)

    @property
    def evaluation(self) -> int | None:
        """FLOPs of the evaluations among them."""
        return _sum((line.cost.evaluation, count) for line, count in self.left)

    @property
    def hours(self) -> float | None:
        """One after another of all runs that are left; None where a run's are not known."""
        return _sum((line.hours, count) for line, count in self.left)

    @property
    def disk(self) -> int:
        """Bytes of what the runs that are left will leave behind."""
        return sum(line.cost.disk * count for line, count in self.left)

    def hours_on(self, devices: int) -> float | None:
        """Hours until the last of the runs that are left ends, each on one of so many devices; None where not known."""
        left = [(line.hours, one) for line, _ in self.left for one in line.left]
        hours = [one for one, _ in left if one is not None]
        if len(hours) < len(left):
            return None
        numbers = {experiment: number for number, (_, experiment) in enumerate(left)}
        return makespan(hours, [numbers.get(one.start) if one.start else None for _, one in left], devices)


def make(
    table: str | Table,
    profile: str,
    *,
    seeds: int | None = None,
    machine: Machine | None = None,
    device: str | None = None,
    tflops: float | None = None,
    measured: bool = False,
) -> Plan:
    """Plan a table on a profile. Nothing is trained or downloaded; `measured` times a few steps on `machine`.

    seeds: the profile's own number where left out; device, tflops, measured: as `devices.rates`.
    Raises SSHPEError for a table, profile, device or record that is missing or wrong, for less than one seed, and where
    SSHPE_DATA names no folder. Data that is missing or not as expected is told in the plan.
    """
    table = table if isinstance(table, Table) else tables.load_table(table)
    chosen = profiles.load_profile(profile)
    seeds = chosen.seeds if seeds is None else whole_number("seeds", seeds, 1)
    check_metrics(table, profile)
    asked = list(tables.cell_experiments(table, profile, seeds, table.every_cell))
    experiments = [one for _, wanted in asked if not isinstance(wanted, str) for one in wanted]
    recorded, trouble = _recorded(experiments)
    stages = _first_stages(asked, recorded)
    trained = [*experiments, *stages]
    uses = data.roles(trained)
    found = {source: data.look(source) for source in uses}
    speeds = rates(trained, machine or Machine(), device=device, tflops=tflops, measured=measured)
    lines: list[Line] = []
    for cell, wanted in asked:
        if isinstance(wanted, str):
            lines.append(Line(cell, not_run=wanted))
        else:
            lines.append(_line(cell, wanted, found, speeds, recorded, lines))
    first_stages = [_line(cell, (one,), found, speeds, {}, []) for one, cell in stages.items()]
    files = dict.fromkeys(initial.trunk_of(one.model) for one in experiments if one.model.init == "imagenet")
    return Plan(
        table, profile, chosen.description, seeds, tuple(lines), speeds,
        tuple((tuple(kinds), found[source]) for source, kinds in uses.items()),
        tuple(map(data.look_for_weights, files)), tuple(first_stages), trouble,
    )  # fmt: skip


def _line(
    cell: Cell,
    experiments: tuple[Experiment, ...],
    found: dict[Source, data.Found],
    speeds: Rates,
    recorded: dict[Experiment, bool],
    earlier: list[Line],
) -> Line:
    first = experiments[0]
    labeled, val = found[first.data.labeled], found[first.data.val]
    unlabeled = found[first.data.unlabeled] if first.data.unlabeled else labeled
    people, pool = (one.learned_from(first.bottom_up) for one in (labeled, unlabeled))
    if first.data.extra is not None and not first.semi_supervised:  # an epoch passes over them, too
        more = found[first.data.extra].learned_from(first.bottom_up)
        pool = None if pool is None or more is None else pool + more
    cost = run_cost(first, pool, val.tested(first.bottom_up), val.keypoints)
    known = [recorded[one] for one in experiments if one in recorded]
    return Line(
        cell,
        experiments,
        people,
        pool,
        cost,
        speeds.hours(first, cost.flops),
        sum(known) if len(known) == len(experiments) else None,
        tuple(one for one in experiments if not recorded.get(one)),
        next((line for line in earlier if line.experiments == experiments), None),
    )


def _first_stages(
    asked: list[tuple[Cell, tuple[Experiment, ...] | str]], recorded: dict[Experiment, bool]
) -> dict[Experiment, Cell]:
    """What runs without a record go on from, with a cell of such runs, where it is trained for them alone.

    A first stage hands over its checkpoint, which a record that was made elsewhere comes without.
    """
    wanted = {one: cell for cell, made in asked if not isinstance(made, str) for one in made}
    left = {one: cell for one, cell in wanted.items() if not recorded.get(one)}
    stages = {one.start: cell for one, cell in left.items() if one.start and one.start not in left}
    return {stage: cell for stage, cell in stages.items() if not _finished(stage)}


def _finished(stage: Experiment) -> bool:
    """Whether the checkpoint that a run ends with is here; False where its data, and so its key, is not known."""
    try:
        key = sources.pin(stage).key()
    except SSHPEError:
        return False
    return checkpoints.finished(checkpoints.of(paths.runs() / key), key) is not None


def _recorded(experiments: list[Experiment]) -> tuple[dict[Experiment, bool], str]:
    """Experiment -> whether it has a record, and why some are left out.

    A key holds the fingerprint of the data. With a data folder that lacks the file, it is unknown; without any
    folder, `sources.pin` finds an experiment's record by everything else, or there is none.
    """
    records.read_all(paths.records())  # a record that cannot be read is an error with or without the data
    found, trouble = {}, ""
    for experiment in dict.fromkeys(experiments):
        try:
            key = sources.pin(experiment).key()
        except SSHPEError as error:
            if paths.data() is None:
                found[experiment] = False
            else:
                trouble = trouble or str(error)
        else:
            found[experiment] = records.find(paths.records(), key) is not None
    return found, trouble


def _sum(parts: Iterable[tuple[Number | None, int]]) -> Number | None:
    """The sum of numbers times counts; None where a number is None."""
    counted = list(parts)
    known = [number * count for number, count in counted if number is not None]
    return sum(known) if len(known) == len(counted) else None
