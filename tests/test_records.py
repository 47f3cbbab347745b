"""Records: written whole, found by key, never believed where they were edited."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sshpe_lib import records, tables
from sshpe_lib.config import Experiment
from sshpe_lib.errors import SSHPEError
from sshpe_lib.records import MAX_BYTES, MAX_POINTS, Example, Point, Record
from tests import fakes


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return tables.experiment("quick", "pose-mum+")


@pytest.fixture
def record(experiment: Experiment) -> Record:
    return fakes.record(experiment, ap=24.123)


def longest(record: Record) -> Record:
    """A record with as many points as a curve may have and eight people of 17 keypoints, all digits used."""
    rng = np.random.default_rng(0)
    small, large = (
        rng.uniform(1e-4, 1e-3, (MAX_POINTS, 3)).round(8),
        rng.uniform(10, 60, (MAX_POINTS, 2)).round(2),
    )
    curve = tuple(
        Point(
            step=140_000 + i, loss=small[i, 0], supervised=small[i, 1], consistency=small[i, 2],
            student_ap=large[i, 0], teacher_ap=large[i, 1],
        )
        for i in range(MAX_POINTS)
    )  # fmt: skip
    points = np.concatenate(
        [rng.uniform(100, 640, (8, 17, 2)).round(1), rng.uniform(0, 1, (8, 17, 1)).round(3)], 2
    )
    examples = tuple(
        Example(image_id=139_000 + i, annotation_id=1_390_000 + i, keypoints=points[i].tolist())
        for i in range(8)
    )
    return record.model_copy(update={"curve": curve, "examples": examples})


def test_what_is_written_is_found_again(tmp_path: Path, record: Record) -> None:
    path = records.write(tmp_path / "new" / "folder", record)
    assert path == records.path_of(tmp_path / "new" / "folder", record.key)
    found = records.find(path.parent, record.key)
    assert found == record
    assert found.experiment.key() == record.key
    assert [file.name for file in path.parent.iterdir()] == [f"{record.key}.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_writing_twice_gives_the_same_bytes(tmp_path: Path, record: Record) -> None:
    first = records.write(tmp_path, record).read_bytes()
    assert records.write(tmp_path, records.read(records.path_of(tmp_path, record.key))).read_bytes() == first
    assert first.endswith(b"}\n") and len(first) <= MAX_BYTES


def test_no_record_is_none(tmp_path: Path, record: Record) -> None:
    assert records.find(tmp_path, record.key) is None
    assert records.find(tmp_path / "missing", record.key) is None


def test_ap_is_the_headline_networks(record: Record, experiment: Experiment) -> None:
    assert (record.headline, record.ap) == ("teacher", 24.123)
    assert record.model_copy(update={"headline": "student"}).ap == 23.623


def test_a_records_precision_is_what_the_run_had(experiment: Experiment) -> None:
    asked = experiment.model_copy(
        update={"train": experiment.train.model_copy(update={"precision": "bf16-mixed"})}
    )
    assert fakes.record(asked, precision="32-true").precision == "32-true"
    assert fakes.record(asked).precision == "bf16-mixed"  # as those from before it was noted


def cut(text: str) -> str:
    return text[: len(text) // 2]


def another_seed(text: str) -> str:
    value = json.loads(text)
    value["experiment"]["train"]["seed"] = 5
    return json.dumps(value)


def another_key(text: str) -> str:
    return json.dumps(json.loads(text) | {"key": "0" * 16})


def unknown_field(text: str) -> str:
    return json.dumps(json.loads(text) | {"remark": "best so far"})


def metric_of_words(text: str) -> str:
    return json.dumps(json.loads(text) | {"metrics": {"teacher": {"AP": "good"}}})


@pytest.mark.parametrize("change", [cut, unknown_field, metric_of_words, lambda text: "", lambda text: "[]"])
def test_a_file_that_is_no_record_is_one_error(tmp_path: Path, record: Record, change: Callable) -> None:
    path = records.write(tmp_path, record)
    path.write_text(change(path.read_text()))
    with pytest.raises(SSHPEError, match=f"{path.name}: not a readable record") as caught:
        records.find(tmp_path, record.key)
    assert "\n" not in str(caught.value) and "run the experiment again" in str(caught.value)


def test_a_record_of_another_version_is_told_with_the_field_that_is_new(
    tmp_path: Path, record: Record
) -> None:
    path = records.write(tmp_path, record)
    path.write_text(unknown_field(path.read_text()))
    told = r"record \(remark: Extra inputs are not permitted\); it is of another version, .*: update sshpe, move it"
    with pytest.raises(SSHPEError, match=told):
        records.find(tmp_path, record.key)


def test_a_record_of_several_parts_is_found_again(tmp_path: Path, record: Record) -> None:
    earlier = ({"commit": "f" * 40, "dirty": True, "versions": {"torch": "2.12.0"}},)
    facts = record.provenance.model_copy(update={"earlier": earlier})
    parted = record.model_copy(update={"provenance": facts})
    records.write(tmp_path, parted)
    assert records.find(tmp_path, record.key) == parted
    assert "earlier" not in records.write(tmp_path, record).read_text()


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"student": {"AP": 24.0}},
        {"teacher": {}},
        {"teacher": {"AP50": 24.0}},
        {"student": {"AP50": 24.0}, "teacher": {"AP": 24.0}},
        *({"teacher": {"AP": ap}} for ap in (None, float("nan"), float("inf"), True, "24", -0.1, 100.1)),
        {"teacher": {"AP": 24.0, "AP50": float("nan")}},
    ],
)
def test_a_record_without_its_measurement_is_no_record(tmp_path: Path, record: Record, metrics: dict) -> None:
    path = records.write(tmp_path, record)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metrics": metrics}))
    with pytest.raises(SSHPEError, match=f"{path.name}: not a readable record"):
        records.find(tmp_path, record.key)


@pytest.mark.parametrize("ap", [0, 100, 24.0])
def test_every_percentage_is_a_measurement(tmp_path: Path, record: Record, ap: float) -> None:
    path = records.write(tmp_path, record)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metrics": {"teacher": {"AP": ap}}}))
    assert records.find(tmp_path, record.key).ap == ap


@pytest.mark.parametrize("change", [another_seed, another_key])
def test_an_edited_record_is_not_believed(tmp_path: Path, record: Record, change: Callable) -> None:
    path = records.write(tmp_path, record)
    path.write_text(change(path.read_text()))
    with pytest.raises(SSHPEError, match="it was edited or renamed"):
        records.find(tmp_path, record.key)


def test_a_renamed_record_is_not_believed(tmp_path: Path, record: Record) -> None:
    other = tables.experiment("quick", "pose-mum+", seed=1).key()
    records.write(tmp_path, record).rename(records.path_of(tmp_path, other))
    with pytest.raises(SSHPEError, match="it was edited or renamed"):
        records.find(tmp_path, other)


def test_a_record_is_asked_for_by_the_beginning_of_its_key(tmp_path: Path, record: Record) -> None:
    records.write(tmp_path, record)
    assert records.only(tmp_path, record.key[:4]) == records.only(tmp_path, record.key) == record
    with pytest.raises(SSHPEError, match=f"no record's key starts with '{record.key[1:]}'"):
        records.only(tmp_path, record.key[1:])


@pytest.mark.parametrize("longer", [True, False])
def test_a_record_that_changed_is_read_anew(tmp_path: Path, record: Record, longer: bool) -> None:
    """Either its size or its time tells: of the same length, or within the clock's tick."""
    path = records.write(tmp_path, record)
    time = records.find(tmp_path, record.key) and path.stat().st_mtime_ns
    path.write_text(
        path.read_text().replace('"dirty": false', '"dirty": ' + ("true  " if longer else "true "))
    )
    os.utime(path, ns=(time, time) if longer else (time + 1000, time + 1000))
    assert records.find(tmp_path, record.key).provenance.dirty


