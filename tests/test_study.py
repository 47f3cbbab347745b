"""A table's records: found, trained where they are missing, or asked for by name; the overview of tables."""

from __future__ import annotations

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml

from sshpe_lib import experiment, paths, pool, profiles, records, report, tables
from sshpe_lib import study as studies
from sshpe_lib.config import Experiment
from sshpe_lib.data import sources
from sshpe_lib.errors import SSHPEError
from sshpe_lib.machine import Machine
from sshpe_lib.overview import Line, overview
from sshpe_lib.plan import lines
from sshpe_lib.records import Example, Record, SceneExample
from sshpe_lib.study import check_rows, pictures, study
from sshpe_lib.tables import Cell
from tests import choices, fakes


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of records."""
    monkeypatch.setenv("SSHPE_RECORDS", str(tmp_path / "records"))
    monkeypatch.delenv("SSHPE_TRAINING", raising=False)
    monkeypatch.delenv("SSHPE_DATA", raising=False)
    return tmp_path / "records"


@pytest.fixture
def photos(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a profile whose data is not on this machine."""
    params = fakes.unpinned(repository / "params", tmp_path)
    monkeypatch.setattr(paths, "params", lambda: params)
    return "photos"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """What was trained, in order: training is replaced by writing a fake record."""
    asked = []

    def run_all(experiments: list, machine: Machine, jobs: int, records_folder: Path) -> list[Record]:
        asked.extend(experiments)
        for one in experiments:
            records.write(records_folder, fakes.record(one))
        return [fakes.record(one) for one in experiments]

    def run(one: Experiment, machine: Machine | None, *, records_folder: Path | None = None) -> Record:
        return run_all([one], machine, 1, records_folder or paths.records())[0]

    monkeypatch.setattr(pool, "run_all", run_all)
    monkeypatch.setattr(experiment, "run", run)
    return asked


def test_rows_are_checked_before_the_study_of_another() -> None:
    check_rows("aid_table5", "E1", "E5")
    with pytest.raises(SSHPEError, match="aid_table5 has no row 'E9'; choose one of"):
        check_rows("aid_table5", "E1", "E9")


@pytest.mark.parametrize(("row", "several"), [("all", "E1, E2, E3, E4, E5"), ("aid-cutout", "E2, E4, E5")])
def test_a_row_is_not_several(row: str, several: str) -> None:
    told = f"row '{row}' of aid_table5 is several, and one is wanted; choose one of: {several}$"
    with pytest.raises(SSHPEError, match=told):
        check_rows("aid_table5", "E1", row)


