"""Runs side by side: the same records, every failure told, nothing finished lost."""

import pytest
from filelock import FileLock

from sshpe_lib import pool, records, tables
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import train
from sshpe_lib.machine import Machine
from sshpe_lib.pool import run_all
from tests import fakes

QUIET = Machine(threads=1, progress=False)


def smoke(method: str, **settings):
    return tables.experiment("smoke", method, set={k.replace("__", "."): v for k, v in settings.items()})


def test_side_by_side_gives_the_bits_of_one_after_another(tmp_path, monkeypatch):
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    wanted = [smoke("supervised"), smoke("pose-mum+")]
    made = run_all(wanted, QUIET, 2, tmp_path / "records")
    assert [record.key for record in made] == [experiment.key() for experiment in wanted]
    alone = train(wanted[1], QUIET, tmp_path / "alone")
    assert made[1].provenance.checkpoint_sha256 == alone.provenance.checkpoint_sha256


def test_a_failing_run_is_told_and_the_other_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    good, bad = smoke("supervised"), smoke("supervised", data__labels=9999)
    with pytest.raises(SSHPEError, match=rf"run {bad.key()} failed: .*9,999 labels"):
        run_all([bad, good], QUIET, 2, tmp_path / "records")
    assert records.find(tmp_path / "records", good.key()) is not None


@pytest.mark.parametrize("staged", [False, True], ids=["the run itself", "the run it starts from"])
def test_what_another_process_trains_is_left_for_later(tmp_path, monkeypatch, staged: bool):
    monkeypatch.setenv("SSHPE_RUNS", str(tmp_path / "runs"))
    first, second = smoke("supervised"), smoke("supervised", train__seed=1)
    if staged:
        wanted = [
            tables.experiment("smoke", "aid-cutout", schedule="S3", protocol="aid", backbone="hrnet-w32"),
            second,
        ]
        taken = wanted[0].start
    else:
        wanted, taken = [first, second], first
    folder = tmp_path / "runs" / taken.key()
    folder.mkdir(parents=True)
    lock, order = FileLock(folder / "lock"), []

    def run(experiment, *_, **__):
        order.append(experiment)
        lock.release(force=True)
        return fakes.record(experiment)

    monkeypatch.setattr(pool, "run", run)
    with lock:
        made = run_all(wanted, QUIET, 1, tmp_path / "records")
    assert order == wanted[::-1]
    assert [record.key for record in made] == [experiment.key() for experiment in wanted]
    order.clear()
    run_all(wanted, QUIET, 1, tmp_path / "records")
    assert order == wanted
