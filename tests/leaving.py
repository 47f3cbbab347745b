"""Two processes of one run, of which the second ends while the first waits for it."""

import os
from pathlib import Path
from unittest import mock

import torch

from sshpe_lib import cli
from sshpe_lib.machine import Machine, first_process


def app() -> None:
    Machine(accelerator="cpu", progress=False).fabric("32-true", Path())
    torch.distributed.barrier()
    if not first_process():
        os._exit(0)
    torch.distributed.all_reduce(torch.zeros(1))


if __name__ == "__main__":
    with mock.patch.object(cli, "app", app):
        cli.main()
