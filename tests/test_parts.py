"""What is made of an experiment's settings: the same, whoever asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from sshpe_lib import evaluating, initial, parts, predict, records, side_by_side, tables, test_dev, trained
from sshpe_lib.config import Experiment
from sshpe_lib.data import cache, roles, sources
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.images import read_image
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.evaluate.bottom_up import BottomUpEvaluation
from sshpe_lib.evaluate.top_down import TopDownEvaluation
from sshpe_lib.experiment import run
from sshpe_lib.grouping import COCO_ORDER
from sshpe_lib.machine import Machine
from sshpe_lib.teacher import EMA, EMAN
from tests import choices

QUIET = Machine(threads=1, progress=False, accelerator="cpu")
OWN = {"data.reduced": True, "data.color": "bgr"}


def smoke(method: str, settings: dict, **chosen: str) -> Experiment:
    return tables.experiment("smoke", method, set=settings, **chosen)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One trained run and its record, and people in pictures twice as large as their crops."""
    folder = tmp_path_factory.mktemp("home")
    short = OWN | {"train.steps": 2, "evaluate.times": 1}
    made = smoke("pose-mum+", short)
    run(made, QUIET, records_folder=folder / "records", runs_folder=folder / "runs")
    build(SyntheticPeople(images=4), folder / "data", progress=False)
    return folder


@pytest.fixture
def project(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("records", "runs", "data"):
        monkeypatch.setenv(f"SSHPE_{name.upper()}", str(home / name))
    return home


def evaluated(key: str, folder: Path) -> None:
    evaluating.evaluate(trained.of_key(key), machine=QUIET)


def beside(key: str, folder: Path) -> None:
    side_by_side.student_and_teacher(records.only(folder / "records", key))


def predicted(key: str, folder: Path) -> None:
    predict.predict(trained.of_key(key), sorted(folder.glob("data/*/images/*.png")), machine=QUIET)


def submitted(key: str, folder: Path) -> None:
    (file,) = folder.glob("data/*/annotations.json")
    people = json.loads(file.read_text())["annotations"]
    boxes = [{k: one[k] for k in ("image_id", "category_id", "bbox")} | {"score": 1.0} for one in people]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    test_dev.submit(key, folder / "boxes.json", file, file.parent / "images", folder, "ours", QUIET)


@pytest.mark.parametrize("asks", [evaluated, beside, predicted, submitted])
def test_a_network_is_asked_about_crops_like_those_of_its_test(
    project: Path, monkeypatch: pytest.MonkeyPatch, asks: Callable[[str, Path], None]
) -> None:
    """Decoded smaller where the record's were, and in its order of channels."""
    read, seen = ImageCache.read, set()

    def spied(self: ImageCache, path, where, size=None, reduction=1):
        if size is not None:  # a crop knows its image's
            seen.add((self.color, reduction))
        return read(self, path, where, size, reduction)

    monkeypatch.setattr(ImageCache, "read", spied)
    asks(records.only(project / "records", "").key, project)
    assert ("bgr", 2) in seen and {color for color, _ in seen} == {"bgr"}


@pytest.mark.parametrize("codec", ["msra", "udp-gaussian"])
def test_crops_have_the_bits_of_the_tests(codec: str) -> None:
    made = smoke("supervised", OWN | {"data.codec": codec})
    tested = roles.load(made, progress=False).val
    ours = parts.crops_of(made.data, sources.instances(made.data.val))
    for one, other in zip(ours.batch(range(4)), tested.batch(range(4)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("chosen", [{}, choices.WHOLE], ids=["crops", "whole images"])
def test_a_run_of_packed_images_decodes_none_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: dict
) -> None:
    """In training and in its tests."""
    decoded = []

    def counted(path: Path, *rest):
        decoded.append(path)
        return read_image(path, *rest)

    monkeypatch.setattr(cache, "read_image", counted)
    monkeypatch.setenv("SSHPE_CACHE", str(tmp_path / "cache"))
    made = smoke("udpv1", {"train.steps": 1, "evaluate.times": 1}, **chosen)
    folders = {"records_folder": tmp_path / "records", "runs_folder": tmp_path / "runs"}
    run(made, replace(QUIET, pack=True), **folders)
    assert not decoded


@pytest.mark.parametrize(("std", "variance"), [(False, 2.5), (True, 2.25)])  # of 1 and 4, or of their roots
def test_a_teacher_averages_variances_or_their_roots_as_the_experiment_says(
    std: bool, variance: float
) -> None:
    averaged = {"teacher.decay": 0.9, "teacher.ramp": 4, "teacher.std": std}
    student = nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1))
    teacher = parts.teacher_of(smoke("affine-eman", averaged), student, 1)
    assert isinstance(teacher, EMAN)
    student[1].running_var.fill_(4.0)
    teacher.update(student)
    assert teacher.network[1].running_var.item() == pytest.approx(variance)


