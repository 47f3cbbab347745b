"""The dry run: what it counts, what it finds, how fast it believes a device to be, and how it prints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from sshpe_lib import checkpoints, paths, plan, provenance, records, tables
from sshpe_lib import experiment as experiments
from sshpe_lib.config import AIChallengerSource, CocoSource, Experiment, SyntheticSource
from sshpe_lib.errors import SSHPEError
from sshpe_lib.machine import Machine
from sshpe_lib.models import published
from sshpe_lib.models.cost import Undrawn
from sshpe_lib.plan import cost, data, devices, text
from sshpe_lib.plan.devices import Rates, Size
from sshpe_lib.plan.measure import Speed, measure
from sshpe_lib.skeleton import AIC14, COCO17, CROWDPOSE14
from sshpe_lib.tables import Cell
from tests import choices, fakes

PEOPLE, TESTED = 149_813, 6_352
QUIET = Machine(threads=1, progress=False)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of records, no data, and nothing that downloads."""
    monkeypatch.setenv("SSHPE_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("SSHPE_DATA", raising=False)
    monkeypatch.setattr(published, "fetch", lambda *_: pytest.fail("downloaded"))
    return tmp_path / "records"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that nothing was put into; other tests share the session's, with its drawn people."""
    monkeypatch.setenv("SSHPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def paper(
    method: str = "pose-mum+", amount: str = "1K", backbone: str = "resnet18", **settings
) -> Experiment:
    places = {name.replace("__", "."): value for name, value in settings.items()}
    return tables.experiment("paper", method, amount=amount, backbone=backbone, set=places)


def planned(table: str | tables.Table = "table4", profile: str = "paper", **options) -> plan.Plan:
    return plan.make(table, profile, machine=QUIET, **options)


def planned_alone(
    method: str, settings: dict | None = None, profile: str = "smoke", tflops: float | None = None, **chosen
) -> plan.Plan:
    """The plan of a table that has this cell only, and no baseline."""
    cell = Cell(row="a", column="b", method=method, set=settings or {}, **chosen)
    alone = {"cells": (cell,), "baseline": None, "baseline_paper": {}}
    return planned(tables.load_table("table4").model_copy(update=alone), profile, seeds=1, tflops=tflops)


# --- cost ---


@pytest.mark.parametrize(("amount", "steps"), [("1K", 140_460), ("5K", 468_200), ("10K", 468_200)])
@pytest.mark.parametrize("method", ["supervised", "pose-mum+"])
def test_an_epoch_is_a_pass_over_the_pool_for_every_method(method: str, amount: str, steps: int) -> None:
    assert cost.run_cost(paper(method, amount), PEOPLE, TESTED).steps == steps


def test_the_weights_of_a_network_whose_cost_is_counted_are_not_drawn() -> None:
    layer = torch.nn.Linear(2, 3)
    before = layer.weight.detach().clone()
    with Undrawn():
        layer.reset_parameters()
        torch.nn.init.normal_(layer.weight)
        assert torch.equal(layer.weight.detach() + 1, before.add(1))  # all else is done
    assert torch.equal(layer.weight, before)
    layer.reset_parameters()
    assert not torch.equal(layer.weight, before)


def test_a_step_is_seven_forward_passes_of_a_batch() -> None:
    """The fact sheet's figures: 5.81 GFLOP an image (with 24 channels), 18.1; 1.3 TFLOP a step; 183 PFLOP."""
    r18, r101 = (
        cost.network_cost(paper(backbone=name).model, (192, 256), 24) for name in ("resnet18", "resnet101")
    )
    assert round(r18.forward / 1e9, 2) == 5.81 and round(r101.forward / 1e9, 1) == 18.1
    assert (r18.parameters - 7 * 257, r101.parameters - 7 * 257) == (15_376_721, 52_991_825)  # of 17 channels
    run = cost.run_cost(paper("affine-single"), PEOPLE, TESTED)
    forward = cost.network_cost(paper().model, (192, 256), 17).forward
    assert run.step == 7 * 32 * forward
    assert run.training == 140_460 * run.step
    assert round(run.step / 1e12, 1) == 1.3 and round(run.training / 1e15) == 182
    assert cost.run_cost(paper("supervised"), PEOPLE, TESTED).step == 3 * 32 * forward


def test_two_networks_cost_twice_and_one_forward_for_both_batches_the_same() -> None:
    single, dual = paper("affine-single"), paper("affine-single", teacher__kind="dual")
    once, twice = (cost.run_cost(one, PEOPLE, TESTED) for one in (single, dual))
    assert (twice.training, twice.evaluation) == (2 * once.training, 2 * once.evaluation)
    assert twice.checkpoint == 2 * once.checkpoint
    joint = cost.run_cost(paper("affine-single", train__forward="joint"), PEOPLE, TESTED)
    assert joint == once


def test_evaluations_count_every_person_network_and_flip() -> None:
    forward = cost.network_cost(paper().model, (192, 256), 17).forward
    single = cost.run_cost(paper("affine-single"), PEOPLE, TESTED)
    assert single.evaluation == 30 * TESTED * forward
    assert cost.run_cost(paper("pose-mum+"), PEOPLE, TESTED).evaluation == 2 * single.evaluation
    flipped = cost.run_cost(paper("affine-single", evaluate__flip=True), PEOPLE, TESTED)
    assert flipped.evaluation == 2 * single.evaluation
    assert single.flops == single.training + single.evaluation


def test_the_burn_in_is_supervised() -> None:
    smoke = tables.experiment("smoke", "affine-single", set={"train.burn_in": 0.25})
    whole = cost.run_cost(smoke, 48, 16)
    assert whole.training == 3 * whole.step * 3 // 7 + 9 * whole.step


def test_the_burn_in_is_rounded_to_a_step_as_in_training() -> None:
    made = tables.experiment("smoke", "affine-single", set={"train.burn_in": 0.29, "train.steps": 100})
    whole = cost.run_cost(made, 48, 16)
    assert whole.training == 29 * whole.step * 3 // 7 + 71 * whole.step


def test_there_are_no_more_evaluations_than_steps_and_each_scale_costs_its_pixels() -> None:
    def evaluation(times: int, scales: tuple[float, ...] = ()) -> int:
        made = tables.experiment("smoke", "supervised", set={"train.steps": 4})
        settings = made.evaluate.model_copy(update={"times": times, "multi_scale": scales})
        return cost.evaluation_flops(made.model_copy(update={"evaluate": settings}), 1000, 4, 16)

    assert evaluation(2) * 2 == evaluation(4) == evaluation(9)
    assert evaluation(4, (0.5, 1.0, 2.0)) == evaluation(4) * (4 + 5.25) / 4


def test_every_teacher_that_averages_is_a_second_network() -> None:
    eman, ema = (
        cost.run_cost(paper("pose-mum+", teacher__kind=kind), PEOPLE, TESTED) for kind in ("eman", "ema")
    )
    assert eman == ema


def test_what_is_not_known_is_none() -> None:
    unknown = cost.run_cost(paper(), None, TESTED)
    assert (unknown.steps, unknown.training, unknown.evaluation, unknown.flops) == (None,) * 4
    assert unknown.checkpoint > 0
    smoke = cost.run_cost(tables.experiment("smoke", "mum"), None, None)
    assert smoke.steps == 12 and smoke.training and smoke.flops is None


@pytest.mark.parametrize(
    ("method", "teacher"),
    [("supervised", "none"), ("affine-single", "single"), ("pose-mum+", "eman"), ("affine-single", "dual")],
)
def test_a_checkpoint_has_the_bytes_that_are_planned(tmp_path: Path, method: str, teacher: str) -> None:
    settings = {"teacher.kind": teacher, "train.steps": 1, "evaluate.times": 1}
    smoke = tables.experiment("smoke", method, set=settings)
    experiments.train(smoke, QUIET, tmp_path / "run")
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    moments = [
        part[name] for part in state["optimizer"]["state"].values() for name in ("exp_avg", "exp_avg_sq")
    ]
    networks = [*state["student"].values(), *((state["teacher"] or {}).get("network") or {}).values()]
    assert cost.run_cost(smoke, 48, 16).checkpoint == 4 * sum(t.numel() for t in [*moments, *networks])


# --- data ---


def write_people(file: Path, images: Path, count: int = 3, drawn: int | None = None) -> CocoSource:
    """A keypoint file of `count` people, one an image, after a crowd that the filter leaves out; `drawn` images."""
    names = [f"{i:012d}.png" for i in range(1, count + 1)]
    keypoints = [30.0, 40.0, 2] * len(COCO17)
    people = [
        {"id": i, "image_id": max(i, 1), "category_id": 1, "bbox": [10, 10, 40, 60], "area": 1200.0,
         "iscrowd": int(i == 0), "num_keypoints": 17, "keypoints": keypoints}
        for i in range(count + 1)
    ]  # fmt: skip
    shown = [{"id": i, "file_name": name, "width": 60, "height": 80} for i, name in enumerate(names, 1)]
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.keypoints), "skeleton": [[1, 2]]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": shown, "annotations": people, "categories": [category]}))
    images.mkdir(parents=True, exist_ok=True)
    for name in names[:drawn]:
        cv2.imwrite(str(images / name), np.zeros((80, 60, 3), np.uint8))
    return CocoSource(kind="coco", annotations=str(file), images=str(images))


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder in COCO's layout with a few people, such as a part of COCO would be."""
    root = tmp_path / "data" / "coco"
    for name, count in (("train2017", 5), ("val2017", 3)):
        write_people(root / "annotations" / f"person_keypoints_{name}.json", root / "images" / name, count)
    monkeypatch.setenv("SSHPE_DATA", str(tmp_path / "data"))
    return root


