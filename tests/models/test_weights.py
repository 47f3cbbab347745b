"""Weights files: reading, fitting, writing; and everything that can be wrong with one."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import torch
from torch import Tensor

from sshpe_lib import checkpoints
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models._torchvision import import_torchvision
from sshpe_lib.models.resnet import SimpleBaseline, build
from sshpe_lib.models.weights import (
    check_finite,
    load_pose,
    load_state,
    load_trunk,
    save_state,
)

CONTENT = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SMALL = {"width": 8, "deconv_channels": 8}


@pytest.fixture
def model() -> SimpleBaseline:
    return build(18, seed=0, **SMALL)


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar"])
def test_load_state_unwraps(model: SimpleBaseline, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    parallel = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": parallel}, path)
    assert_same(load_state(path), model.state_dict())


def test_load_state_unwraps_what_the_code_of_rsn_writes(tmp_path: Path) -> None:
    path = tmp_path / "iter-96000.pth"
    torch.save({"model": {"a": torch.ones(1)}, "optimizer": {"state": {}}, "iteration": 96000}, path)
    assert list(load_state(path)) == ["a"]


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_load_state_takes_off_what_a_compiled_network_puts_before_names(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "compiled.pth"
    torch.save({f"{prefix}a": torch.ones(1), f"{prefix}b.module.c": torch.ones(1)}, path)
    assert list(load_state(path)) == ["a", "b.module.c"]


def test_load_state_reads_the_format_before_torch_1_6(model: SimpleBaseline, tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(dict(model.named_parameters()), path, _use_new_zipfile_serialization=False)
    state = load_state(path)
    assert_same(state, dict(model.named_parameters()))
    assert not any(tensor.requires_grad for tensor in state.values())


def test_load_state_keeps_a_module_prefix_that_some_names_lack(tmp_path: Path) -> None:
    path = tmp_path / "mixed.pth"
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, path)
    assert list(load_state(path)) == ["module.a", "b"]


def test_load_state_unwraps_more_than_once(tmp_path: Path) -> None:
    path = tmp_path / "wrapped.pth"
    torch.save({"state_dict": {"epoch": 3, "state_dict": {"a": torch.ones(1)}}}, path)
    assert list(load_state(path)) == ["a"]


def test_a_state_dict_inside_itself_is_refused(tmp_path: Path) -> None:
    path, endless = tmp_path / "endless.pth", {}
    endless["state_dict"] = endless
    torch.save(endless, path)
    with pytest.raises(SSHPEError, match=r"endless\.pth: entry 'state_dict' is a dict, not a tensor"):
        load_state(path)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: {"a": torch.empty(1 << 40, device="meta")}, "tensor a is sparse, quantized, nested or without"),
        (lambda: {"b": torch.zeros(1), "a": torch.zeros(4, 4).to_sparse()}, "tensor a is sparse"),
        (lambda: {"a": torch.quantize_per_tensor(torch.zeros(4), 1.0, 0, torch.qint8)}, "tensor a is sparse"),
        (lambda: {"a": torch.zeros(1).expand(1 << 40)}, "claim 4,398,046,511,104 bytes and have 4, as they are"),
        (lambda: dict.fromkeys("abc", torch.zeros(10)), "claim 120 bytes and have 40"),
    ],
    ids=["meta", "sparse", "quantized", "expanded", "shared"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")  # torch's, of kinds of tensors that it is to give up
def test_tensors_of_more_bytes_than_the_file_are_refused(tmp_path: Path, make: Callable, told: str) -> None:
    path = tmp_path / "small.pth"
    torch.save(make(), path)
    assert path.stat().st_size < 5000
    with pytest.raises(SSHPEError, match=rf"small\.pth: .*{told}"):
        load_state(path)


def test_views_of_one_storage_are_read(tmp_path: Path) -> None:
    """As a network has them whose parameters lie in one buffer, or the other way round."""
    whole = torch.arange(12.0)
    state = {"a": whole[:6].view(2, 3).t(), "b": whole[6:9], "empty": torch.zeros(0)}
    torch.save(state, tmp_path / "views.pth")
    assert_same(load_state(tmp_path / "views.pth"), state)


def test_load_state_takes_off_the_first_module_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep.pth"
    torch.save({"module.a.module.b": torch.ones(1), "module.c": torch.ones(1)}, path)
    assert list(load_state(path)) == ["a.module.b", "c"]


@pytest.mark.parametrize("length", range(8))
def test_tensors_start_where_they_can_be_mapped(tmp_path: Path, length: int) -> None:
    path = tmp_path / "saved.safetensors"
    save_state(torch.nn.Linear(2, 2), path, {"note": "x" * length})
    header = int.from_bytes(path.read_bytes()[:8], "little")
    assert header % 8 == 0 and set(load_state(path)) == {"weight", "bias"}


def test_a_batch_counter_that_only_some_layers_lack_is_missing(model: SimpleBaseline, tmp_path: Path) -> None:
    state = dict(model.state_dict())
    del state["bn1.num_batches_tracked"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(
        SSHPEError, match=r"does not fit SimpleBaseline: 1 missing \(bn1.num_batches_tracked\)"
    ):
        load_pose(model, tmp_path / "cut.pth")


def test_a_tensor_that_lies_the_other_way_round_does_not_fit(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3, 2), "bias": torch.ones(2)}, tmp_path / "turned.pth")
    with pytest.raises(SSHPEError, match=r"1 of another shape \(weight \(3, 2\) for \(2, 3\)\)"):
        load_pose(torch.nn.Linear(3, 2), tmp_path / "turned.pth")


def repacked(path: Path, rewrite: Callable[[zipfile.ZipFile, zipfile.ZipFile], None]) -> Path:
    """The zip at `path`, written anew under another name."""
    other = path.with_name(f"repacked{path.suffix}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as new:
        rewrite(old, new)
    return other


def deflate(old: zipfile.ZipFile, new: zipfile.ZipFile) -> None:
    """Every entry compressed."""
    for name in old.namelist():
        new.writestr(name, old.read(name))


def share(old: zipfile.ZipFile, new: zipfile.ZipFile) -> None:
    """Every entry stored, and a hundred more that name the bytes of the largest one."""
    for name in old.namelist():
        new.writestr(name, old.read(name), zipfile.ZIP_STORED)
    largest = max(new.filelist, key=lambda entry: entry.file_size)
    for number in range(100):
        again = copy.copy(largest)
        again.filename = f"again/{number}"
        new.filelist.append(again)


@pytest.mark.parametrize("rewrite", [deflate, share])
def test_a_zip_that_would_grow_in_memory_is_refused_unread(
    tmp_path: Path, rewrite: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.pth"
    torch.save({"key": "k", "state_dict": {"a": torch.zeros(10**6)}}, path)
    path = repacked(path, rewrite)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("loaded"))
    for reads in (load_state, lambda path: checkpoints.read(path, "k")):
        with pytest.raises(SSHPEError, match=r"repacked\.pth.*entries are compressed or share their bytes"):
            reads(path)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_load_state_runs_no_pickle(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "bomb.pth"
    bomb = {"conv1.weight": Bomb(tmp_path / "exploded")}
    torch.save(bomb, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(SSHPEError, match=r"bomb\.pth is no plain file of tensors.*safetensors"):
        load_state(path)
    assert not (tmp_path / "exploded").exists()
    torch.load(path, weights_only=False)  # it would have
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404</html>",
        b"PK\x03\x04 cut",
        b"\x80\x02}q\x00.",
        pickle.dumps({"a": 1})[:-3],
        b"\xff" * 1000,
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_load_state_names_a_foreign_file(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"foreign{suffix}"
    path.write_bytes(content)
    with pytest.raises(SSHPEError, match=rf"foreign\{suffix}"):
        load_state(path)


@pytest.mark.parametrize("kept", [4, 100, 0.5, -1])
def test_load_state_names_a_safetensors_file_cut_short(
    model: SimpleBaseline, tmp_path: Path, kept: float
) -> None:
    path = tmp_path / "cut.safetensors"
    save_state(model, path, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(SSHPEError, match=r"cut\.safetensors is no complete safetensors file"):
        load_state(path)


def test_load_state_names_a_pth_file_cut_short(model: SimpleBaseline, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(SSHPEError, match=r"cut\.pth is no plain file of tensors"):
        load_state(path)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([torch.ones(1)], "holds a list"),
        ({"lr": 0.1}, "entry 'lr' is a float"),
        ({3: torch.ones(1)}, "entry 3"),
    ],
)
def test_load_state_names_the_entry_that_is_no_tensor(tmp_path: Path, value: object, told: str) -> None:
    path = tmp_path / "odd.pth"
    torch.save(value, path)
    with pytest.raises(SSHPEError, match=rf"odd\.pth.*{told}"):
        load_state(path)


def test_tensors_of_eight_bits_are_checked_too() -> None:
    """Torch finds no ends of such numbers."""
    check_finite({"sound": torch.tensor([1.0, -2.0]).to(torch.float8_e4m3fn)}, Path("file"))
    with pytest.raises(SSHPEError, match="file: tensor broken has values that are not finite"):
        check_finite({"broken": torch.tensor([1.0, torch.nan]).to(torch.float8_e4m3fn)}, Path("file"))


@pytest.mark.parametrize(("name", "told"), [("none.pth", "no such file"), ("weights.h5", "not '.h5'")])
def test_load_state_names_a_missing_file_and_an_unknown_kind(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(SSHPEError, match=told):
        load_state(tmp_path / name)


# load_pose and load_trunk


def test_load_pose_restores_every_tensor(model: SimpleBaseline, tmp_path: Path) -> None:
    model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))  # moves the buffers
    other = build(18, seed=1, **SMALL)
    torch.save(model.state_dict(), tmp_path / "pose.pth")
    load_pose(other, tmp_path / "pose.pth")
    assert_same(other.state_dict(), model.state_dict())
    assert other.bn1.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"depth": 34}, r"missing \(layer1\.2\.conv1\.weight, .*, .*, \.\.\.\)"),
        ({"depth": 50}, r"missing .*of another shape \(layer"),
        (
            {"keypoints": 14},
            r"2 of another shape \(final_layer\.weight \(17, 8, 1, 1\) for \(14, 8, 1, 1\), .*bias",
        ),
        ({"output_stride": 16}, r"6 unexpected \(deconv_layers\.6\.weight"),
    ],
)
def test_load_pose_refuses_another_network(
    model: SimpleBaseline, tmp_path: Path, arguments, told: str
) -> None:
    save_state(model, tmp_path / "r18.safetensors", {})
    other = build(**{"depth": 18} | arguments, seed=1, **SMALL)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(SSHPEError, match=rf"r18\.safetensors does not fit SimpleBaseline: .*{told}"):
        load_pose(other, tmp_path / "r18.safetensors")
    assert_same(other.state_dict(), before)


def test_load_pose_keeps_the_counters_that_old_files_lack(model: SimpleBaseline, tmp_path: Path) -> None:
    old = {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    other = build(18, seed=1, **SMALL)
    load_pose(other, tmp_path / "old.pth")
    assert_same(other.state_dict(), model.state_dict())
    del old["bn1.running_var"]
    torch.save(old, tmp_path / "old.pth")
    with pytest.raises(SSHPEError, match=r"1 missing \(bn1\.running_var\)"):
        load_pose(other, tmp_path / "old.pth")


def test_load_trunk_takes_all_of_torchvisions_resnet_but_the_classifier() -> None:
    imagenet = import_torchvision("models.resnet").resnet18().state_dict()
    model = build(18, seed=0)
    head = {n: t.clone() for n, t in model.state_dict().items() if n.startswith(SimpleBaseline.head)}
    loaded = load_trunk(model, imagenet)
    assert loaded == [name for name in imagenet if not name.startswith("fc.")]
    assert sorted(loaded + list(head)) == sorted(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, head[name] if name in head else imagenet[name]), name


def test_load_trunk_refuses_another_trunk() -> None:
    imagenet = import_torchvision("models.resnet").resnet18().state_dict()
    with pytest.raises(SSHPEError, match=r"SimpleBaseline's trunk: .* missing \(layer1\.2\.conv1\.weight"):
        load_trunk(build(34, seed=0), imagenet)
    with pytest.raises(
        SSHPEError, match=r"of another shape \(conv1\.weight \(64, 3, 7, 7\) for \(8, 3, 7, 7\)"
    ):
        load_trunk(build(18, seed=0, **SMALL), imagenet)
    del imagenet["layer4.1.bn2.bias"]
    with pytest.raises(SSHPEError, match=r"1 missing \(layer4\.1\.bn2\.bias\)"):
        load_trunk(build(18, seed=0), imagenet)


# save_state


def test_save_state_round_trip(model: SimpleBaseline, tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.safetensors"
    model.to(memory_format=torch.channels_last)
    digest = save_state(model, path, {"depth": "18", "key": "abc"})
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [file.name for file in path.parent.iterdir()] == ["weights.safetensors"]
    state = load_state(path)
    assert sorted(state) == sorted(model.state_dict())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"depth": "18", "key": "abc"}
    other = build(18, seed=1, **SMALL)
    load_pose(other, path)
    assert_same(other.state_dict(), model.state_dict())


def test_save_state_gives_the_same_bytes_every_time(model: SimpleBaseline, tmp_path: Path) -> None:
    metadata = {f"entry {i}": str(i) for i in range(9)}
    orders = [metadata, dict(reversed(metadata.items()))] * 3
    digests = {save_state(model, tmp_path / f"{i}.safetensors", order) for i, order in enumerate(orders)}
    assert len(digests) == 1


class Tied(torch.nn.Module):
    """Two layers of one weight, and a third that is a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.third = torch.nn.Parameter(self.first.weight.detach()[1:3])


def test_save_state_writes_tied_weights_one_by_one(tmp_path: Path) -> None:
    tied = Tied()
    save_state(tied, tmp_path / "tied.safetensors", {})
    load_pose(other := Tied(), tmp_path / "tied.safetensors")
    assert_same(other.state_dict(), tied.state_dict())


@pytest.mark.parametrize("name", ["weights.pth", "weights", "weights.SAFETENSORS"])
def test_save_state_refuses_a_name_that_says_something_else(
    model: SimpleBaseline, tmp_path: Path, name: str
) -> None:
    with pytest.raises(SSHPEError, match=rf"{name}: networks are written as .safetensors; end the name so"):
        save_state(model, tmp_path / name, {})
    assert not list(tmp_path.iterdir())


def test_save_state_that_fails_leaves_the_old_file(
    model: SimpleBaseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    save_state(model, path, {})
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SSHPEError, match="no space"):
        save_state(build(18, seed=1, **SMALL), path, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