@pytest.mark.parametrize("kind", ["ema", "eman"])
def test_a_teachers_decay_is_warmed_up_where_the_experiment_says_so(kind: str) -> None:
    teacher = parts.teacher_of(smoke(f"affine-{kind}", {"teacher.warmup": True}), nn.Linear(1, 1), 1)
    assert isinstance(teacher, EMA) and teacher.decay_at(0) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", ["ema", "eman"])
def test_a_teachers_decay_rises_as_the_experiment_says(kind: str) -> None:
    ramp = {"teacher.decay": 0.9, "teacher.ramp": 4}
    teacher = parts.teacher_of(smoke(f"affine-{kind}", ramp), nn.Linear(1, 1), 1)
    assert [teacher.decay_at(step) for step in (0, 2, 4)] == pytest.approx([0.5, 0.7, 0.9])


def test_a_partner_starts_from_other_weights_than_the_student() -> None:
    made = smoke("jc-dual", {})
    student = initial.build(made.model, 17, made.train.seed)
    partner = parts.teacher_of(made, student, 17).network
    assert not torch.equal(partner.state_dict()["conv1.weight"], student.state_dict()["conv1.weight"])


def test_a_codec_of_udp_has_the_settings_of_the_experiment() -> None:
    chosen = {"data.codec": "udp-offset", "data.sigma": 1.25, "data.radius": 2.5, "data.kernel": 9}
    codec = parts.codec_of(smoke("supervised", chosen).data)
    assert (codec.target, codec.sigma, codec.radius, codec.kernel) == ("offset", 1.25, 2.5, 9)


def test_gaussians_are_as_wide_as_the_experiment_says() -> None:
    assert parts.codec_of(smoke("supervised", {"data.codec": "msra", "data.sigma": 1.25}).data).sigma == 1.25


def test_hard_keypoints_are_as_many_as_the_experiment_says() -> None:
    assert parts.supervision_of(smoke("supervised", {"train.hard_keypoints": 8})).hard_keypoints == 8


@pytest.mark.parametrize(("codec", "unbiased"), [("udp-gaussian", True), ("msra", False)])
@pytest.mark.parametrize("method", ["affine-single", "jc-single", "cut-occlude-single"])
def test_heatmaps_are_moved_and_read_by_the_convention_of_their_codec(
    method: str, codec: str, unbiased: bool
) -> None:
    strong = parts.strong_of(smoke(method, {"data.codec": codec}))
    assert {operation.unbiased for operation in strong.operations} == {unbiased}


@pytest.mark.parametrize(("codec", "unbiased"), [("udp-gaussian", True), ("msra", False)])
def test_whole_images_are_taught_and_read_as_the_experiment_says(codec: str, unbiased: bool) -> None:
    chosen = {
        "train.push": 0.5,
        "train.pull": 0.25,
        "data.sigma": 1.75,
        "data.people": 11,
        "data.codec": codec,
    }
    made = smoke("supervised", chosen, **choices.WHOLE)
    teaching, grouping = parts.supervision_of(made), parts.grouping_of(made, 17)
    assert (teaching.push, teaching.pull, teaching.unbiased) == (0.5, 0.25, unbiased)
    assert {(one.sigma, one.unbiased) for one in teaching.codecs} == {(1.75, unbiased)}
    assert (grouping.max_people, grouping.unbiased) == (11, unbiased)
    assert grouping.order == COCO_ORDER


@pytest.mark.parametrize("keypoints", [5, 14, 20])
def test_people_are_found_by_all_of_their_joints_each_once(keypoints: int) -> None:
    order = parts.grouping_of(smoke("supervised", {}, **choices.WHOLE), keypoints).order
    assert sorted(order) == list(range(keypoints))
    assert [joint for joint in order if joint < 17] == [joint for joint in COCO_ORDER if joint < keypoints]


def measured(made: Experiment) -> TopDownEvaluation | BottomUpEvaluation:
    data, fabric = roles.load(made, progress=False), Fabric(accelerator="cpu", devices=1)
    return parts.evaluation_of(made, data.val, data.ground_truth, data.skeleton, fabric, data.cache)


@pytest.mark.parametrize("chosen", [{}, choices.WHOLE], ids=["crops", "whole images"])
@pytest.mark.parametrize("flip", [False, True])
def test_networks_are_measured_as_the_experiment_says(chosen: dict, flip: bool) -> None:
    settings = {"flip": flip, "protocol": "crowdpose", "visibility": True}
    made = smoke("supervised", {f"evaluate.{name}": value for name, value in settings.items()}, **chosen)
    how = measured(made)
    assert (how.flip, how.protocol, how.visibility) == (flip, "crowdpose", True)


def test_people_are_rescored_and_suppressed_as_the_experiment_says() -> None:
    how = measured(smoke("supervised", {"evaluate.nms": 0.55, "evaluate.score_threshold": 0.35}))
    assert (how.nms, how.score_threshold) == (0.55, 0.35)


@pytest.mark.parametrize(("codec", "unbiased"), [("udp-gaussian", True), ("msra", False)])
def test_whole_images_are_shown_by_the_convention_of_their_codec(codec: str, unbiased: bool) -> None:
    assert measured(smoke("supervised", {"data.codec": codec}, **choices.WHOLE)).unbiased == unbiased
