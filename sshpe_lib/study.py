"""A table's records on one profile: found, or made where training is allowed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sshpe_lib import paths, profiles, records, tables
from sshpe_lib.config import Experiment, Source
from sshpe_lib.data import sources
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.images import read_image
from sshpe_lib.errors import SSHPEError, whole_number
from sshpe_lib.evaluate.statistics import BY_VISIBILITY, metrics
from sshpe_lib.records import Record
from sshpe_lib.report.people import Picture
from sshpe_lib.report.results import Result, Study
from sshpe_lib.report.scenes import Scene
from sshpe_lib.tables import Cell, Table

if TYPE_CHECKING:
    from sshpe_lib.cluster import Cluster
    from sshpe_lib.machine import Machine

__all__ = ["Result", "Study", "Wanted", "check_metrics", "pictures", "study", "wanted"]


@dataclass(frozen=True)
class Wanted:
    """A cell and the experiments behind it, one a seed; or the reason why the profile does not run it."""

    cell: Cell
    experiments: tuple[Experiment, ...] = ()
    not_run: str | None = None


def study(
    table: str | Table,
    profile: str = "quick",
    *,
    seeds: int | None = None,
    row: str | float = "all",
    column: str = "all",
    amount: str = "all",
    marks: Mapping[str, str | float] | None = None,
    machine: Machine | None = None,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    train: bool = True,
    records_folder: Path | None = None,
) -> Study:
    """The records behind a table, trained where they are missing.

    row, column, amount: "all", or the one to keep (row 0.9 means "0.9"; column "resnet18" means "ResNet-18"); a row
    may also be asked for by its method ("jc-single"), and the baseline's for itself. marks: for a column of marks,
    the mark to keep, or "all". seeds: how many, from seed 0; the profile's own number where left out. jobs: runs at
    the same time; as many as the CPU has cores for, or as there are GPUs, where left out. cluster: where the runs
    train, if not in processes of this machine. train: False for the records that are there and nothing else.

    Raises SSHPEError: no such table, profile, row, column, amount or mark; no cell that has all of them; a
    number of seeds below 1; a metric that the runs would not have; nothing of it is run on this profile; the data is
    missing. Without `train`, or where the environment variable SSHPE_TRAINING is "forbidden" (the book), a missing
    record is an SSHPEError that names the command which makes it.
    """
    typed = str(table.file or table.name) if isinstance(table, Table) else str(table)
    table = table if isinstance(table, Table) else tables.load_table(table)
    chosen = profiles.load_profile(profile)
    seeds = chosen.seeds if seeds is None else whole_number("seeds", seeds, 1)
    cells = _select(table, {"row": row, "column": column, "amount": amount} | dict(marks or {}))
    check_metrics(table, profile)
    asked = wanted(table, cells, profile, seeds)
    if not table.unmeasured and not any(one.experiments for one in asked):
        reasons = "; ".join(dict.fromkeys(one.not_run for one in asked if one.not_run))
        raise SSHPEError(f"profile {profile} runs nothing of what is asked of {table.name}: {reasons}")
    baselines = wanted(table, table.baselines(cells), profile, seeds)
    results = [one for one in asked if one not in baselines]  # where a baseline is asked for, it stands alone
    command = f"sshpe run {shlex.quote(typed)} --profile {shlex.quote(profile)} --seeds {seeds}"
    command += "".join(
        f" --{option} {shlex.quote(str(choice))}"
        for option, choice in (("row", row), ("column", column))
        if choice != "all"
    )
    everything, folder = [*baselines, *results], records_folder or paths.records()
    keys = dict.fromkeys(one.key() for wish in everything for one in wish.experiments)

    def look() -> dict[str, Record]:
        return {key: record for key in keys if (record := records.find(folder, key)) is not None}

    # Processes that train together must miss the same records, however many are written meanwhile.
    made = look() if machine is None else machine.agreed(look)
    missing = [key for key in keys if key not in made]
    if missing and not (train and os.environ.get("SSHPE_TRAINING") != "forbidden"):
        raise _forbidden(missing, command)
    if missing:
        made |= _train(everything, missing, machine, jobs, cluster, folder)
    return Study(
        table, profile, seeds, _results(results, made), _results(baselines, made), chosen.description
    )


def check_rows(table: str, *rows: str) -> None:
    """Raises SSHPEError where a table has none or several of such a row, before anything is trained of another one."""
    for row in rows:
        cells = _select(tables.load_table(table), {"row": row, "column": "all", "amount": "all"})
        found = list(dict.fromkeys(cell.row for cell in cells))
        if len(found) > 1:
            raise SSHPEError(
                f"row {row!r} of {table} is several, and one is wanted; choose one of: {', '.join(found)}"
            )


def wanted(table: Table, cells: Sequence[Cell], profile: str, seeds: int) -> list[Wanted]:
    """For every cell its experiments on a profile, COCO files pinned, or why the profile does not run it.

    Raises SSHPEError where a cell is wrong or its data is not on this machine.
    """
    asked = tables.cell_experiments(table, profile, seeds, cells)
    return [
        Wanted(cell, not_run=made) if isinstance(made, str) else Wanted(cell, tuple(map(sources.pin, made)))
        for cell, made in asked
    ]


def check_metrics(table: Table, profile: str) -> None:
    """Look for a metric that the runs of a profile will not have, before anything is trained.

    Every cell that is run must have the table's first metric. The others are shown where there are any, such as those
    of sizes: they must be an evaluation's.
    Raises SSHPEError that names the table's file and the entry.
    """
    where = table.file or table.name
    known = {*metrics("coco", visibility=True), *metrics("crowdpose", visibility=True)}
    for name in table.others:
        if name not in known:
            raise SSHPEError(f"{where}: others: no metric {name!r}; choose among: {', '.join(sorted(known))}")
    # In this order: a fault is told of a cell as written.
    cells = [*table.cells, *table.baselines(table.cells)]
    for cell, asked in tables.cell_experiments(table, profile, 1, cells):
        if isinstance(asked, str):
            continue
        (made,) = asked
        if cell.multi_scale and not made.evaluate.multi_scale:
            raise SSHPEError(
                f"{table.place(cell)}: multi_scale: the profile {profile} does not test it at several scales; "
                "give it evaluate.multi_scale"
            )
        measured = metrics(made.evaluate.protocol, made.evaluate.visibility)
        if table.metric not in measured:
            cure = "set evaluate.visibility, or " if table.metric in BY_VISIBILITY else ""
            raise SSHPEError(
                f"{where}: metric: {table.metric!r} is not measured of row {cell.row!r}, column {cell.column!r} on "
                f"the profile {profile}; {cure}choose one of: {', '.join(measured)}"
            )


def _select(table: Table, asked: Mapping[str, str | float]) -> list[Cell]:
    """The cells that have all that is asked for, by row, column, amount and marks; those of the baseline where the row
    is one of these and none of the table's.
    """
    every, beside = list(table.cells), table.baselines(table.cells)
    if asked["row"] != "all" and not _fitting(every, "row", asked["row"]):
        every = _fitting(beside, "row", asked["row"]) or every
    kept = every
    for what, choice in asked.items():
        if what not in ("row", "column", "amount", *table.marks):
            known = ", ".join(table.marks) or "none"
            raise SSHPEError(f"{table.name} has no column of marks {what!r}; it has: {known}")
        if choice == "all":
            continue
        fitting = _fitting(every, what, choice)
        if not fitting:
            shown = [*every, *beside] if what == "row" else every
            known = ", ".join(dict.fromkeys(_names(cell, what)[0] for cell in shown))
            raise SSHPEError(f"{table.name} has no {what} {choice!r}; choose one of: all, {known}")
        kept = [cell for cell in kept if cell in fitting]
    if not kept:
        wish = ", ".join(f"{what} {choice!r}" for what, choice in asked.items() if choice != "all")
        raise SSHPEError(f"{table.name} has no cell with {wish} together; ask for fewer of them")
    return kept


def _fitting(cells: Sequence[Cell], what: str, choice: str | float) -> list[Cell]:
    return [cell for cell in cells if _plain(choice) in map(_plain, _names(cell, what))]


def _names(cell: Cell, what: str) -> tuple[str, ...]:
    """What a cell answers to when it is asked for by row, column, amount or mark; the paper's name first."""
    if what == "row":
        return cell.row, cell.method or cell.row
    return (getattr(cell, what) if what in ("column", "amount") else cell.marks.get(what, "none"),)


