"""Exported graphs answer as the network and the codec do, for any number of crops."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from sshpe_lib import exporting, initial, parts, predict, tables, trained
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.data import synthetic
from sshpe_lib.errors import SSHPEError
from sshpe_lib.machine import Machine
from sshpe_lib.skeleton import COCO17
from sshpe_lib.trained import Trained
from tests import choices
from tests.disks import small_disk

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations

KINDS = {
    "simple baseline, shifted peaks": {},
    "hrnet, offsets": {"method": "udpv1", "backbone": "hrnet-w32", "protocol": "aid"},
    "rsn, DARK": {
        "method": "udpv1", "backbone": "2xrsn50", "protocol": "aid",
        # More blocks and a second stage add to the time alone.
        "set": {"data.codec": "udp-gaussian", "model.stages": 1, "model.depth": 18},
    },
}  # fmt: skip


def made(method: str = "supervised", **chosen) -> Trained:
    """A network with weights that nothing has taught, whose answers still differ from crop to crop."""
    experiment = tables.experiment("smoke", method, **chosen)
    network = initial.build(experiment.model, parts.channels_of(experiment, 17), seed=0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, generator=torch.Generator().manual_seed(1))
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # one batch gives every layer the statistics that keep its numbers near 1
    width, height = experiment.data.input_size
    with torch.no_grad():
        network(torch.randn(8, 3, height, width, generator=torch.Generator().manual_seed(3)))
    network.eval()
    return Trained(network, experiment, COCO17, "0" * 16, {"AP": 0.0}, "none")


def crops(one: Trained, count: int) -> torch.Tensor:
    width, height = one.experiment.data.input_size
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def answer(one: Trained, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        points, scores = parts.codec_of(one.experiment.data).decode(one.network(normalize(images)))
    return torch.cat([points, scores[..., None]], dim=-1)


@pytest.fixture(scope="module", params=KINDS)
def traced(request: pytest.FixtureRequest) -> tuple[Trained, torch.export.ExportedProgram]:
    one = made(**KINDS[request.param])
    return one, exporting.program(one)


@pytest.fixture
def one(traced: tuple[Trained, torch.export.ExportedProgram], monkeypatch: pytest.MonkeyPatch) -> Trained:
    """A network of each kind, which is traced once for all tests."""
    network, program = traced
    monkeypatch.setattr(exporting, "program", lambda made: program if made is network else None)
    return network


def test_a_graph_answers_as_the_network(one: Trained, tmp_path: Path) -> None:
    exporting.write(one, tmp_path / "graph.pt2")
    graph = torch.export.load(tmp_path / "graph.pt2").module()
    for count in (1, 5):
        images = crops(one, count)
        torch.testing.assert_close(graph(images), answer(one, images), rtol=1e-4, atol=1e-4)


def test_a_graph_takes_1_to_4096_crops(traced: tuple[Trained, torch.export.ExportedProgram]) -> None:
    limits = {(int(one.lower), int(one.upper)) for one in traced[1].range_constraints.values()}
    assert limits == {(1, 4096)}


def test_onnx_answers_as_the_network(one: Trained, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    exporting.write(one, tmp_path / "graph.onnx")
    session = runtime.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].name == "images" and session.get_inputs()[0].type == "tensor(uint8)"
    for count in (1, 5):
        images = crops(one, count)
        (found,) = session.run(["keypoints"], {"images": images.numpy()})
        expected = answer(one, images).numpy()
        np.testing.assert_allclose(found[..., 2], expected[..., 2], rtol=1e-3, atol=1e-3)
        # Where two pixels are equal but for the rounding of a convolution, the peak may be either. Where a map that
        # nothing has taught is nearly flat, DARK's step leads far out of the crop, and its error grows with it.
        allowed = np.abs(expected[..., :2]).max(axis=-1)
        allowed = np.where(allowed < 2 * max(images.shape[-2:]), 0.05, 0.01 * allowed)
        same = np.abs(found - expected)[..., :2].max(axis=-1) < allowed
        assert same.mean() > 0.97


def test_blue_and_red_change_places_where_the_network_learned_so() -> None:
    one = made(set={"data.color": "bgr"})
    images = crops(one, 2)
    assert torch.equal(exporting.whole(one)(images.flip(1)), answer(one, images))


def test_a_network_is_exported_as_a_copy_in_float32() -> None:
    one = made()
    images, before = crops(one, 2), one.network.state_dict()
    expected = answer(one, images)
    one.network.train().to(torch.float64)
    assert torch.equal(exporting.whole(one)(images), expected)
    assert one.network.training and next(one.network.parameters()).dtype == torch.float64
    assert one.network.state_dict().keys() == before.keys()


def test_what_cannot_be_exported_is_told(tmp_path: Path) -> None:
    with pytest.raises(SSHPEError, match="finds people by grouping joints, which no exported graph can hold"):
        exporting.write(made("udpv1", **choices.WHOLE), tmp_path / "graph.onnx")
    with pytest.raises(
        SSHPEError, match=r"graph.tflite: give the name one of the endings .safetensors, .pt2, .onnx"
    ):
        exporting.write(made(), tmp_path / "graph.tflite")
    with pytest.raises(SSHPEError, match="name the file to write by --output"):
        exporting.export(str(trained.shipped()))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, torch.nn.Module]:
    """What is told of the shipped network's graph, and the graph, read from its file."""
    path = tmp_path_factory.mktemp("graph") / "mine.pt2"
    return exporting.export(str(trained.shipped()), path), torch.export.load(path).module()


