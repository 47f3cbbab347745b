"""Two processes that share a batch end where one ends."""

import subprocess
import sys

import pytest
import torch


def end_of(folder, network: str, processes: int) -> list[dict]:
    folder.mkdir()
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        if processes > 1
        else []
    )
    command = [sys.executable, *launcher, "-m", "tests.world", str(folder), network]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(processes)]


def ends(folder, network: str) -> tuple[list[dict], list[dict]]:
    """What one process and two end with."""
    return end_of(folder / "one", network, 1), end_of(folder / "two", network, 2)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return ends(tmp_path_factory.mktemp("plain"), "plain")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return ends(tmp_path_factory.mktemp("whole"), "whole")


@pytest.mark.parametrize("kind", ["plain", "whole"])
def test_world_size_two_is_world_size_one(kind, request):
    """Without batch statistics, up to the rounding of a sum taken in two halves; crops and whole images."""
    (one,), (first, second) = request.getfixturevalue(kind)
    for network in ("student", "teacher"):
        for name, tensor in one[network].items():
            assert torch.equal(first[network][name], second[network][name])
            assert torch.allclose(first[network][name], tensor, rtol=1e-3, atol=2e-5), name


def test_two_processes_predict_every_person_once(plain):
    (one,), (first, second) = plain
    assert torch.equal(first["predicted"], second["predicted"])
    assert torch.allclose(first["predicted"][..., 2], one["predicted"][..., 2], atol=1e-3)


def test_ranks_keep_one_network(tmp_path):
    """With batch norm the ranks see other statistics than one process would, but never different networks."""
    first, second = end_of(tmp_path / "two", "baseline", 2)
    for network in ("student", "teacher"):
        for name, tensor in first[network].items():
            assert torch.equal(tensor, second[network][name]), name