def _plain(name: object) -> str:
    """A name as people type it: papermill hands 0.9 over as a number, which others write 0.90, a backbone may lack its
    hyphen.
    """
    try:
        return str(float(str(name)))
    except ValueError:
        return str(name).lower().replace("-", "").replace(" ", "")


def _train(
    everything: Sequence[Wanted],
    missing: Sequence[str],
    machine: Machine | None,
    jobs: int | None,
    cluster: Cluster | None,
    folder: Path,
) -> dict[str, Record]:
    """Key -> record of every experiment whose key is missing, each trained once."""
    from sshpe_lib.cluster import run_on
    from sshpe_lib.machine import Machine  # torch is loaded only where something is left to train
    from sshpe_lib.pool import run_all

    # Of cells that share an experiment the first names it.
    cells = {e.key(): (one.cell, e) for one in reversed(everything) for e in one.experiments}
    machine = machine or Machine()
    if cluster is None:
        machine.check()  # once, and not in every run
    jobs = machine.jobs_for(len(missing)) if jobs is None else jobs
    if machine.progress:
        named = (cells[key] for key in missing)
        names = [f"{cell.row}, {cell.column}, seed {e.train.seed}" for cell, e in named]
        where = f"on {cluster.name}" if cluster else f"{min(jobs, len(missing))} at a time"
        print(f"training {len(missing)} run(s), {where}: {'; '.join(names)}", flush=True)
        asked = {cells[key][1].train.precision for key in missing}
        if cluster is None and any(machine.precision(one) != one for one in asked):
            print("this processor has no bfloat16: it trains in float32, and the records say so", flush=True)
    wanted = [cells[key][1] for key in missing], machine, jobs, folder
    return dict(zip(missing, run_on(cluster, *wanted) if cluster else run_all(*wanted), strict=True))


