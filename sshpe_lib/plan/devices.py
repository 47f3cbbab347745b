"""How fast a device trains: what was measured, or what somebody assumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, field_validator

from sshpe_lib import paths, profiles, provenance
from sshpe_lib.config import Experiment, Frozen, Model
from sshpe_lib.errors import SSHPEError
from sshpe_lib.machine import Machine
from sshpe_lib.plan.measure import Speed, measure


class Size(Frozen):
    """What decides how much of a device a step uses: network, crop (width, height), batch and precision."""

    model: Model
    input_size: tuple[int, int]
    batch_size: int
    precision: Literal["32-true", "bf16-mixed"]

    @classmethod
    def of(cls, experiment: Experiment) -> Size:
        """The size of an experiment's steps."""
        train = experiment.train
        return cls(
            model=experiment.model.architecture, input_size=experiment.data.input_size,
            batch_size=train.batch_size, precision=train.precision,
        )  # fmt: skip

    @field_validator("model")
    @classmethod
    def _wherever_it_starts(cls, model: Model) -> Model:
        return model.architecture

    def __str__(self) -> str:
        width, height = self.input_size
        return f"{self.model}, {height}x{width}, batch {self.batch_size}, {self.precision}"


class Throughput(Frozen):
    """TFLOP/s of whole training steps of one size, by the counting rule of `plan.cost`, and who measured it how."""

    size: Size
    tflops: float = Field(gt=0)
    source: str = Field(min_length=1)


class Device(Frozen):
    """A device by the name that its driver gives it; of a CPU also its vector instructions and the threads used.

    cuda_graphs: it was measured with `--cuda-graphs`, which a run has only where it is asked for.
    """

    hardware: str
    instructions: str | None = None
    threads: int | None = None
    cuda_graphs: bool = False
    throughput: tuple[Throughput, ...]


@dataclass(frozen=True)
class Rates:
    """Where hours come from: FLOP/s by size, or one assumed for all of them; `sources` says who says so.

    cuda_graphs: these are of steps with `--cuda-graphs`.
    """

    device: str
    by_size: Mapping[Size, float] = field(default_factory=dict)
    sources: Mapping[Size, str] = field(default_factory=dict)
    assumed: float | None = None
    cuda_graphs: bool = False

    def hours(self, experiment: Experiment, flops: int | None) -> float | None:
        """Hours of a run of so many FLOPs; None where its size was not measured on the device."""
        rate = self.assumed or self.by_size.get(Size.of(experiment))
        return None if flops is None or rate is None else flops / rate / 3600


def load_devices(folder: Path | None = None) -> dict[str, Device]:
    """Name -> device, of params/devices.yaml. Raises SSHPEError that names the file and its faults."""
    path = (folder or paths.params()) / "devices.yaml"
    values = profiles.read_yaml(path)
    return {name: profiles.validated(Device, given, f"{path}: {name}") for name, given in values.items()}


def rates(
    experiments: Sequence[Experiment],
    machine: Machine,
    *,
    device: str | None = None,
    tflops: float | None = None,
    measured: bool = False,
) -> Rates:
    """How fast a device trains each size of `experiments`.

    device: of params/devices.yaml, by default the one that is this machine, if any; tflops: an assumption for
    another device; measured: time a few steps of every size on this machine, here and now.
    Raises SSHPEError for an unknown device, or for more than one of the three.
    """
    if sum((device is not None, tflops is not None, measured)) > 1:
        raise SSHPEError("give one of --device, --tflops and --measure: each says how fast the device is")
    if tflops is not None:
        return Rates("a device of your choice", assumed=tflops * 1e12)
    if measured:
        return _measured(experiments, machine)
    devices = load_devices()
    if device is None:
        hardware = _hardware(machine)
        fitting = [name for name, one in devices.items() if _is(one, hardware, machine)]
        named = f"this machine ({_called(hardware, machine)})"
        return _documented(named, devices[fitting[0]]) if fitting else Rates(named)
    if device not in devices:
        raise SSHPEError(
            f"no device {device!r} in {paths.params() / 'devices.yaml'}; choose one of: {', '.join(devices)}; for "
            "another give its sustained --tflops, or run there with --measure"
        )
    return _documented(device, devices[device])


def _documented(name: str, device: Device) -> Rates:
    by_size = {one.size: one.tflops * 1e12 for one in device.throughput}
    sources = {one.size: one.source for one in device.throughput}
    return Rates(name, by_size, sources, cuda_graphs=device.cuda_graphs)


def _measured(experiments: Sequence[Experiment], machine: Machine) -> Rates:
    """One measurement a size: of a run with a teacher, where there is one, and of one network rather than two."""
    by_size: dict[Size, Experiment] = {}
    order = ("single", "eman", "ema", "dual", "none")
    for experiment in sorted(experiments, key=lambda one: order.index(one.teacher.kind)):
        by_size.setdefault(Size.of(experiment), experiment)
    found: dict[Size, Speed] = {
        size: measure(one, machine, f"measuring {size}") for size, one in by_size.items()
    }
    return Rates(
        f"this machine ({_called(_hardware(machine), machine)})",
        {size: speed.flops_per_second for size, speed in found.items()},
        {size: f"measured now, {speed}" for size, speed in found.items()},
        cuda_graphs=machine.cuda_graphs,
    )


def _hardware(machine: Machine) -> torch.device:
    return torch.device("cuda" if machine.on_gpu and torch.cuda.is_available() else "cpu")


def _called(hardware: torch.device, machine: Machine) -> str:
    threads = _threads(hardware, machine)
    facts = [provenance.device_name(hardware), provenance.instructions(hardware)]
    return ", ".join([fact for fact in facts if fact] + ([f"{threads} thread(s)"] if threads else []))


def _is(device: Device, hardware: torch.device, machine: Machine) -> bool:
    facts = (provenance.device_name(hardware), provenance.instructions(hardware), _threads(hardware, machine))
    return (device.hardware, device.instructions, device.threads) == facts


def _threads(hardware: torch.device, machine: Machine) -> int | None:
    """Threads of a CPU; a GPU has none to count."""
    return None if hardware.type == "cuda" else machine.threads or torch.get_num_threads()