def test_without_a_data_folder_the_expected_counts_stand() -> None:
    made = planned()
    (train, found), (test, other) = made.found
    assert (train, found.people, found.there) == (("labelled", "unlabelled"), PEOPLE, False)
    assert (test, other.people, other.there) == (("test",), TESTED, False)
    told = " ".join(found.said)
    assert "$SSHPE_DATA/coco/annotations/person_keypoints_train2017.json: DATA NOT FOUND" in told
    assert "expected: 149,813 people in 118,287 images" in told
    assert "http://images.cocodataset.org/zips/train2017.zip" in told
    assert "http://images.cocodataset.org/annotations/annotations_trainval2017.zip" in told
    assert "expected: 6,352 people in 5,000 images" in " ".join(other.said)


def test_detected_boxes_that_are_not_there_are_named() -> None:
    found = planned("aid_table4", "paper").found
    learned, tested = (next(f for roles, f in found if role in roles) for role in ("labelled", "test"))
    boxes = "$SSHPE_DATA/coco/person_detection_results/COCO_val2017_detections_AP_H_651_person.json: detected boxes"
    assert boxes in tested.said[-1] and "not counted" in tested.said[-1]
    assert tested.people == TESTED and not any("detected boxes" in line for line in learned.said)


def test_a_folder_without_the_files_names_their_full_paths(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SSHPE_DATA", str(tmp_path))
    made = planned()
    told = " ".join(made.found[0][1].said)
    assert (
        f"{tmp_path}/coco/annotations/person_keypoints_train2017.json: DATA NOT FOUND: there is no such file"
        in told
    )
    assert f"unpack it in {tmp_path}/coco/images, so that {tmp_path}/coco/images/train2017 holds" in told
    assert {line.recorded for line in made.lines} == {None} and "cannot be opened" in made.unknown_records
    assert "Some records cannot be looked for" in plan.to_text(made)


def test_found_counts_take_the_place_of_the_expected_ones(coco: Path) -> None:
    made = planned()
    (_, found), (_, other) = made.found
    assert (found.people, other.people, found.there) == (5, 3, True)
    assert "5 people in 5 images: NOT AS EXPECTED, which is 149,813 people in 118,287 images" in found.said[0]
    size = sum(f.stat().st_size for f in (coco / "images" / "train2017").iterdir())
    assert (
        f"5 files, {size / 1e9:.2f} GB" in found.said[1]
        and "all 5 images with people are there" in found.said[1]
    )
    assert {line.cost.steps for line in made.lines} == {30}
    assert "A RUN WOULD STOP: 1,000 labels are wanted of 5 people" in plan.to_text(made)


def test_the_expected_data_is_recognised(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, expected in data.EXPECTED.items():
        count = 5 if "train" in name else 3
        monkeypatch.setitem(data.EXPECTED, name, replace(expected, people=count, images=count))
    for _, found in planned().found:
        assert found.there and all("as expected" in said and "NOT" not in said for said in found.said)


def test_a_file_with_as_many_people_in_other_images_is_not_the_expected_one(
    coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, expected in data.EXPECTED.items():
        count = 5 if "train" in name else 3
        monkeypatch.setitem(data.EXPECTED, name, replace(expected, people=count, images=count + 1))
    assert all("NOT AS EXPECTED" in found.said[0] for _, found in planned().found)


def test_images_whose_people_are_left_out_are_not_learned_from(tmp_path: Path) -> None:
    source = write_people(tmp_path / "people.json", tmp_path / "images", drawn=2)
    document = json.loads((tmp_path / "people.json").read_text())
    document["annotations"][-1]["iscrowd"] = 1
    (tmp_path / "people.json").write_text(json.dumps(document))
    found = data.look(source)
    assert (found.people, found.images, found.peopled, found.there) == (2, 3, 2, True)
    assert (found.learned_from(True), found.learned_from(False)) == (2, 2)
    assert (found.tested(True), found.tested(False)) == (3, 2)


@pytest.mark.parametrize(
    ("drawn", "told"), [(2, "1 of 3 images with people ARE MISSING, the first: image '000000000003.png'")]
)
def test_missing_images_are_counted(tmp_path: Path, drawn: int, told: str) -> None:
    found = data.look(write_people(tmp_path / "people.json", tmp_path / "images", drawn=drawn))
    assert not found.there and told in found.said[1]


def test_a_missing_folder_of_images_and_a_broken_file(tmp_path: Path) -> None:
    source = write_people(tmp_path / "people.json", tmp_path / "images")
    lost = data.look(source.model_copy(update={"images": str(tmp_path / "nowhere")}))
    assert (lost.people, lost.there) == (3, False) and f"{tmp_path}/nowhere: DATA NOT FOUND" in lost.said[1]
    (tmp_path / "people.json").write_text("{")
    broken = data.look(source)
    assert (broken.people, broken.there) == (None, False)
    assert "cannot be used" in broken.said[0] and "line 1 column 2" in broken.said[0]


def test_detected_boxes_stand_for_the_people(tmp_path: Path) -> None:
    source = write_people(tmp_path / "people.json", tmp_path / "images")
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.5}
    (tmp_path / "boxes.json").write_text(json.dumps([box] * 7))
    found = data.look(source.model_copy(update={"detections": str(tmp_path / "boxes.json")}))
    assert (found.people, found.there) == (7, True) and "7 detected boxes" in found.said[2]
    lost = data.look(source.model_copy(update={"detections": str(tmp_path / "nowhere.json")}))
    assert not lost.there and "nowhere.json: the file: it cannot be opened" in lost.said[0]


def test_of_ai_challenger_those_are_counted_who_are_learned_from(tmp_path: Path) -> None:
    file = tmp_path / "people.json"
    source = write_people(file, tmp_path / "images")
    document = json.loads(file.read_text())
    document["categories"][0]["keypoints"] = list(AIC14.keypoints)
    for person in document["annotations"]:
        person["keypoints"] = [30.0, 40.0, 2] * len(AIC14)
    document["annotations"][-1]["keypoints"] = [0] * 36 + [30.0, 40.0, 2] * 2  # head and neck alone
    file.write_text(json.dumps(document))
    source = AIChallengerSource(kind="ai_challenger", annotations=source.annotations, images=source.images)
    found = data.look(source)
    assert (found.people, found.there) == (2, True)
    assert "3 people in 3 images" in found.said[0] and found.said[2].startswith(
        "2 of these people have an arm"
    )


def test_further_labelled_people_make_an_epoch_longer_and_are_looked_for() -> None:
    more = {"kind": "synthetic", "images": 40, "seed": 9}
    plain = {"train.steps": None, "train.epochs": 2}
    cell = Cell(row="plain", column="ResNet-18", method="supervised", backbone="resnet18", set=plain)
    longer = cell.model_copy(update={"row": "more", "set": plain | {"data.extra": more}})
    table = tables.load_table("table4").model_copy(update={"cells": (cell, longer), "baseline": None})
    made = plan.make(table, "smoke", seeds=1, tflops=1.0, machine=QUIET)
    assert [line.pool for line in made.lines] == [48, 88]
    assert made.lines[0].cost.steps < made.lines[1].cost.steps
    assert ("further labelled",) in [kinds for kinds, _ in made.found]
    taught = longer.model_copy(
        update={"method": "affine-single"}
    )  # an epoch passes over the unlabelled alone
    one = plan.make(
        table.model_copy(update={"cells": (taught,)}), "smoke", seeds=1, tflops=1.0, machine=QUIET
    )
    assert [line.pool for line in one.lines] == [48]


def test_synthetic_people_are_counted_without_being_drawn(empty_cache: Path) -> None:
    pairs = SyntheticSource(kind="synthetic", images=7, people=(2, 2), width=160)
    assert data.look(pairs).people == 14 and "the first run draws them" in data.look(pairs).said[0]
    assert data.look(pairs.model_copy(update={"people": (1, 3)})).people is None
    assert not empty_cache.exists()


def test_a_wrong_data_folder_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSHPE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SSHPEError, match="is not a folder"):
        planned()


def test_the_trunk_is_looked_for_and_not_downloaded(empty_cache: Path) -> None:
    first, _ = planned().weights
    assert "not there" in first and "https://download.pytorch.org/models/resnet18-5c106cde.pth" in first
    file = empty_cache / "weights" / "resnet18-5c106cde.pth"
    file.parent.mkdir(parents=True)
    file.touch()
    assert planned().weights[0] == f"ImageNet trunk {file}: found"


# --- lines ---


def test_a_run_of_several_cells_is_counted_once() -> None:
    table = tables.load_table("table4")
    twice = table.model_copy(
        update={"cells": (*table.cells, table.cells[0].model_copy(update={"row": "again"}))}
    )
    once, both = planned(tflops=1.0), planned(twice, tflops=1.0)
    again = next(line for line in both.lines if line.cell.row == "again")
    assert again.same_as.cell == table.cells[0] and again.runs_left == 0
    assert len(both.distinct) == len(once.distinct) == len(once.lines) == 12
    assert "(1) the runs of 0.999, ResNet-18; counted once" in plan.to_text(both)
    totals = [
        next(one for one in plan.to_text(p).splitlines() if one.startswith("Total")) for p in (once, both)
    ]
    assert totals[0].startswith("Total: 12 runs, 0 with a record, 12 left: 4.14 EFLOP")
    assert totals[1].startswith(
        "Total: 12 runs (and 1 that rows share, counted once), 0 with a record, 12 left"
    )


def test_records_are_counted_and_nothing_is_left_where_all_are_there(folder: Path) -> None:
    fakes.write(fakes.study("smoke", seeds=2), folder)
    lost = tables.experiment("smoke", "pose-mum+", set={"teacher.decay": 0.9}, seed=1)
    records.path_of(folder, lost.key()).unlink()
    made = planned(profile="smoke", seeds=2)
    counted = {line.cell.row: line.recorded for line in made.distinct}
    assert counted == {"supervised": 2, "0.999": 2, "0.99": 2, "0.9": 1, "0.6": 2, "0.5": 2}
    assert sum(line.runs_left for line in made.lines) == 1
    assert "Total: 12 runs, 11 with a record, 1 left" in plan.to_text(made)


def test_a_record_that_cannot_be_read_is_an_error(folder: Path) -> None:
    folder.mkdir()
    (folder / "0123456789abcdef.json").write_text("{")
    with pytest.raises(SSHPEError, match="not a readable record"):
        planned(profile="smoke")


def test_a_cell_that_is_not_run_says_why() -> None:
    made = planned(profile="smoke")
    reasons = {line.not_run for line in made.lines if line.cell.column == "ResNet-101"}
    assert reasons == {"a ResNet-101 is not run on the smoke profile"}
    told = (
        "ResNet-101, not run on smoke (a ResNet-101 is not run on the smoke profile): supervised, 0.999, 0.99"
    )
    assert told in " ".join(plan.to_text(made).split())


def test_epochs_are_passes_over_the_pool() -> None:
    by_row = {line.cell.row: line.epochs for line in planned(profile="smoke").distinct}
    assert by_row["supervised"] is None
    assert by_row["0.6"] == 12 * 0.5 * 8 / 48
    assert {line.epochs for line in planned().lines} == {30}


def test_the_pool_is_that_of_the_unlabelled_people() -> None:
    others = {"kind": "synthetic", "images": 40, "seed": 9}
    settings = {"data.unlabeled": others, "train.steps": None, "train.epochs": 2}
    (line,) = planned_alone("affine-single", settings).lines
    assert (line.people, line.pool, line.epochs) == (48, 40, 2)


def test_a_bottom_up_epoch_passes_over_the_images_with_people() -> None:
    (line,) = planned_alone("udpv1", profile="paper", **choices.WHOLE).lines
    assert line.pool == 56_599


def test_whole_images_are_counted_as_images() -> None:
    pairs = {"kind": "synthetic", "images": 40, "people": (2, 2), "width": 160}
    settings = {"data.labeled": pairs, "data.val": pairs | {"images": 6}}
    (line,) = planned_alone("udpv1", settings, **choices.WHOLE).lines
    assert (line.people, line.pool) == (40, 40)
    assert line.cost == cost.run_cost(line.experiments[0], 40, 6)
    told = plan.to_text(planned_alone("udpv1", settings | {"data.labels": 41}, **choices.WHOLE))
    assert "A RUN WOULD STOP: 41 labels are wanted of 40 images" in " ".join(told.split())


def test_a_run_costs_what_its_people_have_keypoints(tmp_path: Path) -> None:
    file = tmp_path / "people.json"
    source = write_people(file, tmp_path / "images").model_dump()
    document = json.loads(file.read_text())
    document["categories"][0]["keypoints"] = list(CROWDPOSE14.keypoints)
    for person in document["annotations"]:
        person["keypoints"] = person["keypoints"][: 3 * len(CROWDPOSE14)]
    file.write_text(json.dumps(document))
    settings = {"data.labeled": source, "data.val": source, "data.labels": 2}
    (line,) = planned_alone("supervised", settings).lines
    first = line.experiments[0]
    assert line.cost == cost.run_cost(first, 3, 3, 14) != cost.run_cost(first, 3, 3, 17)


def test_the_disk_holds_networks_and_records() -> None:
    made = planned_alone("supervised")
    assert made.disk == made.lines[0].cost.checkpoint + records.MAX_BYTES


SECOND = {
    "backbone": "hrnet-w32",
    "amount": "all",
    "schedule": "S3",
    "protocol": "aid",
}  # E5 of AID's Table 5


def test_a_first_stage_that_no_row_has_is_planned() -> None:
    made = planned_alone("aid-cutout", tflops=1e-3, **SECOND)
    (second,), (first,) = made.lines, made.first_stages
    assert (
        first.experiments == (second.experiments[0].start,)
        and made.flops == first.cost.flops + second.cost.flops
    )
    assert "1 left, after 1 first stage(s) that no checkpoint here holds: " in " ".join(
        plan.to_text(made).split()
    )
    assert (
        made.hours_on(8) == pytest.approx(made.hours) == pytest.approx(first.hours + second.hours)
    )  # in turn


@pytest.mark.parametrize("steps", [11, 12])
def test_a_first_stage_with_a_record_is_planned_until_its_checkpoint_is_here(
    folder: Path, steps: int
) -> None:
    (second,) = planned_alone("aid-cutout", **SECOND).lines
    first = second.experiments[0].start
    records.write(folder, fakes.record(first))
    run = paths.runs() / first.key()
    run.mkdir(parents=True)
    checkpoints.write(checkpoints.of(run), {"key": first.key(), "step": steps, "steps": 12})
    assert len(planned_alone("aid-cutout", **SECOND).first_stages) == (steps < 12)


def test_a_first_stage_is_planned_once() -> None:
    both = [Cell(row=one, column="b", method=one, **SECOND) for one in ("aid-cutout", "aid-has")]
    first = Cell(row="E1", column="b", method="udpv1", **SECOND | {"schedule": "S1"})
    table = tables.load_table("table4").model_copy(update={"baseline": None, "baseline_paper": {}})
    for cells, alone in ((both, 2), ([first, *both], 0)):
        made = planned(table.model_copy(update={"cells": tuple(cells)}), "smoke", seeds=2)
        assert len(made.first_stages) == alone and sum(count for _, count in made.left) == 6


# --- devices ---


def test_every_committed_throughput_says_what_measured_it_and_when() -> None:
    for name, device in devices.load_devices().items():
        assert device.throughput, name
        for one in device.throughput:
            assert "sshpe plan" in one.source and "2026-" in one.source
            assert ("--cuda-graphs" in one.source) == device.cuda_graphs


@pytest.mark.parametrize("name", ["h200", "amd-epyc"])
def test_hours_with_cuda_graphs_say_so(name: str) -> None:
    text = " ".join(plan.to_text(planned("table4", "paper", device=name)).split())
    graphs = ", with --cuda-graphs, which `sshpe run` is to be given too"
    assert f"Hours: on {name}{graphs if name == 'h200' else ''}; reading the images" in text


@pytest.mark.parametrize("graphs", [False, True])
def test_what_is_measured_now_says_whether_with_cuda_graphs(
    monkeypatch: pytest.MonkeyPatch, graphs: bool
) -> None:
    monkeypatch.setattr(devices, "measure", lambda *_: Speed(1.0, "wall time", 10, 3))
    found = devices.rates([paper()], replace(QUIET, cuda_graphs=graphs), measured=True)
    assert found.cuda_graphs == graphs


def test_a_device_gives_hours_where_its_size_was_measured() -> None:
    name = next(iter(devices.load_devices()))
    made = planned(device=name)
    (line, *_) = made.lines
    rate = made.rates.by_size[Size.of(line.experiments[0])]
    assert line.hours == pytest.approx(line.cost.flops / rate / 3600)
    assert made.rates.hours(paper(train__precision="bf16-mixed"), 10**15) is None
    assert made.rates.hours(paper(), None) is None


def test_the_time_side_by_side_and_the_price_are_told() -> None:
    made = planned("aid_table1", "paper", tflops=100.0)
    text = " ".join(plan.to_text(made, devices=(1, 8), price=2.5).split())
    assert made.hours is not None
    assert f"{2.5 * made.hours:,.2f} at 2.5 an hour" in text
    assert " h on 1 at once, " in text and " h on 8 at once, " in text
    longest = max(line.hours for line in made.distinct if line.hours is not None)
    on_many = made.hours_on(64)
    assert on_many is not None and 1.9 * longest < on_many  # a second stage waits for its first
    assert made.hours / 8 < (made.hours_on(8) or 0) < made.hours == pytest.approx(made.hours_on(1))


def test_a_cpu_is_looked_for_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(provenance, "device_name", lambda device: asked.append(device.type) or "an abacus")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for accelerator in ("cpu", "auto", "cuda"):
        asked.clear()
        devices.rates([paper()], replace(QUIET, accelerator=accelerator))
        assert set(asked) == {"cpu" if accelerator == "cpu" else "cuda"}


def test_of_one_size_a_run_with_a_teacher_and_of_one_network_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = []
    speed = Speed(1.0, "wall time", 10, 3)
    monkeypatch.setattr(devices, "measure", lambda one, *_: measured.append(one.teacher.kind) or speed)
    dual, single = (paper("affine-single", teacher__kind=kind) for kind in ("dual", "single"))
    for asked, kind in (
        ([paper("supervised"), dual], "dual"),
        ([paper("supervised"), dual, paper()], "eman"),
        ([dual, paper("affine-ema"), paper("supervised"), single, paper()], "single"),
    ):
        measured.clear()
        found = devices.rates(asked, QUIET, measured=True)
        assert measured == [kind] and list(found.by_size.values()) == [10.0]


def test_an_assumed_throughput_is_told_as_one() -> None:
    made = planned(tflops=2.5)
    assert made.lines[0].hours == pytest.approx(made.lines[0].cost.flops / 2.5e12 / 3600)
    assert "ASSUMED 2.5 TFLOP/s sustained (--tflops), not measured" in plan.to_text(made)


def test_this_machine_is_found_by_its_name_instructions_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    device = next(iter(devices.load_devices().values()))
    monkeypatch.setattr(provenance, "device_name", lambda _: device.hardware)
    monkeypatch.setattr(provenance, "instructions", lambda _: device.instructions)
    cpu = replace(QUIET, accelerator="cpu", threads=device.threads)
    assert devices.rates([paper()], cpu).by_size
    assert not devices.rates([paper()], replace(cpu, threads=63)).by_size
    monkeypatch.setattr(torch, "get_num_threads", lambda: device.threads)
    assert devices.rates([paper()], replace(cpu, threads=0)).by_size  # left to torch
    monkeypatch.setattr(provenance, "instructions", lambda _: "SSE")
    assert not devices.rates([paper()], cpu).by_size
    monkeypatch.setattr(provenance, "device_name", lambda _: "an abacus")
    unknown = devices.rates([paper()], cpu)
    assert unknown == Rates(f"this machine (an abacus, SSE, {device.threads} thread(s))")
    assert "not measured; --measure times" in " ".join(plan.to_text(planned()).split())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "h1000"}, "no device 'h1000' in .*devices.yaml; choose one of: "),
        ({"device": "amd-epyc", "tflops": 1.0}, "one of --device, --tflops and --measure"),
        ({"measured": True, "tflops": 1.0}, "one of --device, --tflops and --measure"),
    ],
)
def test_devices_are_refused(options: dict, told: str) -> None:
    with pytest.raises(SSHPEError, match=told):
        planned(**options)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "a: {hardware: x, throughput: [{size: {model: {depth: 18}}, tflops: 1}]}",
            "a: throughput.0.size.input_size: Field",
        ),
        ("a: {hardware: x, speed: 1, throughput: []}", "a: speed: Extra inputs"),
        ("a: 3", r"devices\.yaml: a: Input should be"),
        ("a: [", "devices.yaml: it cannot be read as YAML: while parsing"),
    ],
)
def test_a_wrong_file_of_devices_names_the_entry(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "devices.yaml").write_text(text)
    with pytest.raises(SSHPEError, match=told):
        devices.load_devices(tmp_path)


