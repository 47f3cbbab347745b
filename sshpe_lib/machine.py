"""How to run, as opposed to what to run."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import torch

from sshpe_lib.errors import SSHPEError

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.loggers import Logger

Precision = Literal["32-true", "bf16-mixed"]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Machine:
    """How to run, as opposed to what: nothing here decides a key.

    threads: of the CPU; 0 leaves torch's own choice. One thread makes the bits of a result independent of the
    number of cores, and several runs side by side use the cores better than one run with more threads.
    workers: loader processes; 0 loads in this one. pack: read images decoded (`data.packed`); the same bits.
    cuda_graphs: give the GPU each pass of a network whole (`graphs`), where giving its kernels one by one takes longer
    than to run them.
    """

    accelerator: str = "auto"
    devices: int | str = "auto"
    threads: int = 1
    workers: int = 0
    progress: bool = True
    tensorboard: bool = False
    pack: bool = False
    cuda_graphs: bool = False

    def jobs_for(self, runs: int) -> int:
        """How many of `runs` to train at the same time: one a core (`threads` cores) on a CPU, one a GPU.

        Processes that torchrun started train one run together.
        """
        if processes() > 1:
            return 1
        places = len(gpus()) if self.on_gpu else cores() // (self.threads or cores())
        return max(1, min(runs, places))

    def environment(self, place: int) -> dict[str, str]:
        """What the process of one of several runs at a time has in its environment: on GPUs one of them, in turn.

        place: the run's among those at work, from 0.
        """
        found = gpus() if self.on_gpu else []
        return {"CUDA_VISIBLE_DEVICES": found[place % len(found)]} if found else {}

    def precision(self, wanted: Precision) -> Precision:
        """The precision that training with `wanted` has here: float32 where bfloat16 would be emulated.

        A ResNet-18 step takes ten times as long in emulated bfloat16 as in float32, and a run of minutes would take
        hours. Records say what ran.
        """
        has_bfloat16 = gpu_has_bfloat16() if self.on_gpu else cpu_has_bfloat16()
        return "32-true" if wanted == "bf16-mixed" and not has_bfloat16 else wanted

    @property
    def on_gpu(self) -> bool:
        """Whether runs are trained on a GPU."""
        return self.accelerator not in ("auto", "cpu") or (
            self.accelerator == "auto" and torch.cuda.is_available()
        )

    def fabric(self, precision: Precision, folder: Path, *, alone: bool = False) -> Fabric:
        """A launched Fabric, in the precision that `self.precision` makes of the wanted one.

        alone: of this process, which waits for no other that torchrun started and shares nothing with it, on torch's
        current GPU where it is on one. Raises SSHPEError as `check`.
        """
        self.check(alone=alone)
        # Here and not above: it takes as long to import as torch, which plans, tables and figures need not wait for.
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy

        loggers: list[Logger] = []
        if self.tensorboard:
            from lightning_fabric.loggers import TensorBoardLogger

            loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
        count, local, here = self._devices(alone)
        # A step forwards twice before it goes backwards, which DDP's own broadcast of buffers forbids; the
        # trainer averages the batch-norm statistics instead.
        strategy = DDPStrategy(forward_sync_buffers=False) if count > 1 else "auto"
        with nullcontext() if self.progress else _silent("lightning_fabric.utilities.rank_zero"):
            fabric = Fabric(
                accelerator="cuda" if self.on_gpu else "cpu", strategy=strategy, loggers=loggers,
                devices=[torch.cuda.current_device()] if alone and self.on_gpu else here,
                precision=self.precision(precision), num_nodes=count // local,
            )  # fmt: skip
            fabric.launch()
        return fabric

    def check(self, *, alone: bool = False) -> None:
        """See that this machine can run what is asked of it, before anything is loaded.

        Raises:
            SSHPEError: TensorBoard is asked for and not installed, CUDA graphs where they cannot be had, a GPU that is
                not there, or several devices of one process.
        """
        count, _, here = self._devices(alone)
        if count == 1 and self.devices not in ("auto", 1):
            raise SSHPEError(
                f"{self.devices} devices want a process each: start this with torchrun "
                f"--nproc-per-node={self.devices} -m sshpe_lib, and leave --devices out"
            )
        if self.cuda_graphs and (not self.on_gpu or count > 1):
            where = "on a CPU" if not self.on_gpu else f"of {count} processes"
            raise SSHPEError(
                f"CUDA graphs are recorded on one GPU, and this run is one {where}; leave them out"
            )
        if self.on_gpu and torch.cuda.device_count() < here:
            raise SSHPEError(
                f"{here} GPU(s) of this machine are asked for, and PyTorch {torch.__version__} sees "
                f"{torch.cuda.device_count()}; train with --accelerator cpu, with a smaller --nproc-per-node, or "
                "install a PyTorch for the GPU and its driver"
            )
        if self.tensorboard and not any(map(find_spec, ("tensorboard", "tensorboardX"))):
            raise SSHPEError("TensorBoard is not installed; pip install 'sshpe[tensorboard]'")

    def _devices(self, alone: bool) -> tuple[int, int, int]:
        """Processes that train together, those of them on this machine, and the devices wanted here."""
        count = 1 if alone else processes()
        local = 1 if count == 1 else int(os.environ.get("LOCAL_WORLD_SIZE", count))
        return count, local, local if self.devices == "auto" else int(self.devices)

    def agreed(self, find: Callable[[], Found]) -> Found:
        """What the first process finds, in all that torchrun started: what to do next must not differ between them.

        find: is called in the first process; what it returns, or the SSHPEError that it raises, is pickled. Without
        torchrun it is just called.
        """
        if processes() == 1:
            return find()
        if not torch.distributed.is_initialized():
            # A run's own Fabric finds the processes joined.
            replace(self, progress=False, tensorboard=False).fabric("32-true", Path(tempfile.gettempdir()))
        told: list[tuple[Found | None, SSHPEError | None]] = [(None, None)]
        if first_process():
            try:
                told = [(find(), None)]
            except SSHPEError as error:
                told = [(None, error)]
        torch.distributed.broadcast_object_list(told, src=0)
        found, wrong = told[0]
        if wrong is not None:
            raise wrong
        return found  # type: ignore[return-value]  # what `find` returned, None or not

    @contextmanager
    def own_threads(self) -> Iterator[None]:
        """Torch has `threads` threads inside the block, and afterwards as many as before."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Inside the block a logger says nothing below a warning."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself: AVX-512 BF16, AMX, or Arm's BF16."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def gpu_has_bfloat16() -> bool:
    """Whether the GPU multiplies bfloat16 itself, as those from Ampere on do. True where there is none."""
    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)


def cores() -> int:
    """The cores that this process may use: of a container, those it was given."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS


def gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES has for them."""
    count, named = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(number) for number in range(count)])[:count]


def first_process() -> bool:
    """Whether this process is the one that speaks: the only one, or the first that torchrun started."""
    return int(os.environ.get("RANK") or 0) == 0


def processes() -> int:
    """Processes that train together, as torchrun says; 1 without it."""
    return int(os.environ.get("WORLD_SIZE") or 1)
