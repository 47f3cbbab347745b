"""A trained network in a file, and the people it finds in one's own pictures."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from typer.testing import CliRunner

from sshpe_lib import checkpoints, cli, initial, predict, records, tables, trained
from sshpe_lib.data import named_boxes
from sshpe_lib.data.images import SUFFIXES, read_image
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.average_precision import average_precision
from sshpe_lib.experiment import run, state_sha256
from sshpe_lib.machine import Machine
from sshpe_lib.models import weights
from sshpe_lib.skeleton import COCO17
from tests import choices, fakes, processes

QUIET = Machine(threads=1, progress=False, accelerator="cpu")
EASY = SyntheticPeople(images=12, seed=77, difficulty=0.2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    annotations = build(EASY, tmp_path_factory.mktemp("people"), progress=False)
    return sorted((annotations.parent / "images").glob("*.png"))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    for name in ("records", "runs"):
        monkeypatch.setenv(f"SSHPE_{name.upper()}", str(tmp_path / name))
    return tmp_path


def train_one(project: Path, method: str = "pose-mum+", **chosen) -> records.Record:
    made = tables.experiment("smoke", method, set={"train.steps": 2, "evaluate.times": 1}, **chosen)
    return run(made, QUIET, records_folder=project / "records", runs_folder=project / "runs")


@pytest.mark.parametrize(
    ("method", "chosen"), [("pose-mum+", {}), ("udpv1", choices.WHOLE)], ids=["crops", "whole"]
)
def test_a_file_holds_the_network_that_the_record_quotes(project, method, chosen) -> None:
    record = train_one(project, method, **chosen)
    path = project / "network.safetensors"
    made = trained.from_record(record, COCO17)
    assert not made.network.training
    trained.save(made, path)
    loaded = trained.load(path)
    assert loaded.experiment == record.experiment and loaded.skeleton == COCO17 and loaded.key == record.key
    assert state_sha256(loaded.network) == record.provenance.checkpoint_sha256
    assert not loaded.network.training and loaded.learned_from == "drawn people"


def test_a_network_that_was_trained_again_is_told_from_the_records(project) -> None:
    record = fakes.record(train_one(project).experiment, ap=24.0)  # whose network nobody has
    records.write(project / "records", record)
    path = checkpoints.of(project / "runs" / record.key)
    state = checkpoints.read(path, record.key)
    state["metrics"]["teacher"] = fakes.statistics(22.0004)
    checkpoints.write(path, state | {"parts": [{"commit": "f" * 40}]})
    trained.save(trained.of_key(record.key), project / "again.safetensors")
    for made in (trained.of_key(record.key), trained.load(project / "again.safetensors")):
        assert made.about == f"trained again after record {record.key}, AP 22.0 (AP 24.0 there)"
        assert (made.key, made.metrics["AP"], made.commit) == (record.key, 22.0, "f" * 40)


def test_a_network_is_loaded_without_a_draw() -> None:
    """What a program draws next does not depend on whether it loaded a network before."""
    before = torch.get_rng_state()
    trained.load(trained.shipped())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_foreign_or_broken_file_is_named(project, pictures) -> None:
    path = project / "foreign.safetensors"
    weights.save_state(torch.nn.Linear(2, 2), path, {})
    with pytest.raises(
        SSHPEError, match=r"foreign.safetensors: weights without the experiment.*sshpe export"
    ):
        trained.load(path)
    weights.save_state(
        torch.nn.Linear(2, 2), path, {trained.HEADER: json.dumps({"experiment": {"modle": 1}})}
    )
    with pytest.raises(SSHPEError, match=r"foreign.safetensors: the experiment inside cannot be read"):
        trained.load(path)
    whole = trained.shipped().read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SSHPEError, match=r"foreign.safetensors is no complete safetensors file"):
        trained.load(path)
    with pytest.raises(SSHPEError, match="no such file of weights"):
        trained.load(project / "nowhere.safetensors")
    with pytest.raises(SSHPEError, match="written as .safetensors"):
        trained.save(trained.from_record(train_one(project), COCO17), project / "network.pth")


def with_about(path: Path, change) -> Path:
    """The shipped network with something else said of it."""
    with safetensors.safe_open(trained.shipped(), "pt") as file:
        about = json.loads(file.metadata()[trained.HEADER])
    change(about)
    state = safetensors.torch.load_file(trained.shipped())
    safetensors.torch.save_file(state, path, {trained.HEADER: json.dumps(about)})
    return path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda about: about["experiment"]["model"].update(width=100_000), "does not fit SimpleBaseline"),
        (lambda about: about["experiment"]["model"].update(width=10**12), "cannot be read .*overflowed"),
        (lambda about: about["experiment"]["model"].update(width=10**30), "cannot be read .*[Oo]verflow"),
        (
            lambda about: about["experiment"].update(
                model={"network": "hrnet", "init": "scratch", "blocks": 10**9}
            ),
            "cannot be read .*more blocks than the file has tensors",
        ),
        (
            lambda about: about["experiment"]["data"].update(input_size=[10**9, 10**9]),
            "cannot be read .*input_size.*less than or equal to 4096",
        ),
        (lambda about: about["skeleton"].update(keypoints=[]), "cannot be read .*skeleton: an index is none"),
        (lambda about: about["skeleton"].update(limbs=[[0, 17]]), "skeleton: an index is none of 17"),
        (lambda about: about["skeleton"].update(flip_pairs=[[-1, 2]]), "skeleton: an index is none of 17"),
        (lambda about: about["skeleton"].update(upper_body=[17]), "skeleton: an index is none of 17"),
        (lambda about: about["skeleton"].update(sigmas=[1]), "cannot be read .*not as many sigmas"),
        (lambda about: about["skeleton"].update(flip_pairs=5), "cannot be read .*flip_pairs"),
        (lambda about: about.update(metrics=None), "cannot be read .*metrics: Input should be a valid dict"),
        (lambda about: about.update(metrics=[]), "cannot be read .*metrics"),
        (lambda about: about.update(metrics={"AP50": 3.0}), "cannot be read .*metrics: there is no AP"),
        (lambda about: about.update(key=5), "cannot be read .*key"),
        (lambda about: about.pop("commit"), "cannot be read .*commit: Field required"),
    ],
)
def test_a_file_that_says_something_else_of_its_network_is_named(tmp_path, change, told) -> None:
    path = with_about(tmp_path / "changed.safetensors", change)
    with pytest.raises(SSHPEError, match=rf"changed\.safetensors:? .*{told}"):
        trained.load(path)


def test_a_network_of_another_origin_needs_no_measure(tmp_path) -> None:
    path = with_about(tmp_path / "n.safetensors", lambda about: about.update(metrics={}, origin="a friend"))
    assert trained.load(path).about == "a friend"


def test_a_header_nested_without_end_is_no_network(tmp_path) -> None:
    path = tmp_path / "deep.safetensors"
    weights.save_state(torch.nn.Linear(2, 2), path, {trained.HEADER: "[" * 200_000})
    with pytest.raises(SSHPEError, match="weights without the experiment"):
        trained.load(path)


def test_the_shipped_network_finds_drawn_people(pictures) -> None:
    """It was trained on their kind; untaught weights find nobody. A picture without a box is one person's."""
    truth = json.loads((pictures[0].parents[1] / "annotations.json").read_text())
    boxes = {
        path.name: np.array([a["bbox"]], float)
        for path, a in zip(pictures, truth["annotations"], strict=True)
    }
    network = trained.load(trained.shipped())
    assert trained.shipped().stat().st_size < 4e6
    found = predict.predict(network, pictures, boxes, QUIET)
    assert [one.people.shape for one in found] == [(1, 17, 3)] * 12
    assert average_precision(truth, predict.results(found), COCO17.sigmas)["AP50"] > 0.3
    torch.nn.init.normal_(network.network.final_layer.weight)
    blind = predict.results(predict.predict(network, pictures, boxes, QUIET))
    assert average_precision(truth, blind, COCO17.sigmas)["AP50"] < 0.05
    alone = predict.predict(network, pictures[:1], None, QUIET)[0]
    assert alone.people.shape == (1, 17, 3) and alone.image.shape == (128, 96, 3)


