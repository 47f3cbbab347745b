"""Hostile and broken files: each ends in a result or in one clear error of the program's own, whatever is in it.

SSHPE_FUZZ says how many cases each test tries; the nightly job tries 10,000.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sshpe_lib import checkpoints, converting, profiles, records, tables, trained
from sshpe_lib.data import named_boxes
from sshpe_lib.data.check import check
from sshpe_lib.data.coco import ground_truth, load_instances, parse
from sshpe_lib.data.images import read_image
from sshpe_lib.data.splits import hold_out
from sshpe_lib.data.unlabelled import drawn, unlabelled_people
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import weights
from sshpe_lib.models.higher_hrnet import HigherHRNet
from sshpe_lib.models.hrnet import HRNet
from sshpe_lib.models.resnet import SimpleBaseline
from sshpe_lib.skeleton import COCO17
from tests import choices, fakes
from tests.data.people import person, valid_document, write
from tests.test_profiles import ODD

CASES = int(os.environ.get("SSHPE_FUZZ", 500))
fuzz = settings(
    max_examples=CASES,
    deadline=None,
    derandomize="SSHPE_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def shared(files: int, cases: int = CASES) -> settings:
    """For one reader of so many kinds of files: together they have the cases, but for the nightly job."""
    return settings(fuzz, max_examples=CASES if "SSHPE_FUZZ" in os.environ else cases // files)


NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**53, 2**63, -(2**63), 10**30, 10**400, 1e308, -1e308, 0.5]),
    st.floats(),
)
LONG = "a number of 5000 digits"  # stands for one, which Python writes as little as it reads it
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.text(max_size=6),
    st.sampled_from(["../x", "\0", "\0/x", "\ud800/x", "ÿ" * 40, "b.jpg", LONG]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, here: tuple = ()) -> list[tuple]:
    """The path to every value inside a document, the document's own first."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, one in inside for place in places(one, (*here, key)))]


def changed(document: Any, place: tuple, change: Any) -> Any:
    """A copy with the value at `place` taken out (change is ...) or replaced."""
    if not place:
        return None if change is ... else change
    document = copy.deepcopy(document)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    if change is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = change
    return document


def broken(document: Any) -> st.SearchStrategy[Any]:
    """The document with one or two values replaced by others, or taken out."""
    change = st.one_of(st.just(...), VALUES)

    @st.composite
    def twice(draw: st.DrawFn) -> Any:
        made = document
        for _ in range(draw(st.integers(1, 2))):
            made = changed(made, draw(st.sampled_from(places(made))), draw(change))
        return made

    return twice()


def as_json(document: Any) -> str:
    """A document as a file has it, with the long number where its name stands."""
    return json.dumps(document).replace(json.dumps(LONG), "1" * 5000)


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes cut short, with some overwritten, or with others put between them."""
    place = st.integers(0, len(data))
    return st.one_of(
        place.map(lambda end: data[:end]),
        st.tuples(place, st.binary(min_size=1, max_size=8)).map(
            lambda change: data[: change[0]] + change[1] + data[change[0] + len(change[1]) :]
        ),
        st.tuples(place, st.binary(min_size=1, max_size=8)).map(
            lambda change: data[: change[0]] + change[1] + data[change[0] :]
        ),
    )


def survives(work: Callable[[], object]) -> None:
    """The work ends in a result or in one line of the program's own error."""
    try:
        work()
    except SSHPEError as error:
        assert str(error) and len(str(error)) < 5000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The valid people's images, and a place for what is broken."""
    made = tmp_path_factory.mktemp("fuzz")
    write(made, valid_document())
    return made


@given(document=broken(valid_document()))
@fuzz
def test_an_annotation_file(folder: Path, document: Any) -> None:
    path = folder / "broken.json"
    path.write_text(as_json(document))
    survives(lambda: load_instances(path, folder))
    survives(lambda: ground_truth(path))
    survives(lambda: hold_out(path, 0.34, folder=folder / "parts"))
    assert str(check(path, folder))


@given(data=damaged(json.dumps(valid_document()).encode()))
@fuzz
def test_the_bytes_of_an_annotation_file(folder: Path, data: bytes) -> None:
    path = folder / "broken.json"
    path.write_bytes(data)
    survives(lambda: load_instances(path, folder))


