"""A trained network measured again, on its own test people and on others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sshpe_lib import checkpoints, cli, evaluating, paths, records, tables, trained
from sshpe_lib.config import CocoSource
from sshpe_lib.data import sources
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.keypoint_errors import KINDS, joint_similarities
from sshpe_lib.experiment import run
from sshpe_lib.machine import Machine
from sshpe_lib.report.breakdown import KINDS as DRAWN
from sshpe_lib.report.breakdown import breakdown, breakdown_text
from sshpe_lib.skeleton import COCO17
from tests import choices, processes, toy

QUIET = Machine(threads=1, progress=False, accelerator="cpu")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    for name in ("records", "runs"):
        monkeypatch.setenv(f"SSHPE_{name.upper()}", str(tmp_path / name))
    return tmp_path


def train_one(project: Path, method: str, **chosen) -> records.Record:
    made = tables.experiment("smoke", method, set={"train.steps": 2, "evaluate.times": 1}, **chosen)
    return run(made, QUIET, records_folder=project / "records", runs_folder=project / "runs")


@pytest.mark.parametrize(
    ("method", "chosen"),
    [("pose-mum+", {}), ("udpv1", {"protocol": "aid"}), ("udpv1", choices.WHOLE)],
    ids=["teacher", "offsets and visibility", "whole images"],
)
def test_measured_again_it_is_what_the_record_says(project, method: str, chosen: dict) -> None:
    record = train_one(project, method, **chosen)
    path = project / "network.safetensors"
    trained.save(trained.from_record(record, COCO17), path)
    made = evaluating.evaluate(trained.load(path), machine=QUIET)
    own = {name: value for name, value in record.metrics[record.headline].items() if not name.endswith("-ms")}
    assert {name: round(value, 3) for name, value in made.statistics.items()} == own
    assert made.kinds.shape == (len(made.people), 17) and made.oks.shape == (len(made.people),)
    assert ((made.kinds >= 0) == (made.people.keypoints[..., 2] > 0)).all()


def shipped_on(annotations: Path, **more: str) -> evaluating.Evaluated:
    images = str(annotations.parent / "images")
    source = CocoSource(kind="coco", annotations=str(annotations), images=images, **more)
    return evaluating.evaluate(trained.load(trained.shipped()), source, QUIET)


def test_it_is_measured_on_ones_own_people(tmp_path) -> None:
    made = shipped_on(build(SyntheticPeople(images=8, seed=78, difficulty=0.0), tmp_path, progress=False))
    assert made.statistics["AP50"] > 30 and np.nanmean(made.shares[:, 0]) > 0.2
    worst = str(made.worst(3)).splitlines()
    assert len(worst) == 3 and worst[0].startswith(f"OKS {made.oks.min():.2f}  annotation ")
    assert any(kind in worst[0] for kind in KINDS[1:])
    assert len(made.worst().cases) == 8


def test_of_detected_boxes_the_labelled_people_are_told(tmp_path) -> None:
    annotations = build(SyntheticPeople(images=2), tmp_path, progress=False)
    labeled = json.loads(annotations.read_text())["annotations"]
    boxes = [
        {name: one[name] for name in ("image_id", "category_id", "bbox")} | {"score": 0.9} for one in labeled
    ]
    (tmp_path / "boxes.json").write_text(json.dumps([*boxes, *boxes, boxes[0]]))
    made = shipped_on(annotations, detections=str(tmp_path / "boxes.json"))
    assert len(made.people) == len(made.found) == 2 and made.kinds.shape == (2, 17)


def test_the_prediction_of_a_labelled_person_is_the_most_similar_one_of_its_image(tmp_path) -> None:
    people = toy.instances(tmp_path, 2)
    people.keypoints[..., 2] = 2
    right = people.keypoints[0].astype(float)
    results = [{"image_id": 1, "keypoints": (right + (apart, 0, 0)).ravel().tolist()} for apart in (9, 1, 5)]
    found = evaluating._nearest(people, results)
    np.testing.assert_allclose(found[0], right + (1, 0, 0))
    assert (np.abs(found[1, :, :2]) > 1e5).all()  # nobody was found in the second image


def test_who_has_no_labelled_joint_is_no_worst_case(tmp_path) -> None:
    people = toy.instances(tmp_path, 3)
    people.keypoints[0, :, 2], people.keypoints[1:, :, 2] = 0, 2
    oks, kinds = np.array([0, 0.9, 0.4]), np.where(people.keypoints[..., 2] > 0, 0, -1)
    made = evaluating.Evaluated({}, [], people, people.keypoints, oks, kinds)
    assert [case.oks for case in made.worst().cases] == [0.4, 0.9]
    assert made.worst(1).title == "The 1 worst of 2 people."


@pytest.mark.parametrize("change", [{"num_keypoints": 0}, {"iscrowd": 1}])
def test_a_file_of_nobody_to_measure_on_is_refused_before_predicting(tmp_path, change: dict) -> None:
    """COCO's measures ignore them all, and would tell of no AP."""
    annotations = build(SyntheticPeople(images=2), tmp_path, progress=False)
    document = json.loads(annotations.read_text())
    valid, *_ = document["annotations"]
    document["annotations"] = [one | change for one in document["annotations"]]
    if (
        "iscrowd" in change
    ):  # one valid person, whose joints the file does not count, so that there is one to load
        document["annotations"].append(valid | {"id": 999, "num_keypoints": 0})
    annotations.write_text(json.dumps(document))
    with pytest.raises(
        SSHPEError, match=r"annotations\.json: nobody to measure on: it has no annotation but"
    ):
        shipped_on(annotations)


