"""Pretraining on objects: a short one end to end, the shipped trunks, and what a bad file is told."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from sshpe_lib import paths
from sshpe_lib.classifier import ObjectClassifier
from sshpe_lib.config import Pretraining
from sshpe_lib.data import objects
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import resnet
from sshpe_lib.models.shipped import load_shipped_trunk
from sshpe_lib.models.weights import load_state
from sshpe_lib.pretrain import command, main, pretrain

SHORT = Pretraining(width=4, images=64, val_images=64, steps=5, batch_size=16, seed=7)
TINY = SHORT.model_copy(update={"images": 16, "val_images": 16, "batch_size": 4, "steps": 1})
SHIPPED = sorted(file.stem for file in (paths.params() / "weights").glob("objects-*.safetensors"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The folder and the record of a pretraining of five steps."""
    out = tmp_path_factory.mktemp("weights")
    return out, pretrain(SHORT, out, progress=False)


@pytest.fixture
def own_params(trained: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the five steps' files where shipped trunks are looked for."""
    folder = tmp_path / "weights"
    shutil.copytree(trained[0], folder)
    monkeypatch.setattr(paths, "params", lambda: tmp_path)
    return folder


def network(width: int = 4, depth: int = 18) -> resnet.SimpleBaseline:
    return resnet.build(depth, 17, width=width, deconv_channels=8, output_stride=16, seed=1)


def recorded_network(name: str) -> resnet.SimpleBaseline:
    """A fresh network of the shape that a shipped trunk's record names."""
    record = json.loads((paths.params() / "weights" / f"{name}.json").read_text())
    spec = Pretraining.model_validate(record["spec"])
    return resnet.build(
        spec.depth, 17, width=spec.width, deconv_channels=8, output_stride=spec.output_stride, seed=1
    )


def test_five_steps_write_a_readable_record(trained: tuple[Path, dict]) -> None:
    out, record = trained
    assert json.loads((out / f"{SHORT.name}.json").read_text()) == record
    assert Pretraining.model_validate(record["spec"]) == SHORT
    assert record["images_seen"] == 80 and len(record["curve"]) == 5
    assert record["data"]["classes"] == list(objects.CLASSES)
    assert 0 <= record["validation"]["accuracy"] <= record["validation"]["top5"] <= 1
    assert record["validation"]["images"] == 64
    assert record["validation"]["by_class"].keys() == set(objects.CLASSES)
    assert {"commit", "versions", "seconds", "sha256", "threads", "device"} <= record.keys()
    assert record["command"] == (
        "python -m sshpe_lib.pretrain "
        "--width 4 --images 64 --val-images 64 --steps 5 --batch-size 16 --seed 7 --threads 1"
    )


def test_five_steps_are_repeatable_bit_for_bit(trained: tuple[Path, dict], tmp_path: Path) -> None:
    torch.rand(3)  # the global generator has no say
    again = pretrain(SHORT, tmp_path, progress=False)
    assert (tmp_path / f"{SHORT.name}.safetensors").read_bytes() == (
        trained[0] / f"{SHORT.name}.safetensors"
    ).read_bytes()
    for key in again.keys() - {"seconds", "started", "commit", "dirty"}:
        assert again[key] == trained[1][key], key


def test_the_file_holds_the_trunk_in_half_precision(trained: tuple[Path, dict]) -> None:
    state = load_state(trained[0] / f"{SHORT.name}.safetensors")
    whole = network().state_dict()
    assert state.keys() == {name for name in whole if name.split(".")[0] not in resnet.SimpleBaseline.head}
    assert {tensor.dtype for tensor in state.values()} == {torch.float16, torch.int64}


def test_another_seed_trains_another_trunk(trained: tuple[Path, dict], tmp_path: Path) -> None:
    other = pretrain(TINY.model_copy(update={"seed": 8}), tmp_path, progress=False)
    assert other["sha256"] != trained[1]["sha256"]
    assert other["data"]["fingerprint"] != trained[1]["data"]["fingerprint"]


def test_held_out_pictures_are_none_that_are_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {}
    monkeypatch.setattr("sshpe_lib.classifier.train", lambda _, __, data, ___: shown.update(train=data) or [])
    monkeypatch.setattr("sshpe_lib.classifier.validate", lambda _, __, data: shown.update(val=data) or {})
    pretrain(TINY, tmp_path, progress=False)
    train, val = ({picture.tobytes() for picture in shown[role][0]} for role in ("train", "val"))
    assert (len(train), len(val)) == (TINY.images, TINY.val_images) and not train & val


def test_threads_are_put_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    pretrain(TINY, tmp_path, progress=False, threads=before + 1)
    assert torch.get_num_threads() == before


def test_training_learns(tmp_path: Path) -> None:
    """Twenty steps on the same few pictures bring the loss well below that of guessing."""
    spec = SHORT.model_copy(update={"width": 8, "images": 16, "steps": 20, "jitter": 0.0, "warmup": 0.2})
    curve = pretrain(spec, tmp_path, progress=False)["curve"]
    assert curve[-1]["loss"] < np.log(len(objects.CLASSES)) - 1.5
    assert curve[-1]["accuracy"] > 0.5


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    spec = SHORT.model_copy(update={"learning_rate": 1e30, "warmup": 0.0})
    with pytest.raises(SSHPEError, match="the loss is (nan|inf) at step .*lower --learning-rate"):
        pretrain(spec, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_files_is_known_before_training(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sshpe_lib.classifier.train", lambda *_: pytest.fail("it trained"))
    (tmp_path / "afile").write_text("")
    with pytest.raises(SSHPEError, match="afile/weights: cannot be written"):
        pretrain(SHORT, tmp_path / "afile" / "weights", progress=False)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_classifier_runs_on_every_trunk(stride: int) -> None:
    trunk = resnet.build(50, 1, width=4, deconv_channels=1, output_stride=stride, seed=0)
    model = ObjectClassifier(trunk, 5, torch.Generator().manual_seed(0))
    logits = model(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 5)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--width 0", "pretrain: width: Input should be greater than 0"),
        ("--steps x", "pretrain: steps: Input should be a valid integer"),
        ("--bf16 maybe", "pretrain: bf16: Input should be a valid boolean"),
        ("--learning-rate inf", "pretrain: learning_rate: Input should be a finite number"),
        ("--weight-decay inf", "pretrain: weight_decay: Input should be a finite number"),
        ("--threads -1", "threads is -1; give a whole number from 1 on"),
        ("--threads 0", "threads is 0; give a whole number from 1 on"),
    ],
)
def test_the_command_line_refuses_what_makes_no_sense_in_one_line(
    words: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshpe_lib.pretrain._render", lambda *_: pytest.fail("it rendered"))
    assert main([*words.split(), "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {told}")
    assert not list(tmp_path.iterdir())


def test_a_shipped_trunk_is_written_over_only_where_its_folder_is_named(
    own_params: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "sshpe_lib.pretrain.pretrain",
        lambda spec, out, threads: asked.append(out) or {"name": spec.name, "validation": {"accuracy": 0.5}},
    )
    words = ["--width", "4", "--seed", "1"]
    assert main(words) == 2 and not asked
    assert f"{own_params / SHORT.name}.safetensors is there already; name another folder by --out" in (
        capsys.readouterr().err
    )
    assert main([*words, "--out", str(own_params)]) == 0
    assert main(["--width", "5"]) == 0
    assert asked == [own_params, own_params]


def test_the_command_names_what_differs_from_the_defaults() -> None:
    assert command(Pretraining(), 1) == "python -m sshpe_lib.pretrain --threads 1"
    other = Pretraining(input_size=(128, 96), output_stride=32)
    assert command(other, 2) == (
        "python -m sshpe_lib.pretrain --output-stride 32 --input-size 128 96 --threads 2"
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_trunk_changes_exactly_the_trunk(name: str) -> None:
    model, fresh = recorded_network(name), recorded_network(name).state_dict()
    load_shipped_trunk(model, name)
    state = load_state(paths.params() / "weights" / f"{name}.safetensors")
    for key, value in model.state_dict().items():
        if key.split(".")[0] in model.head:
            torch.testing.assert_close(value, fresh[key], rtol=0, atol=0)
        else:
            assert value.dtype == fresh[key].dtype and value.isfinite().all()
            torch.testing.assert_close(value, state[key].to(value.dtype), rtol=0, atol=0)
            assert not torch.equal(value, fresh[key]), key


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_trunk_was_trained_as_its_record_says(name: str) -> None:
    record = load_shipped_trunk(recorded_network(name), name)
    spec = Pretraining.model_validate(record["spec"])
    assert spec.name == record["name"] == name
    assert command(spec, record["threads"]) == record["command"]
    assert record["data"]["renderer"] == objects.VERSION, (
        "the renderer moved on: train the shipped trunks again"
    )
    assert record["data"]["classes"] == list(objects.CLASSES)
    assert 0.5 < record["validation"]["accuracy"] < 0.95


def test_an_unknown_trunk_is_refused(own_params: Path) -> None:
    with pytest.raises(
        SSHPEError, match=r"imagenet\.safetensors: no such shipped trunk .*objects-r18-w4-s16"
    ):
        load_shipped_trunk(network(), "imagenet")


def test_a_tampered_file_is_refused(own_params: Path) -> None:
    file = own_params / f"{SHORT.name}.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    model = network()
    with pytest.raises(SSHPEError, match=r"w4-s16\.safetensors: sha256 is .*check both files out again"):
        load_shipped_trunk(model, SHORT.name)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), network().parameters(), strict=True))


@pytest.mark.parametrize("text", [None, "{", "[]", '{"sha256": 3}'])
def test_a_record_that_says_nothing_is_refused(own_params: Path, text: str | None) -> None:
    record = own_params / f"{SHORT.name}.json"
    record.unlink() if text is None else record.write_text(text)
    with pytest.raises(SSHPEError, match=r"w4-s16\.json: .*check it out again"):
        load_shipped_trunk(network(), SHORT.name)


@pytest.mark.parametrize("shape", [{"width": 8}, {"depth": 34}, {"depth": 50}])
def test_a_trunk_of_another_shape_is_refused(own_params: Path, shape: dict[str, int]) -> None:
    model = network(**shape)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(SSHPEError, match=r"does not fit this SimpleBaseline: \d+ tensors .*depth and width"):
        load_shipped_trunk(model, SHORT.name)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_trunk_with_more_than_the_models_is_refused(own_params: Path) -> None:
    file, record = (own_params / f"{SHORT.name}.{ending}" for ending in ("safetensors", "json"))
    safetensors.torch.save_file(load_state(file) | {"layer5.weight": torch.zeros(1)}, file)
    told = json.loads(record.read_text()) | {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    record.write_text(json.dumps(told))
    with pytest.raises(SSHPEError, match=r"1 tensors are missing, left over .*layer5\.weight"):
        load_shipped_trunk(network(), SHORT.name)