def crowded() -> dict:
    """Valid people with crowds of every kind of outline."""
    document = valid_document()
    polygon, runs = [[1, 2, 9, 2, 9.5, 30], [0, 0, 3, 0, 3, 3]], {"counts": [7, 2, 0, 2391], "size": [60, 40]}
    document["annotations"] += [
        person(number, 3, iscrowd=1, segmentation=outline) for number, outline in ((17, polygon), (18, runs))
    ]
    return document


def hidden(path: Path) -> None:
    """Draw what nobody labelled, as training does for an image that is of the size that the file says."""
    found, images = unlabelled_people(path), parse(path).images
    for number, (width, height) in zip(images.ids.tolist(), images.sizes.tolist(), strict=True):
        if number in found and width * height < 1e6:
            assert drawn(found[number], (width, height)).shape == (height, width)


@given(document=broken(crowded()))
@fuzz
def test_the_outlines_of_crowds(folder: Path, document: Any) -> None:
    path = folder / "broken.json"
    path.write_text(as_json(document))
    survives(lambda: hidden(path))


BOXES = [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.9}] * 2


@given(document=broken(BOXES))
@fuzz
def test_a_file_of_detections(folder: Path, document: Any) -> None:
    path = folder / "detections.json"
    path.write_text(as_json(document))
    survives(lambda: load_instances(folder / "people.json", folder, detections=path))


@given(document=st.one_of(broken([{"file_name": "b.jpg", "bbox": [1, 2, 30, 40]}]), broken(valid_document())))
@fuzz
def test_a_file_of_boxes(folder: Path, document: Any) -> None:
    path = folder / "boxes.json"
    path.write_text(as_json(document))
    survives(lambda: named_boxes.read_boxes(path))


PICTURES = (".jpg", ".png", ".webp", ".bmp", ".gif", ".tiff", ".ppm")


@cache
def picture(suffix: str) -> bytes:
    image = np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of a TIFF's tags, where it goes on
@pytest.mark.parametrize("suffix", PICTURES)
@given(data=st.data())
@fuzz
def test_an_image(folder: Path, suffix: str, data: st.DataObject) -> None:
    path = folder / f"broken{suffix}"
    path.write_bytes(data.draw(damaged(picture(suffix))))
    survives(lambda: read_image(path, "annotation 1", size=(20, 24)))


@cache
def saved(suffix: str) -> bytes:
    import io

    state = {"conv1.weight": torch.arange(6.0).view(2, 3), "bn1.bias": torch.zeros(2)}
    if suffix == ".safetensors":
        return safetensors.torch.save(state, {"sshpe": "{}"})
    file = io.BytesIO()
    torch.save({"key": "k", "step": 1, "state_dict": state}, file)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@given(data=st.data())
@fuzz
def test_a_file_of_weights(folder: Path, suffix: str, data: st.DataObject) -> None:
    path = folder / f"broken{suffix}"
    path.write_bytes(data.draw(damaged(saved(suffix))))
    survives(lambda: weights.load_state(path))
    survives(lambda: trained.load(path))
    survives(lambda: checkpoints.read(path, "k"))


@cache
def network(kind: str) -> bytes:
    """The file of a network that is as narrow as can be."""
    narrow = {"model.width": 1, "model.deconv_channels": 1} if kind == "people" else {"model.width": 1}
    method, chosen = ("pose-mum+", {}) if kind == "people" else ("udpv1", choices.WHOLE)
    made = tables.experiment("smoke", method, set=narrow, **chosen)
    about = made, COCO17, "k", {"AP": 1.0}, "unknown"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        trained.save(trained.Trained(trained.empty(made, COCO17), *about), path)
        assert trained.load(path).experiment == made
        return path.read_bytes()


@pytest.mark.parametrize("kind", ["people", "whole"])
@given(data=st.data())
@shared(2)
def test_what_the_file_of_a_network_says_of_it(folder: Path, kind: str, data: st.DataObject) -> None:
    path = folder / "broken.safetensors"
    about, state = said(kind), safetensors.torch.load(network(kind))
    text = as_json(data.draw(broken(about)))
    safetensors.torch.save_file(state, path, {trained.HEADER: text})
    survives(lambda: trained.load(path).about)


@cache
def said(kind: str) -> dict:
    """What the file of a network says of it."""
    data = network(kind)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"][trained.HEADER])


