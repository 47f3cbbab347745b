"""The tables of Pose-MUM: the paper's numbers, what each row trains, and what they share."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshpe_lib import profiles, recipe, records, tables
from sshpe_lib.config import Experiment
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.multi_scale import region
from sshpe_lib.tables import Cell, Table
from tests import choices

NAMES = ("table1", "table2", "table3", "table4", "table5")


def cell(name: str, row: str, column: str = "ResNet-18") -> Cell:
    return next(c for c in tables.load_table(name).cells if (c.row, c.column) == (row, column))


def made(name: str, row: str, column: str = "ResNet-18", profile: str = "quick") -> Experiment:
    """The first seed's experiment of a cell."""
    one = cell(name, row, column)
    return tables.experiment(profile, one.method, backbone=one.backbone, amount=one.amount, set=one.set)


def kinds(experiment: Experiment) -> list[str]:
    return [operation.kind for operation in experiment.augment.strong]


def test_every_file_that_is_not_shared_settings_is_a_table(repository: Path, tmp_path: Path) -> None:
    files = {path.stem for path in (repository / "params").glob("*.yaml")}
    assert {"figure3_4", "photographs", *NAMES} < set(tables.names())
    assert {*tables.names(), *tables.SETTINGS} == files
    assert all(tables.load_table(name).cells for name in tables.names())
    for name in ("mine", "methods"):
        (tmp_path / f"{name}.yaml").touch()
    assert tables.names(tmp_path) == ["mine"]
    with pytest.raises(SSHPEError, match="no table .*yours.yaml; choose one of: mine$"):
        tables.load_table("yours", tmp_path)


PAPER = {
    "table1": [45.5, 44.6, 39.2, 45.0],
    "table2": [38.44, 35.94, 36.31, 38.63],
    "table3": [38.5, 42.1, 41.9, 43.8, 45.5, 46.12, 46.48],
    "table4": [44.33, 45.13, 46.47, 46.9, 45.91, 46.13, 47.29, 48.94, 47.64, 48.8],
    "table5": [42.1, 46.9, 52.3, 56.46, 57.3, 59.53, 46.86, 48.94, 56.7, 60.72, 62.32, 64.65],
}