@pytest.mark.parametrize("method", ["supervised", "pose-mum+"])
def test_measuring_times_real_steps_and_keeps_nothing(tmp_path: Path, method: str) -> None:
    smoke = tables.experiment("smoke", method)
    speed = measure(smoke, QUIET)
    assert speed.flops == cost.run_cost(smoke, 48, 16).step
    assert 0 < speed.seconds < 60 and speed.flops_per_second == speed.flops / speed.seconds
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("machine", "seconds", "clock"),
    [
        (QUIET, 3.0, "CPU time"),
        (replace(QUIET, threads=2), 3.0, "wall time"),
        (replace(QUIET, accelerator="cuda"), 3.0 / 20, "wall time"),
    ],
    ids=["one thread", "two threads", "GPU"],
)
def test_the_fastest_step_after_the_warm_up_counts(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, seconds: float, clock: str
) -> None:
    """A GPU's steps are timed twenty together."""

    def trainer(experiment, machine, batches, folder):
        return SimpleNamespace(fit=lambda: batches.asked.extend([0.0, 1.0, 5.0, 8.0, 12.0]))

    monkeypatch.setattr("sshpe_lib.plan.measure.unsaved_trainer", trainer)
    speed = measure(tables.experiment("smoke", "supervised"), machine)
    assert (speed.seconds, speed.clock) == (seconds, clock)
    assert speed.flops_per_second == pytest.approx(speed.flops / seconds)


