"""Figures 3 and 4: which curves are drawn, over which unit, and what is marked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sshpe_lib import profiles, tables
from sshpe_lib.errors import SSHPEError
from sshpe_lib.records import Record
from sshpe_lib.report import Study
from sshpe_lib.report.style import COLORS, GREY
from sshpe_lib.report.training import BURN_IN, MILESTONE, steps_of_epoch, training
from tests import fakes

AP = {"Single": 12.4, "EMA 0.999": 10.1, "EMA 0.6": 11.0, "EMAN 0.6": 12.9}
ROWS = list(AP)


def ap(cell: tables.Cell, seed: int) -> float:
    return AP[cell.row] + 0.4 * (seed - 1)


def study(profile: str = "quick", seeds: int = 3, pool: int | None = 2000, **changes) -> Study:
    """Figures 3 and 4 of fake records whose pool has this size; `changes` of their schedule."""
    made = fakes.study(profile, seeds, tables.load_table("figure3_4"), ap=ap)

    def told(record: Record) -> Record:
        data = {} if pool is None else {"unlabeled": pool}
        provenance = record.provenance.model_copy(update={"data": data})
        train = record.experiment.train.model_copy(update=changes)
        experiment = record.experiment.model_copy(update={"train": train})
        return record.model_copy(update={"provenance": provenance, "experiment": experiment})

    results = tuple(replace(one, records=tuple(map(told, one.records))) for one in made.results)
    return replace(made, results=results)


def lines(axes, color: str, style: str = "-") -> list:
    return [one for one in axes.get_lines() if one.get_color() == color and one.get_linestyle() == style]


def marks(axes, look: dict) -> list[float]:
    width = look["linewidth"]
    return [
        o.get_xdata()[0] for o in axes.get_lines() if o.get_color() == GREY and o.get_linewidth() == width
    ]


def test_the_runs_are_those_of_table_2() -> None:
    keys = {
        name: {
            e.key() for _, made in tables.cell_experiments(tables.load_table(name), "quick", 3) for e in made
        }
        for name in ("figure3_4", "table2")
    }
    assert len(keys["figure3_4"]) == 12 and keys["figure3_4"] == keys["table2"]
    assert tables.load_table("figure3_4").rows() == ROWS


def test_every_row_has_its_quoted_network_and_students_are_dashed() -> None:
    made = study()
    axes, _ = training(made).axes
    for index, result in enumerate(made.results):
        (solid,) = lines(axes, COLORS[index])
        name = "student_ap" if result.cell.row == "Single" else "teacher_ap"
        points = [[getattr(p, name) for p in record.curve] for record in result.records]
        assert np.allclose(solid.get_ydata(), np.mean(points, axis=0))
        dashed = lines(axes, COLORS[index], "--")
        assert len(dashed) == (result.cell.row != "Single")
        for line in dashed:
            points = [[p.student_ap for p in record.curve] for record in result.records]
            assert np.allclose(line.get_ydata(), np.mean(points, axis=0))
            assert line.get_markerfacecolor() == "white"


def test_the_loss_is_the_total() -> None:
    made = study()
    _, axes = training(made).axes
    for index, result in enumerate(made.results):
        (line,) = lines(axes, COLORS[index])
        assert np.allclose(
            line.get_ydata(), np.mean([[p.loss for p in r.curve] for r in result.records], axis=0)
        )
    assert axes.get_ylabel() == "training loss × 1000"
    assert axes.yaxis.get_major_formatter()(2.5e-3, None) == "2.5"


def test_epochs_are_passes_over_the_pool() -> None:
    made = study(pool=1990, batch_size=16, milestones=(0.5, 0.75))
    ap_axes, loss_axes = training(made).axes
    last = made.results[0].records[0].curve[-1].step
    assert last == 2000 and steps_of_epoch(made.results[0].records) == 125  # 1,990 / 16, rounded up
    for axes in (ap_axes, loss_axes):
        assert lines(axes, COLORS[0])[0].get_xdata()[-1] == 16
        assert marks(axes, MILESTONE) == [8, 12]
        assert marks(axes, BURN_IN) == []
    assert loss_axes.get_xlabel() == "epoch (a pass over 1,990 unlabelled people in 125 steps)"


@pytest.mark.parametrize("pool", [None, 0, 10**6])
def test_steps_stand_where_epochs_make_no_sense(pool: int | None) -> None:
    made = study(pool=pool, milestones=(0.5,))
    _, axes = training(made).axes
    assert axes.get_xlabel() == "step"
    assert lines(axes, COLORS[0])[0].get_xdata()[-1] == 2000
    assert marks(axes, MILESTONE) == [1000]


def test_records_of_different_pools_have_no_common_epoch() -> None:
    small, large = study(pool=1000), study(pool=2000)
    assert steps_of_epoch(small.results[0].records) != steps_of_epoch(large.results[0].records)
    assert steps_of_epoch([*small.results[0].records, *large.results[1].records]) is None


def test_the_end_of_a_burn_in_is_marked() -> None:
    figure = training(study(burn_in=0.25))
    (legend,) = figure.legends
    assert [marks(axes, BURN_IN) for axes in figure.axes] == [[500 / (2000 / 16)]] * 2
    assert legend.get_texts()[-1].get_text() == "end of burn-in"


def test_bands_need_seeds_and_belong_to_solid_lines() -> None:
    several, alone = training(study(seeds=3)), training(study(seeds=1))
    assert [len(axes.collections) for axes in several.axes] == [4, 4]
    assert [len(axes.collections) for axes in alone.axes] == [0, 0]
    assert "3 seeds (mean and standard deviation)" in several.get_suptitle()
    assert "one seed" in alone.get_suptitle()
    (path,) = several.axes[0].collections[0].get_paths()
    final = [record.ap for record in study().results[0].records]
    ends = path.vertices[np.isclose(path.vertices[:, 0], 16), 1]
    for edge in (np.mean(final) - np.std(final, ddof=1), np.mean(final) + np.std(final, ddof=1)):
        assert np.isclose(ends, edge).any()


def test_the_title_names_the_data_and_the_legend_the_rows() -> None:
    figure = training(study())
    title = " ".join(figure.get_suptitle().split())
    assert title.startswith(tables.load_table("figure3_4").title)
    assert "Profile quick" in title and title.endswith(profiles.load_profile("quick").description)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*ROWS, "student", "learning rate ÷ 10"]


def test_single_alone_has_no_student_beside_a_teacher() -> None:
    made = study()
    figure = training(replace(made, results=made.results[:1]))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Single", "learning rate ÷ 10"]


def test_ap_starts_at_zero_and_an_ap_of_zero_has_an_axis() -> None:
    zero = fakes.study("quick", 1, tables.load_table("figure3_4"), ap=lambda cell, seed: 0.0)
    assert training(zero).axes[0].get_ylim() == (0, 1)
    assert training(study()).axes[0].get_ylim()[0] == 0


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(SSHPEError, match="figure3_4: no row was run on the profile quick"):
        training(replace(study(), results=()))


def test_a_second_stage_starts_where_the_first_ended() -> None:
    made = study(pool=None)
    moved = []
    for result in made.results:
        facts = {"start_steps": 500} if result.cell.row == "EMAN 0.6" else {}
        told = [
            r.model_copy(update={"provenance": r.provenance.model_copy(update={"data": facts})})
            for r in result.records
        ]
        moved.append(replace(result, records=tuple(told)))
    before, after = (training(one).axes[0] for one in (made, replace(made, results=tuple(moved))))
    for row, color in zip(ROWS, COLORS, strict=False):
        (old,), (new,) = lines(before, color), lines(after, color)
        shift = 500 if row == "EMAN 0.6" else 0
        assert np.array_equal(new.get_xdata(), old.get_xdata() + shift)
    assert len(marks(after, MILESTONE)) == 2 * len(marks(before, MILESTONE))