def test_the_shipped_network_is_that_of_its_record(repository) -> None:
    network = trained.load(trained.shipped())
    record = records.find(repository / "book" / "records", network.key)
    assert record.experiment == network.experiment and record.metrics[record.headline] == network.metrics
    assert state_sha256(network.network) == record.provenance.checkpoint_sha256


def test_every_box_is_a_person(pictures) -> None:
    network = trained.load(trained.shipped())
    boxes = {pictures[1].name: np.array([[10.0, 10, 40, 90], [40, 10, 40, 90]])}
    first, second = predict.predict(network, pictures[:2], boxes, QUIET)
    assert len(first.people) == 1 and len(second.people) == 2
    listed = predict.results([first, second])
    assert [one["image_id"] for one in listed] == [1, 2, 2]
    assert listed[2]["file_name"] == pictures[1].name and len(listed[2]["keypoints"]) == 51


def test_a_picture_taken_upright_is_seen_upright_unless_boxes_are_given(tmp_path, pictures) -> None:
    """The camera stores a portrait lying, with a tag that says how to turn it; boxes are in the pixels as stored."""
    tag = Image.Exif()
    tag[0x0112] = 6  # to be turned right by a quarter
    lying, upright = tmp_path / "lying.jpg", tmp_path / "upright.png"
    Image.fromarray(np.rot90(read_image(pictures[0], "x"))).save(lying, exif=tag, quality=100)
    cv2.imwrite(str(upright), np.rot90(read_image(lying, "x", "bgr"), -1))
    network = trained.load(trained.shipped())
    seen, expected = predict.predict(network, [lying, upright], None, QUIET)
    assert np.array_equal(seen.image, expected.image) and seen.image.shape == (128, 96, 3)
    assert np.array_equal(seen.people, expected.people)
    boxed = predict.predict(network, [lying], {lying.name: np.array([[0.0, 0, 128, 96]])}, QUIET)[0]
    assert np.array_equal(boxed.image, np.rot90(expected.image))