def test_measured_rates_are_one_a_size_and_make_hours() -> None:
    made = planned(profile="smoke", measured=True)
    assert len(made.rates.by_size) == 1
    (source,) = made.rates.sources.values()
    assert source.startswith("measured now, ") and "the fastest of 3" in source
    assert all(line.hours > 0 for line in made.distinct)


# --- print ---


@pytest.mark.parametrize("profile", ["smoke", "quick", "lsp", "paper"])
@pytest.mark.parametrize("table", tables.names())
def test_no_line_is_wider_than_a_terminal(table: str, profile: str) -> None:
    text = plan.to_text(planned(table, profile))
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith(f"Plan of {table} on profile {profile}, ") and "\nTotal: " in text


def test_long_names_and_large_numbers_are_folded() -> None:
    table = tables.load_table("table4")
    long = Cell(row="a row of the paper's table whose name goes on", column="a column with a long name",
                method="pose-mum+", backbone="resnet101", amount="10K", set={"teacher.decay": 0.1})  # fmt: skip
    text = plan.to_text(planned(table.model_copy(update={"cells": (long, long)}), tflops=1e-3, seeds=12))
    assert max(map(len, text.splitlines())) <= 100
    assert "the runs of a row of the paper's table whose name goes on, a column with a long name" in " ".join(
        text.split()
    )


