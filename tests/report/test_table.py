"""The table: what stands in which cell, what is subtracted from what, and what is left unsaid."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sshpe_lib import profiles, report, tables
from sshpe_lib.config import SimpleBaseline
from sshpe_lib.errors import SSHPEError
from sshpe_lib.report import Result, Study, blocks
from sshpe_lib.report.blocks import Column, Line
from sshpe_lib.report.entries import Entry, Spread, setting
from sshpe_lib.tables import Cell
from tests import fakes


def find(view: report.TableView, row: str, column: str = "ResNet-18") -> Entry:
    return next(one for one in view.entries if (one.row, one.column) == (row, column))


def html_rows(view: report.TableView, block: int = 0) -> list[list[str]]:
    """The text of every cell of every line of a block, a cell that spans n columns n times."""
    lines = []
    table = re.findall(r"<table.*?</table>", view._repr_html_())[block]
    for line in re.findall(r"<tr>(.*?)</tr>", table):
        cells = []
        for attributes, text in re.findall(r"<t[hd]([^>]*)>(.*?)</t[hd]>", line):
            span = re.search(r'colspan="(\d+)"', attributes)
            plain = re.sub("<[^>]+>", "", text).replace("\u00a0", " ")
            cells += [plain] * (int(span[1]) if span else 1)
        lines.append(cells)
    return lines


def drawn_ap(cell: Cell, seed: int) -> float:
    """An AP for any cell and seed: the baseline's, and more for a longer name of the method."""
    rng = np.random.default_rng([seed, len(cell.row), len(cell.method)])
    return round(20 + (cell.method != "supervised") * len(cell.method) / 2 + rng.normal(0, 0.5), 3)


def drawn(name: str, profile: str = "quick", seeds: int = 3, **settings: object) -> Study:
    """A study of fake records of any table."""
    return fakes.study(profile, seeds, table=tables.load_table(name), ap=drawn_ap, **settings)


def with_metrics(result: Result, **values: float) -> Result:
    """The result, where every network has these metrics as well, or in the place of its own."""
    records = [
        one.model_copy(update={"metrics": {name: found | values for name, found in one.metrics.items()}})
        for one in result.records
    ]
    return replace(result, records=tuple(records))


def at_several_scales(made: Study) -> Study:
    """The study, whose records have every metric again, ten points higher, as that of a test at several scales."""
    for result in made.results:
        for record in result.records:
            metrics = record.metrics["student"]
            metrics |= {f"{name}-ms": value + 10 for name, value in list(metrics.items())}
    return made


def test_mean_and_deviation_over_seeds() -> None:
    one = find(report.table(fakes.study(seeds=3)), "0.9")
    aps = np.array([22.5, 22.9, 23.3])
    assert one.ours == Spread(pytest.approx(aps.mean()), pytest.approx(aps.std(ddof=1)), 3)
    assert one.ours.text(1) == "22.9 ± 0.4"


def test_one_seed_has_no_deviation() -> None:
    view = report.table(fakes.study(seeds=1))
    one = find(view, "0.9")
    assert one.ours.std is None and one.gain.ours.std is None and one.gain.p is None
    assert one.ours.text(1) == "22.5"
    assert "±" not in repr(view) and "±" not in view._repr_html_()
    assert "One seed has no p." in repr(view)
    assert re.search(r"^0\.9 .* \+2\.9 +−12\.1 +– +1$", repr(view), re.MULTILINE)
    assert pd.isna(view.frame.loc["0.9", ("ResNet-18", "ours std")])
    assert view.frame.loc["0.9", ("ResNet-18", "seeds")] == 1


def test_gains_are_counted_seed_by_seed_on_each_sides_own_data() -> None:
    luck = [0.0, 3.0, -2.0]

    def ap(cell: Cell, seed: int) -> float:
        return luck[seed] + (20.0 if cell.method == "supervised" else 25.0 + 0.5 * seed)

    one = find(report.table(fakes.study(seeds=3, ap=ap)), "0.6")
    assert one.gain.ours.mean == pytest.approx(5.5)
    assert one.gain.ours.std == pytest.approx(0.5)  # the seeds' luck, which both share, is not in it
    assert one.ours.std == pytest.approx(np.std([25.0, 28.5, 24.0], ddof=1))
    assert one.gain.paper == pytest.approx(46.9 - 31.5)
    assert one.gain.difference == pytest.approx(5.5 - 15.4)
    assert one.gain.p == pytest.approx(stats.ttest_rel([25.0, 28.5, 24.0], [20.0, 23.0, 18.0]).pvalue)


