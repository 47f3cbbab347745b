"""How to run: what a machine makes of the precision that an experiment asks for."""

from __future__ import annotations

import logging
import os

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
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert Machine().precision("bf16-mixed") == "bf16-mixed"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert Machine().precision("bf16-mixed") == "32-true"  # it is older than Ampere
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Machine().precision("bf16-mixed") == "32-true"


def test_several_devices_want_a_process_each(tmp_path) -> None:
    with pytest.raises(
        SSHPEError, match="2 devices want a process each: start this with torchrun --nproc-per-node=2"
    ):
        Machine(accelerator="cpu", devices=2).fabric("32-true", tmp_path)


@pytest.fixture
def made(monkeypatch) -> dict:
    """What a Fabric is made with, in place of it, and whether its logger speaks meanwhile."""
    found: dict = {}

    class Fabric:
        def __init__(self, **settings):
            speaks = logging.getLogger("lightning_fabric.utilities.rank_zero").isEnabledFor(logging.INFO)
            found.update(settings, speaks=speaks)

        def launch(self) -> None:
            found["launched"] = True

    monkeypatch.setattr("lightning_fabric.Fabric", Fabric)
    return found


def test_one_device_may_be_asked_for(tmp_path, made) -> None:
    Machine(accelerator="cpu", devices=1).fabric("32-true", tmp_path)
    assert made["launched"] and (made["devices"], made["num_nodes"], made["strategy"]) == (1, 1, "auto")


@pytest.mark.parametrize(("there", "processes"), [(0, 1), (2, 4)])
def test_gpus_that_are_not_there_are_told(tmp_path, made, monkeypatch, there, processes) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    with pytest.raises(
        SSHPEError, match=rf"{processes} GPU.s. .* are asked for, and PyTorch .* sees {there}; train"
    ):
        Machine(accelerator="cuda").fabric("32-true", tmp_path)


def test_processes_on_several_machines_are_counted_by_machine(tmp_path, made, monkeypatch) -> None:
    """The fifth of eight is the first one on its own machine, and not the one that speaks."""
    for name, value in {"WORLD_SIZE": 8, "LOCAL_WORLD_SIZE": 4, "RANK": 4, "LOCAL_RANK": 0}.items():
        monkeypatch.setenv(name, str(value))
    Machine(accelerator="cpu").fabric("32-true", tmp_path)
    assert (made["devices"], made["num_nodes"]) == (4, 2)
    assert machine.processes() == 8 and not machine.first_process()


def test_alone_a_process_of_several_waits_for_nobody(tmp_path, made, monkeypatch) -> None:
    """On torch's current GPU, which Fabric makes current: another one would stay so for the caller."""
    for name, value in {"WORLD_SIZE": 8, "LOCAL_WORLD_SIZE": 4, "RANK": 5, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    Machine(accelerator="cpu").fabric("32-true", tmp_path, alone=True)
    assert (made["devices"], made["num_nodes"], made["strategy"]) == (1, 1, "auto")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    Machine(accelerator="cuda").fabric("32-true", tmp_path, alone=True)
    assert (made["devices"], made["num_nodes"], made["strategy"]) == ([1], 1, "auto")


@pytest.mark.parametrize("progress", [False, True])
def test_fabric_speaks_only_where_progress_is_shown(tmp_path, made, progress) -> None:
    logger = logging.getLogger("lightning_fabric.utilities.rank_zero")
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        Machine(accelerator="cpu", progress=progress).fabric("32-true", tmp_path)
        assert made["speaks"] == progress and logger.level == logging.INFO
    finally:
        logger.setLevel(before)


@pytest.mark.parametrize(
    ("settings", "runs", "jobs"),
    [
        ({}, 3, 3), ({}, 99, 8), ({}, 0, 1), ({"threads": 2}, 99, 4), ({"threads": 3}, 99, 2),
        ({"threads": 16}, 99, 1), ({"threads": 0}, 99, 1),
    ],
)  # fmt: skip
def test_a_run_has_cores_of_its_own(monkeypatch, settings, runs, jobs) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    assert Machine(**{"accelerator": "cpu"} | settings).jobs_for(runs) == jobs
    monkeypatch.setenv("WORLD_SIZE", "2")  # which train one run together
    assert Machine(**{"accelerator": "cpu"} | settings).jobs_for(runs) == 1


@pytest.mark.parametrize(
    ("visible", "count", "names"),
    [(None, 0, []), (None, 2, ["0", "1"]), ("5,7", 2, ["5", "7"]), ("3,GPU-8f,-1,2", 2, ["3", "GPU-8f"])],
)
def test_a_run_has_a_gpu_of_its_own(monkeypatch, visible, count, names) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    made = Machine(accelerator="cuda")
    assert machine.gpus() == names
    assert made.jobs_for(9) == max(1, count) and made.jobs_for(1) == 1
    places = [made.environment(place) for place in range(3)]
    expected = [names[0], names[1], names[0]] if names else []  # more runs than GPUs share them
    assert places == ([{"CUDA_VISIBLE_DEVICES": name} for name in expected] or [{}] * 3)
    assert Machine(accelerator="cpu").environment(0) == {}


def test_an_empty_variable_of_torchrun_is_none(monkeypatch) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.setenv(name, "")
    assert machine.processes() == 1 and machine.first_process()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="a Mac has no such call")
def test_a_container_has_the_cores_that_it_was_given(monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5})
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert machine.cores() == 2


def test_a_process_alone_agrees_with_itself() -> None:
    assert Machine().agreed(lambda: 3) == 3 and not torch.distributed.is_initialized()


@pytest.fixture
def told(monkeypatch) -> list:
    """What the first of two processes sends, which the second one receives."""
    sent: list = []

    def broadcast(told: list, src: int) -> None:
        assert src == 0
        if machine.first_process():
            sent[:] = told
        else:
            told[:] = sent

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "broadcast_object_list", broadcast)
    return sent


@pytest.mark.parametrize("found", [3, None, {"key": "value"}])
def test_processes_agree_on_what_the_first_one_finds(monkeypatch, told, found) -> None:
    monkeypatch.setenv("RANK", "0")
    assert Machine().agreed(lambda: found) == found
    monkeypatch.setenv("RANK", "1")
    assert Machine().agreed(lambda: pytest.fail("it looked for itself")) == found


def test_processes_agree_on_what_the_first_one_cannot_do(monkeypatch, told) -> None:
    """One that raised before the others know would leave them waiting for its word."""

    def refuse() -> None:
        raise SSHPEError("the folder cannot be locked")

    monkeypatch.setenv("RANK", "0")
    with pytest.raises(SSHPEError, match="^the folder cannot be locked$"):
        Machine().agreed(refuse)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SSHPEError, match="^the folder cannot be locked$"):
        Machine().agreed(lambda: pytest.fail("it looked for itself"))


def test_a_run_of_several_processes_leaves_buffers_to_the_trainer(tmp_path, made, monkeypatch) -> None:
    """A step forwards twice before it goes backwards, which DDP's own broadcast of buffers forbids."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    Machine(accelerator="cpu").fabric("32-true", tmp_path)
    assert made["strategy"]._ddp_kwargs == {"forward_sync_buffers": False}


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
