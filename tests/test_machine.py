"""How to run: what a machine makes of the precision that an experiment asks for."""

from __future__ import annotations

import pytest
import torch

from sshpe_lib import machine
from sshpe_lib.errors import SSHPEError
from sshpe_lib.machine import Machine


@pytest.mark.parametrize("names", [(), ("avx2", "avx512_f"), ("neon",)])
def test_a_cpu_without_bfloat16_trains_in_float32(monkeypatch, tmp_path, names) -> None:
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True) | {"avx512_bf16": False}
    )
    cpu = Machine(accelerator="cpu")
    assert not machine.cpu_has_bfloat16()
    assert cpu.precision("bf16-mixed") == cpu.precision("32-true") == "32-true"
    with cpu.fabric("bf16-mixed", tmp_path).autocast():
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "bf16", "sve_bf16"])
def test_a_cpu_with_bfloat16_uses_it(monkeypatch, tmp_path, name) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, name: True})
    cpu = Machine(accelerator="cpu")
    assert machine.cpu_has_bfloat16()
    assert cpu.precision("bf16-mixed") == "bf16-mixed" and cpu.precision("32-true") == "32-true"
    with cpu.fabric("bf16-mixed", tmp_path).autocast():
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16 and torch.is_autocast_enabled("cpu")


def test_a_gpu_keeps_what_is_asked_for(monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert Machine(accelerator="cuda").precision("bf16-mixed") == "bf16-mixed"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Machine().precision("bf16-mixed") == "bf16-mixed"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Machine().precision("bf16-mixed") == "32-true"


def test_several_devices_want_a_process_each(tmp_path) -> None:
    with pytest.raises(
        SSHPEError, match="2 devices want a process each: start this with torchrun --nproc-per-node=2"
    ):
        Machine(accelerator="cpu", devices=2).fabric("32-true", tmp_path)


def test_a_process_alone_agrees_with_itself() -> None:
    assert Machine().agreed(lambda: 3) == 3 and not torch.distributed.is_initialized()


@pytest.mark.parametrize(("threads", "inside"), [(1, 1), (2, 2), (0, 3)])
def test_threads_are_given_back(threads, inside) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with Machine(threads=threads).own_threads():
            assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