@pytest.mark.parametrize(
    ("show", "values"),
    [
        (text.number_of_bytes, {0: "0 B", 999: "999 B", 999.6: "1 KB", 246e6: "246 MB", 5e15: "5,000 TB"}),
        (text.operations, {0: "0 ", 999: "999 ", 1e3: "1 k", 183e15: "183 P", 4e21: "4,000 E", None: "? "}),
        (text._hours, {0.123: "0.12", 9.94: "9.9", 9.96: "10", 99.4: "99", 12345: "12,345", None: "?"}),
    ],
)  # fmt: skip
def test_numbers_have_a_unit_of_their_size(show, values: dict) -> None:
    assert {number: show(number) for number in values} == values


def test_a_run_stops_where_more_labels_are_wanted_than_there_are() -> None:
    for labels, stops in ((48, False), (49, True)):
        told = plan.to_text(planned_alone("supervised", {"data.labels": labels}))
        assert ("A RUN WOULD STOP" in told) == stops == ("49 labels are wanted of 48 people" in told)


def test_the_largest_step_of_a_size_is_told() -> None:
    made = planned(profile="smoke", tflops=1.0)
    (size, step), *others = text._largest_steps(made)
    assert not others and step == max(line.cost.step for line in made.distinct)
    turned = replace(made, lines=made.lines[::-1])
    assert list(text._largest_steps(turned)) == [(size, step)]