def test_other_seeds_than_the_baselines_give_no_gain() -> None:
    made = fakes.study(seeds=3)
    fewer = tuple(replace(one, records=one.records[:1]) for one in made.baselines)
    one = find(report.table(replace(made, baselines=fewer)), "0.9")
    assert one.gain.ours is None and one.gain.p is None and one.gain.paper is not None


def test_a_metric_that_a_seed_lacks_is_not_averaged() -> None:
    table = tables.load_table("table4").model_copy(update={"others": ("APL",)})
    made = fakes.study(seeds=2, table=table)
    run, *rest = [result for result in made.results if result.records]
    assert find(report.table(made), run.cell.row).others["APL"][1].seeds == 2
    first, second = run.records
    metrics = {name: {"AP": one["AP"]} for name, one in second.metrics.items()}
    lacking = replace(run, records=(first, second.model_copy(update={"metrics": metrics})))
    one = find(report.table(replace(made, results=(lacking, *rest))), run.cell.row)
    assert one.others["APL"] == (None, None) and one.ours.seeds == 2


def test_other_metrics_are_of_the_same_test_as_the_first() -> None:
    """At several scales only the AP was measured: the AP50 of one scale does not stand beside it."""
    table = tables.load_table("table4").model_copy(update={"others": ("AP50",)})
    made = fakes.study(seeds=1, table=table)
    first = with_metrics(made.results[0], **{"AP-ms": 30.0})
    first = replace(first, cell=first.cell.model_copy(update={"multi_scale": True}))
    (one,) = report.table(replace(made, results=(first,), baselines=())).entries
    assert one.ours.mean == 30 and one.others["AP50"] == (None, None)


def test_the_best_row_has_the_highest_mean_and_not_the_luckiest_seed() -> None:
    def ap(cell: Cell, seed: int) -> float:
        return {"0.9": [20.0, 20.0, 29.0], "0.6": [24.0, 24.0, 24.0]}.get(cell.row, [10.0] * 3)[seed]

    made = fakes.study(seeds=3, ap=ap)
    steady = next(result for result in made.results if result.cell.row == "0.6")
    assert made.best == steady.records[0]


def test_the_best_row_is_that_of_the_tables_metric() -> None:
    made = fakes.study()
    *others, last = made.results
    last = with_metrics(last, AR=99.0)
    table = made.table.model_copy(update={"metric": "AR"})
    assert replace(made, table=table, results=(*others, last)).best == last.records[0]


def test_other_data_than_the_papers_is_never_subtracted() -> None:
    view = report.table(fakes.study("quick"))
    assert all(one.difference is None for one in view.entries)
    assert not [name for name in view.frame if name[1] == "difference"]
    _, sources, names = html_rows(view)[:3]
    assert names[1:8] == ["AP", "gain", "AP", "gain", "gain − paper", "p", "seeds"]
    assert "compare the gains and not the AP" in repr(view)
    assert sources[1:3] == ["paper: COCO val2017, 1K labels, 256x192"] * 2
    where = setting([view.study.results[0].records[0].experiment])
    assert sources[3:8] == [f"ours: profile quick, {where}"] * 5


def test_the_papers_own_data_gives_a_difference(pinned: tables.Table) -> None:
    view = report.table(fakes.study("paper", seeds=2, table=pinned, ap=lambda cell, seed: 46.0 + seed))
    one = find(view, "0.9")
    assert one.difference == pytest.approx(46.5 - 46.47)
    assert view.frame.loc["0.9", ("ResNet-18", "difference")] == pytest.approx(46.5 - 46.47)
    names = ["AP", "gain", "AP", "AP − paper", "gain", "gain − paper", "p", "seeds"]
    assert html_rows(view)[2][1:9] == names
    row = next(line for line in html_rows(view) if line[0] == "0.9")
    assert row[1:9] == ["46.47", "+14.97", "46.50 ± 0.71", "+0.03", "+0.00 ± 0.00", "−14.97", "–", "2"]
    assert "data and ours differ" not in repr(view)
    assert "AP − paper: ours minus the paper's, on the same data." in repr(view)