def test_a_bottom_up_network_takes_no_boxes(project, pictures) -> None:
    path = project / "whole.safetensors"
    trained.save(trained.from_record(train_one(project, "udpv1", **choices.WHOLE), COCO17), path)
    network = trained.load(path)
    assert [one.path for one in predict.predict(network, pictures, None, QUIET)] == pictures
    with pytest.raises(SSHPEError, match="finds people by itself; leave the boxes out"):
        predict.predict(network, pictures[:1], {pictures[0].name: np.ones((1, 4))}, QUIET)


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([], "it lists no boxes"),
        ([{"file_name": "a.png"}], r"entry 0: file_name 'a.png', bbox None"),
        ([{"file_name": "a.png", "bbox": [0, 0, -1, 5]}], "entry 0"),
        ([{"file_name": "a.png", "bbox": [0, 0, 4, 0]}], "entry 0"),
        ([{"file_name": "a.png", "bbox": [0, 0, 4, 5]}, {"bbox": [0, 0, 4, 5]}], "entry 1: file_name None"),
        ([{"file_name": "a.png", "bbox": "wide"}], "entry 0"),
        ([{"file_name": "a.png", "bbox": [0, 0, 10**400, 5]}], "entry 0"),
        ({"images": [1], "annotations": [{"image_id": 1, "bbox": [0, 0, 4, 5]}]}, "entry 0: file_name None"),
        ({"images": [{"id": [1]}], "annotations": [{"image_id": [1]}]}, "entry 0: file_name None"),
        ({"images": [{"id": 1, "file_name": "a.png"}], "annotations": [5]}, "entry 0: file_name None"),
        (
            {"images": [{"file_name": "a.png"}], "annotations": [{"bbox": [0, 0, 4, 5]}]},
            "entry 0: file_name None",
        ),
        ({"images": 5, "annotations": [{}]}, "it lists no boxes"),
        ({"images": [], "annotations": 5}, "it lists no boxes"),
    ],
)
def test_wrong_boxes_name_the_entry(tmp_path, entries, told) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(entries))
    with pytest.raises(SSHPEError, match=rf"boxes.json: .*{told}.*give a list of"):
        named_boxes.read_boxes(path)


