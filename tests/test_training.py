"""One's own people: from COCO-format files to a network that finds them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sshpe_lib import cli, experiment, predict, records, trained, training
from sshpe_lib.data import sources, splits
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.errors import SSHPEError
from sshpe_lib.machine import Machine
from sshpe_lib.profiles import assignments
from tests import fakes

QUIET = Machine(threads=1, progress=False, accelerator="cpu")
SHORT = {"train.steps": 2, "train.batch_size": 4, "evaluate.times": 1}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A file to learn from and one to measure on, whose images lie beside both."""
    for name in ("records", "runs"):
        monkeypatch.setenv(f"SSHPE_{name.upper()}", str(tmp_path / name))
    drawn = build(SyntheticPeople(images=12, seed=3, difficulty=0.2), tmp_path / "people", progress=False)
    (train, _), (val, _) = splits.hold_out(drawn, 0.34)
    return train, val


def test_a_network_for_ones_own_people(files: tuple[Path, Path], tmp_path: Path) -> None:
    network = training.train(*files, "pose-mum+", "smoke", labels=4, machine=QUIET, set=SHORT)
    data = network.experiment.data
    assert data.labels == 4 and Path(data.labeled.annotations) == files[0]
    assert Path(data.val.annotations) == files[1] and Path(data.val.images) == files[1].parent / "images"
    assert network.experiment.teacher.kind == "eman" and network.learned_from == files[0].name
    assert [path.stem for path in (tmp_path / "records").glob("*.json")] == [network.key]
    image = files[1].parent / "images" / "000000.png"
    assert predict.predict(network, [image])[0].people.shape == (1, 17, 3)


def test_a_network_of_a_record_that_is_found_knows_where_its_data_is_now(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    first = training.train(*files, "supervised", "smoke", machine=QUIET, set=SHORT)
    moved = tmp_path / "moved"
    shutil.copytree(files[0].parent, moved)
    again = training.train(
        *(moved / file.name for file in files), "supervised", "smoke", machine=QUIET, set=SHORT
    )
    assert again.key == first.key
    assert Path(again.experiment.data.val.annotations).is_relative_to(moved)


def test_every_label_counts_unless_told(files: tuple[Path, Path]) -> None:
    made = training.own_experiment(*files, "supervised", "quick", None, None, "resnet18")
    assert made.data.labels is None and made.data.unlabeled is None and made.train.steps == 2000


def test_labels_may_be_typed_as_a_setting(files: tuple[Path, Path]) -> None:
    asked = *files, "supervised", "quick", None, None, "resnet18"
    assert training.own_experiment(*asked, set={"data.labels": 3}).data.labels == 3
    assert training.own_experiment(*asked, size=None, seed=None).data.labels is None


def test_of_several_processes_the_first_writes_and_speaks(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have no progress to show."""
    monkeypatch.setattr(training, "train", lambda *_, **__: trained.load(trained.shipped()))
    output = tmp_path / "mine.safetensors"
    assert training.run(output, QUIET, *files) == ("", "") and not output.exists()
    told, about = training.run(output, replace(QUIET, progress=True), *files)
    assert str(output) in told and "ResNet-18 of width 16, input 128x96, record" in told
    assert json.loads(about)["network"] == str(output) and output.exists()


def test_what_is_kept_of_a_first_stage_is_told_too(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"protocol": "aid", "schedule": "S3"}
    asked = training.own_experiment(*files, "aid-cutout", "smoke", None, None, "hrnet-w32", **chosen)
    made = sources.pin(asked)
    records.write(tmp_path / "records", fakes.record(made))

    def run(*_: object, **__: object) -> None:
        raise SSHPEError("it is told before")

    monkeypatch.setattr(experiment, "run", run)
    machine = replace(QUIET, progress=True)
    with pytest.raises(SSHPEError, match="it is told before"):
        training.train(*files, "aid-cutout", "smoke", backbone="hrnet-w32", machine=machine, **chosen)
    told = capsys.readouterr().err
    for key in (made.key(), made.start.key()):
        assert f"{tmp_path / 'records' / key}.json, {tmp_path / 'runs' / key}" in told


def test_a_further_file_is_the_unlabelled_pool(files: tuple[Path, Path]) -> None:
    made = training.own_experiment(*files, "pose-mum+", "quick", 3, files[1], "resnet18", seed=7)
    assert Path(made.data.unlabeled.annotations) == files[1] and made.train.seed == 7
    with pytest.raises(SSHPEError, match="unlabeled"):
        training.own_experiment(*files, "supervised", "quick", 3, files[1], "resnet18")


def test_whole_images_need_no_further_choice(files: tuple[Path, Path]) -> None:
    made = training.own_experiment(*files, "udpv1", "quick", None, None, "higherhrnet-w32")
    assert made.bottom_up and made.data.codec == "udp-gaussian" and made.data.input_size == (128, 128)
    other = training.own_experiment(*files, "udpv1", "quick", None, None, "higherhrnet-w32", size="640x640")
    assert other.data.input_size == (128, 128)


@pytest.mark.parametrize("method", ["udpv1", "aid-cutout", "aid-has"])
@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_methods_of_aid_have_its_protocol(files: tuple[Path, Path], method: str, profile: str) -> None:
    asked = *files, method, profile, None, None, "resnet18"
    made = training.own_experiment(*asked)
    assert made.data.unbiased and made.evaluate.flip
    assert made == training.own_experiment(*asked, protocol="aid on true boxes")
    plain = training.own_experiment(*files, "supervised", profile, None, None, "resnet18")
    assert not plain.data.unbiased and not plain.evaluate.flip


def test_a_method_that_only_looks_like_aids_has_no_protocol_of_it(files: tuple[Path, Path]) -> None:
    """Its dropped information is the student's view."""
    made = training.own_experiment(*files, "aid-cutout-eman", "quick", 3, None, "resnet18")
    assert not made.data.unbiased


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"method": "pose-mun"}, "no method 'pose-mun'; choose one of: supervised, "),
        ({"profile": "fast"}, "no profile 'fast'"),
        ({"backbone": "vgg"}, "no backbone 'vgg'; choose one of: resnet18, "),
        ({"size": "1x1"}, "no size '1x1'"),
        ({"protocol": "coco"}, "no protocol 'coco'"),
        ({"set": {"train.lerning_rate": 1}}, "train.lerning_rate: no such setting"),
    ],
)
def test_a_wrong_choice_is_refused(files: tuple[Path, Path], asked: dict, told: str) -> None:
    with pytest.raises(SSHPEError, match=told):
        training.train(*files, machine=QUIET, **asked)


