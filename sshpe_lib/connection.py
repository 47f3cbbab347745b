"""What is told where the processes of one run, on one machine or several, no longer reach one another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sshpe_lib.errors import SSHPEError


@contextmanager
def connected() -> Iterator[None]:
    """Inside the block an SSHPEError tells, with its cure, where processes that torchrun started cannot talk."""
    try:
        yield
    except RuntimeError as error:
        wrong = _told(error)
        if wrong is None:
            raise
        raise wrong from None


def _told(error: RuntimeError) -> SSHPEError | None:
    """The error with its cure; None for one that is not of what runs between processes."""
    from torch import distributed  # whatever failed has loaded it; `sshpe --help` need not

    from sshpe_lib.machine import processes

    # What gloo raises has no type of its own; its texts name its source files.
    if processes() == 1 or not (isinstance(error, distributed.DistError) or "gloo" in str(error)):
        return None
    which = f"process {os.environ.get('RANK', 0)} of {processes()}"
    reason = str(error).split("\n")[0]
    if distributed.is_initialized():
        return SSHPEError(
            f"{which} lost another ({reason}); see what the others printed last, and start all of them again: a run "
            "goes on from its checkpoint"
        )
    return SSHPEError(
        f"{which} cannot reach the others ({reason}); where a machine's own name leads to itself, name its network "
        "card, as in GLOO_SOCKET_IFNAME=eth0, or NCCL_SOCKET_IFNAME on GPUs"
    )