def test_a_row_reads_as_planned() -> None:
    told = plan.to_text(planned(tflops=10.0))
    row = next(one for one in told.splitlines() if one.startswith("0.6 "))
    assert row.split() == "0.6 pose-mum+ R18 1,000 149,813 30 140,460 185 P 5.1 246 MB 0 of 1".split()


# --- the paper's profile on a folder laid out like COCO ---


def _lay_out(slice_: Path, root: Path, split: str, people: int) -> None:
    """The slice's split under COCO's names; its first images with `people` valid people or a few more."""
    document = json.loads((slice_ / "annotations" / f"person_keypoints_{split}.json").read_text())
    valid = [a["image_id"] for a in document["annotations"] if not a.get("iscrowd") and any(a["keypoints"])]
    images, count = [], 0
    for image in document["images"]:
        images.append(image)
        count += valid.count(image["id"])
        if count >= people:
            break
    kept = {image["id"] for image in images}
    people_kept = [a for a in document["annotations"] if a["image_id"] in kept]
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "images").mkdir(exist_ok=True)
    target = root / "annotations" / f"person_keypoints_{split}2017.json"
    target.write_text(json.dumps(document | {"images": images, "annotations": people_kept}))
    (root / "images" / f"{split}2017").symlink_to(slice_ / "images" / split)