def test_a_file_becomes_a_graph(people: tuple[str, torch.nn.Module]) -> None:
    told, graph = people
    assert "mine.pt2: ResNet-18 of width 16, record a05bce50d5e40fc6" in told and "flip" not in told
    one = trained.load(trained.shipped())
    images = crops(one, 3)
    torch.testing.assert_close(graph(images), answer(one, images), rtol=1e-4, atol=1e-4)


def test_the_books_example_finds_the_joints_that_predict_finds(
    people: tuple[str, torch.nn.Module], repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (repository / "book" / "data.md").read_text()
    (example,) = (
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "mine.pt2" in block
    )
    monkeypatch.chdir(tmp_path)
    program = SimpleNamespace(module=lambda: people[1])  # reading it again takes seconds
    monkeypatch.setattr(torch.export, "load", {"mine.pt2": program}.__getitem__)
    photograph, _ = synthetic.render(synthetic.SyntheticPeople(images=1, seed=5, difficulty=0.2), 0)
    cv2.imwrite("photograph.jpg", photograph[..., ::-1])
    names: dict = {}
    exec(example, names)
    network = trained.load(trained.shipped())
    data = network.experiment.data
    assert (names["width"], names["height"], names["unbiased"]) == (*data.input_size, data.unbiased)
    boxes = {"photograph.jpg": names["boxes"]}
    (expected,) = predict.predict(
        network, "photograph.jpg", boxes, Machine(progress=False, accelerator="cpu")
    )
    np.testing.assert_allclose(names["joints"], expected.people[..., :2], atol=0.5)


def test_a_graph_is_told_to_make_no_flip_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flipped = made("udpv1", backbone="hrnet-w32", protocol="aid")
    monkeypatch.setattr(exporting.trained, "named", lambda key: flipped)
    monkeypatch.setattr(exporting, "write", lambda *_: None)
    assert "with a flip test, which a graph does not make" in exporting.export("0", tmp_path / "graph.onnx")
    assert "flip" not in exporting.export("0", tmp_path / "graph.safetensors")


def test_a_graph_on_a_full_disk_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = torch.export.export(torch.nn.Linear(64, 64), (torch.zeros(1, 64),))
    monkeypatch.setattr(exporting, "program", lambda made: graph)
    with small_disk(tmp_path / "full", "4k"):
        with pytest.raises(SSHPEError, match=r"graph.pt2: cannot be written \(No space left on device\)"):
            exporting.write(trained.load(trained.shipped()), tmp_path / "full" / "graph.pt2")
        assert not list((tmp_path / "full").iterdir())


class Away(torch.nn.Module):
    """A network on a pretended device, from which alone it answers; moved, it is on the CPU."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.away = network, True

    def _apply(self, move, recurse: bool = True):
        self.away = False
        return super()._apply(move, recurse)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.away, "the images are on another device"
        return self.network(images)


def test_a_network_on_a_gpu_is_exported_from_the_cpu_and_left_there() -> None:
    plain = made()
    away = replace(plain, network=Away(plain.network))
    graph, images = exporting.program(away).module(), crops(plain, 3)
    torch.testing.assert_close(graph(images), answer(plain, images), rtol=1e-4, atol=1e-4)
    assert away.network.away
