"""Networks as Linux's own driver sees them."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pexpect
import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from bimetal import Machine, Payload
from tests.boot.conftest import LIMIT, PROMPT, Fetch, Terminal, run_piped
from tests.host import program_path, programs
from tests.spawned import kill

pytestmark = pytest.mark.boot

PEER, PEER_MAC = "192.0.2.2", "02:00:00:00:00:02"
READY = "until ip -4 addr show eth0 | grep -q inet; do sleep 0.1; done"
UP = "until ip link set eth0 up; do sleep 0.1; done"
LOST = 'until [ "$(cat /sys/class/net/eth0/carrier)" = 0 ]; do sleep 0.1; done; echo lo""st'
MEGABYTES = 4
QEMU = {
    "debian-riscv64": ["qemu-system-riscv64", "-M", "virt"],
    "debian-arm64": ["qemu-system-aarch64", "-M", "virt", "-cpu", "max"],
}


class Neighbour:
    """A machine at the far end of a cable that answers ARP and pings, made by scapy."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LIMIT)
        self.port = self._listener.getsockname()[1]
        self.pinged = 0
        threading.Thread(target=self._main, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _main(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as stream:
            while header := stream.read(4):
                frame = Ether(stream.read(struct.unpack(">I", header)[0]))
                if (answer := self._answer(frame)) is not None:
                    data = bytes(answer)
                    connection.sendall(struct.pack(">I", len(data)) + data)

    def _answer(self, frame: Packet) -> Packet | None:
        back = Ether(dst=frame.src, src=PEER_MAC)
        if ARP in frame and frame[ARP].pdst == PEER:
            asked = frame[ARP]
            return back / ARP(op=2, hwsrc=PEER_MAC, psrc=PEER, hwdst=asked.hwsrc, pdst=asked.psrc)
        if ICMP in frame and frame[ICMP].type == 8 and frame[IP].dst == PEER:
            self.pinged += 1
            echo = ICMP(type=0, id=frame[ICMP].id, seq=frame[ICMP].seq) / frame[ICMP].payload
            return back / IP(src=PEER, dst=frame[IP].src) / echo
        return None


def test_a_guest_comes_up_with_an_address_and_talks_over_a_cable_too(
    terminal: Callable[..., Terminal], fetched: Fetch
) -> None:
    fetched("debian-riscv64")
    neighbour = Neighbour()
    cable = f"stream,connect=127.0.0.1:{neighbour.port},mac=02:00:00:00:00:01,mtu=1400"
    vm = terminal("debian-riscv64", "--append", "quiet", "--net", "user", "--net", cable)
    vm.expect(PROMPT)
    vm.do(READY)
    assert "10.0.2.15/24" in vm.do("ip -4 addr show eth0")
    assert "via 10.0.2.2" in vm.do("ip route")
    assert vm.do("cat /etc/resolv.conf").endswith("nameserver 10.0.2.3")
    assert vm.do("cat /sys/class/net/eth1/address") == "02:00:00:00:00:01"
    assert vm.do("cat /sys/class/net/eth1/mtu") == "1400"
    vm.do(f"ip addr replace 192.0.2.1/24 dev eth1 && ping -q -c 2 -s 1300 {PEER}")
    assert neighbour.pinged == 2
    vm.do("ping -q -c 1 10.0.2.2")
    vm.send("exit\r")
    assert vm.end() == 0
    neighbour.close()


@pytest.mark.slow
def test_commands_find_the_network_there(terminal: Callable[..., Terminal], fetched: Fetch) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--append", 'quiet bmrun="ping -q -c 1 10.0.2.2"')
    vm.expect("1 packets received")
    assert vm.end() == 0


def test_what_is_piped_in_finds_the_network_there(fetched: Fetch) -> None:
    fetched("debian-riscv64")
    typed = "ip -4 addr show eth0\nping -q -c 1 10.0.2.2\n"
    done = run_piped("debian-riscv64", "--append", "quiet", typed=typed)
    assert "inet 10.0.2.15/24" in done.stdout
    assert "1 packets received" in done.stdout
    assert done.returncode == 0


@pytest.mark.slow
def test_without_a_network_there_is_no_card(
    terminal: Callable[..., Terminal], fetched: Fetch
) -> None:
    fetched("debian-riscv64")
    vm = terminal("debian-riscv64", "--net", "none", "--append", 'quiet bmrun="ls /sys/class/net"')
    assert vm.expect("BIMETAL-GUEST-RC=0").split()[-1] == "lo"
    assert vm.end() == 0


class Ours:
    """A guest of ours at one end of a cable."""

    def __init__(self, payload: Payload, cable: str, **options: int | str):
        self.machine = Machine(
            payload.board,
            memory="256M",
            kernel=payload.kernel,
            initrd=payload.initrd,
            append=f"{payload.append} quiet",
        )
        self.machine.nic(cable, **options)  # type: ignore[arg-type]
        self.machine.start()

    def say(self, text: str) -> None:
        self.machine.console.sendline(text)

    def hear(self, pattern: str) -> str:
        return self.machine.console.expect(re.compile(pattern), timeout=LIMIT).groups[0]

    def close(self) -> None:
        self.machine.close()


class Theirs:
    """The same guest under QEMU."""

    def __init__(self, name: str, payload: Payload, cable: str):
        words = [*QEMU[name], "-m", "256M", "-nographic", "-kernel", str(payload.kernel)]
        words += ["-initrd", str(payload.initrd), "-append", f"{payload.append} quiet"]
        words += ["-netdev", f"{cable},id=n", "-device", "virtio-net-device,netdev=n"]
        self._process = pexpect.spawn(
            program_path(words[0]), words[1:], encoding="utf-8", timeout=LIMIT, echo=False
        )

    def say(self, text: str) -> None:
        self._process.sendline(text)

    def hear(self, pattern: str) -> str:
        self._process.expect(pattern)
        assert isinstance(self._process.match, re.Match)
        return str(self._process.match[1])

    def close(self) -> None:
        kill(self._process)


def exchange(first: Ours | Theirs, second: Ours | Theirs) -> None:
    """Two guests have addresses, and give each other some megabytes over TCP, both ways."""
    ends = (first, second)
    for number, end in enumerate(ends, start=1):
        end.hear(r"(# )")  # which does not wait for the driver
        end.say(f"{UP}; ip addr add 192.0.2.{number}/24 dev eth0 && echo re''ady")
        end.hear(r"(ready)\r*\n")  # QEMU's terminal adds one of its own
    for number, (here, there) in enumerate((ends, ends[::-1]), start=1):
        here.say("nc -l -p 5000 >/tmp/got; echo go''t $(sha256sum </tmp/got)")
        there.say(f"head -c {MEGABYTES}M /dev/urandom >/tmp/x; echo se''nt $(sha256sum </tmp/x)")
        sent = there.hear(r"sent ([0-9a-f]{64})")
        there.say(f"until nc 192.0.2.{number} 5000 </tmp/x; do sleep 0.2; done")
        assert here.hear(r"got ([0-9a-f]{64})") == sent


@pytest.mark.slow
@pytest.mark.parametrize("name", QEMU)
def test_two_machines_of_ours(name: str, fetched: Fetch, tmp_path: Path) -> None:
    payload, address = fetched(name), f"unix:{tmp_path / 'cable'}"
    with closing(Ours(payload, f"stream,listen={address}", queues=2)) as first:
        with closing(Ours(payload, f"stream,connect={address}")) as second:
            exchange(first, second)
        first.hear(r"(# )")
        first.say(LOST)
        first.hear(r"(lost)\r?\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", QEMU)
@programs("qemu-system-riscv64", "qemu-system-aarch64")
def test_one_of_ours_and_one_of_qemus(name: str, fetched: Fetch, tmp_path: Path) -> None:
    payload, path = fetched(name), tmp_path / "cable"
    theirs = f"stream,server=off,addr.type=unix,addr.path={path}"
    with (
        closing(Ours(payload, f"stream,listen=unix:{path}")) as first,
        closing(Theirs(name, payload, theirs)) as second,
    ):
        exchange(first, second)