def baseline_of(table: tables.Table, column: str, amount: str) -> tables.Cell:
    """The baseline beside the cells of a column and amount of labels."""
    return next(
        table.baseline_cell(cell) for cell in table.cells if (cell.column, cell.amount) == (column, amount)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_table_carries_the_numbers_of_the_paper(name: str) -> None:
    table = tables.load_table(name)
    assert [c.paper for c in table.cells] == PAPER[name]
    assert table.title.startswith(f"Table {name[-1]}. ") and table.citation == "kim2022posemum"
    assert table.baseline_cell(table.cells[0]).paper == 31.5


def test_the_papers_largest_and_smallest_gains_of_table_5() -> None:
    """Section 4.4: "from a minimum of 2.1%p to a maximum of 4.8%p over the protocols"."""
    papers = {(c.row, c.column): c.paper for c in tables.load_table("table5").cells}
    gains = [
        papers[f"Pose-MUM+, {amount}", column] - papers[f"JC Augment-s, {amount}", column]
        for column in ("ResNet-18", "ResNet-101")
        for amount in ("1K", "5K", "10K")
    ]
    assert (round(min(gains), 1), round(max(gains), 1)) == (2.1, 4.8)


@pytest.mark.parametrize("profile", ["smoke", "quick", "lsp", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_an_experiment_or_says_why_not(name: str, profile: str) -> None:
    for one, made in tables.cell_experiments(tables.load_table(name), profile, 2):
        if isinstance(made, str):
            assert one.backbone == "resnet101" and profile != "paper"
        else:
            assert len(made) == 2 and all(isinstance(value, Experiment) for value in made)


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
@pytest.mark.parametrize("name", ["aid_table1", "aid_table3"])
def test_whole_images_are_tested_at_the_size_that_they_are_trained_at(name: str, profile: str) -> None:
    """At one scale and at several: rounded up to other sides, people have sizes that the network has never seen."""
    table = tables.load_table(name)
    cells = [one for _, one in tables.cell_experiments(table, profile, 1) if not isinstance(one, str)]
    whole = [one for (one,) in cells if one.bottom_up]
    assert whole
    for one in whole:
        side = one.data.input_size[0]
        for smallest in (1.0, min(one.evaluate.multi_scale or (1.0,))):
            assert region((side, side), side, 1, smallest, unbiased=True).size == (side, side)


SHARED = [
    [("table1", "MUM"), ("table3", "MUM")],
    [("table2", "Single"), ("table3", "Affine Augment-s")],
    [("table3", "JC Augment-s"), ("table5", "JC Augment-s, 1K")],
    [("table4", "0.6"), ("table5", "Pose-MUM+, 1K")],
]
DEEPER = [("table4", "0.9"), ("table5", "Pose-MUM+, 1K")]  # with ResNet-101


@pytest.mark.parametrize("rows", SHARED, ids=lambda rows: rows[0][1])
def test_rows_of_several_tables_are_one_experiment(rows: list[tuple[str, str]]) -> None:
    assert len({made(*row).key() for row in rows}) == 1


def test_pose_mum_plus_of_resnet_101_is_shared_too() -> None:
    assert made("table4", "0.9", "ResNet-101", "paper") == made(
        "table5", "Pose-MUM+, 1K", "ResNet-101", "paper"
    )


def test_nothing_else_is_shared() -> None:
    shown = {}
    for name in NAMES:
        for one, made in tables.cell_experiments(tables.load_table(name), "quick", 1):
            for value in made if not isinstance(made, str) else ():
                shown.setdefault(value.key(), []).append((name, one.row))
    assert sorted(rows for rows in shown.values() if len(rows) > 1) == sorted([*SHARED, DEEPER])
    assert len(shown) == 32  # and the supervised baseline for three amounts of labels


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_the_same_supervised_baseline(name: str) -> None:
    baseline = baseline_of(tables.load_table(name), "ResNet-18", "1K")
    assert tables.experiment("quick", baseline.method).key() == tables.experiment("quick", "supervised").key()


def test_what_table_1_varies() -> None:
    mums = {row: made("table1", row).augment.strong[-1] for row in tables.load_table("table1").rows()}
    assert {row: (mum.group, mum.unmix, mum.tiles, mum.sites) for row, mum in mums.items()} == {
        "MUM": (4, "encoder", (4, 3), ()),
        "groups of 2": (2, "encoder", (4, 3), ()),
        "unmix after layer 2": (4, "layer2", (4, 3), ()),
        "unmix after decoder": (4, "decoder", (4, 3), ()),
    }
    for row, mum in mums.items():
        assert cell("table1", row).marks["N_G"] == str(mum.group)
        assert cell("table1", row).marks["unmix after"].replace(" ", "") == mum.unmix


def test_what_table_2_varies() -> None:
    teachers = {row: made("table2", row).teacher for row in tables.load_table("table2").rows()}
    assert {row: (one.kind, one.decay) for row, one in teachers.items()} == {
        "Single": ("single", None),
        "EMA 0.999": ("ema", 0.999),
        "EMA 0.6": ("ema", 0.6),
        "EMAN 0.6": ("eman", 0.6),
    }
    assert {tuple(kinds(made("table2", row))) for row in teachers} == {("affine",)}


def test_the_marks_of_table_3_are_its_operations() -> None:
    operations = {"Affine": "affine", "Rand Augment": "rand_augment", "Joint Cutout": "joint_cutout"}
    for one in tables.load_table("table3").cells:
        experiment = made("table3", one.row)
        expected = {operations[mark] for mark in one.marks if mark in operations}
        mixes = [operation for operation in experiment.augment.strong if operation.kind == "mum"]
        assert set(kinds(experiment)) - {"mum"} == expected
        assert bool(mixes) == ("MUM" in one.marks or "Pose-MUM" in one.marks)
        assert all(bool(mix.sites) == ("Pose-MUM" in one.marks) for mix in mixes)
        assert set(one.marks.values()) == {"✓"} and experiment.teacher.kind == "single"


def test_cuts_and_colours_come_before_the_affine_and_mixing_after() -> None:
    dropping = ["random_erasing", "information_cutout", "hide_and_seek", "grid_mask"]
    order = [*dropping, "rand_augment", "joint_cutout", "cutout", "cut_occlude", "affine", "mum"]
    for name in profiles.load_methods():
        found = kinds(tables.experiment("quick", name, **choices.of(name)))
        assert found == sorted(found, key=order.index), name


def test_table_5_uses_the_best_decay_of_its_backbone() -> None:
    for one in tables.load_table("table5").cells:
        if one.method == "pose-mum+":
            decay = made("table5", one.row, one.column, "paper").teacher.decay
            assert decay == {"resnet18": 0.6, "resnet101": 0.9}[one.backbone]
            best = max(
                (c for c in tables.load_table("table4").cells if c.column == one.column),
                key=lambda c: c.paper,
            )
            assert float(best.row) == decay


def test_a_dual_method_differs_from_its_single_one_in_the_teacher_only() -> None:
    methods = profiles.load_methods()
    duals = {name.removesuffix("-dual") for name in methods if name.endswith("-dual")}
    assert duals == {"affine", "rand", "jc", "pose-mum"}
    for name in duals:
        single = methods.get(f"{name}-single") or methods[name]
        assert methods[f"{name}-dual"] == single | {"teacher": {"kind": "dual"}}


def test_methods_make_the_experiments_of_the_committed_records(repository: Path) -> None:
    """With a record's data, network, schedule and easy view, a method of today is its experiment, so has its key."""
    today = {name: tables.experiment("quick", name, **choices.of(name)) for name in profiles.load_methods()}
    found = set()
    for record in records.read_all(repository / "book" / "records"):
        wanted = record.experiment
        same = {name: getattr(wanted, name) for name in ("data", "model", "train", "evaluate", "start")}
        easy = {name: getattr(wanted.augment, name) for name in ("weak", "scene")}
        for name, one in today.items():
            same["teacher"] = one.teacher.model_copy(update={"decay": wanted.teacher.decay})
            same["augment"] = one.augment.model_copy(update=easy)
            if one.model_copy(update=same) == wanted:
                found.add(name)
                break
        else:
            pytest.fail(f"{record.key} is of no method in params/methods.yaml")
    assert {"supervised", "affine-single", "pose-mum+"} <= found


def changed(**values: object) -> dict:
    table = tables.load_table("table3").model_dump(mode="json")
    return table | values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"marks": ["Affine"]}, "cells are marked .*'Joint Cutout'.* which marks does not list"),
        ({"baseline_paper": {"ResNet18": 31.5}}, "baseline_paper names .'ResNet18'.; the columns are"),
        ({"reference": {"method": "jc", "name": "JC"}}, "reference.method is 'jc', which is no cell's"),
        (
            {"cells": [{"row": "a", "column": "b", "method": "mum"}] * 2, "reference": None, "baseline_paper": {}},
            "cells lists row 'a' of column 'b' twice",
        ),
    ],
)  # fmt: skip
def test_a_table_that_contradicts_itself_is_an_error(values: dict, message: str, tmp_path: Path) -> None:
    import yaml

    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(changed(**values)))
    with pytest.raises(SSHPEError, match=f"wrong.yaml: .*{message}"):
        tables.load_table(tmp_path / "wrong.yaml")