@pytest.mark.parametrize(
    ("protocol", "backbone", "size", "val", "same"),
    [
        (None, "resnet18", "256x192", 6_352, True),
        (None, "resnet18", "256x192", 50, False),
        ("aid bottom-up", "higherhrnet-w32", "512x512", 5_000, True),
        ("aid bottom-up", "higherhrnet-w32", "512x512", 6_352, False),
        (
            "aid bottom-up on CrowdPose",
            "higherhrnet-w32",
            "512x512",
            5_000,
            False,
        ),  # not known how many it has
        ("aid", "resnet50", "256x192", 6_352, False),  # detected boxes, as many as they are
    ],
)
def test_a_part_of_the_papers_data_is_not_taken_for_it(
    pinned: tables.Table, protocol: str | None, backbone: str, size: str, val: int, same: bool
) -> None:
    chosen = {"protocol": protocol, "backbone": backbone, "size": size, "amount": "all images"}
    cell = Cell(row="a", column="b", method="udpv1", paper=45.0, **chosen)
    table = pinned.model_copy(update={"cells": (cell,), "baseline": None, "baseline_paper": {}})
    made = fakes.study("paper", seeds=1, table=table, ap=lambda cell, seed: 46.0)
    (run,) = made.results
    (record,) = run.records
    record.provenance.data["val"] = val
    view = report.table(made)
    assert made.same_data == same == ("− paper" in repr(view)) == (view.entries[0].difference is not None)
    assert not replace(made, results=(replace(run, records=()),)).same_data  # nothing was measured


def test_where_the_test_data_may_be_the_papers_gains_are_compared(pinned: tables.Table) -> None:
    made = fakes.study("paper", seeds=1, table=pinned, ap=lambda cell, seed: 46.0)
    for _, record in made.runs():
        record.provenance.data["val"] = 50
    told = " ".join(repr(report.table(made)).split())
    assert "Our test data is not known to be the paper's, so compare the gains and not the AP." in told
    assert "AP − paper" not in told and "data and ours differ" not in told


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> tables.Table:
    """Table 4, where the fingerprints of COCO and of photographs are known without them."""
    from sshpe_lib.data import sources

    def pin(experiment):
        data = experiment.data
        known = {
            role: source.model_copy(update={"fingerprint": "0" * 64})
            for role in ("labeled", "unlabeled", "val")
            if (source := getattr(data, role)) is not None and source.kind == "coco"
        }
        return experiment.model_copy(update={"data": data.model_copy(update=known)})

    monkeypatch.setattr(sources, "pin", pin)
    return tables.load_table("table4")


def test_a_cell_that_was_not_run_says_why() -> None:
    view = report.table(fakes.study("smoke", cells=tables.load_table("table4").cells))
    reason = str(profiles.load_profile("smoke").backbones["resnet101"])
    assert view.reasons == [reason]
    row = next(line for line in html_rows(view) if line[0] == "0.999")
    assert row[-2:] == ["46.13", "not run1"]
    assert reason.replace("'", "&#x27;") in view._repr_html_()
    assert "not run (1)" in repr(view) and f"(1) {reason}" in repr(view)
    assert view.frame.loc["0.999", ("ResNet-101", "seeds")] == 0


def test_every_line_has_every_column() -> None:
    assert len({len(line) for line in html_rows(report.table(fakes.study("quick")))}) == 1


def test_numbers_of_the_paper_are_printed_as_it_prints_them() -> None:
    text = report.to_text(fakes.study("quick"))
    assert re.search(r"^0\.6 +46\.9 +\+15\.40 ", text, re.MULTILINE)
    assert re.search(r"^0\.999 +44\.33 +\+12\.83 ", text, re.MULTILINE)
    assert re.search(r"^supervised +31\.5 +– +20\.0 ± 0\.4 +– +– +– +3$", text, re.MULTILINE)


