"""Two hosts on one machine: network namespaces with a wire between them. It takes root, Linux and iproute2's `ip`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

FIRST = "10.77.0.1"


@dataclass(frozen=True)
class Host:
    """A host by its name; card: that of its end of the wire. `lo`, the other card, leads to itself."""

    name: str
    card: str

    def start(self, command: list[str], card: str, **environment: str) -> subprocess.Popen[str]:
        """A program that runs there, whose processes talk through `card`."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=os.environ | environment | {"GLOO_SOCKET_IFNAME": card},
        )  # fmt: skip


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host] | None]:
    """Both, the first of which is at FIRST; None where this machine lets nobody make them."""
    if shutil.which("ip") is None:
        yield None
        return
    hosts = tuple(Host(f"sshpe{number}-{os.getpid()}", f"wire{number}") for number in (1, 2))
    made = []
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
            made.append(host)
        first, second = hosts
        wire = ("type", "veth", "peer", "name", second.card, "netns", second.name)
        _ip("link", "add", first.card, "netns", first.name, *wire)
        for number, host in enumerate(hosts, 1):
            _ip("-n", host.name, "addr", "add", f"10.77.0.{number}/24", "dev", host.card)
            for card in ("lo", host.card):
                _ip("-n", host.name, "link", "set", card, "up")
    except subprocess.CalledProcessError:
        ready = False
    else:
        ready = True
    try:
        yield hosts if ready else None
    finally:
        for host in made:
            _ip("netns", "del", host.name)
