"""Learning curves: which lines are drawn, and through which points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from sshpe_lib import profiles, report, tables
from sshpe_lib.errors import SSHPEError
from sshpe_lib.report import Study
from sshpe_lib.report.curves import LOSSES, band
from sshpe_lib.report.style import COLORS, GREY
from sshpe_lib.tables import Cell
from tests import fakes


def lines(axes, style: str, color: str) -> list:
    return [one for one in axes.get_lines() if one.get_linestyle() == style and one.get_color() == color]


def test_one_panel_a_row_and_one_of_losses() -> None:
    figure = report.curves(fakes.study())
    assert [axes.get_title() for axes in figure.axes][:5] == ["0.999", "0.99", "0.9", "0.6", "0.5"]
    assert len(figure.axes) == 6
    assert "3 seeds" in figure.get_suptitle() and "profile quick" in figure.get_suptitle()


def test_teacher_solid_student_dashed_baseline_dotted() -> None:
    table = tables.load_table("table4")
    cells = tuple(
        cell.model_copy(update={"set": cell.set | {"train.burn_in": 0.3}}) for cell in table.cells[:5]
    )
    made = fakes.study(table=table.model_copy(update={"cells": cells}))
    axes = report.curves(made).axes[2]
    (teacher,), (student,) = lines(axes, "-", COLORS[2]), lines(axes, "--", COLORS[2])
    (baseline,) = lines(axes, ":", GREY)
    records = made.results[2].records
    expected = np.mean([[p.student_ap for p in record.curve] for record in records], axis=0)
    assert np.allclose(student.get_ydata(), expected)
    assert np.allclose(teacher.get_ydata()[-1], np.mean([record.ap for record in records]))
    expected = np.mean([[p.student_ap for p in r.curve] for r in made.baselines[0].records], axis=0)
    assert np.allclose(baseline.get_ydata(), expected)
    burn_in = records[0].experiment.train.burn_in * records[0].curve[-1].step
    assert min(teacher.get_xdata()) > burn_in > min(student.get_xdata())


def test_every_panel_has_the_baseline_of_its_own_row() -> None:
    made = fakes.of_two_amounts()
    *panels, _ = report.curves(made).axes
    for axes, baseline in zip(panels, made.baselines, strict=True):
        (dotted,) = lines(axes, ":", GREY)
        assert np.allclose(dotted.get_ydata(), [point.student_ap for point in baseline.records[0].curve])


@pytest.mark.parametrize("share", [0.3, 0.0])
def test_the_end_of_the_burn_in_is_marked_where_there_is_one(share: float) -> None:
    """A grey line in the panel of every row that has one, and its name below."""
    table = tables.load_table("table4")
    cells = tuple(cell.model_copy(update={"set": {"train.burn_in": share}}) for cell in table.cells[:5])
    figure = report.curves(fakes.study(cells=cells))
    for axes in figure.axes[:5]:
        upright = [line for line in axes.get_lines() if len(set(line.get_xdata())) == 1]
        assert [(line.get_xdata()[0], line.get_color()) for line in upright] == [(0.3 * 2000, GREY)] * (
            share > 0
        )
    (legend,) = figure.legends
    assert ("end of burn-in" in [text.get_text() for text in legend.get_texts()]) == (share > 0)


def test_bands_are_one_standard_deviation_and_need_seeds() -> None:
    made = fakes.study(seeds=3)
    steps, mean, std = band(made.results[0].records, "teacher_ap")
    last = [record.curve[-1].teacher_ap for record in made.results[0].records]
    assert (mean[-1], std[-1]) == (pytest.approx(np.mean(last)), pytest.approx(np.std(last, ddof=1)))
    assert list(steps) == [p.step for p in made.results[0].records[0].curve if p.teacher_ap is not None]
    shaded = report.curves(made).axes[0].collections[1].get_paths()[0].vertices
    for edge in (mean[-1] - std[-1], mean[-1] + std[-1]):
        assert np.isclose(shaded[np.isclose(shaded[:, 0], steps[-1]), 1], edge).any()
    alone = fakes.study(seeds=1)
    assert band(alone.results[0].records, "teacher_ap")[2] is None
    figure = report.curves(alone)
    assert not [axes.collections for axes in figure.axes if axes.collections]
    assert "one seed" in figure.get_suptitle()


def test_a_band_covers_the_steps_that_every_seed_has() -> None:
    first, second = fakes.study(seeds=2).results[0].records
    shorter = second.model_copy(update={"curve": second.curve[2:]})
    steps, _, _ = band((first, shorter), "student_ap")
    assert list(steps) == [p.step for p in first.curve[2:]]


def test_losses_of_every_row() -> None:
    axes = report.curves(fakes.study()).axes[-1]
    assert axes.get_yscale() == "log"
    assert [len(lines(axes, style, COLORS[0])) for style in ("-", "--")] == [1, 1]
    assert len(lines(axes, ":", GREY)) == 1
    assert len({one.get_marker() for one in axes.get_lines() if one.get_linestyle() == "-"}) == 5


def test_where_lines_are_too_many_losses_are_not_drawn() -> None:
    few, many = tables.load_table("aid_table5"), tables.load_table("aid_table1")
    titles = [
        [axes.get_title() for axes in report.curves(fakes.study(table=one, ap=lambda *_: 20.0)).axes]
        for one in (few, many)
    ]
    assert titles[0][-1].startswith("loss") and len(titles[1]) > LOSSES
    assert not any(title.startswith("loss") for title in titles[1])


def test_losses_without_a_teacher_name_no_consistency() -> None:
    made = fakes.study()
    records = tuple(
        record.model_copy(
            update={"curve": tuple(point.model_copy(update={"consistency": None}) for point in record.curve)}
        )
        for record in made.results[0].records
    )
    alone = Study(made.table, "quick", 3, (replace(made.results[0], records=records),), ())
    assert report.curves(alone).axes[-1].get_title() == "loss"
    assert report.curves(made).axes[-1].get_title() == "loss (dashed: consistency)"


def test_a_network_that_does_not_exist_is_not_drawn() -> None:
    cells = (Cell(row="Pose-MUM", column="ResNet-18", method="pose-mum"),)
    table = tables.load_table("table4").model_copy(update={"cells": cells})
    figure = report.curves(fakes.study(table=table, ap=lambda cell, seed: 20.0 + seed))
    axes = figure.axes[0]
    assert lines(axes, "--", COLORS[0]) and not lines(axes, "-", COLORS[0])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["student", "supervised"]


def test_ap_panels_share_an_axis_from_zero_up() -> None:
    figure = report.curves(fakes.study(ap=lambda cell, seed: 0.0))
    assert {axes.get_ylim() for axes in figure.axes[:-1]} == {(0.0, 1.0)}


def test_columns_are_named_where_there_are_several() -> None:
    profile = profiles.load_profile("smoke")
    made = fakes.study("smoke")
    twice = [
        *made.results[:1],
        report.Result(made.results[0].cell.model_copy(update={"column": "other"}), made.results[0].records),
    ]
    both = Study(made.table, profile.title, 1, tuple(twice), made.baselines)
    assert [axes.get_title() for axes in report.curves(both).axes[:2]] == ["0.999, ResNet-18", "0.999, other"]


def test_baselines_that_stand_alone_are_drawn() -> None:
    made = fakes.study("quick")
    alone = Study(made.table, "quick", 3, (), made.baselines)
    assert report.curves(alone).axes[0].get_title() == "supervised"
    assert alone.best == made.baselines[0].records[0]


def test_nothing_to_draw_is_an_error() -> None:
    made = fakes.study("quick")
    nothing = Study(made.table, "quick", 3, tuple(replace(r, records=()) for r in made.results))
    with pytest.raises(SSHPEError, match="table4: no row was run on the profile quick"):
        report.curves(nothing)
    with pytest.raises(SSHPEError, match="table4: no row was run on the profile quick"):
        _ = nothing.best


def test_a_notebook_shows_the_figure_once_and_the_settings_stay() -> None:
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    made = fakes.study(seeds=1)
    figure = report.curves(Study(made.table, made.profile, 1, made.results[:1]))
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG\r\n")
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_the_best_record_is_the_first_seed_of_the_highest_mean() -> None:
    made = fakes.study(ap=lambda cell, seed: {"0.6": 30.0 - seed, "0.9": 20.0 + 8 * seed}.get(cell.row, 1.0))
    assert made.best == made.results[3].records[0]


def test_another_test_of_the_same_runs_has_no_panel_of_its_own() -> None:
    profile, made = profiles.load_profile("smoke"), fakes.study("smoke")
    again = report.Result(
        made.results[0].cell.model_copy(update={"multi_scale": True}), made.results[0].records
    )
    for results, panels in (((made.results[0], again), 1), ((again,), 1)):
        figure = report.curves(Study(made.table, profile.title, 1, results, made.baselines))
        assert len(figure.axes) == panels + 1