@pytest.mark.parametrize("profile", ["quick", "smoke", "lsp", "paper"])
@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table4", "table5"])
def test_text_fits_100_columns(pinned: tables.Table, profile: str, name: str) -> None:
    lines = report.to_text(drawn(name, profile)).splitlines()
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if line != line.rstrip()]


def test_rows_left_out_are_counted() -> None:
    table = tables.load_table("table4")
    made = fakes.study(cells=tuple(cell for cell in table.cells if cell.row == "0.9"))
    assert "8 of the table's 10 cells were not asked for." in repr(report.table(made))


def test_a_table_without_baseline_has_no_gains() -> None:
    table = tables.load_table("table4").model_copy(update={"baseline": None})
    view = report.table(fakes.study(table=table))
    assert html_rows(view)[2][1:4] == ["AP", "AP", "seeds"]
    assert "gain" not in repr(view) and "p:" not in repr(view)
    assert [name for _, name in view.frame][:4] == ["paper", "ours", "ours std", "seeds"]


def test_a_baseline_belongs_to_its_backbone_and_amount() -> None:
    cells = tuple(
        Cell(row=amount, column="AP", method="pose-mum", amount=amount, paper=40.0) for amount in ("1K", "5K")
    )
    table = tables.load_table("table4").model_copy(update={"cells": cells, "baseline_paper": {"AP": 31.5}})
    figures = table.model_copy(update={"baseline_paper": {"AP": {"1K": 31.5, "5K": 38.0}}})

    def ap(cell: Cell, seed: int) -> float:
        return {"1K": 10.0, "5K": 30.0}[cell.amount] + (cell.method != "supervised")

    view = report.table(fakes.study("smoke", table=table, ap=ap))
    assert [find(view, name, "AP").gain.ours.mean for name in ("1K", "5K")] == pytest.approx([1.0, 1.0])
    assert [one.row for one in view.entries[:2]] == ["supervised, 1K", "supervised, 5K"]
    assert find(view, "5K", "AP").gain.paper is None  # the paper's one figure cannot be both baselines'
    view = report.table(fakes.study("smoke", table=figures, ap=ap))
    assert [find(view, name, "AP").gain.paper for name in ("1K", "5K")] == pytest.approx([8.5, 2.0])
    assert "Labels: 16 for 1K, 24 for 5K." in repr(view)
    assert "Labels" not in repr(report.table(drawn("aid_table2")))  # nothing of it is run, so there are none


def test_a_cell_finds_the_baseline_of_its_own_network() -> None:
    made = fakes.study(seeds=1)
    (own,) = made.baselines
    other = replace(own, cell=own.cell.model_copy(update={"backbone": "resnet101"}))
    assert replace(made, baselines=(other, own)).baseline_of(made.results[0].cell) is own


def test_another_metric() -> None:
    table = tables.load_table("table4").model_copy(update={"metric": "AR"})
    assert find(report.table(fakes.study(table=table)), "0.9").ours.mean == pytest.approx(32.9)
    lost = table.model_copy(update={"metric": "AP-vis"})
    with pytest.raises(SSHPEError, match="no metric 'AP-vis'; it has: AP, AP50"):
        report.table(fakes.study(table=lost))


def test_text_of_users_is_escaped_in_html() -> None:
    table = tables.load_table("table4").model_copy(update={"title": "<b>&", "notes": ("a < b",)})
    page = report.table(fakes.study(table=table))._repr_html_()
    assert "&lt;b&gt;&amp;" in page and "a &lt; b" in page


def test_setting_names_what_differs_from_the_papers() -> None:
    experiment = tables.experiment("quick", "pose-mum+")
    data = experiment.data.model_copy(update={"labels": 1000, "input_size": (48, 64)})
    papers = experiment.model_copy(update={"data": data, "model": SimpleBaseline()})
    assert setting([papers]) == "1,000 labels, 64x48, ResNet-18"
    narrow = papers.model_copy(update={"model": SimpleBaseline(width=16, init="scratch")})
    assert setting([narrow, narrow]) == "1,000 labels, 64x48, ResNet-18 of width 16, from scratch"
    assert setting([]) == ""


