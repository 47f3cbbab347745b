"""Official checkpoints become networks that predict; the list of weights; what is sound and what is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from typer.testing import CliRunner

from sshpe_lib import cli, converting, predict, trained, zoo
from sshpe_lib.data.documents import fingerprint
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import published, weights
from sshpe_lib.models.higher_hrnet import HigherHRNet
from sshpe_lib.models.hrnet import HRNet
from sshpe_lib.models.residual_steps import Variant
from sshpe_lib.models.resnet import SimpleBaseline
from sshpe_lib.models.rsn import RSN
from sshpe_lib.models.stages import seeded
from sshpe_lib.skeleton import COCO17, CROWDPOSE14

NARROW = {"width": 8, "stem": 8, "modules": (1, 1, 1), "blocks": 1}


def checkpoint(network: nn.Module, path: Path) -> nn.Module:
    """Random weights and statistics in a file as the official codes write it, of the network in eval mode."""
    with torch.no_grad(), seeded(3):
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var") or (name.endswith("bn.weight")):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.1)
    torch.save(
        {"epoch": 3, "state_dict": network.state_dict()} if path.suffix == ".tar" else network.state_dict(),
        path,
    )
    return network.eval()


def images(height: int = 128, width: int = 96) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("network", "name", "data"),
    [
        (SimpleBaseline(width=8, deconv_channels=8), "pose_resnet_18_128x96.pth", ("msra", (96, 128), "bgr")),
        (HRNet(channels=17, **NARROW), "pose_hrnet_w8_128x96.pth", ("msra", (96, 128), "rgb")),
        (
            HRNet(channels=51, wide_fuse=True, **NARROW),
            "w8_128x96_offset.pth",
            ("udp-offset", (96, 128), "rgb"),
        ),
        (HigherHRNet(**NARROW), "pose_higher_hrnet_w8_128.pth", ("msra", (128, 128), "rgb")),
        (
            HRNet(channels=17, wide_fuse=True, **NARROW),
            "w8_128x96_gaussian.pth",
            ("udp-gaussian", (96, 128), "rgb"),
        ),
    ],
    ids=["SimpleBaseline", "HRNet", "offsets", "HigherHRNet", "HRNet of UDP"],
)
def test_a_converted_network_is_the_official_one(
    tmp_path: Path, network: nn.Module, name: str, data: tuple
) -> None:
    file = tmp_path / name
    network = checkpoint(network, file)
    made = converting.convert(file)
    given = made.experiment.data
    assert (given.codec, given.input_size, given.color) == data
    assert made.skeleton == COCO17 and made.experiment.evaluate.flip
    assert made.experiment.evaluate.multi_scale == ((0.5, 1, 2) if isinstance(network, HigherHRNet) else ())
    assert made.origin.startswith(f"converted from {name}, sha256 ")
    trained.save(made, tmp_path / "made.safetensors")
    read = trained.load(tmp_path / "made.safetensors")
    assert read.about == made.about and read.experiment == made.experiment
    with torch.no_grad():
        expected, found = network(images()), read.network(images())
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other)


def test_a_network_of_udp_is_read_in_another_way_where_asked(tmp_path: Path) -> None:
    file = tmp_path / "w8_128x96_gaussian.pth"
    checkpoint(HRNet(channels=17, wide_fuse=True, **NARROW), file)
    assert converting.convert(file, codec="msra").experiment.data.codec == "msra"


@pytest.mark.parametrize(
    ("variant", "codec", "floor"), [("official", "msra", True), ("udp", "udp-gaussian", False)]
)
def test_official_rsn_takes_rgb_and_answers_up_to_one(
    tmp_path: Path, variant: Variant, codec: str, floor: bool
) -> None:
    file = tmp_path / "rsn_128x96.pth"
    official = checkpoint(RSN(width=16, unit_channels=16, stages=2, variant=variant), file)
    made = converting.convert(file)
    assert (made.experiment.data.color, made.experiment.data.codec) == ("rgb", codec)
    assert made.network.floor == floor
    official.floor = floor  # what it does is of its own test
    with torch.no_grad():
        expected, found = official(images().flip(1)), made.network(images())
    torch.testing.assert_close(found, expected / 255, rtol=1e-4, atol=1e-5)


def test_a_converted_network_predicts_as_typed(tmp_path: Path) -> None:
    file = tmp_path / "pose_resnet_18_128x96.pth.tar"
    checkpoint(SimpleBaseline(width=8, deconv_channels=8), file)
    made = tmp_path / "made.safetensors"
    done = CliRunner().invoke(
        cli.app, ["weights", "convert", str(file), "--output", str(made), "--color", "rgb"]
    )
    assert done.exit_code == 0, done.output
    assert (
        "ResNet-18 of width 8, input 128x96, codec msra, RGB, 17 keypoints; converted from pose_res"
        in done.output
    )
    picture = build(SyntheticPeople(images=1), tmp_path, progress=False).parent / "images" / "000000.png"
    assert predict.predict(trained.load(made), [picture])[0].people.shape == (1, 17, 3)
    typed = ["predict", str(picture), "--weights", str(made), "--output", str(tmp_path / "out")]
    told = CliRunner().invoke(cli.app, typed).output
    assert (
        "ResNet-18 of width 8, trained on person_keypoints_train2017.json (converted from pose_resnet" in told
    )
    verified = CliRunner().invoke(cli.app, ["weights", "verify", str(made)])
    assert "ResNet-18 of width 8 of 17 keypoints, converted from" in verified.output


def test_keypoints_are_named_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "pose_hrnet_128x96.pth"
    checkpoint(HRNet(channels=14, **NARROW), file)
    with pytest.raises(
        SSHPEError, match=r"14 channels, which are not coco17's 17 keypoints; name a COCO-format file"
    ):
        converting.convert(file)
    people = tmp_path / "crowd.json"
    category = {"id": 1, "name": "person", "keypoints": CROWDPOSE14.keypoints}
    people.write_text(json.dumps({"images": [], "annotations": [], "categories": [category]}))
    assert converting.convert(file, keypoints=people).skeleton == CROWDPOSE14
    two = [category | {"name": "body"}, {"id": 2, "name": "hand", "keypoints": ["thumb", "palm"]}]
    people.write_text(json.dumps({"images": [], "annotations": [], "categories": two}))
    typed = [
        "weights",
        "convert",
        str(file),
        "--keypoints",
        str(people),
        "--output",
        str(tmp_path / "a.safetensors"),
    ]
    assert "which one is meant?" in str(CliRunner().invoke(cli.app, typed).exception)
    assert CliRunner().invoke(cli.app, [*typed, "--category", "1"]).exit_code == 0


def test_a_network_of_whole_images_has_no_offsets(tmp_path: Path) -> None:
    file = tmp_path / "pose_higher_hrnet_w8_128.pth"
    checkpoint(HigherHRNet(keypoints=51, **NARROW), file)
    with pytest.raises(SSHPEError, match=r"answers with 51 channels, which are not coco17's 17 keypoints"):
        converting.convert(file)


def test_a_longer_number_in_a_name_is_no_size(tmp_path: Path) -> None:
    file = tmp_path / "pose_hrnet_20211128x96.pth"
    checkpoint(HRNet(channels=17, **NARROW), file)
    with pytest.raises(SSHPEError, match="its name does not tell the size"):
        converting.convert(file)


def test_the_size_is_told_by_the_name_or_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "model_best.pth"
    checkpoint(HRNet(channels=17, **NARROW), file)
    with pytest.raises(
        SSHPEError, match=r"model_best.pth: its name does not tell the size .* --size 256x192"
    ):
        converting.convert(file)
    assert converting.convert(file, size=(384, 288)).experiment.data.input_size == (288, 384)
    told = converting.run(file, tmp_path / "made.safetensors", "384x288")
    assert "input 384x288" in told
    assert trained.load(tmp_path / "made.safetensors").experiment.data.input_size == (288, 384)
    done = CliRunner().invoke(cli.app, ["weights", "convert", str(file), "--size", "big"])
    assert "'big' is no size" in str(done.exception)


@pytest.mark.parametrize("output", ["made.pth", "file/made.safetensors"])
def test_a_place_for_no_network_is_refused(tmp_path: Path, output: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SSHPEError, match=r"written as .safetensors|file: cannot be written"):
        converting.run(tmp_path / "any.pth", tmp_path / output, None)


def test_a_checkpoint_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = SimpleBaseline(width=8, deconv_channels=8)
    safetensors.torch.save_file(network.state_dict(), "pose_resnet_18_128x96.safetensors")
    before = Path("pose_resnet_18_128x96.safetensors").read_bytes()
    with pytest.raises(SSHPEError, match="it is the checkpoint itself; name another file by --output"):
        converting.run(tmp_path / "pose_resnet_18_128x96.safetensors", None, None)
    assert Path("pose_resnet_18_128x96.safetensors").read_bytes() == before
    converting.run(Path("pose_resnet_18_128x96.safetensors"), Path("made.safetensors"), None)
    with pytest.raises(SSHPEError, match="made.safetensors: it is a network for `sshpe predict` already"):
        converting.run(Path("made.safetensors"), Path("again.safetensors"), "128x96")
    assert not Path("again.safetensors").exists()


def test_a_network_with_a_tensor_too_many_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pose_hrnet_128x96.pth"
    network = HRNet(channels=17, **NARROW)
    torch.save(network.state_dict() | {"extra.weight": torch.zeros(1)}, file)
    with pytest.raises(
        SSHPEError, match=r"pose_hrnet_128x96.pth does not fit HRNet: 1 unexpected \(extra.weight\)"
    ):
        converting.convert(file)


@pytest.mark.parametrize(
    ("name", "tensor", "told"),
    [
        ("final_layer.weight", torch.tensor(1.0), r"final_layer.weight of shape \(\) is no convolution"),
        ("final_layer.weight", torch.zeros(17), r"final_layer.weight of shape \(17,\) is no convolution"),
        ("conv1.weight", torch.zeros(8, 3, 7), r"conv1.weight of shape \(8, 3, 7\) is no convolution"),
        ("conv1.weight", torch.zeros(0, 3, 7, 7), "model.width: Input should be greater than 0"),
        ("conv1.weight", torch.zeros(1 << 40, 0, 7, 7), "of no network that can be made|of another shape"),
        ("conv1.weight", torch.zeros(1 << 22, 0, 7, 7), r"of another shape \(conv1.weight"),
    ],
)
def test_tensors_of_other_shapes_are_refused_before_a_network_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, tensor: torch.Tensor, told: str
) -> None:
    file = tmp_path / "pose_resnet_18_128x96.pth"
    torch.save(SimpleBaseline(width=8, deconv_channels=8).state_dict() | {name: tensor}, file)
    empty = trained.empty

    def planned_only(*given: object) -> nn.Module:
        made = empty(*given)
        assert all(parameter.is_meta for parameter in made.parameters())
        return made

    monkeypatch.setattr(trained, "empty", planned_only)
    with pytest.raises(SSHPEError, match=f"{file.name}.*({told})"):
        converting.convert(file)


@pytest.mark.parametrize(
    "name",
    [
        "top.conv.conv.weight",
        "stage0.upsample.up4.u_skip.conv.weight",
        "stage0.upsample.up4.res_conv2.conv.weight",
    ],
)
@pytest.mark.parametrize("shape", [(), (3,), (0, 1 << 20, 1, 1)])
def test_tensors_of_rsn_of_other_shapes_are_refused(tmp_path: Path, name: str, shape: tuple) -> None:
    file = tmp_path / "rsn_128x96.pth"
    torch.save(RSN(width=16, unit_channels=16).state_dict() | {name: torch.zeros(shape)}, file)
    with pytest.raises(SSHPEError, match=file.name):
        converting.convert(file)


@pytest.mark.parametrize("size", ["5000x96", "128x99999999999999999999", "0x96"])
def test_a_size_beyond_all_networks_is_refused(tmp_path: Path, size: str) -> None:
    file = tmp_path / "pose_resnet_18_128x96.pth"
    checkpoint(SimpleBaseline(width=8, deconv_channels=8), file)
    with pytest.raises(SSHPEError, match=r"data\.input_size"):
        converting.run(file, tmp_path / "made.safetensors", size)


def test_weights_are_listed_as_typed() -> None:
    files = json.loads(CliRunner().invoke(cli.app, ["weights", "list", "--json"]).output)
    names = [file["name"] for file in files]
    assert "people-r18-w16.safetensors" in names and "hrnet_w32-36af842e.pth" in names
    for file in files:
        assert bool(file["url"]) != file["name"].endswith(".safetensors")
        assert len(file["sha256"]) >= 8 and file["note"]
    drawn = CliRunner(env={"COLUMNS": "120"}).invoke(cli.app, ["weights", "list"]).output
    assert all(name in drawn for name in names)
    narrow = CliRunner(env={"COLUMNS": "80"}).invoke(cli.app, ["weights", "list"]).output
    assert all(name in narrow for name in names) and narrow.count(" yes ") >= 3
    assert all(line[-1] in "┓┃┩│┘" for line in narrow.splitlines()[:-1])  # no column is cut


def test_published_weights_are_fetched_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSHPE_CACHE", str(tmp_path / "cache"))
    served = tmp_path / "resnet18-12345678.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, served)
    one = published.Weights(served.as_uri(), fingerprint(served), "a trunk")
    monkeypatch.setattr(published, "IMAGENET", {18: one})
    assert next(file for file in zoo.known() if file.name == served.name).path is None
    done = CliRunner().invoke(cli.app, ["weights", "fetch", served.name])
    place = tmp_path / "cache" / "weights" / served.name
    assert done.exit_code == 0 and done.output.strip().splitlines()[-1] == str(place)
    assert next(file for file in zoo.known() if file.name == served.name).path == place
    assert zoo.verify(place) == f"{place}: a trunk"
    place.write_bytes(b"other bytes")
    with pytest.raises(SSHPEError, match=r"sha256 is .*, but file:.* has "):
        zoo.verify(place)
    with pytest.raises(SSHPEError, match=r"no published weights 'resnet19.pth'; choose one of: resnet18-"):
        zoo.fetch("resnet19.pth")


def test_a_shipped_trunk_is_known_from_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.shipped().parent)
    assert "as its record says" in zoo.verify(Path("objects-r18-w16-s32.safetensors"))


def test_what_a_file_of_weights_is(tmp_path: Path) -> None:
    assert zoo.verify(trained.shipped()).endswith(
        "ResNet-18 of width 16 of 17 keypoints, record a05bce50d5e40fc6, AP 23.5"
    )
    trunk = trained.shipped().with_name("objects-r18-w16-s32.safetensors")
    assert zoo.verify(trunk).endswith("objects-r18-w16-s32, as its record says")
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, foreign)
    assert zoo.verify(foreign).endswith("1 tensors, all finite; nothing says what network they are of")
    safetensors.torch.save_file({"a": torch.tensor([1, float("nan")])}, foreign)
    with pytest.raises(SSHPEError, match="tensor a has values that are not finite"):
        zoo.verify(foreign)


def test_a_pipe_holds_no_network(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    for reads in (zoo.verify, trained.load, converting.convert):
        with pytest.raises(SSHPEError, match="no such file of weights"):
            reads(pipe)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    file = tmp_path / "pose_resnet_18_128x96.pth"
    network = SimpleBaseline(width=8, deconv_channels=8)
    with torch.no_grad():
        network.final_layer.weight[2, 1] = value
    torch.save(network.state_dict(), file)
    with pytest.raises(SSHPEError, match=r"96.pth: tensor final_layer.weight has values that are not finite"):
        converting.convert(file)
    made = trained.load(trained.shipped())
    with torch.no_grad():
        made.network.final_layer.bias[0] = value
    trained.save(made, tmp_path / "made.safetensors")
    with pytest.raises(
        SSHPEError, match=r"made.safetensors: tensor final_layer.bias has values that are not"
    ):
        trained.load(tmp_path / "made.safetensors")


@pytest.mark.parametrize(
    "kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float16, torch.int64]
)
def test_every_type_of_numbers_is_checked(tmp_path: Path, kind: torch.dtype) -> None:
    path = tmp_path / "any.safetensors"
    weights.check_finite({"a": torch.zeros(3).to(kind), "empty": torch.zeros(0).to(kind)}, path)
    if kind.is_floating_point:
        with pytest.raises(SSHPEError, match="tensor a has values that are not finite"):
            weights.check_finite({"a": torch.tensor([0.0, float("nan")]).to(kind)}, path)
