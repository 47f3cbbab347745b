"""An experiment's data in its roles, drawn as its settings say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sshpe_lib import tables
from sshpe_lib.config import CocoSource, Experiment
from sshpe_lib.data import roles, sources, splits
from sshpe_lib.data.scenes import SceneAffine
from sshpe_lib.data.top_down import WeakAffine
from sshpe_lib.data.unlabelled import Unlabelled
from sshpe_lib.errors import SSHPEError
from tests import choices

KINDS = pytest.mark.parametrize("method", ["pose-mum+", "pose-mum-whole+"], ids=["people", "whole images"])


def smoke(method: str, **data: object) -> Experiment:
    settings = {f"data.{name}": value for name, value in data.items()}
    return tables.experiment("smoke", method, set=settings, **choices.of(method))


@KINDS
def test_a_random_split_is_that_of_its_own_seed(method: str) -> None:
    made = smoke(method, split="random", split_seed=3, labels=5)
    everyone = sources.instances(made.data.labeled)
    draw = splits.random_images if made.bottom_up else splits.random_instances
    found = roles.load(made, progress=False).labeled.instances
    np.testing.assert_array_equal(found.annotation_ids, everyone.annotation_ids[draw(everyone, 5, 3)])


@KINDS
def test_views_are_drawn_from_a_stream_a_role_and_the_seed_of_the_run(method: str) -> None:
    first = smoke(method)
    made = first.model_copy(update={"start": first})
    assert made.stream_seed != made.train.seed  # a second stage sees other views than its first
    found = roles.load(made, progress=False)
    drawn = [(role.seed, role.stream) for role in (found.labeled, found.unlabeled)]
    assert drawn == [(made.stream_seed, "labeled"), (made.stream_seed, "unlabeled")]


def test_an_epoch_of_whole_images_passes_over_images() -> None:
    found = roles.load(smoke("pose-mum-whole+"), progress=False)
    assert found.pool == len(found.unlabeled) < len(found.unlabeled.instances)


@pytest.mark.parametrize("chosen", [{}, choices.WHOLE], ids=["people", "whole images"])
def test_a_supervised_run_has_no_unlabelled_data(chosen: dict[str, str]) -> None:
    found = roles.load(tables.experiment("smoke", "supervised", **chosen), progress=False)
    assert found.unlabeled is None and found.facts["unlabeled"] == 0 < found.pool


@pytest.mark.parametrize("role", ["val", "unlabeled", "extra"])
def test_people_of_other_keypoints_are_refused_in_every_role(tmp_path: Path, role: str) -> None:
    made = smoke("pose-mum+")
    file = sources.annotations(made.data.labeled)
    document = json.loads(file.read_text())
    document["categories"][0]["keypoints"][0] = "snout"
    (tmp_path / "other.json").write_text(json.dumps(document))
    images = str(file.parent / "images")
    other = CocoSource(kind="coco", annotations=str(tmp_path / "other.json"), images=images)
    made = made.model_copy(update={"data": made.data.model_copy(update={role: other})})
    with pytest.raises(SSHPEError, match=f"other.json: the keypoints of data.{role} "):
        roles.load(made, progress=False)


@pytest.mark.parametrize("method", ["supervised", "pose-mum+"])
def test_more_labelled_people_are_learned_from_too(method: str) -> None:
    """And make a supervised epoch longer, which has no pool of its own."""
    plain = smoke(method)
    source = plain.data.labeled.model_copy(update={"seed": 77, "images": 4})
    made = plain.model_copy(update={"data": plain.data.model_copy(update={"extra": source})})
    before, after = roles.load(plain, progress=False), roles.load(made, progress=False)
    more = len(sources.instances(source))
    assert len(after.labeled) == after.facts["labeled"] == len(before.labeled) + more > len(before.labeled)
    assert after.pool == before.pool + (more if method == "supervised" else 0)


@pytest.mark.parametrize(("codec", "unbiased"), [("udp-gaussian", True), ("msra", False)])
def test_people_are_cropped_as_the_experiment_says(codec: str, unbiased: bool) -> None:
    made = smoke("pose-mum+", codec=codec, reduced=True)
    weak = {"scale": 0.11, "rotation": 13.0, "rotation_probability": 0.7, "flip": 0.2, "half_body": 0.4}
    weak_set = made.augment.model_copy(update={"weak": made.augment.weak.model_copy(update=weak)})
    found = roles.load(made.model_copy(update={"augment": weak_set}), progress=False)
    for role in (found.labeled, found.unlabeled, found.val):
        assert (role.input_size, role.unbiased, role.reduced) == (made.data.input_size, unbiased, True)
    assert found.labeled.weak == found.unlabeled.weak == WeakAffine(**weak)
    assert found.val.weak is None


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize(("codec", "unbiased"), [("udp-gaussian", True), ("msra", False)])
def test_whole_images_are_cut_as_the_experiment_says(
    codec: str, unbiased: bool, masks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: Unlabelled = {3: []}
    monkeypatch.setattr(sources, "unlabelled_people", lambda source: hidden)
    made = smoke("pose-mum-whole+", codec=codec, people=7, masks=masks, outside="ignored")
    scene = {"scale": (0.9, 1.1), "rotation": 13.0, "shift": 7.0, "flip": 0.2}
    scene_set = made.augment.model_copy(update={"scene": made.augment.scene.model_copy(update=scene)})
    found = roles.load(made.model_copy(update={"augment": scene_set}), progress=False)
    for role in (found.labeled, found.unlabeled):
        assert (role.side, role.most, role.unbiased) == (made.data.input_size[0], 7, unbiased)
        assert role.affine == SceneAffine(**scene)
    assert found.labeled.unlabelled == (hidden if masks else {}) and found.unlabeled.unlabelled == {}
    assert (found.labeled.outside, found.unlabeled.outside) == ("ignored", "background")