def test_setting_names_every_amount_of_labels_first() -> None:
    few, many = (tables.experiment("smoke", "mum", amount=amount) for amount in ("1K", "10K"))
    assert setting([few, many]) == "16 / 32 labels, 64x48, ResNet-18 of width 8, from scratch"


def test_minus_is_a_minus_sign() -> None:
    assert Spread(-0.25, None, 1).text(1, sign=True) == "\u22120.2"
    assert Spread(1.25, 0.5, 2).text(2, sign=True) == "+1.25 ± 0.50"


def test_runs_list_every_record_once_with_its_provenance() -> None:
    made = fakes.study(seeds=2)
    frame = report.runs(made)
    keys = [record.key for result in (*made.baselines, *made.results) for record in result.records]
    assert list(frame.index) == keys and len(set(keys)) == 12
    assert "column" not in frame  # there is one only
    first, last = frame.iloc[0], frame.iloc[-1]
    assert (first["row"], first["seed"], first["teacher AP"], first["student AP"]) == (
        "supervised",
        0,
        "–",
        "19.6",
    )
    assert (last["row"], last["seed"], last["teacher AP"], last["student AP"]) == ("0.5", 1, "22.5", "22.0")
    assert (first["commit"], first["seconds"]) == ("012345678", 61)
    assert (first["device"], first["threads"], first["torch"]) == ("a\u00a0processor", 2, "2.13.0")
    assert first["precision"] == "bf16-mixed"  # the profile's


def test_runs_tell_of_all_parts() -> None:
    made = fakes.study(seeds=1)
    one = made.baselines[0].records[0]
    parts = {"dirty": True, "earlier": ({"commit": "f" * 40, "threads": 1}, {"threads": 1, "device": "b"})}
    one = one.model_copy(update={"provenance": one.provenance.model_copy(update=parts)})
    made = replace(made, baselines=(replace(made.baselines[0], records=(one,)), *made.baselines[1:]))
    found = report.runs(made).iloc[0]
    assert (found["commit"], found["threads"]) == ("fffffffff, 012345678+", "1, 2")
    assert (found["device"], found["torch"]) == ("a\u00a0processor, b", "2.13.0")


def test_runs_name_the_column_where_there_are_several() -> None:
    cells = tuple(Cell(row="mum", column=name, method="mum", amount=name) for name in ("1K", "5K"))
    table = tables.load_table("table4").model_copy(update={"cells": cells, "baseline": None})
    frame = report.runs(fakes.study("smoke", seeds=1, table=table, ap=lambda cell, seed: 20.0))
    assert list(frame["column"]) == ["1K", "5K"]


def test_the_reference_is_a_second_block_with_a_test_of_its_own() -> None:
    made = drawn("table3")
    view = report.table(made)
    results = {result.cell.row: result for result in made.results}
    ours, theirs = (results[row].scores("AP") for row in ("Pose-MUM", "JC Augment-s"))
    one = find(view, "Pose-MUM")
    assert one.lead.paper == pytest.approx(46.48 - 42.1)
    assert one.lead.ours == Spread.of(ours - theirs)
    assert one.lead.p == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    assert one.lead.difference == pytest.approx(one.lead.ours.mean - 4.38)
    assert [find(view, row).lead for row in ("supervised", "JC Augment-s")] == [None, None]
    heads, rows = html_rows(view, 1)[:3], html_rows(view, 1)[3:]
    assert heads[2] == ["over JC Augment-s", "gain", "gain", "gain − paper", "p"]
    assert [row[0] for row in rows] == [row for row in results if row != "JC Augment-s"]
    shown = ["Pose-MUM", "+4.38", one.lead.ours.text(1, sign=True), f"{one.lead.difference:+.1f}"]
    assert rows[-1] == [text.replace("-", "−") if text[0] == "-" else text for text in shown] + [
        f"{one.lead.p:#.2g}"
    ]
    assert re.search(r"^over JC Augment-s +gain +gain +− paper +p$", repr(view), re.MULTILINE)
    frame = view.frame["ResNet-18"]
    assert frame.loc["Pose-MUM", "lead p"] == one.lead.p and np.isnan(frame.loc["JC Augment-s", "lead"])
    assert frame.loc["Pose-MUM", "paper lead"] == pytest.approx(4.38)


