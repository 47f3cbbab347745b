"""Two processes that share a batch end where one ends."""

import json
import os
import subprocess
import sys
import time
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
from tests.hosts import FIRST, two_hosts


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


def test_two_processes_go_on_with_the_losses_of_both(plain):
    """The first alone writes what was counted before."""
    for ranks in plain:
        for ended in ranks:
            assert ended["parted"] == ended["losses"]


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


TYPED = ["-m", "sshpe_lib", "run", "table4", "--profile", "smoke", "--row", "0.9", "--column", "resnet18"]


def folders_in(folder) -> dict[str, str]:
    return {"SSHPE_RECORDS": str(folder / "records"), "SSHPE_RUNS": str(folder / "runs")}


@pytest.fixture(scope="module")
def table_of_two(tmp_path_factory):
    """What `torchrun --nproc-per-node=2 -m sshpe_lib run ...` prints, and the records that it makes."""
    folder = tmp_path_factory.mktemp("table")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *launcher, *TYPED],
        capture_output=True, text=True, timeout=240, env=os.environ | folders_in(folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done, records.read_all(folder / "records")


def test_the_command_line_trains_a_table_in_two_processes(table_of_two):
    """One table printed, the records that one process makes."""
    done, made = table_of_two
    assert done.stdout.count("Table 4. AP of Pose-MUM+") == 1 and "deprecated" not in done.stderr
    wanted = {
        tables.experiment("smoke", "supervised").key(),
        tables.experiment("smoke", "pose-mum+", set={"teacher.decay": 0.9}).key(),
    }
    assert {record.key for record in made} == wanted
    assert all(record.provenance.world_size == 2 for record in made)


@pytest.fixture(scope="module")
def hosts():
    with two_hosts() as made:
        if made is None:
            pytest.skip("no network namespaces: they take root and iproute2")
        yield made


def recipe(rank: int) -> list[str]:
    """The book's line for two machines, with a process each."""
    where = [
        "--nnodes=2",
        "--nproc-per-node=1",
        f"--node-rank={rank}",
        f"--master-addr={FIRST}",
        "--master-port=29500",
    ]
    return [sys.executable, "-m", "torch.distributed.run", *where, *TYPED]


def test_two_machines_are_two_processes(table_of_two, hosts, tmp_path):
    """To the last bit: what runs between them is the same sum."""
    running = [host.start(recipe(rank), host.card, **folders_in(tmp_path)) for rank, host in enumerate(hosts)]
    (printed, told), (nothing, also_told) = (one.communicate(timeout=240) for one in running)
    assert [one.returncode for one in running] == [0, 0], told[-3000:] + also_told[-3000:]
    assert printed == table_of_two[0].stdout and nothing == ""
    again = {record.key: record for record in records.read_all(tmp_path / "records")}
    assert again.keys() == {record.key for record in table_of_two[1]}
    for record in table_of_two[1]:
        assert again[record.key].metrics == record.metrics and again[record.key].curve == record.curve
        assert again[record.key].provenance.checkpoint_sha256 == record.provenance.checkpoint_sha256


def test_machines_that_cannot_reach_one_another_say_so(hosts, tmp_path):
    """As where a host's own name is 127.0.1.1; one of the two finds out, and the other waits for it."""
    running = [host.start(recipe(rank), "lo", **folders_in(tmp_path)) for rank, host in enumerate(hosts)]
    try:
        deadline = time.monotonic() + 120
        while all(one.poll() is None for one in running) and time.monotonic() < deadline:
            time.sleep(0.1)
        ended = [one.poll() is not None for one in running]
    finally:
        for one in running:
            one.terminate()  # torchrun ends its own process, too
        said = [one.communicate(timeout=60)[1] for one in running]
    told = said[ended.index(True)]
    assert "of 2 cannot reach the others (" in told and "GLOO_SOCKET_IFNAME=eth0" in told
    assert "sshpe_lib/" not in told, "no traceback of ours"


def test_a_process_that_loses_another_says_so():
    """The other ends without a word and in order, so nobody else tells the first."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "tests.leaving"]
    done = subprocess.run([sys.executable, *launcher], capture_output=True, text=True, timeout=120)
    assert "sshpe: process 0 of 2 lost another (" in done.stderr and "from its checkpoint" in done.stderr
    assert "sshpe_lib/" not in done.stderr, "no traceback of ours"


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