def test_images_that_are_not_beside_their_file_are_asked_for(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    (files[0].parent / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(
        SSHPEError, match=r"train_of_annotations.json: images: .* not beside it; name their folder"
    ):
        training.train(*files, machine=QUIET)


@pytest.mark.parametrize("backbone", ["resnet18", "higherhrnet-w32"])
def test_people_of_many_keypoints_have_a_record_too(files: tuple[Path, Path], backbone: str) -> None:
    for path in files:  # 17 keypoints, seven times over: near to the 133 of a whole body
        document = json.loads(path.read_text())
        category = document["categories"][0]
        category["keypoints"] = [f"{name} {n}" for n in range(7) for name in category["keypoints"]]
        for person in document["annotations"]:
            person["keypoints"] *= 7
        path.write_text(json.dumps(document))
    network = training.train(
        *files, "udpv1", "smoke", backbone=backbone, machine=QUIET, set=SHORT | {"evaluate.multi_scale": []}
    )
    assert len(network.skeleton) == 119


def test_settings_are_read_as_typed() -> None:
    typed = ["teacher.decay=0.9", "evaluate.flip=true", "data.input_size=[96, 128]", "data.labels=null"]
    read = {"teacher.decay": 0.9, "evaluate.flip": True, "data.input_size": [96, 128], "data.labels": None}
    assert assignments(typed, "--set", "a=1") == read
    for wrong in ("teacher.decay", "=3", "a=[1", "a={"):
        with pytest.raises(SSHPEError, match="--set .* assigns nothing; write it as a=1"):
            assignments([wrong], "--set", "a=1")


def test_the_command_as_typed(files: tuple[Path, Path], tmp_path: Path) -> None:
    typed = [
        "train", str(files[0]), "--val", str(files[1]), "--profile", "smoke", "--accelerator", "cpu", "--threads", "1",
        "--output", str(tmp_path / "new one" / "mine.safetensors"),
        *(word for name, value in SHORT.items() for word in ("--set", f"{name}={value}")),
    ]  # fmt: skip
    done = CliRunner().invoke(cli.app, typed)
    assert done.exit_code == 0, done.output
    network = trained.load(tmp_path / "new one" / "mine.safetensors")
    assert f"--weights '{tmp_path}/new one/mine.safetensors'`" in done.output
    assert f"record {network.key}" in done.output and f"AP {network.metrics['AP']:.1f}" in done.output
    again = CliRunner().invoke(cli.app, [*typed, "--json"])  # found, not trained
    about = json.loads(again.stdout)  # and nothing else
    assert "nothing trained" in again.stderr
    assert about["key"] == network.key and about["metrics"] == network.metrics


def test_images_of_no_further_file_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    typed = ["train", str(files[0]), "--val", str(files[1]), "--unlabeled-images", str(tmp_path)]
    refused = CliRunner().invoke(cli.app, typed)
    assert str(refused.exception).startswith("--unlabeled-images is the folder of a further file")


@pytest.mark.parametrize(
    ("category", "backbone"), [("body", "resnet18"), ("4", "resnet18"), ("body", "higherhrnet-w32")]
)
def test_one_of_several_categories_is_taken_as_typed(
    files: tuple[Path, Path], tmp_path: Path, category: str, backbone: str
) -> None:
    document = json.loads(files[0].read_text())
    document["categories"][0].update(id=4, name="body")
    for entry in document["annotations"]:
        entry["category_id"] = 4
    document["categories"].append({"id": 9, "name": "hand", "keypoints": ["thumb", "palm"]})
    hand = {"category_id": 9, "keypoints": [9, 9, 2, 12, 12, 2], "bbox": [8, 8, 9, 9], "area": 60}
    document["annotations"].append(document["annotations"][0] | hand | {"id": 999, "num_keypoints": 2})
    people = files[0].with_name("two.json")
    people.write_text(json.dumps(document))
    parts = [str(people.with_name(f"{part}_of_two.json")) for part in ("train", "val")]
    output, which = str(tmp_path / "mine.safetensors"), ["--category", category]
    typed = [
        "--profile",
        "smoke",
        "--backbone",
        backbone,
        "--accelerator",
        "cpu",
        "--threads",
        "1",
        "--output",
        output,
    ]
    chosen = [f"--set={name}={value}" for name, value in (SHORT | {"evaluate.multi_scale": "[]"}).items()]
    asked_for_its_name = "categories with keypoints: 'body' (id 4), 'hand' (id 9); which one is meant?"
    for words in (
        ["data", "check", str(people)],
        ["data", "split", str(people), "--hold-out", "0.3"],
        ["train", parts[0], "--val", parts[1], *typed, *chosen],
        ["evaluate", output, "--annotations", parts[1], "--accelerator", "cpu"],
    ):
        refused = CliRunner().invoke(cli.app, words)
        told = refused.output + str(refused.exception)
        assert refused.exit_code == 1 and asked_for_its_name in told and "--category" in told
        done = CliRunner().invoke(cli.app, [*words, *which])
        assert done.exit_code == 0, done.output
    network = trained.load(Path(output))
    assert len(network.skeleton) == 17 and network.experiment.data.val.category == category
    (record,) = (tmp_path / "records").glob("*.json")
    assert "on 2 people" in done.output and record.stem == network.key


def test_a_record_that_is_handed_back_is_told_and_its_images_must_be_there(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling = replace(QUIET, progress=True)
    first = training.train(*files, profile="smoke", machine=telling, set=SHORT)
    assert "nothing trained" not in capsys.readouterr().err
    monkeypatch.setattr(experiment, "train", lambda *_: pytest.fail("it trained"))
    again = training.train(*files, profile="smoke", machine=telling, set=SHORT)
    told = capsys.readouterr().err.splitlines()[-1]
    assert again.key == first.key and told.startswith(f"record {first.key} of 20")
    assert f"{tmp_path / 'records' / first.key}.json, {tmp_path / 'runs' / first.key})" in told
    training.train(*files, profile="smoke", machine=QUIET, set=SHORT)
    assert capsys.readouterr().err == ""
    name = json.loads(files[1].read_text())["images"][1]["file_name"]
    (files[1].parent / "images" / name).unlink()
    with pytest.raises(SSHPEError, match=rf"val_of_annotations.json: image '{name}': it is not in "):
        training.train(*files, profile="smoke", machine=QUIET, set=SHORT)


def test_a_place_that_takes_no_network_is_refused_before_training(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("it trained"))
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.safetensors").mkdir()
    for output, told in (
        (tmp_path / "mine.pth", "networks are written as .safetensors"),
        (tmp_path / "file" / "mine.safetensors", "file: cannot be written"),
        (tmp_path / "folder.safetensors", "folder.safetensors is a folder; name a file"),
        (Path("/proc/mine.safetensors"), "/proc: cannot be written"),
    ):
        with pytest.raises(SSHPEError, match=told):
            training.run(output, QUIET, *files)
