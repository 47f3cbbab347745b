"""Two processes that share a batch end where one ends."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock

from sshpe_lib import records, tables
from sshpe_lib.data import roles
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import _batches
from tests import fakes


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
    assert first["losses"] == second["losses"] == pytest.approx(one["losses"], rel=1e-4)


def test_two_processes_predict_every_person_once(plain):
    (one,), (first, second) = plain
    assert torch.equal(first["predicted"], second["predicted"])
    assert torch.allclose(first["predicted"][..., 2], one["predicted"][..., 2], atol=1e-3)


@pytest.mark.parametrize("kind", ["baseline", "ema"])
def test_ranks_keep_one_network(tmp_path, kind):
    """With batch norm the ranks see other statistics than one process would, but never different networks.

    An epoch's last batch of one person leaves no rank without people.
    """
    first, second = end_of(tmp_path / "two", kind, 2)
    for network in ("student", "teacher"):
        for name, tensor in first[network].items():
            assert torch.equal(tensor, second[network][name]), name
    assert first["waits"] <= 2, "at the evaluation and at the end, and not at each of 6 steps"


def test_the_command_line_trains_a_table_in_two_processes(tmp_path):
    """`torchrun --nproc-per-node=2 -m sshpe_lib run ...`: one table printed, the records that one process makes."""
    folders = {"SSHPE_RECORDS": str(tmp_path / "records"), "SSHPE_RUNS": str(tmp_path / "runs")}
    typed = ["run", "table4", "--profile", "smoke", "--row", "0.9", "--column", "resnet18"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "sshpe_lib"]
    done = subprocess.run(
        [sys.executable, *launcher, *typed], capture_output=True, text=True, timeout=240, env=os.environ | folders
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Table 4. AP of Pose-MUM+") == 1 and "deprecated" not in done.stderr
    wanted = {
        tables.experiment("smoke", "supervised").key(),
        tables.experiment("smoke", "pose-mum+", set={"teacher.decay": 0.9}).key(),
    }
    made = records.read_all(tmp_path / "records")
    assert {record.key for record in made} == wanted
    assert all(record.provenance.world_size == 2 for record in made)


def test_the_command_line_predicts_in_two_processes(tmp_path):
    """The first one tells and writes what both found together."""
    annotations = build(SyntheticPeople(images=2), tmp_path, progress=False)
    pictures = [str(path) for path in sorted((annotations.parent / "images").glob("*.png"))]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    told = []
    for name, started in {"one": [], "two": launcher}.items():
        typed = ["predict", *pictures, "--json", "--accelerator", "cpu", "--output", str(tmp_path / name)]
        done = subprocess.run(
            [sys.executable, *started, "-m", "sshpe_lib", *typed], capture_output=True, text=True, timeout=240
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        told.append(json.loads(done.stdout))
    for one, two in zip(*told, strict=True):
        assert two["keypoints"] == pytest.approx(one["keypoints"], abs=0.01)
    assert [path.name for path in sorted((tmp_path / "two").iterdir())] == [
        path.name for path in sorted((tmp_path / "one").iterdir())
    ]


def test_processes_that_wait_for_a_run_elsewhere_find_its_record_together(tmp_path):
    """The first alone sees the lock; the second must neither train meanwhile nor wait for gradients for ever."""
    folders = {"SSHPE_RECORDS": str(tmp_path / "records"), "SSHPE_RUNS": str(tmp_path / "runs")}
    wanted = tables.experiment("smoke", "supervised")
    lock = tmp_path / "runs" / wanted.key() / "lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        command += ["-m", "tests.waiting", wanted.key()]
        asking = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | folders
        )
        first = asking.stdout.readline()
        assert first.startswith("another process trains this experiment; waiting for it"), (
            asking.communicate()[1]
        )
        written = fakes.record(wanted)
        records.write(tmp_path / "records", written)
    told, failed = asking.communicate(timeout=120)
    assert asking.returncode == 0, failed[-3000:]
    assert told.split() == [str(written.ap)] * 2
    assert [path.name for path in lock.parent.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("world", "told"), [(3, "does not divide over 3 devices"), (4, "start 2 processes at most")]
)
def test_shares_that_hold_no_group_are_refused(world, told):
    """They would leave Pose-MUM unmixed, under its own key."""
    made = tables.experiment("smoke", "pose-mum+")
    one_of_them = SimpleNamespace(world_size=world, global_rank=0)
    with pytest.raises(SSHPEError, match=told):
        _batches(made, roles.load(made), one_of_them)
    assert _batches(made, roles.load(made), SimpleNamespace(world_size=2, global_rank=1)).batch_size == 8