def test_a_reference_belongs_to_its_backbone_and_amount() -> None:
    view = report.table(drawn("table5", "smoke"))
    assert find(view, "Pose-MUM+, 5K").lead.paper == pytest.approx(56.46 - 52.3)
    other = find(view, "Pose-MUM+, 10K", "ResNet-101").lead
    assert (other.paper, other.ours, other.p) == (pytest.approx(64.65 - 62.32), None, None)
    assert html_rows(view, 1)[-1][-2:] == ["+2.33", "not run1"]
    assert re.search(r"^Pose-MUM\+, 10K +\+2\.33 +not run \(1\)$", repr(view), re.MULTILINE)


def test_another_row_of_the_references_method_is_no_reference() -> None:
    """E3 of AID's Table 5 trains as E1 does, for twice as long."""
    table = tables.load_table("aid_table5").model_copy(update={"others": ()})
    for schedule, leads in (("S1", 1), ("S2", 0)):
        cells = tuple(cell for cell in table.cells if cell.schedule == schedule)
        view = report.table(fakes.study("smoke", 1, table=table, ap=drawn_ap, cells=cells))
        assert len(view.printed.blocks) == 1 + leads
        assert sum(one.lead is not None for one in view.entries) == leads


def test_the_notes_of_a_table_with_a_reference_alone() -> None:
    notes = report.table(at_several_scales(drawn("aid_table1", seeds=1))).notes()
    assert "The paper's data and ours differ, so compare the gains and not the AP." in notes
    gap = "Gain − paper: our gain minus the paper's, the difference of differences."
    assert f"Gain: over UDPv1 on the same data; ours seed by seed. {gap}" in notes
    assert "Labels: 500 for all." in notes  # and of all images all


def test_every_column_tells_its_setting_that_shares_its_runs_with_another() -> None:
    view = report.table(at_several_scales(drawn("aid_table1", seeds=1)))
    found = {column.name: column.measured for block in view.printed.blocks for column in block.columns}
    for name in ("bottom-up", "bottom-up, multi-scale"):
        assert "128x128" in found[name] and "HigherHRNet-W16" in found[name]


def test_without_the_reference_there_is_one_block() -> None:
    table = tables.load_table("table3")
    made = drawn("table3", cells=tuple(cell for cell in table.cells if cell.method != "jc-single"))
    assert len(report.table(made).printed.blocks) == 1 and "over JC" not in repr(report.table(made))


def test_a_table_without_a_reference_may_quote_other_work() -> None:
    table = tables.load_table("table4")
    quoted = table.cells[0].model_copy(update={"row": "quoted", "method": None, "paper": 40.0})
    table = table.model_copy(update={"cells": (*table.cells, quoted)})
    view = report.table(fakes.study(table=table, seeds=1))
    assert [one.lead for one in view.entries] == [None] * len(view.entries)
    assert len(view.printed.blocks) == 1 and find(view, "quoted").paper == 40.0


def test_marks_stand_in_columns_of_their_own() -> None:
    view = report.table(drawn("table3"))
    marks = ["Affine", "Rand Augment", "Joint Cutout", "MUM", "Pose-MUM"]
    assert html_rows(view)[2][:6] == ["", *marks]
    rows = {row[0]: row[1:6] for row in html_rows(view)[3:]}
    assert rows["MUM-RA"] == ["✓", "✓", "", "✓", ""] and rows["supervised"] == [""] * 5
    assert list(view.frame["marks"].loc["Pose-MUM"]) == ["", "", "", "", "✓"]
    text = repr(view)  # no room beside the numbers
    assert re.search(r"^ +Affine +Rand Augment +Joint Cutout +MUM +Pose-MUM$", text, re.MULTILINE)
    assert re.search(r"^Pose-MUM-AT +✓ +✓$", text, re.MULTILINE)
    text = repr(report.table(drawn("table1")))  # where there is room
    assert re.search(r"^groups of 2 +2 +encoder +44\.6 ", text, re.MULTILINE)