def test_pck_goes_by_the_longer_side_and_similarity_by_what_was_found(tmp_path) -> None:
    people = toy.instances(tmp_path, 4)  # in boxes of 45 x 70: 3 px are 0.043 of the longer side
    found = people.keypoints.astype(float) + (3, 0, 0)
    made = evaluating.Evaluated({}, [], people, found, oks=np.zeros(4), kinds=np.zeros((4, 17), int))
    assert np.nanmin(made.scores["PCK@0.05"]) == 1
    wanted = joint_similarities(found, people.keypoints, people.areas, COCO17.sigmas)
    np.testing.assert_array_equal(made.scores["OKS"], wanted)
    assert np.nanmax(wanted) < 1


def test_a_file_is_evaluated_alone_and_the_command_shares_the_work(tmp_path, monkeypatch) -> None:
    """A file whose images lie beside it is named as for a training, and other processes of a job are left alone."""
    annotations = build(SyntheticPeople(images=2), tmp_path / "people", progress=False)
    expected = shipped_on(annotations)
    asked = processes.second_of_two(monkeypatch)
    for file in (annotations, str(annotations)):
        made = evaluating.evaluate(trained.load(trained.shipped()), file, QUIET)
        assert made.statistics == expected.statistics and made.results == expected.results
    told = evaluating.run(str(trained.shipped()), annotations, None, tmp_path / "out", QUIET)
    assert told == ("", "") and not list((tmp_path / "out").iterdir()), "the first process tells and writes"
    assert asked == [True, True, False]


def test_people_of_other_keypoints_are_refused(tmp_path) -> None:
    annotations = build(SyntheticPeople(images=2), tmp_path, progress=False)
    document = json.loads(annotations.read_text())
    document["categories"][0]["keypoints"][0] = "snout"
    annotations.write_text(json.dumps(document))
    with pytest.raises(
        SSHPEError,
        match=r"its keypoints \(person\) are not .* \(coco17\): keypoint 1 is 'snout', not 'nose'; .* the category",
    ):
        shipped_on(annotations)


def test_limbs_and_the_name_of_a_category_may_differ(tmp_path) -> None:
    annotations = build(SyntheticPeople(images=2), tmp_path, progress=False)
    document = json.loads(annotations.read_text())
    before = shipped_on(annotations).statistics
    document["categories"][0] |= {"name": "people", "sigmas": list(COCO17.sigmas)}
    del document["categories"][0]["skeleton"]
    annotations.write_text(json.dumps(document))
    assert shipped_on(annotations).statistics == before
    document["categories"][0]["sigmas"][0] = 0.5
    annotations.write_text(json.dumps(document))
    with pytest.raises(SSHPEError, match=r"the OKS constant of 'nose' is 0\.5, not 0\.026"):
        shipped_on(annotations)


def test_a_network_keeps_its_modes_and_must_be_float32(tmp_path) -> None:
    """A batch norm that is frozen among others that learn stays so."""
    annotations = build(SyntheticPeople(images=2), tmp_path, progress=False)
    made = trained.load(trained.shipped())
    made.network.train()
    made.network.bn1.eval()
    modes = [part.training for part in made.network.modules()]
    evaluating.evaluate(made, annotations, QUIET)
    assert [part.training for part in made.network.modules()] == modes and False in modes and True in modes
    made.network.to(torch.bfloat16)
    with pytest.raises(SSHPEError, match=r"weights of 'network' are torch\.bfloat16.*give its `\.float\(\)`"):
        evaluating.evaluate(made, annotations, QUIET)


