"""A Debian kernel on a user network: addresses, echoes, names, and files in both directions."""

from __future__ import annotations

import hashlib
import random
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import PROMPT, Fetch, Terminal
from tests.boot.debian import serving

pytestmark = pytest.mark.boot

Start = Callable[..., Terminal]

SIZE = 8 << 20

READY = "ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2"
"""As guests may do by themselves; to do it twice is no harm."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file of random bytes."""
    (tmp_path / "big").write_bytes(random.Random(1).randbytes(SIZE))
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[int]:
    """The port of a server of the host, which only its loopback interface has."""
    with serving(folder) as port:
        yield port


def free_port() -> int:
    """A port of the loopback interface at which nobody listens just now."""
    with socket.create_server(("127.0.0.1", 0)) as line:
        port: int = line.getsockname()[1]
        return port


def converse(terminal: Start, name: str, folder: Path, server: int, *words: str) -> None:
    port = free_port()
    network = f"user,hostfwd=tcp::{port}-:8000"
    vm = terminal(name, "--append", "quiet", "--net", network, *words)
    vm.expect(PROMPT)
    vm.do("until ip -4 addr show eth0 | grep -q inet; do sleep 0.1; done")  # as init has it done
    told = vm.do("udhcpc -n -q -f -i eth0 -s /bin/true")
    assert "lease of 10.0.2.15 obtained from 10.0.2.2" in told
    vm.do(f"{READY}; echo nameserver 10.0.2.3 > /etc/resolv.conf")
    assert " 0% packet loss" in vm.do("ping -c 3 10.0.2.2")
    assert "Address: 10.0.2.2" in vm.do("nslookup _gateway 10.0.2.3")
    vm.do("until ip -6 route | grep -q default; do sleep 1; done")  # by the router's advertisement
    assert " 0% packet loss" in vm.do("ping -c 3 fec0::2")

    digest = hashlib.md5((folder / "big").read_bytes()).hexdigest()
    vm.do(f"wget -q -O /big http://10.0.2.2:{server}/big")
    assert vm.do("md5sum /big").split()[0] == digest
    assert vm.do(f"wget -q -O - http://10.0.2.2:{server}/big | md5sum").split()[0] == digest
    assert "Connection refused" in vm.do(f"wget -O - http://10.0.2.2:{free_port()}/ 2>&1", 1)

    vm.do("httpd -p 8000 -h /")
    for _ in range(2):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/big", timeout=300) as answer:
            assert hashlib.md5(answer.read()).hexdigest() == digest
    vm.send("exit\r")
    assert vm.end() == 0
    with socket.create_server(("127.0.0.1", port)):
        pass  # the port is free again


def test_a_guest_reaches_the_host_and_is_reached(
    terminal: Start, fetched: Fetch, folder: Path, server: int
) -> None:
    fetched("debian-riscv64")
    converse(terminal, "debian-riscv64", folder, server)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("debian-arm64", ()),
        ("debian-riscv64", ("--cpus", "4")),
        ("debian-arm64", ("--cpus", "4")),
    ],
)
def test_other_guests_do_too(
    terminal: Start, fetched: Fetch, folder: Path, server: int, name: str, words: tuple[str, ...]
) -> None:
    fetched(name)
    converse(terminal, name, folder, server, *words)
