"""The `sshpe` command as people type it: what it prints and refuses, its exit codes. Nothing is trained."""

from __future__ import annotations

import csv
import errno
import functools
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from filelock import FileLock

from sshpe_lib import checkpoints, cli, experiment, overview, paths, pool, records, reproduce, tables
from sshpe_lib.config import Experiment
from sshpe_lib.data import check
from sshpe_lib.machine import Machine
from sshpe_lib.overview import Line
from sshpe_lib.records import Record
from sshpe_lib.reproduce import TOLERANCE, Comparison
from tests import fakes


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of records, and one of runs beside it."""
    monkeypatch.setenv("SSHPE_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("SSHPE_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "records"


@pytest.fixture
def sshpe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Run the command in this process: its exit code, standard output and standard error."""

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["sshpe", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return command


@pytest.fixture
def saved(folder: Path) -> Record:
    """A record in the folder."""
    record = fakes.record(tables.experiment("smoke", "pose-mum+"), ap=24.0)
    records.write(folder, record)
    return record


def changed(record: Record, ap: float | None = None, **provenance: object) -> Record:
    """The record as another run would have made it: other weights, another AP, other facts."""
    metrics = record.metrics if ap is None else {name: fakes.statistics(ap) for name in record.metrics}
    facts = record.provenance.model_copy(update=provenance)
    return record.model_copy(update={"metrics": metrics, "provenance": facts})


def assert_refused(result: tuple[int, str, str], *words: str) -> None:
    """Exit code 2, nothing on standard output, one line on standard error that holds the words."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("sshpe: ") and err.count("\n") == 1
    for word in words:
        assert word in err


def test_help_names_every_command(sshpe) -> None:
    code, out, _ = sshpe("--help")
    assert code == 0
    for command in (
        "run",
        "plan",
        "status",
        "reproduce",
        "compare",
        "table",
        "train",
        "predict",
        "evaluate",
        "export",
        "test-dev",
        "data",
    ):
        assert f" {command} " in out


COMMAND = typer.main.get_command(cli.app)
COMMANDS = [(), *((name,) for name in COMMAND.commands)]
COMMANDS += [(name, inner) for name in ("data", "weights") for inner in COMMAND.commands[name].commands]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_is_whole_in_80_columns(sshpe, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = sshpe(*words, "--help")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    told = "".join(out.split())  # lines are folded at spaces and hyphens
    assert "…" not in told and "...]" not in told.replace("[ARGS]...", "")
    command = functools.reduce(lambda group, name: group.commands[name], words, COMMAND)
    shown = [command.help, *(inner.help for inner in getattr(command, "commands", {}).values())]
    for one in command.params:
        shown += [one.help, *(one.opts + one.secondary_opts)]
        shown += [f"default:{one.default}"] if isinstance(one.default, str) else []
    assert [words for words in shown if words and "".join(words.split()) not in told] == []


def test_a_table_is_printed_from_its_records(sshpe, folder: Path, asked: list) -> None:
    fakes.write(fakes.study("smoke", seeds=1), folder)
    code, out, _ = sshpe("table", "table4", "--profile", "smoke", "--column", "resnet18")
    assert code == 0 and out.startswith("Table 4. ") and "+12.83" in out
    numbers = json.loads(sshpe("table", "table4", "--profile", "smoke", "--json")[1])
    found = next(one for one in numbers if (one["row"], one["column"]) == ("0.9", "ResNet-18"))
    assert found["paper"] == 46.47 and isinstance(found["ours"], float) and found["seeds"] == 1
    assert found["ours std"] is None
    printed = sshpe("table", "table4", "--profile", "smoke", "--row", "0.9", "--column", "resnet18", "--csv")[
        1
    ]
    line = list(csv.DictReader(printed.splitlines()))[-1]
    assert (line["row"], float(line["paper"]), line["ours std"]) == ("0.9", 46.47, "")
    assert not asked


def test_numbers_are_printed_in_one_way_at_a_time(sshpe, folder: Path) -> None:
    fakes.write(fakes.study("smoke", seeds=1), folder)
    told = sshpe("table", "table4", "--profile", "smoke", "--json", "--csv")
    assert_refused(told, "--json and --csv are two ways", "give one")


@pytest.mark.parametrize("words", ["table table4", "plan table5 --tflops 1"])
def test_prose_is_folded_at_the_width_of_the_terminal(
    sshpe, folder: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.write(fakes.study("smoke", seeds=1), folder)

    def printed(columns: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        code, out, _ = sshpe(*words.split(), "--profile", "smoke")
        assert code == 0
        return out.splitlines()

    wide = printed(100)
    assert max(map(len, wide)) <= 100 and printed(300) == wide
    for columns, most in ((80, 80), (40, 60)):
        narrow = printed(columns)
        assert "".join("".join(narrow).split()) == "".join(
            "".join(wide).split()
        )  # names fold at hyphens, too
        assert len(narrow) > len(wide)
        longer = [line for line in narrow if len(line) > most]
        assert all("  " in line or set(line) == {"-"} for line in longer), "these are rows of tables"


def test_a_table_that_lacks_records_names_the_command_and_trains_nothing(sshpe, asked: list) -> None:
    told = sshpe("table", "table4", "--profile", "smoke")
    assert_refused(told, "no record", "sshpe run table4 --profile smoke --seeds 1")
    assert not asked


def row(out: str, profile: str, table: str = "table4") -> list[str]:
    """The cells of a table's line on a profile in the grid that `sshpe status` prints."""
    line = next(line for line in out.splitlines() if f" {table} " in line and f" {profile} " in line)
    return [cell.strip() for cell in line.split("│")[1:-1]]


def test_status_says_what_is_missing_and_what_makes_it(sshpe, folder: Path) -> None:
    code, out, _ = sshpe("status", "--profile", "smoke")
    assert code == 0
    assert row(out, "smoke") == ["table4", "smoke", "0 of 6", "6", "sshpe run table4 --profile smoke"]
    fakes.write(fakes.study("smoke", seeds=1), folder)
    _, out, _ = sshpe("status", "--profile", "smoke", "--json")
    line = next(one for one in json.loads(out) if one["table"] == "table4")
    assert (line["done"], line["total"], line["command"]) == (6, 6, "")
    _, out, _ = sshpe("status", "--profile", "smoke")
    assert row(out, "smoke") == ["table4", "smoke", "6 of 6", "0", ""]


@pytest.fixture
def photos(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a profile whose data is not on this machine."""
    params = fakes.unpinned(repository / "params", tmp_path)
    monkeypatch.setattr(paths, "params", lambda: params)
    return "photos"


def test_status_of_every_profile_says_what_cannot_be_known(sshpe, photos: str) -> None:
    code, out, _ = sshpe("status")
    assert code == 0
    assert row(out, photos)[2:] == ["0 of 6", "6", "sshpe run table4 --profile photos"]
    assert row(out, "smoke")[2:4] == ["0 of 6", "6"]
    (told,) = [
        line for line in out.splitlines() if "photos/people.json: where is the data? Set SSHPE_DATA" in line
    ]
    assert "table4" in told.partition(" on photos: ")[0].split(", ")


def test_status_says_once_what_several_tables_lack(
    sshpe, photos: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        Line(name, photos, 0, 1, "", trouble)
        for name, trouble in (("a", "no x"), ("b", "no y"), ("c", "no x"))
    ]
    monkeypatch.setattr(overview, "overview", lambda profile: lines)
    _, out, _ = sshpe("status")
    assert out.splitlines()[-2:] == ["a, c on photos: no x", "b on photos: no y"]


def test_status_of_an_unknown_profile_is_refused(sshpe) -> None:
    assert_refused(sshpe("status", "--profile", "fast"), "no profile 'fast'", "quick, smoke")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Experiment, Machine, int]]:
    """What `sshpe run` would have trained, and how, and how many at a time."""
    seen = []

    def run_all(wanted: list[Experiment], machine: Machine, jobs: int, folder: Path) -> list[Record]:
        seen.extend((one, machine, jobs) for one in wanted)
        return [fakes.record(one) for one in wanted]

    monkeypatch.setattr(pool, "run_all", run_all)
    return seen


def test_run_trains_what_is_missing_and_prints_the_table(sshpe, folder: Path, asked: list) -> None:
    fakes.write(fakes.study("smoke", seeds=1), folder)
    lost = tables.experiment("smoke", "pose-mum+", set={"teacher.decay": 0.9})
    records.path_of(folder, lost.key()).unlink()
    code, out, _ = sshpe("run", "table4", "--profile", "smoke")
    assert code == 0
    assert [one.key() for one, _, _ in asked] == [lost.key()]
    assert ": 0.9, ResNet-18, seed 0\nTable 4. " in out
    assert "0.999       44.33  +12.83  22.6  +3.0     −9.8  –      1\n" in out


def test_run_takes_a_file_a_row_a_column_and_the_machine(sshpe, repository: Path, asked: list) -> None:
    code, _, _ = sshpe(
        "run", repository / "params" / "table4.yaml", "--profile", "smoke", "--row", "0.9",
        "--column", "resnet18", "--seeds", "2", "--threads", "3", "--workers", "1",
        "--accelerator", "cpu", "--devices", "1", "--tensorboard", "--jobs", "4",
    )  # fmt: skip
    assert code == 0
    assert [(one.teacher.decay, one.train.seed) for one, _, _ in asked] == [
        (None, 0),
        (None, 1),
        (0.9, 0),
        (0.9, 1),
    ]
    machine = Machine("cpu", 1, threads=3, workers=1, tensorboard=True)
    assert {(how, jobs) for _, how, jobs in asked} == {(machine, 4)}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["table9"], "no table"),
        (["table4", "--profile", "fast"], "no profile 'fast'"),
        (["table4", "--profile", "smoke", "--row", "0.95"], "no row '0.95'"),
        (["table4", "--profile", "smoke", "--column", "vgg"], "no column 'vgg'"),
        (["table4", "--profile", "smoke", "--column", "resnet101"], "ResNet-101 is not run"),
        (["table4", "--profile", "photos"], "Set SSHPE_DATA"),
    ],
)
def test_run_refuses_in_one_line(sshpe, asked: list, photos: str, words: list[str], told: str) -> None:
    assert_refused(sshpe("run", *words), told)
    assert not asked


def test_options_of_a_cluster_without_one_are_refused(sshpe) -> None:
    code, out, err = sshpe("run", "table4", "--profile", "smoke", "--cluster-option", "slurm_partition=gpu")
    assert code == 2 and out == "" and "name the cluster, too: --cluster slurm" in err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--devices", "two"),
        ("--devices", "0"),
        ("--accelerator", "tpu"),
        ("--seeds", "0"),
        ("--threads", "-1"),
        ("--jobs", "0"),
    ],
)
def test_run_refuses_a_wrong_option(sshpe, asked: list, option: str, value: str) -> None:
    code, out, err = sshpe("run", "table4", "--profile", "smoke", option, value)
    assert (code, out) == (2, "")
    assert "Invalid value" in err and option in err
    assert not asked


def test_plan_prints_what_would_be_done_and_trains_nothing(sshpe, repository: Path, asked: list) -> None:
    table = repository / "params" / "table4.yaml"
    code, out, err = sshpe("plan", table, "--profile", "paper", "--tflops", "10", "--accelerator", "cpu")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    line = next(line for line in out.splitlines() if line.startswith("0.6 "))
    assert line.split() == "0.6 pose-mum+ R18 1,000 149,813 30 140,460 185 P 5.1 246 MB 0 of 1".split()
    assert "DATA NOT FOUND" in out and "ASSUMED 10 TFLOP/s" in out
    assert not asked


def test_plan_counts_the_records(sshpe, folder: Path, photos: str) -> None:
    fakes.write(fakes.study("smoke", seeds=1), folder)
    _, out, _ = sshpe("plan", "table4", "--profile", "smoke", "--seeds", "2", "--tflops", "1")
    assert "Total: 12 runs, 6 with a record, 6 left: " in out
    _, out, _ = sshpe("plan", "table4", "--profile", photos)
    assert "$SSHPE_DATA/photos/people.json: DATA NOT FOUND: SSHPE_DATA is not set" in " ".join(out.split())


def test_plan_measures_where_asked(sshpe) -> None:
    code, out, _ = sshpe("plan", "table4", "--profile", "smoke", "--measure")
    assert code == 0 and "measured now" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["table9"], "no table"),
        (["table4", "--profile", "fast"], "no profile 'fast'"),
        (["table4", "--device", "h1000"], "no device 'h1000'"),
        (["table4", "--device", "amd-epyc", "--measure"], "give one of --device, --tflops and --measure"),
    ],
)
def test_plan_refuses_in_one_line(sshpe, words: list[str], told: str) -> None:
    assert_refused(sshpe("plan", *words), told)


@pytest.mark.parametrize(("option", "value"), [("--tflops", "0"), ("--seeds", "0"), ("--accelerator", "tpu")])
def test_plan_refuses_a_wrong_option(sshpe, option: str, value: str) -> None:
    code, out, err = sshpe("plan", "table4", option, value)
    assert (code, out) == (2, "")
    assert "Invalid value" in err and option in err


@pytest.fixture
def twins(folder: Path, tmp_path: Path, saved: Record):
    """Write a record beside the saved one, into a folder of its own; its path."""

    def write(record: Record) -> Path:
        shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
        records.write(tmp_path / "fresh", record)
        return tmp_path / "fresh"

    return write


def test_compare_equal_records(sshpe, folder: Path, saved: Record, twins) -> None:
    code, out, _ = sshpe("compare", folder, twins(changed(saved, seconds=1.0, commit="f" * 40)))
    assert (code, out) == (0, f"{saved.key}: AP 24.00, recorded 24.00: bit-equal (weights abababababab)\n")


@pytest.mark.parametrize("ap", [24.0, 24.001, 20.0])
def test_compare_on_one_machine_wants_equal_bits(
    sshpe, folder: Path, saved: Record, twins, ap: float
) -> None:
    code, out, _ = sshpe("compare", folder, twins(changed(saved, ap, checkpoint_sha256="cd" * 32)))
    assert code == 1
    assert out.endswith("DIFFERS, though machine and versions are the same\n")


def test_compare_of_equal_weights_wants_equal_measures_and_curves(
    sshpe, folder: Path, saved: Record, twins
) -> None:
    for other in (changed(saved, 23.0), saved.model_copy(update={"curve": saved.curve[1:]})):
        code, out, _ = sshpe("compare", folder, twins(other))
        assert code == 1
        assert out.endswith("DIFFERS, though machine and versions are the same\n")


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"device": "another"}, "device another, was a processor"),
        ({"threads": 1}, "threads 1, was 2"),
        ({"world_size": 2}, "processes 2, was 1"),
        ({"precision": "bf16-mixed"}, "precision bf16-mixed, was 32-true"),
        ({"versions": fakes.VERSIONS | {"torch": "2.14.0"}}, "torch 2.14.0, was 2.13.0"),
    ],
)
def test_compare_on_another_machine_has_a_tolerance(
    sshpe, folder: Path, saved: Record, twins, facts: dict, named: str
) -> None:
    facts = {"checkpoint_sha256": "cd" * 32} | facts
    code, out, _ = sshpe("compare", folder, twins(changed(saved, 24.0 - TOLERANCE, **facts)))
    assert code == 0
    assert f"within the tolerance of {TOLERANCE} AP" in out and named in out
    code, out, _ = sshpe("compare", folder, twins(changed(saved, 24.01 + TOLERANCE, **facts)))
    assert code == 1
    assert f"DIFFERS by more than the tolerance of {TOLERANCE} AP" in out and named in out


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ({}, {"instructions": "AVX2"}, "instructions AVX2, was not noted"),
        ({"instructions": "AVX2"}, {}, "instructions not noted, was AVX2"),
        ({}, {"versions": fakes.VERSIONS | {"numpy": "2.4.0"}}, "numpy 2.4.0, was not noted"),
    ],
)
def test_a_machine_that_a_record_does_not_note_may_be_another(
    sshpe, folder: Path, saved: Record, twins, before: dict, after: dict, named: str
) -> None:
    records.write(folder, changed(saved, **before))
    for lost, code, verdict in ((TOLERANCE, 0, "within"), (TOLERANCE + 0.01, 1, "DIFFERS by more than")):
        fresh = twins(changed(saved, 24.0 - lost, checkpoint_sha256="cd" * 32, **after))
        told = f"{verdict} the tolerance of {TOLERANCE} AP on what may be another machine ({named})\n"
        found, out, _ = sshpe("compare", folder, fresh)
        assert found == code and out.endswith(told)
    old, known = changed(saved, **before), changed(saved, **after)
    assert Comparison(old, known).same_machine is None
    assert Comparison(old, changed(known, device="another")).same_machine is False
    assert Comparison(known, known).same_machine is True


@pytest.mark.parametrize("second", [False, True])
def test_the_tolerance_follows_the_spread_of_the_experiments_own_seeds(tmp_path: Path, second: bool) -> None:
    """Four standard deviations; of a second stage, whose first has the seed as well, too."""
    how = {"backbone": "hrnet-w32", "amount": "all", "size": "256x192", "protocol": "aid"}
    how |= {"schedule": "S3" if second else "S1"}
    made = [fakes.record(tables.experiment("smoke", "aid-has", seed=seed, **how)) for seed in range(3)]
    assert (made[0].experiment.start is not None) == second
    other = fakes.record(tables.experiment("smoke", "mum", seed=7), ap=90.0)
    for spread, allowed in ((0.1, TOLERANCE), (2.0, 8.0)):
        for ap, record in zip((24 - spread, 24, 24 + spread), made, strict=True):
            records.write(tmp_path, changed(record, ap))
        records.write(tmp_path, other)
        assert reproduce.tolerance(made[0], tmp_path) == pytest.approx(allowed)
    assert reproduce.tolerance(other, tmp_path) == TOLERANCE
    fresh = changed(made[1], 24 - 7.9, device="another", checkpoint_sha256="cd" * 32)
    records.write(tmp_path / "fresh", fresh)
    (comparison,) = reproduce.compare_folders(tmp_path, tmp_path / "fresh")
    assert comparison.agrees and "within the tolerance of 8.0 AP" in comparison.describe()


def test_the_least_tolerance_is_three_to_four_deviations_of_the_committed_records(repository: Path) -> None:
    seeds: dict[Experiment, list[float]] = {}
    for record in records.read_all(repository / "book" / "records"):
        seeds.setdefault(reproduce.seedless(record.experiment), []).append(record.ap)
    several = [aps for aps in seeds.values() if len(aps) > 1]
    squares = sum(np.var(aps) * len(aps) for aps in several)
    pooled = (squares / sum(len(aps) - 1 for aps in several)) ** 0.5
    assert 3 < TOLERANCE / pooled < 4


def test_records_are_bit_equal_in_weights_metrics_and_curve(saved: Record) -> None:
    metrics = {name: one | {"AP50": 1.0} for name, one in saved.metrics.items()}
    for change in ({"metrics": metrics}, {"curve": saved.curve[:-1]}):
        other = Comparison(saved, saved.model_copy(update=change))
        assert not other.bit_equal and not other.agrees and "DIFFERS, though machine" in other.describe()
    assert Comparison(saved, saved).bit_equal


def test_compare_tells_all_and_fails_on_one(sshpe, folder: Path, saved: Record, twins) -> None:
    other = fakes.record(tables.experiment("smoke", "mum"))
    records.write(folder, other)
    fresh = twins(saved)
    records.write(fresh, changed(other, checkpoint_sha256="cd" * 32))
    code, out, _ = sshpe("compare", folder, fresh)
    assert code == 1
    assert sorted("bit-equal" in line for line in out.splitlines()) == [False, True]


def test_compare_refuses_what_has_no_twin(sshpe, folder: Path, saved: Record, tmp_path: Path, twins) -> None:
    stranger = fakes.record(tables.experiment("smoke", "mum"))
    assert_refused(
        sshpe("compare", folder, twins(stranger)), str(folder), stranger.key, "the experiment has changed"
    )
    assert_refused(sshpe("compare", folder, tmp_path / "nothing"), "nothing: no records")
    records.path_of(folder, saved.key).write_text("{")
    assert_refused(sshpe("compare", folder, twins(saved)), f"{saved.key}.json: not a readable record")


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, saved: Record) -> SimpleNamespace:
    """Training replaced by a record of our choice; what it was asked for."""
    seen = SimpleNamespace(result=saved, machine=None, folder=None, experiment=None)

    def train(wanted: Experiment, machine: Machine, folder: Path) -> Record:
        seen.experiment, seen.machine, seen.folder = wanted, machine, folder
        assert list(folder.iterdir()) == []  # nothing to go on from
        (folder / "checkpoint.pt").touch()
        return seen.result

    monkeypatch.setattr(experiment, "train", train)
    return seen


def test_reproduce_trains_again_from_nothing(sshpe, saved: Record, training: SimpleNamespace) -> None:
    for _ in range(2):
        code, out, _ = sshpe("reproduce", saved.key[:5], "--threads", "2", "--accelerator", "cpu")
        assert (code, out.endswith("bit-equal (weights abababababab)\n")) == (0, True)
        assert training.experiment == saved.experiment
        assert training.machine == Machine("cpu", "auto", threads=2, workers=0)
        assert not training.folder.exists()


def test_reproduce_compares_what_would_be_written(
    sshpe, folder: Path, saved: Record, training: SimpleNamespace
) -> None:
    training.result = fakes.record(saved.experiment, ap=24.0, points=300)
    records.write(folder, training.result)
    assert len(records.find(folder, saved.key).curve) < 300
    assert "bit-equal" in sshpe("reproduce", saved.key)[1]


@pytest.mark.parametrize(("typed", "threads"), [((), 3), (("--threads", "0"), 0), (("--threads", "1"), 1)])
def test_reproduce_takes_the_threads_of_the_record_where_no_others_are_asked(
    sshpe, folder: Path, saved: Record, training: SimpleNamespace, typed: tuple[str, ...], threads: int
) -> None:
    records.write(folder, changed(saved, threads=3))
    assert sshpe("reproduce", saved.key, *typed)[0] == 0
    assert training.machine.threads == threads


def test_reproduce_refuses_several_processes(
    sshpe, saved: Record, training: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert_refused(
        sshpe("reproduce", saved.key), saved.key, "torchrun started 2", "`sshpe compare` the records"
    )
    assert training.experiment is None and not paths.runs().exists()


def test_reproduce_refuses_runs_that_cannot_be_written(
    sshpe, saved: Record, training: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "afile").write_text("")
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "afile" / "x"))
    assert_refused(sshpe("reproduce", saved.key), "afile/x: cannot be written (Not a directory)")
    assert training.experiment is None


def test_reproduce_reads_the_other_records_before_it_trains(
    sshpe, folder: Path, saved: Record, training: SimpleNamespace
) -> None:
    (folder / "0123456789abcdef.json").write_text("{<<<<<<<")
    assert_refused(sshpe("reproduce", saved.key), "0123456789abcdef.json: not a readable record")
    assert training.experiment is None


def test_reproduce_keeps_the_network_where_asked(sshpe, saved: Record, training: SimpleNamespace) -> None:
    kept = checkpoints.of(paths.runs() / saved.key)
    sshpe("reproduce", saved.key)
    assert not kept.exists()
    assert sshpe("reproduce", saved.key, "--keep")[0] == 0
    assert kept.exists() and not training.folder.exists()


def test_reproduce_keeps_no_network_that_differs(sshpe, saved: Record, training: SimpleNamespace) -> None:
    training.result = changed(saved, 23.0, checkpoint_sha256="cd" * 32)
    code, out, _ = sshpe("reproduce", saved.key, "--keep")
    assert code == 1 and f"{saved.key}: the trained network is not kept" in out
    assert not checkpoints.of(paths.runs() / saved.key).exists()


def test_reproduce_refuses_runs_that_cannot_be_locked(
    sshpe, saved: Record, training: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = paths.runs() / f"reproduce-{saved.key}-left"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))

    def refused(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    assert_refused(sshpe("reproduce", saved.key), "lock cannot be locked: No locks available", "SSHPE_RUNS")
    assert training.experiment is None


def test_reproduce_removes_what_a_killed_one_left_and_no_other(sshpe, saved: Record, training) -> None:
    left, running, starting = (
        paths.runs() / f"reproduce-{saved.key}-{name}" for name in ("left", "running", "starting")
    )
    for folder in (left, running, starting):
        checkpoints.of(folder).mkdir(parents=True)
    with FileLock(running / "lock"):
        for folder in (left, running):
            os.utime(folder, (0, 0))
        assert sshpe("reproduce", saved.key)[0] == 0
    assert not left.exists() and running.exists() and starting.exists()


def test_reproduce_fails_where_the_result_differs(sshpe, saved: Record, training: SimpleNamespace) -> None:
    training.result = changed(saved, 23.0, checkpoint_sha256="cd" * 32)
    code, out, _ = sshpe("reproduce", saved.key)
    assert code == 1
    assert "AP 23.00, recorded 24.00: DIFFERS" in out


def test_reproduce_refuses_a_key_of_no_record_or_of_several(
    sshpe, folder: Path, saved: Record, training
) -> None:
    assert_refused(sshpe("reproduce", "xyz"), str(folder), "no record's key starts with 'xyz'")
    fakes.write(fakes.study("smoke", seeds=1), folder)
    assert_refused(sshpe("reproduce", ""), "begins the keys of", "give more of the key")
    assert training.experiment is None


def test_reproduce_refuses_a_record_that_was_edited(sshpe, folder: Path, saved: Record, training) -> None:
    path = records.path_of(folder, saved.key)
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))
    assert_refused(sshpe("reproduce", saved.key), "it was edited or renamed")
    assert training.experiment is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("status", "--profile", "x" * 300), "no profile 'xxx"),
        (("table", "x" * 300), "no table "),
        (("evaluate", "x" * 300 + ".safetensors"), "File name too long"),
    ],
)
def test_a_name_that_the_system_refuses_is_one_line(sshpe, words: tuple[str, ...], told: str) -> None:
    assert_refused(sshpe(*words), told)


def test_a_home_that_nobody_has_is_one_line(sshpe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSHPE_CACHE", "~nobodyhere/x")
    assert_refused(sshpe("weights", "list"), "SSHPE_CACHE=~nobodyhere/x: no home is known")


def test_somebody_elses_folder_is_one_line(sshpe, saved: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refused)  # root may enter every folder
    told = f"{records.path_of(paths.records(), saved.key)}: Permission denied"
    assert_refused(sshpe("compare", paths.records(), paths.records()), told)


@pytest.mark.parametrize(("fatal", "code"), [(True, 1), (False, 0)])
def test_data_check_fails_on_fatal_faults_only(
    sshpe, monkeypatch: pytest.MonkeyPatch, fatal: bool, code: int
) -> None:
    class Report:
        ok, faults = not fatal, ("a fault",)

        def __str__(self) -> str:
            return "what was found"

    monkeypatch.setattr(check, "check", lambda path, images, category: Report())
    assert sshpe("data", "check", "some.json") == (code, "what was found\n", "")


def test_scales_for_test_dev_are_passed_on_as_typed(sshpe, monkeypatch) -> None:
    monkeypatch.setattr("sshpe_lib.test_dev.submit", lambda *given: f"{given[5]} {given[-1]}")
    assert sshpe("test-dev", "abc") == (0, "sshpe ()\n", "")
    assert sshpe("test-dev", "abc", "--scale", 1, "--scale", 0.5) == (0, "sshpe [1.0, 0.5]\n", "")


def test_people_are_drawn_as_typed(sshpe, tmp_path: Path) -> None:
    code, out, _ = sshpe("data", "synth", tmp_path, "--images", 3, "--most", 2, "--width", 64)
    file = Path(out.strip().splitlines()[-1])
    assert code == 0 and len(json.loads(file.read_text())["images"]) == 3


def test_a_file_is_parted_as_typed(sshpe, tmp_path: Path) -> None:
    file = sshpe("data", "synth", tmp_path, "--images", 4, "--width", 64)[1].strip().splitlines()[-1]
    code, out, _ = sshpe("data", "split", file, "--hold-out", 0.25)
    folder = Path(file).parent
    told = [
        f"{folder / 'train_of_annotations.json'}: 3 images",
        f"{folder / 'val_of_annotations.json'}: 1 images",
    ]
    assert (code, out.splitlines()) == (0, told)
    assert sshpe("data", "check", folder / "val_of_annotations.json")[0] == 0
    assert_refused(sshpe("data", "split", file, "--hold-out", 1), "leaves a part empty", "such as 0.2")
    code, out, err = sshpe("data", "split", file)
    assert (code, out) == (2, "") and "--hold-out" in err
