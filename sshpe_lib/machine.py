"""How to run, as opposed to what to run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from sshpe_lib.errors import SSHPEError


@dataclass(frozen=True)
class Machine:
    """How to run, as opposed to what: nothing here decides a key.

    threads: of the CPU; 0 leaves torch's own choice. One thread makes the bits of a result independent of the
    number of cores, and several runs side by side use the cores better than one run with more threads.
    workers: loader processes; 0 loads in this one.
    """

    accelerator: str = "auto"
    devices: int | str = "auto"
    threads: int = 1
    workers: int = 0
    progress: bool = True
    tensorboard: bool = False

    def jobs_for(self, runs: int) -> int:
        """How many of `runs` to train at the same time: one a core (`threads` cores) on a CPU, one on a GPU."""
        on_gpu = self.accelerator not in ("auto", "cpu") or (
            self.accelerator == "auto" and torch.cuda.is_available()
        )
        return (
            1
            if on_gpu or not self.threads
            else max(1, min(runs, len(os.sched_getaffinity(0)) // self.threads))
        )

    def fabric(self, precision: str, folder: Path) -> Fabric:
        """A launched Fabric. Where TensorBoard is asked for and missing, SSHPEError says how to install it."""
        loggers = []
        if self.tensorboard:
            try:
                from lightning_fabric.loggers import TensorBoardLogger

                loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
            except ModuleNotFoundError:
                raise SSHPEError("TensorBoard is not installed; pip install 'sshpe[tensorboard]'") from None
        devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if self.devices == "auto" else self.devices
        # A step forwards twice before it goes backwards, which DDP's own broadcast of buffers forbids; the
        # trainer averages the batch-norm statistics instead.
        strategy = DDPStrategy(broadcast_buffers=False) if processes() > 1 else "auto"
        fabric = Fabric(
            accelerator=self.accelerator, devices=devices, strategy=strategy, precision=precision, loggers=loggers,
            num_nodes=processes() // int(os.environ.get("LOCAL_WORLD_SIZE", processes())),
        )  # fmt: skip
        fabric.launch()
        return fabric


def processes() -> int:
    """Processes that train together, as torchrun says; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))
