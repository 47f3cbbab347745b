"""Experiment -> record: trained once, resumed after a kill, the same on one device as on two."""

import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from sshpe_lib import experiment as experiments
from sshpe_lib import profiles, records, tables
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.config import CocoSource, Experiment
from sshpe_lib.data import roles, sources
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.data.top_down import Crops
from sshpe_lib.data.whole_images import WholeImages
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.bottom_up import BottomUpEvaluation
from sshpe_lib.evaluate.top_down import TopDownEvaluation
from sshpe_lib.experiment import PEOPLE_OF_A_SCENE, _batches, examples, run, scenes, train
from sshpe_lib.machine import Machine
from sshpe_lib.reproduce import Comparison
from sshpe_lib.skeleton import COCO17
from sshpe_lib.trainer import Trainer
from tests import choices, fakes, toy

QUIET = Machine(threads=1, progress=False)


def smoke(method: str = "pose-mum+", **settings) -> Experiment:
    values = {k.replace("__", "."): v for k, v in settings.items()}
    return tables.experiment("smoke", method, set=values, **choices.of(method))


def test_a_record_holds_what_was_measured(tmp_path):
    record = run(smoke(), QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs")
    assert record.key == smoke().key() and record.headline == "teacher"
    assert set(record.metrics) == {"student", "teacher"}
    assert {"AP", "AP50", "AP75", "AR"} <= set(record.metrics["teacher"])
    assert [point.step for point in record.curve] == [4, 8, 12]
    assert record.curve[0].teacher_ap is None and record.curve[-1].teacher_ap is not None
    assert record.provenance.data["labeled"] == 16 and record.provenance.data["unlabeled"] == 48
    assert record.provenance.seconds > 0 and record.provenance.threads == 1
    assert record.provenance.precision == record.precision == "32-true" and record.provenance.instructions
    assert len(record.examples) == 8 and not record.hard_cases  # none without evaluate.visibility
    path = records.path_of(tmp_path / "records", record.key)
    assert path.stat().st_size < records.MAX_BYTES
    assert records.read(path) == record


def test_examples_name_their_image_and_annotation(tmp_path):
    people = toy.instances(tmp_path, 3)
    crops, codec = Crops(people, (48, 64)), MSRAHeatmap((48, 64), (12, 16))
    evaluation = TopDownEvaluation(crops, codec, ground_truth=toy.ground_truth(people))
    shown = examples(evaluation, nn.Conv2d(3, 17, 4, stride=4), [2, 0])
    assert [(one.image_id, one.annotation_id) for one in shown] == [(3, 103), (1, 101)]


def test_a_record_that_exists_is_returned_and_not_trained(tmp_path, monkeypatch):
    folders = {"records_folder": tmp_path / "records", "runs_folder": tmp_path / "runs"}
    first = run(smoke("supervised"), QUIET, **folders)
    monkeypatch.setattr("sshpe_lib.experiment.train", lambda *_: pytest.fail("trained again"))
    assert run(smoke("supervised"), QUIET, **folders) == first


def test_a_refine_machine_is_not_given_one_image(tmp_path):
    lonely = tables.experiment(
        "smoke",
        "supervised",
        backbone="2xrsn50",
        protocol="aid",
        set={"model.prm": True, "train.batch_size": 1},
    )
    with pytest.raises(SSHPEError, match="batch_size 1 leaves each of 1 processes one image"):
        train(lonely, QUIET, tmp_path)


@pytest.mark.parametrize(
    ("pool", "world", "steps", "fits"),
    [
        (9, 1, 2, False),
        (10, 1, 2, True),
        (10, 2, 2, False),
        (11, 2, 2, True),
        (9, 1, 1, True),
        (16, 4, 2, True),
    ],
)
def test_nor_is_it_given_one_at_the_end_of_an_epoch(tmp_path, pool, world, steps, fits):
    semi = {"teacher.kind": "single", "data.codec": "udp-gaussian"}
    schedule = {"train.batch_size": 8, "train.epochs": None, "train.steps": steps}
    changes = {"model.prm": True, **semi, **schedule}
    made = tables.experiment("smoke", "udpv1", backbone="2xrsn50", protocol="aid", set=changes)
    people = Crops(toy.instances(tmp_path, pool), made.data.input_size)
    data = SimpleNamespace(labeled=people, unlabeled=people, pool=pool)
    told = (
        rf"batch_size 8 leaves each of {world} processes one image in the last batch of an epoch of {pool},"
    )
    with nullcontext() if fits else pytest.raises(SSHPEError, match=told):
        _batches(made, data, SimpleNamespace(world_size=world, global_rank=0))


def test_a_seed_decides_the_bits_and_loader_processes_and_packed_images_do_not(tmp_path, monkeypatch):
    one = train(smoke(), QUIET, tmp_path / "one")
    monkeypatch.setenv("SSHPE_CACHE", str(tmp_path / "cache"))
    other = train(smoke(), replace(QUIET, workers=2, pack=True), tmp_path / "other")
    assert list((tmp_path / "cache" / "packed").glob("*.pixels"))
    assert one.provenance.checkpoint_sha256 == other.provenance.checkpoint_sha256
    assert (one.metrics, one.curve, one.examples) == (other.metrics, other.curve, other.examples)
    second = train(smoke(train__seed=1), QUIET, tmp_path / "second")
    assert second.provenance.checkpoint_sha256 != one.provenance.checkpoint_sha256


@pytest.mark.parametrize("method", list(profiles.load_methods()))
def test_every_method_trains(tmp_path, method):
    record = train(smoke(method, train__steps=4, evaluate__times=1), QUIET, tmp_path)
    assert record.headline == ("teacher" if smoke(method).teacher.kind in ("ema", "eman") else "student")
    assert np.isfinite(record.curve[-1].loss)


ONE_RUN = """
import sys
from pathlib import Path
from sshpe_lib import tables
from sshpe_lib.experiment import run
from sshpe_lib.machine import Machine
folder = Path(sys.argv[1])
experiment = tables.experiment("smoke", "pose-mum+", set={"train.steps": int(sys.argv[2])})
record = run(
    experiment, Machine(progress=False), records_folder=folder / "records", runs_folder=folder / "runs"
)
print(record.provenance.checkpoint_sha256, record.provenance.started)
"""


def start(folder, steps: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", ONE_RUN, str(folder), str(steps)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_two_processes_that_ask_for_one_run_train_it_once(tmp_path):
    both = [start(tmp_path, 12) for _ in range(2)]
    answers = {process.communicate(timeout=120)[0].strip().splitlines()[-1] for process in both}
    assert all(process.returncode == 0 for process in both)
    assert len(answers) == 1


def test_a_record_that_was_made_while_a_run_waited_is_returned(tmp_path, monkeypatch):
    record = fakes.record(smoke("supervised"))

    @contextmanager
    def waiting(folder, machine):
        records.write(tmp_path / "records", record)
        yield

    monkeypatch.setattr(experiments, "locked", waiting)
    monkeypatch.setattr(experiments, "train", lambda *_: pytest.fail("trained again"))
    folders = {"records_folder": tmp_path / "records", "runs_folder": tmp_path / "runs"}
    assert run(smoke("supervised"), QUIET, **folders) == record


def test_a_burn_in_that_leaves_no_step_is_refused(tmp_path):
    all_of_it = smoke("affine-eman", train__steps=4, train__burn_in=0.9)
    with pytest.raises(SSHPEError, match="train.burn_in 0.9 of 4 steps leaves the teacher no step"):
        run(all_of_it, QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs")


def test_the_commit_is_that_of_the_start(tmp_path, monkeypatch):
    """Whoever commits while a run trains has not changed what it runs."""
    commits = iter([("a" * 40, False), ("b" * 40, True)])
    monkeypatch.setattr("sshpe_lib.provenance.revision", lambda: next(commits))
    record = run(
        smoke("supervised"), QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs"
    )
    assert (record.provenance.commit, record.provenance.dirty) == ("a" * 40, False)
    assert next(commits) == ("b" * 40, True)  # asked once, and not at the end


def test_a_record_tells_of_all_parts_of_a_run(tmp_path, monkeypatch):
    """The first on two threads, in code that was not committed."""
    experiment = smoke("supervised", train__steps=2, evaluate__times=2)
    folders = {"records_folder": tmp_path / "records", "runs_folder": tmp_path / "runs"}
    save = Trainer.save

    def stopping(self):
        save(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "save", stopping)
        patched.setattr("sshpe_lib.provenance.revision", lambda: ("a" * 40, True))
        with pytest.raises(KeyboardInterrupt):
            run(experiment, replace(QUIET, threads=2), **folders)
    (kept,) = tmp_path.glob("runs/*/checkpoint.pt")
    begun = torch.load(kept, weights_only=True)["parts"][0]["started"]
    monkeypatch.setattr("sshpe_lib.provenance.revision", lambda: ("b" * 40, False))
    parts = run(experiment, QUIET, **folders)
    made = parts.provenance
    assert made.earlier == ({"commit": "a" * 40, "dirty": True, "threads": 2},)
    assert (made.started, made.commit, made.dirty, made.threads) == (begun, "b" * 40, True, 1)
    assert records.find(tmp_path / "records", parts.key) == parts
    changed = made.model_copy(update={"earlier": (), "dirty": False, "checkpoint_sha256": "0"})
    whole = parts.model_copy(update={"provenance": changed})
    for compared in (Comparison(parts, whole), Comparison(whole, parts)):
        assert compared.same_machine is False and compared.agrees
        assert "run went on with other commit, dirty, threads)" in compared.describe()


def test_a_checkpoint_from_before_parts_were_noted_is_gone_on_with(tmp_path):
    experiment = smoke("supervised", train__steps=1, evaluate__times=1)
    train(experiment, QUIET, tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del state["parts"]
    torch.save(state, tmp_path / "checkpoint.pt")
    assert not train(experiment, QUIET, tmp_path).provenance.earlier


def test_a_run_gives_torch_its_threads_back(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        record = run(
            smoke("supervised"), QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs"
        )
        assert record.provenance.threads == 1 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_missing_image_stops_before_training(tmp_path, monkeypatch):
    experiment = smoke()
    folder = sources.annotations(experiment.data.labeled).parent / "images"
    broken = sorted(folder.iterdir())[3]
    content = broken.read_bytes()
    broken.unlink()
    try:
        with pytest.raises(SSHPEError, match=broken.name):
            train(experiment, QUIET, tmp_path / "run")
        assert not (tmp_path / "run" / "checkpoint.pt").exists()
    finally:
        broken.write_bytes(content)


def test_too_many_labels_name_the_file(tmp_path):
    with pytest.raises(SSHPEError, match=r"annotations.json.*48"):
        train(smoke(data__labels=49), QUIET, tmp_path)


def test_unknown_renderer_version_is_refused(tmp_path):
    with pytest.raises(SSHPEError, match="renderer version"):
        train(smoke(data__labeled__version=0), QUIET, tmp_path)


def test_coco_data_without_a_folder_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("SSHPE_DATA", raising=False)
    with pytest.raises(SSHPEError, match="Set SSHPE_DATA"):
        run(tables.experiment("paper", "supervised"), QUIET, records_folder=tmp_path)


def test_a_wrong_data_file_is_told_from_the_pinned_one(tmp_path):
    file = sources.annotations(smoke().data.labeled)
    coco = {"kind": "coco", "annotations": str(file), "images": str(file.parent / "images")}
    base = smoke().model_dump(mode="json")
    wrong = Experiment.model_validate(
        profiles.merge(base, {"data": {"labels": 16}})
        | {"data": base["data"] | {"labeled": coco | {"fingerprint": "00" * 32}}}
    )
    with pytest.raises(SSHPEError, match=r"sha256 .* is not 000000000000.*data.labeled.fingerprint"):
        run(wrong, QUIET, records_folder=tmp_path)
    right = Experiment.model_validate(base | {"data": base["data"] | {"labeled": coco}})
    assert sources.pin(right).data.labeled.fingerprint
    assert sources.pin(right).key() != smoke().key()


def test_a_file_that_changes_while_a_run_waits_is_not_trained_on(tmp_path, monkeypatch):
    """The record would tell of another file than its network has seen."""
    experiment = smoke("supervised", train__steps=1)
    people = build(SyntheticPeople(images=20, seed=3), tmp_path / "people", progress=False)
    source = CocoSource(kind="coco", annotations=str(people), images=str(people.parent / "images"))
    experiment = experiment.model_copy(
        update={"data": experiment.data.model_copy(update={"labeled": source, "val": source})}
    )
    pinned = sources.pin(experiment)
    load = roles.load

    def late(*asked):
        people.write_text(people.read_text() + " ")
        return load(*asked)

    monkeypatch.setattr(roles, "load", late)
    with pytest.raises(
        SSHPEError, match=r"sha256 \w+\.\.\. is not \w+\.\.\., which data\.labeled\.fingerprint pins"
    ):
        train(pinned, QUIET, tmp_path / "run")


@pytest.mark.real_data
def test_lsp_trains_on_photographs(tmp_path, sshpe_data, monkeypatch):
    monkeypatch.setenv("SSHPE_DATA", str(sshpe_data))
    experiment = tables.experiment("lsp", "pose-mum+", set={"train.steps": 4, "evaluate.times": 1})
    record = run(experiment, QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs")
    assert record.provenance.data["val"] == 1000
    assert 0 <= record.ap <= 100


def test_a_record_is_found_without_its_data(tmp_path, monkeypatch):
    """With no data folder the record tells the fingerprints; with another pinned file it is not found."""
    file = sources.annotations(smoke().data.labeled)
    data = tmp_path / "data"
    (data / "a").mkdir(parents=True)
    (data / "a" / "people.json").write_bytes(file.read_bytes())
    (data / "a" / "images").symlink_to(file.parent / "images")
    coco = {"kind": "coco", "annotations": "a/people.json", "images": "a/images"}
    base = smoke("supervised").model_dump(mode="json")
    experiment = Experiment.model_validate(base | {"data": base["data"] | {"labeled": coco, "val": coco}})
    monkeypatch.setenv("SSHPE_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SSHPE_DATA", str(data))
    record = run(experiment, QUIET)
    monkeypatch.delenv("SSHPE_DATA")
    assert run(experiment, QUIET) == record
    other = experiment.data.labeled.model_copy(update={"fingerprint": "00" * 32})
    with pytest.raises(SSHPEError, match="a/people.json: where is the data"):
        sources.pin(
            experiment.model_copy(update={"data": experiment.data.model_copy(update={"labeled": other})})
        )


def test_tensorboard_logs_on_request(tmp_path):
    pytest.importorskip("tensorboard")
    train(smoke("supervised"), Machine(progress=False, tensorboard=True), tmp_path)
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_a_processor_without_bfloat16_trains_in_float32_and_the_record_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("sshpe_lib.machine.cpu_has_bfloat16", lambda: False)
    short = {"train__steps": 2, "evaluate__times": 1}
    asked = train(smoke("supervised", train__precision="bf16-mixed", **short), QUIET, tmp_path / "asked")
    plain = train(smoke("supervised", **short), QUIET, tmp_path / "plain")
    assert asked.experiment.train.precision == "bf16-mixed" and asked.precision == "32-true"
    assert asked.provenance.checkpoint_sha256 == plain.provenance.checkpoint_sha256


def whole(method: str = "pose-mum-whole+", **settings) -> Experiment:
    """A bottom-up experiment, on whole images."""
    values = {k.replace("__", "."): v for k, v in settings.items()}
    return tables.experiment("smoke", method, set=values, **choices.WHOLE)


def test_a_bottom_up_record_holds_what_was_measured(tmp_path):
    made = whole("udpv1", evaluate__protocol="crowdpose")
    record = run(made, QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs")
    found = record.metrics["student"]
    assert {"AP", "AP-vis", "AP-easy", "AP-ms", "AP-vis-ms", "AP-easy-ms"} <= set(found)
    assert record.provenance.data["labeled"] == 48 and record.provenance.data["labeled_people"] > 48
    assert record.provenance.data["val"] == 8 and not record.examples
    assert [scene.image_id for scene in record.scenes] == [1, 2, 3, 4]
    assert records.path_of(tmp_path / "records", record.key).stat().st_size < records.MAX_BYTES


def test_several_scales_are_tested_where_the_experiment_has_them(tmp_path, monkeypatch):
    asked, measure = [], BottomUpEvaluation.__call__

    def noted(self, networks):
        asked.append(self.scales)
        return measure(self, networks)

    monkeypatch.setattr(BottomUpEvaluation, "__call__", noted)
    made = whole("udpv1", train__steps=1, evaluate__times=1)
    train(made, QUIET, tmp_path)
    assert asked == [(1.0,), made.evaluate.multi_scale] and len(made.evaluate.multi_scale) > 1


def test_the_surest_people_of_a_scene_are_shown(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((64, 64, 3), np.uint8))
    ids, sizes = np.array([7]), np.array([[64, 64]], np.int32)
    images = WholeImages(tmp_path / "scenes.json", tmp_path, ("0.png",), ids, sizes, COCO17, category=1)
    sure = np.linspace(0.9, 0.2, PEOPLE_OF_A_SCENE + 2)

    class Blind(nn.Module):
        def forward(self, inputs):
            return [inputs.new_zeros(len(inputs), 34, inputs.shape[2] // 4, inputs.shape[3] // 4)]

    def found(heatmaps, tags):
        return np.ones((len(sure), 17, 4)) * sure[:, None, None], sure

    evaluation = BottomUpEvaluation(images, found, ground_truth={}, side=64, flip=False)
    (one,) = scenes(evaluation, Blind(), range(1))
    assert one.image_id == 7 and list(one.scores) == [round(score, 3) for score in sure[:PEOPLE_OF_A_SCENE]]
    assert [person[0][2] for person in one.people] == list(one.scores)


@pytest.mark.parametrize("how", ["separate", "joint"])
def test_a_bottom_up_run_gives_the_same_bits_and_others_with_another_seed(tmp_path, how):
    one, two = (train(whole(train__forward=how), QUIET, tmp_path / name) for name in ("one", "two"))
    assert one.provenance.checkpoint_sha256 == two.provenance.checkpoint_sha256
    assert (one.metrics, one.curve, one.scenes) == (two.metrics, two.curve, two.scenes)
    assert one.curve[-1].consistency > 0
    other = train(whole(train__forward=how, train__seed=1), QUIET, tmp_path / "other")
    assert other.provenance.checkpoint_sha256 != one.provenance.checkpoint_sha256


def test_a_bottom_up_run_that_is_stopped_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    through = train(whole(), QUIET, tmp_path / "through")
    take_step = Trainer.take_step

    def stop(self, batch):
        take_step(self, batch)
        if self.step == 4:
            self.save()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "take_step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(whole(), QUIET, tmp_path / "stopped")
    again = train(whole(), QUIET, tmp_path / "stopped")
    assert again.provenance.checkpoint_sha256 == through.provenance.checkpoint_sha256
    assert (again.metrics, again.curve) == (through.metrics, through.curve)


def test_a_second_stage_of_whole_images_starts_from_the_first(tmp_path):
    made = tables.experiment("smoke", "aid-has-whole", schedule="bottom-up S3", **choices.WHOLE)
    record = run(made, QUIET, records_folder=tmp_path / "records", runs_folder=tmp_path / "runs")
    assert record.provenance.data["start"] == made.start.key()
    assert not made.start.augment.dropping and made.augment.dropping


def test_too_many_images_name_the_file(tmp_path):
    with pytest.raises(SSHPEError, match=r"annotations.json.*99 labels are wanted of 48 images"):
        train(whole(data__labels=99), QUIET, tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("annotations", "images", "joints", "protocol"),
    [
        ("coco-slice/annotations/person_keypoints_val.json", "coco-slice/images/val", 17, "coco"),
        ("crowdpose-slice/test_crowdpose.json", "crowdpose-slice", 14, "crowdpose"),
    ],
    ids=["coco", "crowdpose"],
)
def test_a_bottom_up_network_trains_on_photographs(
    tmp_path, sshpe_data, annotations, images, joints, protocol
):
    source = {"kind": "coco", "annotations": annotations, "images": images}
    made = whole(
        "udpv1", data__labeled=source, data__val=source, train__steps=2, train__batch_size=2, evaluate__times=1,
        evaluate__protocol=protocol, evaluate__multi_scale=(),
    )  # fmt: skip
    record = train(sources.pin(made), QUIET, tmp_path)
    assert np.isfinite(record.curve[-1].loss) and record.metrics["student"]["AP"] >= 0
    assert all(len(person) == joints for scene in record.scenes for person in scene.people)