def test_the_command_as_typed(project, tmp_path) -> None:
    record = train_one(project, "supervised")
    typed = ["evaluate", record.key[:6], "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(cli.app, typed)
    assert done.exit_code == 0, done.output
    assert f"(record {record.key}, AP 0.0) on 16 people" in done.output and "The worst cases:" in done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "results.json",
        "breakdown.png",
        "failures.html",
    }
    page = tmp_path / "out" / "failures.html"
    page.unlink(), page.mkdir()
    assert "failures.html: cannot be written" in str(CliRunner().invoke(cli.app, typed).exception)
    page.rmdir()
    plain = CliRunner().invoke(cli.app, [*typed, "--json"])
    assert json.loads(plain.stdout)["AP"] == pytest.approx(record.ap, abs=1e-3)
    annotations = build(SyntheticPeople(images=2), tmp_path / "own", progress=False)
    own = CliRunner().invoke(cli.app, ["evaluate", record.key, "--annotations", str(annotations)])
    assert own.exit_code == 0 and "on 2 people" in own.output


@pytest.mark.parametrize("named", [{"images": Path("elsewhere")}, {"category": "hand"}])
def test_images_and_a_category_without_a_file_are_refused(tmp_path, named: dict) -> None:
    asked = {"annotations": None, "images": None, "output": None, "machine": QUIET} | named
    with pytest.raises(SSHPEError, match="--images and --category are of a file of people; name it by --ann"):
        evaluating.run("network.safetensors", **asked)


def test_a_file_that_is_no_network_is_not_taken_for_a_key(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pose").write_bytes(b"")
    for which in ("pose_hrnet.pth", "made.onnx", "pose"):
        for command in ("evaluate", "export"):
            done = CliRunner().invoke(cli.app, [command, which])
            assert f"{which}: neither the key of a record nor a .safetensors file" in str(done.exception)
            assert "`sshpe weights convert`" in str(done.exception)
    with pytest.raises(SSHPEError, match="no record's key starts with 'po'"):
        trained.named("po")


def test_a_checkpoint_is_looked_for_before_the_people(project, monkeypatch) -> None:
    record = train_one(project, "supervised")
    checkpoints.of(paths.runs() / record.key).unlink()
    monkeypatch.setattr(sources, "skeleton", lambda *_: pytest.fail("it looked for people"))
    with pytest.raises(SSHPEError, match=f"sshpe reproduce {record.key} --keep"):
        trained.of_key(record.key)


def test_a_folder_that_takes_no_files_is_known_before_evaluating(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(evaluating, "evaluate", lambda *_: pytest.fail("it evaluated"))
    (tmp_path / "file").write_text("")
    with pytest.raises(SSHPEError, match="file: cannot be written"):
        evaluating.run(str(trained.shipped()), None, None, tmp_path / "file", QUIET)


def test_what_a_network_learned_from_need_not_be_there(tmp_path) -> None:
    val = build(SyntheticPeople(images=2), tmp_path, progress=False)
    made = trained.load(trained.shipped())
    lost, here = (
        CocoSource(kind="coco", annotations=str(file), images=str(val.parent / "images"))
        for file in (tmp_path / "train2017.json", val)
    )
    data = made.experiment.data.model_copy(update={"labeled": lost, "val": here})
    network = replace(made, experiment=made.experiment.model_copy(update={"data": data}))
    assert len(evaluating.evaluate(network, machine=QUIET).people) == 2
    wrong = data.model_copy(update={"val": here.model_copy(update={"fingerprint": "0" * 64})})
    network = replace(made, experiment=made.experiment.model_copy(update={"data": wrong}))
    with pytest.raises(SSHPEError, match=r"annotations.json: sha256 .* which data.val.fingerprint pins"):
        evaluating.evaluate(network, machine=QUIET)


def test_the_chart_has_a_bar_a_joint_and_none_without_labels() -> None:
    shares = np.tile([0.5, 0.2, 0.1, 0.0, 0.2], (17, 1))
    shares[3] = np.nan
    axes = breakdown(shares, COCO17).axes[0]
    widths = np.array([bar.get_width() for bar in axes.patches]).reshape(len(KINDS), 17)
    np.testing.assert_allclose(widths.sum(0), [100] * 3 + [0] + [100] * 13)
    text = breakdown_text(shares, COCO17).splitlines()
    assert DRAWN == KINDS  # typed twice: what draws imports nothing that computes
    assert text[0].split()[-5:] == list(KINDS) and text[5].split() == ["left", "ear", *["–"] * 5]


def test_the_bars_of_a_joint_follow_one_another_and_its_scores_are_told() -> None:
    shares = np.tile([0.5, 0.2, 0.1, 0.05, 0.15], (17, 1))
    axes = breakdown(shares, COCO17).axes[0]
    left = np.array([bar.get_x() for bar in axes.patches]).reshape(len(KINDS), 17)
    np.testing.assert_allclose(left, np.tile([[0], [50], [70], [80], [85]], 17))
    text = breakdown_text(shares, COCO17, {"PCK": np.full(17, 0.25)}).splitlines()
    assert text[0].split()[-1] == "PCK" and text[2].split()[-1] == "25"
