"""Runs side by side: the same records, every failure told, nothing finished lost."""

import pytest

from sshpe_lib import records, tables
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import train
from sshpe_lib.machine import Machine
from sshpe_lib.pool import run_all

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