@pytest.mark.real_data
def test_the_paper_profile_starts_and_steps_on_a_folder_like_coco(
    tmp_path: Path, sshpe_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ResNet-18 at 256x192 from scratch (its ImageNet weights would be downloaded), two steps, few test people."""
    _lay_out(sshpe_data / "coco-slice", tmp_path / "data" / "coco", "train", people=10_000)
    _lay_out(sshpe_data / "coco-slice", tmp_path / "data" / "coco", "val", people=8)
    monkeypatch.setenv("SSHPE_DATA", str(tmp_path / "data"))
    made = planned()
    (_, found), (_, tested) = made.found
    assert found.there and tested.there and found.people == 488
    assert {line.cost.steps for line in made.lines} == {
        30 * 16
    }  # 488 people are 15 batches of 32 and one of 8
    one = paper(
        data__labels=100, model__init="scratch", train__batch_size=8, train__steps=2, train__epochs=None,
        evaluate__times=1,
    )  # fmt: skip
    record = experiments.run(one, QUIET)
    assert record.provenance.data["labeled"] == 100
    assert record.provenance.data["unlabeled"] == found.people
    assert record.provenance.data["val"] == tested.people
    assert set(record.metrics) == {"student", "teacher"} and record.curve[-1].step == 2
    assert np.isfinite([record.curve[-1].supervised, record.curve[-1].consistency]).all()
    assert experiments.run(one, QUIET) == record
    size = (paths.runs() / record.key / "checkpoint.pt").stat().st_size
    assert size == pytest.approx(cost.run_cost(one, found.people, tested.people).checkpoint, rel=2e-3)


def test_a_run_costs_what_its_codec_and_its_training_ask_of_the_network() -> None:
    """Offsets are two maps more a keypoint; an RSN learns from every unit and is tested by the last."""
    rsn, resnet = (
        tables.experiment("paper", "udpv1", backbone=name, amount="all", protocol="aid on true boxes")
        for name in ("2xrsn50", "resnet50")
    )
    for made in (rsn, resnet):
        of_run, of_maps = cost.network_of(made, 17), cost.network_cost(made.model, made.data.input_size, 51)
        assert (
            of_run == of_maps
            and of_run.forward > cost.network_cost(made.model, made.data.input_size, 17).forward
        )
    one, every = (cost.network_of(rsn, 17).forward, cost.network_of(rsn, 17).learned)
    assert (
        1.05 < every / one < 1.1
        and cost.network_of(resnet, 17).learned == cost.network_of(resnet, 17).forward
    )
    made = cost.run_cost(rsn, 1000, 100)
    assert made.step == 3 * rsn.train.batch_size * every
    assert made.evaluation == rsn.evaluate.times * 100 * 2 * one


@pytest.mark.parametrize("seeds", [0, 2.5])
def test_a_plan_has_a_seed_or_more(seeds: float) -> None:
    with pytest.raises(SSHPEError, match=f"seeds is {seeds}"):
        planned(profile="smoke", seeds=seeds)