def test_boxes_are_of_an_image_whatever_folder_it_lies_in(tmp_path) -> None:
    path = tmp_path / "boxes.json"
    entries = [("deep/a.png", [0, 0, 4, 5]), ("a.png", [1, 2, 3, 4.5])]
    path.write_text(json.dumps([{"file_name": name, "bbox": box} for name, box in entries]))
    found = named_boxes.read_boxes(path)
    assert list(found) == ["a.png"] and found["a.png"].tolist() == [[0, 0, 4, 5], [1, 2, 3, 4.5]]


@pytest.mark.parametrize("boxed", [[1], [2], [1, 2]])
def test_images_of_a_coco_file_by_one_name_do_not_share_their_boxes(tmp_path, boxed) -> None:
    path = tmp_path / "boxes.json"
    images = [{"id": number, "file_name": f"cam{number}/1.png"} for number in (1, 2)]
    entries = [{"image_id": number, "bbox": [number, 0, 4, 5]} for number in boxed]
    path.write_text(json.dumps({"images": images, "annotations": entries}))
    told = (
        "boxes.json: images: 'cam1/1.png' and 'cam2/1.png' are two images by the name of '1.png'; give each"
    )
    with pytest.raises(SSHPEError, match=told):
        named_boxes.read_boxes(path)
    images[1]["file_name"] = "cam1/1.png"  # listed twice, it is one picture
    path.write_text(json.dumps({"images": images, "annotations": entries}))
    assert named_boxes.read_boxes(path)["1.png"].tolist() == [[number, 0, 4, 5] for number in boxed]


def test_a_box_that_is_partly_in_its_image_is_taken(pictures) -> None:
    boxes = {"000000.png": [[95, 127, 3, 4], [-2, -3, 3, 4]]}
    (found,) = predict.predict(trained.load(trained.shipped()), pictures[:1], boxes, QUIET)
    assert len(found.people) == 2


def with_settings(network: trained.Trained, **changes) -> trained.Trained:
    """The network with other settings of parts of its experiment."""
    parts = {name: getattr(network.experiment, name).model_copy(update=new) for name, new in changes.items()}
    return replace(network, experiment=network.experiment.model_copy(update=parts))


def test_a_network_that_reads_bgr_gets_it_and_shows_rgb(tmp_path, pictures) -> None:
    plain = trained.load(trained.shipped())
    swapped = tmp_path / pictures[0].name
    cv2.imwrite(str(swapped), read_image(pictures[0], "x"))
    (expected,) = predict.predict(plain, swapped, None, QUIET)
    (found,) = predict.predict(with_settings(plain, data={"color": "bgr"}), pictures[0], None, QUIET)
    assert np.array_equal(found.people, expected.people)
    assert np.array_equal(found.image, read_image(pictures[0], "x"))


def test_a_persons_score_leaves_out_joints_below_the_threshold(pictures) -> None:
    network = trained.load(trained.shipped())
    (one,) = predict.predict(network, pictures[0], None, QUIET)
    threshold = float(np.median(one.people[0, :, 2]))
    (found,) = predict.predict(
        with_settings(network, evaluate={"score_threshold": threshold}), pictures[0], None, QUIET
    )
    sure = one.people[0, :, 2] > threshold
    assert found.scores.tolist() == pytest.approx([one.people[0, sure, 2].mean()])


