"""Several hosts on one machine: network namespaces on a bridge, whose cables can be pulled. Needs root.

with network() as lan:
    database = lan.host("database")
    subprocess.run([*database.inside, "postgres", "-h", database.address])
    database.cut()   # nothing comes through, and nobody says goodbye
    database.join()
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.fleet.daemon import missing


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host: its address, what runs a command on it, and its cable."""

    address: str
    inside: tuple[str, ...]
    cable: str

    def cut(self) -> None:
        """Pull its cable."""
        _ip("link", "set", self.cable, "down")

    def join(self) -> None:
        """Plug it in again."""
        _ip("link", "set", self.cable, "up")


@dataclass(kw_only=True)
class Network:
    """A bridge, and the hosts on it. This machine is on it, too: that is where the clients are."""

    number: int
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def bridge(self) -> str:
        return f"coppice{self.number}"

    def host(self, name: str) -> Host:
        """A new host."""
        count = len(self.hosts) + 1
        space, cable = f"coppice-{self.number}-{name}", f"cop{self.number}-{count}"
        address = f"10.213.{self.number}.{count}"
        _ip("netns", "add", space)
        self.hosts[name] = Host(address=address, inside=("nsenter", f"--net=/run/netns/{space}"), cable=cable)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", cable, "master", self.bridge, "up")
        _ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", space, "link", "set", device, "up")
        return self.hosts[name]


@contextmanager
def network() -> Iterator[Network]:
    """A network of this test's own; without root, or where the kernel has none, the test is skipped."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    lan = Network(number=os.getpid() % 250)
    made = subprocess.run(["ip", "link", "add", lan.bridge, "type", "bridge"], capture_output=True, check=False)
    if made.returncode != 0:
        missing(f"a network bridge ({made.stderr.decode().strip()})")
    try:
        _ip("addr", "add", f"10.213.{lan.number}.254/24", "dev", lan.bridge)
        _ip("link", "set", lan.bridge, "up")
        yield lan
    finally:
        for name in lan.hosts:
            _ip("netns", "del", f"coppice-{lan.number}-{name}")  # its cable goes with it
        _ip("link", "del", lan.bridge)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