def _results(everything: Sequence[Wanted], made: dict[str, Record]) -> tuple[Result, ...]:
    return tuple(
        Result(one.cell, tuple(made[experiment.key()] for experiment in one.experiments), one.not_run)
        for one in everything
    )


def _forbidden(keys: list[str], command: str) -> SSHPEError:
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return SSHPEError(f"no record {keys[0]}{more}, and training is forbidden here; make it with: {command}")


def pictures(record: Record, hard: bool = False) -> list[Picture] | list[Scene]:
    """The record's test people, or its hard cases: the image, the true and the predicted keypoints.

    Of a bottom-up network its test images, whole. Raises SSHPEError where the record's data is not on this machine,
    or is not the record's.
    """
    source = sources.pin(record.experiment).data.val
    if record.experiment.bottom_up:
        return _scenes(record, source)
    instances = sources.instances(source)
    row_of = {int(identity): row for row, identity in enumerate(instances.annotation_ids)}
    drawn = []
    for example in record.hard_cases if hard else record.examples:
        if example.annotation_id not in row_of:
            raise SSHPEError(
                f"record {record.key}: {instances.source} has no annotation {example.annotation_id}, so "
                "these are not the record's test people; check out the commit that the record names"
            )
        row = row_of[example.annotation_id]
        image = read_image(instances.path(row), f"{instances.source}, annotation {example.annotation_id}")
        truth, box = instances.keypoints[row], instances.boxes[row]
        drawn.append(Picture(image, np.array(example.keypoints), truth, box, instances.skeleton))
    return drawn


def _scenes(record: Record, source: Source) -> list[Scene]:
    images, instances = sources.whole_images(source), sources.instances(source)
    row_of = {int(number): row for row, number in enumerate(images.ids)}
    drawn, joints = [], len(images.skeleton)
    for example in record.scenes:
        if example.image_id not in row_of:
            raise SSHPEError(
                f"record {record.key}: {images.source} has no image {example.image_id}, so these are not the record's "
                "test images; check out the commit that the record names"
            )
        image = images.read(row_of[example.image_id], ImageCache())
        found = np.array(example.people).reshape(-1, joints, 3)
        truth = instances.keypoints[instances.image_ids == example.image_id]
        drawn.append(Scene(image, found, truth, images.skeleton))
    return drawn