def test_pictures_are_drawn_in_their_own_colours(tmp_path, pictures) -> None:
    predict.run(pictures[:1], None, None, tmp_path, QUIET)
    (found,) = predict.predict(trained.load(trained.shipped()), pictures[:1], None, QUIET)
    assert np.array_equal(read_image(tmp_path / "000000.pose.png", "x"), found.drawn())
    shown = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(shown, found.drawn())


CAR, PERSON, HAND = {"id": 3, "name": "car"}, {"id": 1, "name": "person"}, {"id": 9, "name": "hand"}


@pytest.mark.parametrize(
    ("categories", "category", "kept"),
    [
        ([CAR, PERSON], None, [1]),
        ([CAR, PERSON], "car", [3]),
        ([CAR, PERSON], "3", [3]),
        ([CAR, HAND | {"keypoints": ["thumb"]}], None, [9]),  # the only one with keypoints
        ([CAR], None, [3]),
        (None, None, [1, 3, 9]),
    ],
)
def test_of_a_coco_file_the_boxes_of_people_count(tmp_path, categories, category, kept) -> None:
    """An image whose boxes are of none shows nobody: without an entry it would be taken for one person."""
    path = tmp_path / "boxes.json"
    numbers = (1, 3, 9)
    document = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in numbers],
        "annotations": [
            {"image_id": number, "category_id": number, "bbox": [number, 0, 4, 5], "iscrowd": crowd}
            for number in numbers
            for crowd in (0, 1)
        ],
    } | ({} if categories is None else {"categories": categories})
    path.write_text(json.dumps(document))
    found = named_boxes.read_boxes(path, category)
    assert {name: boxes.tolist() for name, boxes in found.items()} == {
        f"{number}.png": [[number, 0, 4, 5]] if number in kept else [] for number in numbers
    }
    assert all(boxes.shape[1] == 4 for boxes in found.values())


def test_an_image_that_a_coco_file_lists_without_a_box_shows_nobody(tmp_path, pictures) -> None:
    """And one of the file that is not shown needs no picture."""
    path = tmp_path / "boxes.json"
    images = [{"id": number, "file_name": f"{number:06}.png"} for number in range(3)]
    document = {"images": images, "annotations": [{"image_id": 0, "bbox": [5, 5, 50, 90]}]}
    path.write_text(json.dumps(document))
    told = json.loads(predict.run(pictures[:2], None, path, tmp_path / "out", QUIET)[1])
    assert [one["file_name"] for one in told] == ["000000.png"]


@pytest.mark.parametrize(
    ("category", "told"), [(None, "which one is meant"), ("cat", "0 of them match 'cat'")]
)
def test_a_category_of_boxes_is_asked_for(tmp_path, category, told) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"images": [], "annotations": [{}], "categories": [CAR, HAND]}))
    with pytest.raises(
        SSHPEError, match=rf"categories: 'car' \(id 3\), 'hand' \(id 9\); .*{told}.*--category NAME"
    ):
        named_boxes.read_boxes(path, category)
    with pytest.raises(
        SSHPEError, match="--category chooses among the boxes of a COCO file; name it by --boxes"
    ):
        predict.run([path], None, None, tmp_path, QUIET, "person")