def test_a_baseline_needs_its_figure_only_where_there_is_one() -> None:
    table = tables.load_table("table5")
    assert isinstance(table, Table)
    assert [baseline_of(table, "ResNet-18", a).paper for a in ("1K", "5K", "10K")] == [
        31.5, 46.4, 51.1
    ]  # fmt: skip
    assert baseline_of(table, "ResNet-101", "5K").paper is None


def test_a_cell_may_be_of_another_protocol_than_its_table() -> None:
    found = 0
    for cell, made in tables.cell_experiments(tables.load_table("aid_table1"), "quick", 2):
        if cell.protocol is not None and not isinstance(made, str):
            names = ("backbone", "amount", "size", "schedule", "set", "protocol")
            chosen = {name: getattr(cell, name) for name in names}
            assert made == tuple(
                tables.experiment("quick", cell.method, seed=seed, **chosen) for seed in (0, 1)
            )
            found += 1
    assert found


def test_a_baseline_is_of_its_cells_protocol_and_size() -> None:
    table = tables.load_table("table4")
    beside = table.baseline_cell(table.cells[0].model_copy(update={"protocol": "aid", "size": "384x288"}))
    assert (beside.method, beside.protocol, beside.size) == ("supervised", "aid", "384x288")


def test_a_quoted_number_is_quoted_in_a_table_that_nobody_can_measure_too() -> None:
    table = tables.load_table("aid_table2")
    reasons = {(cell.method is None, why) for cell, why in tables.cell_experiments(table, "smoke", 1)}
    assert reasons == {(True, "quoted by the paper from other work"), (False, table.unmeasured)}


def test_a_supervised_run_has_no_settings_of_a_teachers() -> None:
    train = {"steps": 2, "burn_in": 0.5, "consistency": 2.0}
    values = {"data": {"labels": 3, "unlabeled": {}}, "train": train}
    assert recipe.supervised_only(values) == {"data": {"labels": 3}, "train": {"steps": 2}}


def test_one_slip_among_choices_is_a_slip() -> None:
    def maker(profile: profiles.Profile) -> recipe.Maker:
        return recipe.Maker("smoke", profile, profiles.load_methods(), profiles.load_schedules())

    profile = profiles.load_profile("smoke")
    assert maker(profile).misspelt(recipe.Recipe(method="mum", backbone="resnet19", amount="7K"))
    small = maker(profile.model_copy(update={"backbones": {"resnet18": profile.backbones["resnet18"]}}))
    left_out = recipe.Recipe(method="mum", backbone="hrnet-w32")
    assert not small.misspelt(left_out)
    assert small.misspelt(left_out.model_copy(update={"amount": "7K"}))


def test_a_setting_that_is_typed_wins_over_the_seed() -> None:
    assert tables.experiment("quick", "mum", seed=3).train.seed == 3
    assert tables.experiment("quick", "mum", seed=3, set={"train.seed": 7}).train.seed == 7


@pytest.mark.parametrize(
    ("method", "chosen", "names", "told"),
    [
        (
            "supervised",
            {},
            ["data.people", "data.masks", "train.push", "train.pull", "augment.scene.flip"],
            "of whole images, and",
        ),
        (
            "udpv1",
            choices.WHOLE,
            ["augment.weak.flip", "evaluate.nms", "evaluate.score_threshold"],
            "of crops, and",
        ),
        ("supervised", {}, ["train.consistency", "train.forward"], "of training with a teacher, and"),
    ],
)
def test_a_setting_that_would_only_change_the_key_is_refused(method, chosen, names, told) -> None:
    values = {"data.masks": False, "data.people": 3, "train.forward": "joint"}
    for name in names:
        with pytest.raises(SSHPEError, match=f"^{name} has no effect here: it is {told}"):
            tables.experiment("smoke", method, set={name: values.get(name, 0.5)}, **chosen)
