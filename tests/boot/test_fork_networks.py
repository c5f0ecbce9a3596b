"""Forks of a Linux guest on networks of their own."""

from __future__ import annotations

import re
import socket

import pytest

from bimetal import Machine
from bimetal.machine.fork import ForkConsole
from tests.boot.conftest import LIMIT, Fetch, clean
from tests.boot.test_net import READY

pytestmark = pytest.mark.boot

LISTEN = "(echo fork-{} | nc -l -p 8000) & until netstat -ltn | grep -q :8000; do sleep 0.1; done"
DRIVER = "/sys/bus/virtio/drivers/virtio_net"
REBIND = (
    "card=$(readlink /sys/class/net/eth0/device); "
    f"echo ${{card##*/}} >{DRIVER}/unbind; echo ${{card##*/}} >{DRIVER}/bind; "
    "until ip link set eth0 up; do sleep 0.1; done; "
    "udhcpc -q -n -i eth0 -s /sbin/dhcp >/dev/null 2>&1; ping -q -c 1 10.0.2.2"
)
ADDRESS = "cat /sys/class/net/eth0/address"


def do(console: ForkConsole, command: str) -> str:
    """Type a command, which succeeds; what it printed."""
    console.sendline(f"echo be''gin; {command}; echo en''d=$?")
    found = console.expect(re.compile(r"begin\r*\n(?s:(.*?))end=([0-9]+)\r"), LIMIT)
    printed, status = found.groups
    assert status == "0", f"{command}: {printed}"
    return clean(printed).strip()


def test_each_has_its_network_its_port_and_its_address(fetched: Fetch) -> None:
    guest = fetched("debian-riscv64")
    with Machine(
        guest.board,
        memory="256M",
        kernel=guest.kernel,
        initrd=guest.initrd,
        append=f"{guest.append} quiet",
    ) as vm:
        vm.nic("user", hostfwd="tcp::0-:8000")
        vm.start()
        vm.console.expect("# ", LIMIT)
        vm.console.sendline(f"{READY}; echo re''ady")
        vm.console.expect("ready\r", LIMIT)
        with vm.fork(2, networks="forked", new_macs=True) as forks:
            addresses = set()
            for number, fork in enumerate(forks):
                do(fork.console, f"ping -q -c 1 10.0.2.2; {LISTEN.format(number)}")
                (forward,) = fork.forwards
                with socket.create_connection((forward.host, forward.port), LIMIT) as line:
                    assert line.makefile().readline() == f"fork-{number}\n"
                addresses.add(do(fork.console, ADDRESS))
                do(fork.console, REBIND)
                addresses.add(do(fork.console, ADDRESS))
            assert "52:54:00:12:34:56" in addresses, "a driver keeps what it has found"
            assert len(addresses) == 3