def test_boxes_of_a_coco_file_and_of_strangers(tmp_path, pictures) -> None:
    found = named_boxes.read_boxes(pictures[0].parents[1] / "annotations.json")
    assert sorted(found) == [path.name for path in pictures]
    with pytest.raises(SSHPEError, match=r"boxes of 000001.png, which is not among the images"):
        predict.predict(trained.load(trained.shipped()), pictures[:1], found, QUIET)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([[1, 2, 3]], r"the boxes of 000000.png are \(1, 3\), not \(P, 4\); give 000000.png a list of boxes"),
        ([1, 2, 3, 4], r"are \(4,\), not \(P, 4\)"),
        ([[1, 2, 3, 4, 5]], r"are \(1, 5\), not \(P, 4\)"),
        (None, r"are \(\), not \(P, 4\)"),
        ("abc", "the boxes of 000000.png are no lists of numbers"),
        ([[1, 2, 3, 4], [1, 2, 3]], "no lists of numbers"),
        ([[1, 2, 3, 10**400]], "no lists of numbers"),
        ([[1, 2, 9, 9], [1, 2, -3, 4]], r"box 1 of 000000.png, \[1.0, 2.0, -3.0, 4.0\], is no box"),
        ([[1, 2, 0, 4]], "is no box"),
        ([[1, 2, 3, float("nan")]], "is no box"),
        ([[1, 2, 3, 1e300]], "is no box"),
        ([[96, 2, 3, 4]], "lies outside 96x128 pixels"),
        ([[1, -4, 3, 4]], "lies outside 96x128 pixels"),
        ([[1, 128, 3, 4]], "lies outside 96x128 pixels"),
        ([[-3, 2, 3, 4]], "lies outside 96x128 pixels"),
    ],
)
def test_boxes_that_are_none_are_refused(pictures, given, told: str) -> None:
    with pytest.raises(SSHPEError, match=told):
        predict.predict(trained.load(trained.shipped()), pictures[:1], {"000000.png": given}, QUIET)


def test_boxes_have_the_names_of_their_images(pictures) -> None:
    network = trained.load(trained.shipped())
    with pytest.raises(SSHPEError, match="boxes are given by the names of their images"):
        predict.predict(network, pictures[:1], [[1, 2, 3, 4]], QUIET)
    with pytest.raises(SSHPEError, match="boxes are given by the names of their images, and 5 is none"):
        predict.predict(network, pictures[:1], {5: [], "a": []}, QUIET)
    with pytest.raises(SSHPEError, match="boxes of a, which is not among the images"):
        predict.predict(network, pictures[:1], {"a": []}, QUIET)
    with pytest.raises(SSHPEError, match="boxes of two images have one file name.*each with an --output"):
        predict.predict(network, pictures[:1], {"one/a.png": [], "two/a.png": []}, QUIET)
    (found,) = predict.predict(network, pictures[0], {str(pictures[0]): [[1, 2, 30, 40]] * 2}, QUIET)
    assert len(found.people) == 2


@pytest.mark.parametrize("image", [np.zeros((8, 8, 3), np.uint8), 5])
def test_an_image_that_is_no_name_of_a_file_is_refused(image) -> None:
    with pytest.raises(SSHPEError, match="an image is named by its file, and (ndarray|int) is no name"):
        predict.predict(trained.load(trained.shipped()), [image], None, QUIET)


def test_no_boxes_are_nobody(pictures) -> None:
    network = trained.load(trained.shipped())
    (alone,) = predict.predict(network, pictures[:1], {"000000.png": []}, QUIET)
    assert alone.people.shape == (0, 17, 3) and alone.scores.shape == (0,)
    assert predict.results([alone]) == [] and np.array_equal(alone.drawn(), alone.image)
    both = predict.predict(network, pictures[:2], {"000000.png": [], "000001.png": [[5, 5, 50, 90]]}, QUIET)
    assert [len(one.people) for one in both] == [0, 1]


def test_one_image_needs_no_list(pictures) -> None:
    network = trained.load(trained.shipped())
    (expected,) = predict.predict(network, pictures[:1], None, QUIET)
    for one in (pictures[0], str(pictures[0])):
        (found,) = predict.predict(network, one, None, QUIET)
        assert found.path == pictures[0] and np.array_equal(found.people, expected.people)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_answers_that_are_not_finite_are_refused(pictures, value: float) -> None:
    network = trained.load(trained.shipped())
    with torch.no_grad():
        network.network.final_layer.weight[:] = value
    with pytest.raises(
        SSHPEError, match=r"000000.png: ResNet-18 .* answers with numbers that are not finite"
    ):
        predict.predict(network, pictures[:1], None, QUIET)


