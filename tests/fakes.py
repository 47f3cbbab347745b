"""Records that nobody trained: valid, with made-up numbers, for whatever reads records."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from sshpe_lib import profiles, records, tables
from sshpe_lib.config import Experiment
from sshpe_lib.records import Example, Point, Provenance, Record
from sshpe_lib.report import Result, Study
from sshpe_lib.study import Wanted, wanted
from sshpe_lib.tables import Cell, Table

VERSIONS = {"python": "3.11.0", "torch": "2.13.0"}
PEOPLE, KEYPOINTS = 3, 17


def record(experiment: Experiment, ap: float = 20.0, points: int = 10, **provenance: object) -> Record:
    """A record that ends at `ap` percent; where the teacher averages, the student ends 0.5 below."""
    averages = experiment.teacher.kind in ("ema", "eman")
    metrics = {"student": statistics(ap - 0.5 * averages)} | ({"teacher": statistics(ap)} if averages else {})
    return Record(
        key=experiment.key(),
        experiment=experiment,
        headline="teacher" if averages else "student",
        metrics=metrics,
        curve=tuple(curve(experiment, metrics, points)),
        examples=tuple(
            Example(image_id=1 + i, annotation_id=1 + i, keypoints=((10.0, 20.0, 0.5),) * KEYPOINTS)
            for i in range(PEOPLE)
        ),
        provenance=Provenance(**(facts(experiment) | provenance)),
    )


def statistics(ap: float) -> dict[str, float]:
    """COCO statistics in percent around `ap`."""
    found = {"AP": ap, "AP50": ap + 30, "AP75": ap - 5, "APM": ap - 2, "APL": ap + 2, "AR": ap + 10}
    return {name: min(max(value, 0.0), 100.0) for name, value in found.items()}


def curve(experiment: Experiment, metrics: dict[str, dict[str, float]], points: int) -> list[Point]:
    """A learning curve that rises to the AP in `metrics`; no teacher before the end of the burn-in."""
    steps, rng = 2000, np.random.default_rng(experiment.train.seed)
    drawn = []
    for i in range(1, points + 1):
        step, teaching = steps * i // points, i / points > experiment.train.burn_in
        rise = 1 - np.exp(-4 * i / points) + np.exp(-4) + rng.normal(0, 0.02) * (i < points)
        unlabeled = teaching and experiment.semi_supervised
        drawn.append(
            Point(
                step=step,
                loss=2e-3 * np.exp(-2 * i / points) * (1.5 if unlabeled else 1),
                supervised=2e-3 * np.exp(-2 * i / points),
                consistency=1e-3 * np.exp(-i / points) if unlabeled else None,
                student_ap=metrics["student"]["AP"] * rise,
                teacher_ap=metrics["teacher"]["AP"] * rise if teaching and "teacher" in metrics else None,
            )
        )
    return drawn


def facts(experiment: Experiment) -> dict[str, object]:
    """Provenance of a machine that does not exist."""
    return {
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": False,
        "versions": VERSIONS,
        "device": "a processor",
        "threads": 2,
        "world_size": 1,
        "seconds": 61.2,
        "started": "2026-01-01T00:00:00+00:00",
        "checkpoint_sha256": "ab" * 32,
        "data": {
            "labeled": experiment.data.labels or 48,
            "val": 5_000 if experiment.bottom_up else 6_352,
        },  # COCO's
        "command": f"sshpe reproduce {experiment.key()}",
    }


def spread_ap(cell: Cell, seed: int) -> float:
    """An AP for a cell and a seed: 20 for the baseline, from 22 on for the others, seeds 0.4 apart."""
    base = 20.0 if cell.method == "supervised" else 22.0 + float(cell.row)
    return base + 0.4 * (seed - 1)


def study(
    profile: str = "quick",
    seeds: int = 3,
    table: Table | None = None,
    ap: Callable[[Cell, int], float] = spread_ap,
    cells: tuple[Cell, ...] | None = None,
) -> Study:
    """A study of fake records; of table 4 with ResNet-18, or of all cells of a table, unless told otherwise."""
    chosen = table or tables.load_table("table4")
    if cells is None:
        cells = chosen.cells if table else tuple(one for one in chosen.cells if one.column == "ResNet-18")
    table = chosen
    results = [_result(one, ap) for one in wanted(table, cells, profile, seeds)]
    baselines = [_result(one, ap) for one in wanted(table, table.baselines(cells), profile, seeds)]
    description = profiles.load_profile(profile).description
    return Study(table, profile, seeds, tuple(results), tuple(baselines), description)


def of_two_amounts(seeds: int = 1) -> Study:
    """A study whose two rows have other numbers of labels, and so baselines of their own: from 10 and from 30 on."""
    cells = tuple(Cell(row=amount, column="AP", method="pose-mum", amount=amount) for amount in ("1K", "5K"))
    table = tables.load_table("table4").model_copy(update={"cells": cells, "baseline_paper": {}})
    return study("smoke", seeds, table, ap=lambda cell, seed: {"1K": 10.0, "5K": 30.0}[cell.amount] + seed**2)


def _result(one: Wanted, ap: Callable[[Cell, int], float]) -> Result:
    fakes = tuple(record(experiment, ap(one.cell, experiment.train.seed)) for experiment in one.experiments)
    return Result(one.cell, fakes, one.not_run)


def unpinned(params: Path, folder: Path) -> Path:
    """A copy of params/ in `folder` with one more profile, `photos`, on files that are nowhere."""
    shutil.copytree(params, folder / "params")
    profile = profiles.read_yaml(folder / "params" / "profiles" / "smoke.yaml")
    source = {"kind": "coco", "annotations": "photos/people.json", "images": "photos"}
    profile["base"]["data"] |= {"labeled": source, "val": source}
    text = yaml.safe_dump(profile | {"title": "photos"})
    (folder / "params" / "profiles" / "photos.yaml").write_text(text)
    return folder / "params"


def write(made: Study, folder: Path) -> list[Record]:
    """Write every record of a study into a folder."""
    written = [one for _, one in made.runs()]
    for one in written:
        records.write(folder, one)
    return written