@pytest.mark.parametrize(("seeds", "ratio"), [(2, "9.0"), (3, "2.5"), (5, "1.2")])
def test_the_note_says_how_weak_the_test_is(seeds: int, ratio: str) -> None:
    text = " ".join(repr(report.table(drawn("table2", seeds=seeds))).split())
    assert f"{seeds} seeds see little: p < 0.05 needs a mean gain of {ratio} times its deviation" in text
    assert "two-sided paired t-test over seeds" in text and "not corrected for the number of rows" in text


def test_the_note_tells_the_fewest_seeds() -> None:
    made = fakes.of_two_amounts(seeds=3)
    results, baselines = (
        tuple(replace(one, records=one.records[: 2 if one.cell.amount == "5K" else 3]) for one in several)
        for several in (made.results, made.baselines)
    )
    text = " ".join(repr(report.table(replace(made, results=results, baselines=baselines))).split())
    assert "2 seeds see little" in text


def test_p_has_two_significant_digits() -> None:
    aps = {"supervised": [20.0, 20.0, 20.0], "0.999": [22.0, 22.1, 22.2], "0.5": [19.0, 21.0, 23.0]}

    def ap(cell: Cell, seed: int) -> float:
        return aps.get(cell.row, aps["0.5"])[seed]

    view = report.table(fakes.study(ap=ap))
    rows = {row[0]: row[6] for row in html_rows(view)[3:]}
    assert (rows["0.999"], rows["0.5"], rows["supervised"]) == ("0.00076", "0.48", "–")


def test_a_quoted_row_stands_among_rows_that_were_run() -> None:
    """Table 3 of AID: HigherHRNet's figures are the paper's, UDPv1's are ours too; the test at several scales is."""
    base = tables.load_table("aid_table3")
    ap = {True: 30.0, False: 20.0}
    made = at_several_scales(fakes.study("quick", 2, table=base, ap=lambda cell, seed: 20.0))
    view = report.table(made)
    for one in view.entries:
        assert (one.ours is None) == one.row.startswith(("SPPE", "HigherHRNet,"))
        if one.ours:
            assert one.ours.mean == ap["multi-scale" in one.column]
    assert "quoted by the paper from other work" in repr(view)
    assert [len(html_rows(view, block)) - 3 for block in (0, 1)] == [1, 5]
    lead = find(view, "+AID, HigherHRNet-W48 640x640", "bottom-up, multi-scale").lead
    assert lead.paper == pytest.approx(69.7 - 68.2) and lead.ours.mean == 0


def test_columns_without_a_common_row_stand_in_tables_of_their_own() -> None:
    """Top-down and bottom-up networks of Table 1 of AID; the test at several scales is one more of the latter."""
    base = tables.load_table("aid_table1")
    cells = tuple(cell for cell in base.cells if "multi-scale" not in cell.column)
    made = base.model_copy(update={"cells": cells})
    view = report.table(fakes.study("quick", 2, table=made, ap=drawn_ap))
    first, second, *others = view.printed.blocks
    assert [column.name for column in first.columns] == ["top-down"]
    assert [column.name for column in second.columns] == ["bottom-up"]
    assert not set(first.rows()) & set(second.rows()) and first.title == second.title == ""
    assert [block.title for block in others] == [
        *["over UDPv1"] * 2, "other metrics, top-down", "other metrics, bottom-up"
    ]  # fmt: skip
    for block in view.printed.blocks:
        assert all(
            len(column.lines) == len(block.rows()) for column in block.columns
        )  # none has an empty cell


def test_columns_that_share_a_row_stand_together_in_their_order() -> None:
    column = Column("", "", ("AP",), (), ())
    rows = {"a": "12", "b": "3", "c": "45", "d": "51", "e": "36"}
    columns = [
        replace(column, name=name, lines=tuple(Line(row, ("1",), ()) for row in own))
        for name, own in rows.items()
    ]
    names = [[one.name for one in group] for group in blocks._together(columns)]
    assert names == [["a", "c", "d"], ["b", "e"]]