def test_a_bottom_up_networks_answers_that_are_not_finite_are_refused(pictures) -> None:
    made = tables.experiment("smoke", "udpv1", **choices.WHOLE)
    network = trained.Trained(initial.build(made.model, 17, 0).eval(), made, COCO17, "", {}, "", "untrained")
    for module in network.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var[:] = -1  # a finite number in a file of finite numbers
    with pytest.raises(
        SSHPEError, match="000000.png: HigherHRNet.* answers with numbers that are not finite"
    ):
        predict.predict(network, pictures[:1], None, QUIET)


def test_a_library_call_works_alone_and_the_command_with_the_others(tmp_path, pictures, monkeypatch) -> None:
    """In a distributed job of one's own, every process may predict its own pictures, or one of them any."""
    network = trained.load(trained.shipped())
    expected = predict.predict(network, pictures[:2], machine=QUIET)
    asked = processes.second_of_two(monkeypatch)
    found = predict.predict(network, pictures[:2], machine=QUIET)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.people, other.people)
    told = predict.run(pictures[:2], None, None, tmp_path / "out", QUIET)
    assert told == ("", "") and not list((tmp_path / "out").iterdir()), "the first process tells and writes"
    assert asked == [True, False]


def test_a_folder_that_takes_no_files_is_known_before_predicting(tmp_path, pictures, monkeypatch) -> None:
    monkeypatch.setattr(predict, "_found", lambda *_, **__: pytest.fail("it predicted"))
    (tmp_path / "file").write_text("")
    with pytest.raises(SSHPEError, match="file: cannot be written"):
        predict.run(pictures[:1], None, None, tmp_path / "file", QUIET)


@pytest.mark.parametrize("boxed", [False, True])
def test_pictures_are_predicted_in_groups_as_at_once(tmp_path, pictures, monkeypatch, boxed: bool) -> None:
    """Turned or not, whichever group has boxes; and the pixels of one group go before the next is read."""
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"file_name": pictures[0].name, "bbox": [5, 5, 50, 90]}]))
    tag = Image.Exif()
    tag[0x0112] = 6
    lying = tmp_path / "lying.jpg"
    Image.fromarray(read_image(pictures[0], "x")).save(lying, exif=tag)
    asked = [*pictures[:2], lying], None, boxes if boxed else None
    told = predict.run(*asked, tmp_path / "out", QUIET)
    caches, make = [], predict.ImageCache
    monkeypatch.setattr(predict, "GROUP", 1)

    def cache(**settings):
        gc.collect()
        assert not any(one() for one in caches), "an earlier group is still in memory"
        made = make(**settings)
        caches.append(weakref.ref(made))
        return made

    monkeypatch.setattr(predict, "ImageCache", cache)
    one_by_one = predict.run(*asked, tmp_path / "single", QUIET)
    assert len(caches) == 3 and one_by_one[0] == told[0].replace("/out/", "/single/")
    first, second = (
        json.loads((tmp_path / name / "keypoints.json").read_text()) for name in ("out", "single")
    )
    assert [(one["image_id"], one["file_name"]) for one in second] == list(
        enumerate((path.name for path in asked[0]), 1)
    )
    for one, other in zip(first, second, strict=True):  # alike but for the rounding of another batch
        assert other | {"keypoints": None} == one | {"keypoints": None}
        assert other["keypoints"] == pytest.approx(one["keypoints"], abs=0.01)
    for path in (tmp_path / "out").glob("*.png"):
        drawn = read_image(path, "x"), read_image(tmp_path / "single" / path.name, "x")
        assert (drawn[0] != drawn[1]).mean() < 0.01