def test_figure_3_of_aid_names_the_rows_that_it_shows(
    trained: list, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = nbformat.read(repository / "notebooks" / "aid_figure3.ipynb", 4)
    lines = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    shown = {}
    monkeypatch.setattr(studies, "pictures", lambda record, hard: record.key)
    monkeypatch.setattr(import_module("sshpe_lib.report.people"), "rows_of_people", shown.update)
    asked = 'profile, without, dropping = "smoke", "E2", "E4"'
    exec("\n".join([*lines[:2], asked, *lines[2:]]), {})
    assert shown == {"E2, AID on": trained[0].key(), "E4, AID on": trained[1].key()}


def test_what_is_missing_is_trained_once_and_found_afterwards(trained: list, folder: Path) -> None:
    first = study("table4", "smoke")
    assert len(trained) == 6 and len({e.key() for e in trained}) == 6
    assert {path.stem for path in folder.iterdir()} == {e.key() for e in trained}
    assert study("table4", "smoke") == first
    assert len(trained) == 6
    assert study("table4", "smoke", seeds=2).results[0].records[0] == first.results[0].records[0]
    assert [e.train.seed for e in trained[6:]] == [1] * 6


def test_only_what_is_missing_is_trained_and_each_is_announced(
    trained: list, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    fakes.write(fakes.study("smoke", seeds=1), folder)
    lost = tables.experiment("smoke", "pose-mum+", set={"teacher.decay": 0.99})
    records.path_of(folder, lost.key()).unlink()
    made = study("table4", "smoke")
    assert [e.key() for e in trained] == [lost.key()]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("training 1 run") and line.endswith(": 0.99, ResNet-18, seed 0")
    assert [result.cell.row for result in made.results if result.not_run] == made.table.rows()  # ResNet-101
    study("table4", "smoke", seeds=2, row=0.5, machine=Machine(progress=False))
    assert len(trained) == 3 and capsys.readouterr().out == ""


def test_processes_that_train_together_miss_what_the_first_one_misses(
    trained: list, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many records are written between its look and theirs."""
    fakes.write(fakes.study("smoke", seeds=1), folder)
    monkeypatch.setattr(Machine, "agreed", lambda machine, find: {})
    study("table4", "smoke", machine=Machine(progress=False))
    assert len(trained) == 6


def test_cells_of_one_experiment_are_trained_once(trained: list, capsys: pytest.CaptureFixture) -> None:
    table = tables.load_table("table4")
    twice = table.model_copy(
        update={"cells": (*table.cells, table.cells[0].model_copy(update={"row": "again"}))}
    )
    made = study(twice, "smoke")
    assert len(trained) == 6
    assert made.results[-1].records == made.results[0].records
    assert len(list(made.runs())) == 6
    told = capsys.readouterr().out
    assert "0.999, ResNet-18, seed 0" in told and "again" not in told  # the first cell names it


def test_a_folder_of_records_may_be_named(trained: list, folder: Path, tmp_path: Path) -> None:
    study("table4", "smoke", row=0.9, records_folder=tmp_path / "other")
    assert len(list((tmp_path / "other").iterdir())) == 2 and not folder.exists()


@pytest.mark.parametrize("row", [0.9, "0.9"])
@pytest.mark.parametrize("column", ["all", "resnet18", "ResNet-18"])
def test_a_row_and_a_column(trained: list, row: object, column: str) -> None:
    made = study("table4", "smoke", row=row, column=column)
    run = [result for result in made.results if result.records]
    assert [(result.cell.row, result.cell.column) for result in run] == [("0.9", "ResNet-18")]
    assert [e.teacher.decay for e in trained] == [None, 0.9]
    assert [result.cell.method for result in made.baselines if result.records] == ["supervised"]


def test_the_profiles_number_of_seeds_is_the_default(trained: list) -> None:
    seeds = profiles.load_profile("quick").seeds
    assert study("table4", "quick", row=0.6, column="ResNet-18").seeds == seeds
    assert sorted(e.train.seed for e in trained) == sorted([*range(seeds), *range(seeds)])


@pytest.mark.parametrize("row", ["jc-single", "JC Augment-s", "jc augment-s"])
def test_a_row_may_be_asked_for_by_its_method(trained: list, row: str) -> None:
    made = study("table3", "smoke", row=row)
    assert [result.cell.row for result in made.results] == ["JC Augment-s"]
    assert [e.augment.strong and e.augment.strong[0].kind for e in trained] == [(), "joint_cutout"]


@pytest.mark.parametrize("row", ["0.90", "0.900", "9e-1", ".9"])
def test_a_row_is_a_number_however_it_is_written(trained: list, row: str) -> None:
    made = study("table4", "smoke", row=row, column="resnet18")
    assert [result.cell.row for result in made.results] == ["0.9"]


def test_the_baseline_may_be_asked_for_and_stands_alone(trained: list) -> None:
    made = study("table4", "smoke", row="supervised")
    assert made.results == () and [e.teacher.kind for e in trained] == ["none"]
    assert [one.cell.column for one in made.baselines if one.records] == ["ResNet-18"]
    assert made.best == made.baselines[0].records[0]
    lines = repr(report.table(made)).splitlines()
    assert sum(line.startswith("supervised") for line in lines) == 2  # one a column
    one = study("table5", "smoke", row="supervised, 5K", column="resnet18")
    assert [(cell.row, cell.column) for cell in (b.cell for b in one.baselines)] == [
        ("supervised, 5K", "ResNet-18")
    ]
    many = study("table5", "smoke", row="Supervised", column="resnet18")
    assert len(many.baselines) == 3 and many.results == ()


def test_an_amount_of_labels(trained: list) -> None:
    made = study("table5", "smoke", amount="5k", column="resnet18")
    assert [result.cell.row for result in made.results] == ["JC Augment-s, 5K", "Pose-MUM+, 5K"]
    assert [result.cell.row for result in made.baselines] == ["supervised, 5K"]
    assert {e.data.labels for e in trained} == {24} and len(trained) == 3
    assert made.reference_of(made.results[1].cell) is made.results[0]


@pytest.mark.parametrize(
    ("marks", "rows"),
    [
        ({"N_G": 2}, ["groups of 2"]),
        ({"N_G": "4", "unmix after": "all"}, ["MUM", "unmix after layer 2", "unmix after decoder"]),
        ({"N_G": "all", "unmix after": "layer2"}, ["unmix after layer 2"]),
    ],
)
def test_marks_choose_rows(trained: list, marks: dict, rows: list[str]) -> None:
    made = study("table1", "smoke", marks=marks)
    assert [result.cell.row for result in made.results] == rows
    assert len(trained) == len(rows) + 1  # and the baseline


@pytest.mark.parametrize("seeds", [0, -1, 1.5, "3", True])
def test_seeds_are_a_whole_number(trained: list, seeds: object) -> None:
    with pytest.raises(SSHPEError, match=f"seeds is {seeds!r}; give a whole number from 1 on"):
        study("table4", "smoke", seeds=seeds)
    assert not trained


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"table": "table44"}, "no table .*table44.yaml; choose one of: .*table4"),
        ({"profile": "fast"}, "no profile 'fast' in .*; choose one of: .*quick, smoke"),
        (
            {"row": 0.95},
            "table4 has no row 0.95; choose one of: all, 0.999, 0.99, 0.9, 0.6, 0.5, supervised$",
        ),
        (
            {"column": "resnet50"},
            "table4 has no column 'resnet50'; choose one of: all, ResNet-18, ResNet-101",
        ),
        (
            {"column": "resnet101"},
            "profile smoke runs nothing of what is asked of table4: a ResNet-101 is not run",
        ),
        ({"row": "jc-single"}, "table4 has no row 'jc-single'; choose one of: all, 0.999"),
        ({"amount": "2K"}, "table4 has no amount '2K'; choose one of: all, 1K"),
        ({"marks": {"N_G": 4}}, "table4 has no column of marks 'N_G'; it has: none"),
        (
            {"table": "table1", "marks": {"N_G": 3}},
            "table1 has no N_G 3; choose one of: all, 4, 2",
        ),
        (
            {"table": "table1", "marks": {"N_G": 2, "unmix after": "decoder"}},
            "table1 has no cell with N_G 2, unmix after 'decoder' together",
        ),
        ({"profile": "photos"}, "photos/people.json: where is the data. Set SSHPE_DATA"),
    ],
)
def test_a_wrong_request_is_one_error_before_anything_is_trained(
    trained: list, photos: str, arguments: dict, message: str
) -> None:
    with pytest.raises(SSHPEError, match=message) as caught:
        study(**({"table": "table4", "profile": "smoke"} | arguments))
    assert "\n" not in str(caught.value)
    assert not trained


def test_where_training_is_forbidden_the_command_is_named(
    trained: list, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSHPE_TRAINING", "forbidden")
    with pytest.raises(
        SSHPEError, match="no record [0-9a-f]{16} and 5 more, and training is forbidden here"
    ) as caught:
        study("table4", "smoke")
    assert str(caught.value).endswith("make it with: sshpe run table4 --profile smoke --seeds 1")
    monkeypatch.delenv("SSHPE_TRAINING")
    with pytest.raises(SSHPEError, match="training is forbidden here"):
        study("table4", "smoke", train=False)
    assert not trained
    written = fakes.write(fakes.study("smoke", seeds=1), folder)
    assert [record for _, record in study("table4", "smoke").runs()] == written


def mine(tmp_path: Path, **values: object) -> str:
    """A table in a file of one's own: Table 4 with other entries."""
    path = tmp_path / "mine.yaml"
    whole = tables.load_table("table4").model_dump(mode="json", exclude={"name"})
    path.write_text(yaml.safe_dump(whole | values))
    return str(path)


def test_the_command_that_is_named_makes_what_was_asked(
    trained: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table as it was typed, the row and the column."""
    monkeypatch.setenv("SSHPE_TRAINING", "forbidden")
    typed = mine(tmp_path)
    for asked, options in (
        ({}, ""),
        ({"row": 0.9, "column": "ResNet-18"}, " --row 0.9 --column ResNet-18"),
        ({"row": "pose-mum+", "column": "all"}, " --row pose-mum+"),
    ):
        with pytest.raises(SSHPEError) as caught:
            study(typed, "smoke", **asked)
        assert str(caught.value).endswith(f"with: sshpe run {typed} --profile smoke --seeds 1{options}")
    monkeypatch.chdir(tmp_path)
    for named in ("./mine.yaml", "a table.yaml"):
        Path(named).write_text(Path(typed).read_text())
        with pytest.raises(SSHPEError, match=f"sshpe run {shlex.quote(named)} --profile"):
            study(named, "smoke")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"metric": "AP-vis"},
            "metric: 'AP-vis' is not measured of row '0.999', column 'ResNet-18' on the profile smoke; "
            "set evaluate.visibility, or choose one of: AP, AP50",
        ),
        ({"metric": "AP-easy"}, "metric: 'AP-easy' is not measured .* smoke; choose one of: AP, AP50, AP75"),
        ({"others": ["AP50", "APl"]}, "others: no metric 'APl'; choose among: AP, .*APL"),
        (
            {"cells": [{"row": "a", "column": "b", "method": "mum", "multi_scale": True}], "baseline_paper": {}},
            "row 'a', column 'b': multi_scale: the profile smoke does not test it at several scales",
        ),
        (
            {"cells": [{"row": "a", "column": "b", "method": "mmu"}], "baseline_paper": {}},
            "row 'a', column 'b': no method 'mmu'; choose one of: ",
        ),
        (
            {"cells": [{"row": "a", "column": "b", "method": "mum", "backbone": "resnet19"}], "baseline_paper": {}},
            "row 'a', column 'b': no backbone 'resnet19'; choose one of: resnet18, ",
        ),
        ({"cells": [], "baseline_paper": {}}, "cells is empty; give it a cell at least"),
        (
            {
                "cells": [
                    {
                        "row": "a", "column": "b", "method": "mum",
                        "set": {"augment.strong": [{"kind": "random_erasing", "area": [0.4, 0.02]}]},
                    }
                ],
                "baseline_paper": {},
            },
            "row 'a', column 'b': .*augment.strong.0.random_erasing.area: give numbers of 0 to 1, the smaller first",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_table_is_one_error_that_names_file_and_entry(
    trained: list, tmp_path: Path, values: dict, message: str
) -> None:
    typed = mine(tmp_path, **values)
    for ask in (study, lines.make):
        with pytest.raises(SSHPEError, match=f"^{re.escape(typed)}: {message}") as caught:
            ask(typed, "smoke")
        assert "\n" not in str(caught.value)
    assert not trained


@pytest.mark.parametrize("others", [["AP-vis", "AP-easy"], ["APM", "ARL"]])
def test_a_table_may_list_metrics_that_a_profile_does_not_measure(
    trained: list, tmp_path: Path, others: list[str]
) -> None:
    typed = mine(tmp_path, others=others)
    assert "–" in report.to_text(study(typed, "smoke", row=0.6))


def test_what_another_profile_has_is_not_run_on_this_one(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tmp_path / "params"
    shutil.copytree(repository / "params", params)
    small = yaml.safe_load((params / "profiles" / "smoke.yaml").read_text())
    small["backbones"] = {"resnet18": small["backbones"]["resnet18"]}
    (params / "profiles" / "small.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.setattr(paths, "params", lambda: params)
    reasons = {one.not_run for one in studies.wanted(*_cells("table4"), "small", 1)}
    assert reasons == {None, "no backbone 'resnet101'; choose one of: resnet18"}


def _cells(name: str) -> tuple[tables.Table, tuple[Cell, ...]]:
    table = tables.load_table(name)
    return table, table.cells


def test_finding_records_loads_no_torch(folder: Path) -> None:
    import os
    import subprocess
    import sys

    fakes.write(fakes.study("smoke", seeds=1), folder)
    code = """
        import sys
        from sshpe_lib import report
        from sshpe_lib.study import study
        print(report.to_text(study("table4", "smoke")))
        assert "torch" not in sys.modules and "matplotlib" not in sys.modules
    """
    words = [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=os.environ.copy())
    assert done.returncode == 0, done.stderr
    assert "0.999" in done.stdout


def test_baselines_one_for_every_column_backbone_and_amount() -> None:
    table = tables.load_table("table4")
    two = table.baselines(table.cells)
    assert [(cell.row, cell.column, cell.backbone, cell.paper) for cell in two] == [
        ("supervised", "ResNet-18", "resnet18", 31.5),
        ("supervised", "ResNet-101", "resnet101", None),
    ]
    assert table.model_copy(update={"baseline": None}).baselines(table.cells) == []
    table = tables.load_table("table5")
    chosen = [cell for cell in table.cells if cell.amount == "5K"]
    assert [(cell.row, cell.amount, cell.paper) for cell in table.baselines(chosen)] == [
        ("supervised, 5K", "5K", 46.4),
        ("supervised, 5K", "5K", None),
    ]
    cells = (
        Cell(row="mum", column="all", method="mum"),
        Cell(row="mum 101", column="all", method="mum", backbone="resnet101"),
    )
    mixed = table.model_copy(update={"cells": cells, "baseline_paper": {"all": 31.5}})
    rows = [(cell.row, cell.paper) for cell in mixed.baselines(cells)]
    assert rows == [("supervised, resnet18", None), ("supervised, resnet101", None)]


def test_a_cell_finds_its_own_baseline() -> None:
    made = fakes.study("smoke", seeds=1)
    for result in made.results:
        assert made.baseline_of(result.cell).cell.backbone == result.cell.backbone
    assert made.baseline_of(made.results[0].cell.model_copy(update={"amount": "5K"})) is None


def test_a_cell_finds_the_reference_beside_it() -> None:
    made = fakes.study("smoke", 1, tables.load_table("table5"), ap=lambda cell, seed: 20.0)
    for result in made.results:
        found = made.reference_of(result.cell).cell
        assert found.method == "jc-single"
        assert (found.column, found.amount) == (result.cell.column, result.cell.amount)
    assert fakes.study("smoke", 1).reference_of(made.results[0].cell) is None


def test_pictures_are_the_records_people() -> None:
    source = tables.experiment("smoke", "pose-mum+")
    people = sources.instances(source.data.val)
    chosen = [3, 0]
    keypoints = tuple((float(i), 2.0 * i, 0.5) for i in range(17))
    examples = tuple(
        Example(image_id=people.image_ids[i], annotation_id=people.annotation_ids[i], keypoints=keypoints)
        for i in chosen
    )
    record = fakes.record(source).model_copy(update={"examples": examples})
    drawn = pictures(record)
    assert len(drawn) == 2
    hard = pictures(record.model_copy(update={"hard_cases": examples[1:]}), hard=True)
    assert len(hard) == 1 and np.array_equal(hard[0].image, drawn[1].image)
    for one, row in zip(drawn, chosen, strict=True):
        width, height = people.image_sizes[people.image_index[row]]
        assert one.image.shape == (height, width, 3) and one.image.dtype == np.uint8
        assert np.array_equal(one.predicted, keypoints)
        assert np.array_equal(one.truth, people.keypoints[row])
        assert np.array_equal(one.box, people.boxes[row])
        assert one.skeleton == people.skeleton
    stranger = examples[0].model_copy(update={"annotation_id": 10**6})
    with pytest.raises(
        SSHPEError, match=f"record {record.key}: .* has no annotation 1000000, so these are not"
    ):
        pictures(record.model_copy(update={"examples": (stranger,)}))


def test_scenes_have_the_people_of_their_images() -> None:
    source = tables.experiment("smoke", "udpv1", **choices.WHOLE)
    people = sources.instances(sources.pin(source).data.val)
    ids = people.image_ids[[0, -1]].tolist()
    scenes = tuple(SceneExample(image_id=number, people=(), scores=()) for number in ids)
    drawn = pictures(fakes.record(source).model_copy(update={"scenes": scenes}))
    for number, one in zip(ids, drawn, strict=True):
        assert np.array_equal(one.truth, people.keypoints[people.image_ids == number])


def test_overview_counts_baselines_and_cells(folder: Path) -> None:
    def line() -> Line:
        return next(line for line in overview("smoke") if line.table == "table4")

    assert line() == Line("table4", "smoke", 0, 6, "sshpe run table4 --profile smoke")
    written = fakes.write(fakes.study("smoke", seeds=1), folder)
    assert line() == Line("table4", "smoke", 6, 6, "")
    records.path_of(folder, written[0].key).unlink()
    assert line() == Line("table4", "smoke", 5, 6, "sshpe run table4 --profile smoke")


def test_overview_counts_what_is_shared_in_every_table_that_shows_it(folder: Path) -> None:
    fakes.write(fakes.study("smoke", 1, tables.load_table("table3"), ap=lambda cell, seed: 20.0), folder)
    done = {line.table: (line.done, line.total) for line in overview("smoke")}
    # the supervised baseline everywhere; MUM in Table 1, Single in Table 2, JC Augment-s in Table 5
    assert [done[f"table{number}"] for number in range(1, 6)] == [(2, 5), (2, 5), (8, 8), (1, 6), (2, 9)]
    # Table 2's Single again; supervised, Single and Pose-MUM of the fewest labels
    assert done["figure3_4"] == (1, 4) and done["photographs"] == (3, 12)


def test_overview_counts_an_experiment_of_several_cells_once(monkeypatch: pytest.MonkeyPatch) -> None:
    load = tables.load_table

    def twice(name: str) -> tables.Table:
        table = load(name)
        again = [cell.model_copy(update={"row": f"{cell.row} again"}) for cell in table.cells]
        return table.model_copy(update={"cells": (*table.cells, *again)})

    once = {line.table: line.total for line in overview("smoke")}
    monkeypatch.setattr(tables, "load_table", twice)
    assert {line.table: line.total for line in overview("smoke")} == once


def test_overview_leaves_out_what_a_profile_does_not_run() -> None:
    """Such as a table that nobody but the paper can measure."""
    shown = {line.table for line in overview("smoke")}
    unmeasured = {name for name in tables.names() if tables.load_table(name).unmeasured}
    assert unmeasured and not shown & unmeasured


def test_overview_of_all_profiles_says_whose_data_is_missing(photos: str) -> None:
    lines = {line.profile: line for line in overview() if line.table == "table4"}
    assert {"lsp", "paper", "photos", "quick", "smoke"} <= set(lines)
    total = 12 * profiles.load_profile("quick").seeds  # two networks
    assert lines["quick"] == Line("table4", "quick", 0, total, "sshpe run table4 --profile quick")
    seeds = profiles.load_profile(photos).seeds
    assert (lines[photos].done, lines[photos].total) == (0, 6 * seeds)
    assert "Set SSHPE_DATA" in lines[photos].trouble


def test_overview_of_an_unknown_profile_is_an_error() -> None:
    with pytest.raises(SSHPEError, match="no profile 'fast'"):
        overview("fast")


def test_public_names_stay() -> None:
    assert {"Result", "Study", "pictures", "study"} <= set(studies.__all__)


def test_a_machine_that_cannot_run_is_told_once_and_nothing_is_started(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pool, "run_all", lambda *_: pytest.fail("a run was started"))
    with pytest.raises(SSHPEError, match="^2 devices want a process each: [^;]*$"):
        study("table4", "smoke", machine=Machine(accelerator="cpu", devices=2), records_folder=tmp_path)