def test_binary_rubbish_and_a_folder_are_errors(tmp_path: Path, record: Record) -> None:
    path = records.path_of(tmp_path, record.key)
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(SSHPEError, match="not a readable record"):
        records.find(tmp_path, record.key)
    path.unlink()
    path.mkdir()
    with pytest.raises(SSHPEError, match="not a readable record"):
        records.find(tmp_path, record.key)


def test_the_longest_record_fits(tmp_path: Path, record: Record) -> None:
    full = longest(record)
    path = records.write(tmp_path, full)
    assert path.stat().st_size <= MAX_BYTES + 1  # and the end of the line
    assert records.find(tmp_path, record.key) == full


@pytest.mark.parametrize("people", [9, 20, 36])
def test_a_record_above_the_limit_has_a_thinner_curve(tmp_path: Path, record: Record, people: int) -> None:
    full = longest(record)
    full = full.model_copy(update={"hard_cases": full.examples[:1] * people})
    path = records.write(tmp_path, full)
    assert MAX_BYTES - 200 < path.stat().st_size <= MAX_BYTES + 1  # no room for one point more
    found = records.find(tmp_path, record.key)
    assert 2 <= len(found.curve) < MAX_POINTS
    assert (found.curve[0], found.curve[-1]) == (full.curve[0], full.curve[-1])
    gaps = np.diff([point.step for point in found.curve])
    assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 1
    assert found == full.model_copy(update={"curve": found.curve}) == records.fitting(full)


def test_a_record_above_the_limit_without_a_curve_is_refused_and_leaves_nothing(
    tmp_path: Path, record: Record
) -> None:
    large = record.model_copy(update={"examples": record.examples * 100})
    with pytest.raises(
        SSHPEError, match=f"record {record.key} has [0-9,]+ bytes .* the limit is {MAX_BYTES:,}"
    ):
        records.write(tmp_path, large)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_never_sees_half_a_record(tmp_path: Path, record: Record) -> None:
    records.write(tmp_path, record)

    def write() -> None:
        for seconds in range(20):
            facts = record.provenance.model_copy(update={"seconds": float(seconds)})
            records.write(tmp_path, record.model_copy(update={"provenance": facts}))

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers) or reads == 0:
        assert records.find(tmp_path, record.key).metrics == record.metrics
        reads += 1
    for writer in writers:
        writer.join()
    assert [file.name for file in tmp_path.iterdir()] == [f"{record.key}.json"]


def test_all_records_of_a_folder_in_the_order_of_their_keys(tmp_path: Path) -> None:
    written = [fakes.record(tables.experiment("quick", "pose-mum+", seed=seed)) for seed in range(4)]
    for one in written:
        records.write(tmp_path, one)
    assert records.read_all(tmp_path) == sorted(written, key=lambda one: one.key)
    assert records.read_all(tmp_path / "missing") == []


@pytest.mark.parametrize("count", [0, 1, MAX_POINTS, MAX_POINTS + 1, 2 * MAX_POINTS, 9999])
def test_thinning_keeps_the_ends_and_the_order(count: int) -> None:
    points = [Point(step=step, loss=1.0, supervised=1.0, student_ap=0.0) for step in range(count)]
    thinned = records.thin(points)
    assert len(thinned) == min(count, MAX_POINTS)
    assert thinned[:1] == tuple(points[:1]) and thinned[-1:] == tuple(points[-1:])
    gaps = np.diff([point.step for point in thinned])
    assert not len(gaps) or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_a_record_is_a_value(record: Record) -> None:
    with pytest.raises(ValueError, match="frozen"):
        record.key = "another"
