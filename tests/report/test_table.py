"""The table: what stands in which cell, what is subtracted from what, and what is left unsaid."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from sshpe_lib import report, tables
from sshpe_lib.config import Model
from sshpe_lib.errors import SSHPEError
from sshpe_lib.report.entries import Entry, Spread, setting
from sshpe_lib.tables import Cell
from tests import fakes


def find(view: report.TableView, row: str, column: str = "ResNet-18") -> Entry:
    return next(one for one in view.entries if (one.row, one.column) == (row, column))


def html_rows(view: report.TableView) -> list[list[str]]:
    """The text of every cell of every line, a cell that spans n columns n times."""
    lines = []
    for line in re.findall(r"<tr>(.*?)</tr>", view._repr_html_()):
        cells = []
        for attributes, text in re.findall(r"<t[hd]([^>]*)>(.*?)</t[hd]>", line):
            span = re.search(r'colspan="(\d+)"', attributes)
            cells += [re.sub("<[^>]+>", "", text)] * (int(span[1]) if span else 1)
        lines.append(cells)
    return lines


def test_mean_and_deviation_over_seeds() -> None:
    one = find(report.table(fakes.study(seeds=3)), "0.9")
    aps = np.array([22.5, 22.9, 23.3])
    assert one.ours == Spread(pytest.approx(aps.mean()), pytest.approx(aps.std(ddof=1)), 3)
    assert one.ours.text(1) == "22.9 ± 0.4"


def test_one_seed_has_no_deviation() -> None:
    view = report.table(fakes.study(seeds=1))
    one = find(view, "0.9")
    assert one.ours.std is None and one.gain.std is None
    assert one.ours.text(1) == "22.5"
    assert "±" not in repr(view) and "±" not in view._repr_html_()
    assert pd.isna(view.frame.loc["0.9", ("ResNet-18", "ours std")])
    assert view.frame.loc["0.9", ("ResNet-18", "seeds")] == 1


def test_gains_are_counted_seed_by_seed_on_each_sides_own_data() -> None:
    luck = [0.0, 3.0, -2.0]

    def ap(cell: Cell, seed: int) -> float:
        return luck[seed] + (20.0 if cell.method == "supervised" else 25.0 + 0.5 * seed)

    one = find(report.table(fakes.study(seeds=3, ap=ap)), "0.6")
    assert one.gain.mean == pytest.approx(5.5)
    assert one.gain.std == pytest.approx(0.5)  # the seeds' luck, which both share, is not in it
    assert one.ours.std == pytest.approx(np.std([25.0, 28.5, 24.0], ddof=1))
    assert one.paper_gain == pytest.approx(46.9 - 31.5)


def test_other_data_than_the_papers_is_never_subtracted() -> None:
    view = report.table(fakes.study("quick"))
    assert all(one.difference is None for one in view.entries)
    assert not [name for name in view.frame if "difference" in name]
    _, sources, names = html_rows(view)[:3]
    assert names[1:6] == ["AP", "gain", "AP", "gain", "seeds"]
    assert sources[1:3] == ["paper: COCO val2017, 1K labels, 256x192"] * 2
    where = setting([view.study.results[0].records[0].experiment])
    assert sources[3:6] == [f"ours: profile quick, {where}"] * 3


def test_the_papers_own_data_gives_a_difference(pinned: tables.Table) -> None:
    view = report.table(fakes.study("paper", seeds=2, table=pinned, ap=lambda cell, seed: 46.0 + seed))
    one = find(view, "0.9")
    assert one.difference == pytest.approx(46.5 - 46.47)
    assert html_rows(view)[2][1:5] == ["AP", "AP", "− paper", "seeds"]
    row = next(line for line in html_rows(view) if line[0] == "0.9")
    assert row[1:5] == ["46.47", "46.50 ± 0.71", "+0.03", "2"]
    assert "differ" not in repr(view)


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> tables.Table:
    """Table 4, where COCO's fingerprint is known without COCO."""
    from sshpe_lib.data import sources

    def pin(experiment):
        data = experiment.data
        known = {
            role: getattr(data, role).model_copy(update={"fingerprint": "0" * 64})
            for role in ("labeled", "val")
        }
        return experiment.model_copy(update={"data": data.model_copy(update=known)})

    monkeypatch.setattr(sources, "pin", pin)
    return tables.load_table("table4")


def test_a_cell_that_was_not_run_says_why() -> None:
    view = report.table(fakes.study("quick"))
    reason = str(tables.load_profile("quick").backbones["resnet101"])
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
    assert re.search(r"^supervised +31\.5 +– +20\.0 ± 0\.4 +– +3$", text, re.MULTILINE)


@pytest.mark.parametrize("profile", ["quick", "smoke"])
def test_text_fits_100_columns(profile: str) -> None:
    lines = report.to_text(fakes.study(profile)).splitlines()
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
    assert "gain" not in repr(view)


def test_a_baseline_belongs_to_its_backbone_and_amount() -> None:
    cells = tuple(
        Cell(row=amount, column="AP", method="pose-mum", amount=amount, paper=40.0) for amount in ("1K", "5K")
    )
    table = tables.load_table("table4").model_copy(update={"cells": cells, "baseline_paper": {"AP": 31.5}})

    def ap(cell: Cell, seed: int) -> float:
        return {"1K": 10.0, "5K": 30.0}[cell.amount] + (cell.method != "supervised")

    view = report.table(fakes.study("smoke", table=table, ap=ap))
    assert find(view, "1K", "AP").gain.mean == find(view, "5K", "AP").gain.mean == pytest.approx(1.0)
    assert [one.row for one in view.entries[:2]] == ["supervised, resnet18, 1K", "supervised, resnet18, 5K"]
    assert find(view, "5K", "AP").paper_gain is None  # the paper's one figure cannot be both baselines'


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
    papers = experiment.model_copy(update={"data": data, "model": Model()})
    assert setting([papers]) == "1,000 labels, 64x48"
    narrow = papers.model_copy(update={"model": Model(width=16, init="scratch")})
    assert setting([narrow, narrow]) == "1,000 labels, 64x48, width 16, from scratch"
    assert setting([]) == ""


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


def test_runs_name_the_column_where_there_are_several() -> None:
    cells = tuple(Cell(row="mum", column=name, method="mum", amount=name) for name in ("1K", "5K"))
    table = tables.load_table("table4").model_copy(update={"cells": cells, "baseline": None})
    frame = report.runs(fakes.study("smoke", seeds=1, table=table, ap=lambda cell, seed: 20.0))
    assert list(frame["column"]) == ["1K", "5K"]