def test_a_picture_that_cannot_be_read_loses_nothing_of_the_groups_before(
    tmp_path, pictures, monkeypatch
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[1].read_bytes()[:200])
    monkeypatch.setattr(predict, "GROUP", 1)
    told = r"broken\.png: to predict: .*\(.*keypoints\.json tells of the 1 pictures before\)$"
    with pytest.raises(SSHPEError, match=told):
        predict.run([pictures[0], broken], None, None, tmp_path / "out", QUIET)
    found = json.loads((tmp_path / "out" / "keypoints.json").read_text())
    assert {one["file_name"] for one in found} == {pictures[0].name}
    with pytest.raises(SSHPEError, match=r"broken\.png: to predict: [^(]*$"):
        predict.run([broken, pictures[0]], None, None, tmp_path / "none", QUIET)
    assert not (tmp_path / "none" / "keypoints.json").exists()


def test_a_folder_stands_for_its_pictures(tmp_path, pictures) -> None:
    photos = tmp_path / "photos"
    (photos / "below").mkdir(parents=True)
    for name in ("b.PNG", "a.png", "c.pose.png", ".d.png", "below/e.png", "notes.txt"):
        shutil.copy(pictures[0], photos / name)
    (photos / "folder.png").mkdir()
    listed = json.loads(predict.run([photos, pictures[1]], None, None, tmp_path / "out", QUIET)[1])
    assert [one["file_name"] for one in listed] == ["a.png", "b.PNG", "000001.png"]
    with pytest.raises(SSHPEError, match=r"folder.png: the folder holds no pictures \(.jpg, .jpeg, .png, "):
        predict.run([photos / "folder.png"], None, None, tmp_path / "out", QUIET)


def test_the_endings_of_pictures_are_those_that_are_read(tmp_path, pictures) -> None:
    image = read_image(pictures[0], "x")
    for suffix in SUFFIXES:
        path = tmp_path / f"one{suffix}"
        Image.fromarray(image).convert({".pgm": "L", ".pbm": "1"}.get(suffix, "RGB")).save(path)
        assert read_image(path, "x").shape == image.shape


def test_an_image_that_is_not_there_is_told_as_a_picture(tmp_path, pictures) -> None:
    network = trained.load(trained.shipped())
    with pytest.raises(
        SSHPEError, match=r"no.png: to predict: the image file does not exist; correct its path"
    ):
        predict.predict(network, tmp_path / "no.png", None, QUIET)


def test_the_command_as_typed(tmp_path, pictures) -> None:
    typed = ["predict", *map(str, pictures[:2]), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(cli.app, typed)
    assert done.exit_code == 0, done.output
    assert "1 person, score" in done.output and "has seen no photograph" in done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "keypoints.json", "000000.pose.png", "000001.pose.png",
    }  # fmt: skip
    drawn = cv2.imread(str(tmp_path / "out" / "000000.pose.png"))
    assert drawn.shape == (128, 96, 3) and (drawn != cv2.imread(str(pictures[0]))).any()
    plain = CliRunner().invoke(cli.app, [*typed, "--json"])
    assert json.loads(plain.stdout) == json.loads((tmp_path / "out" / "keypoints.json").read_text())


def test_what_cannot_be_predicted_is_told(tmp_path, pictures) -> None:
    network = trained.load(trained.shipped())
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:50])
    with pytest.raises(SSHPEError, match=r"broken.png: to predict: the image is truncated"):
        predict.predict(network, [broken], None, QUIET)
    with pytest.raises(SSHPEError, match="another image has this name.*each with an --output of its own"):
        predict.predict(network, [pictures[0], tmp_path / pictures[0].name], None, QUIET)
    with pytest.raises(SSHPEError, match="no image is named"):
        predict.predict(network, [], None, QUIET)


def test_export_as_typed(project, pictures) -> None:
    key = train_one(project).key
    path = project / "mine.safetensors"
    done = CliRunner().invoke(cli.app, ["export", key[:6], "--output", str(path)])
    assert done.exit_code == 0 and f"ResNet-18 of width 8, record {key}, AP" in done.output
    done = CliRunner().invoke(
        cli.app, ["predict", str(pictures[0]), "--weights", str(path), "--output", str(project / "out")]
    )
    assert done.exit_code == 0 and f"record {key}" in done.output and "no photograph" not in done.output