@cache
def official(kind: str) -> dict[str, torch.Tensor]:
    """The tensors of a network of an official code, as narrow as can be."""
    if kind == "resnet":
        return SimpleBaseline(width=1, deconv_channels=1).state_dict()
    narrow = {"width": 1, "stem": 1, "modules": (1, 1, 1), "blocks": 1}
    network = HRNet(channels=17, **narrow) if kind == "hrnet" else HigherHRNet(**narrow)
    return network.state_dict()


SHAPES = st.lists(st.sampled_from([0, 1, 3, 17]), max_size=5)
TENSORS = st.one_of(
    SHAPES.map(torch.zeros),
    SHAPES.map(lambda sides: torch.zeros(0, *sides, 2**20)),
    SHAPES.map(lambda sides: torch.zeros(1).expand([2**20, *sides, 1])),
    st.sampled_from([torch.int8, torch.bool, torch.complex64, torch.float8_e5m2]).map(
        lambda kind: torch.zeros(17, 1, 1, 1, dtype=kind)
    ),
    st.just(torch.empty(17, 1, 1, 1, device="meta")),
    st.just(torch.zeros(17, 1, 1, 1).to_sparse()),
)
# How the names begin of the tensors that say which network it is, and how wide.
TELLING = (
    "conv1.",
    "final_layer",
    "deconv_layers.0.",
    "stage2.0.branches.0.0.conv1.",
    "top.",
    "stage0.upsample.up4.",
)


@pytest.mark.parametrize("kind", ["resnet", "hrnet", "higher"])
@given(data=st.data())
@shared(3, cases=150)  # each takes longer than those of other readers
def test_a_checkpoint_of_an_official_code(folder: Path, kind: str, data: st.DataObject) -> None:
    state, path = dict(official(kind)), folder / "pose_128x96.pth"
    for _ in range(data.draw(st.integers(1, 2))):
        name = data.draw(st.sampled_from([name for name in state if name.startswith(TELLING)]))
        change = data.draw(st.one_of(st.just(...), TENSORS))
        if change is ...:
            del state[name]
        else:
            state[name] = change
    torch.save(state, path)
    survives(lambda: converting.convert(path).about)


RECORD = fakes.record(tables.experiment("smoke", "pose-mum+"), ap=24.0)


@given(document=broken(json.loads(RECORD.model_dump_json())))
@fuzz
def test_a_record(folder: Path, document: Any) -> None:
    path = records.path_of(folder, RECORD.key)
    path.write_text(as_json(document))
    survives(lambda: records.find(folder, RECORD.key).ap)


@cache
def parameters(name: str) -> str:
    return (Path(__file__).parents[1] / "params" / name).read_text()


@cache
def document(name: str) -> dict:
    return yaml.safe_load(parameters(name))


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("params")
    shutil.copytree(Path(__file__).parents[1] / "params", made, dirs_exist_ok=True)
    return made


READERS = {
    "table4.yaml": lambda params: tables.load_table("table4", params),
    "methods.yaml": profiles.load_methods,
    "schedules.yaml": profiles.load_schedules,
    "profiles/smoke.yaml": lambda params: tables.experiment("smoke", "pose-mum+", folder=params),
}


ENDLESS = ["&x [*x]", "&x {a: *x}"]  # inside itself


def retyped(text: str) -> st.SearchStrategy[str]:
    """YAML with one of its values typed in another way: as one that cannot be made, or that is inside itself."""
    values = [match.span(1) for match in re.finditer(r": +([^\n]+)", text)]
    return st.builds(
        lambda place, value: text[: place[0]] + value + text[place[1] :],
        st.sampled_from(values),
        st.sampled_from([*ODD.values(), *ENDLESS]),
    )


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
@shared(len(READERS))
def test_a_file_of_parameters(params: Path, name: str, data: st.DataObject) -> None:
    sound = parameters(name)
    way = data.draw(st.sampled_from(["values", "texts", "bytes"]))
    if way == "values":
        text = yaml.safe_dump(data.draw(broken(document(name))), allow_unicode=True).encode()
    elif way == "texts":
        text = data.draw(retyped(sound)).encode()
    else:
        text = data.draw(damaged(sound.encode()))
    try:
        (params / name).write_bytes(text)
        survives(lambda: READERS[name](params))
    finally:
        (params / name).write_text(sound)
