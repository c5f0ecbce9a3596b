"""Networks in a copy of their process: it lets go of them, and the original does not notice."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from bimetal.backends.net.capture import Capture
from bimetal.backends.net.choose import open_network
from bimetal.backends.net.offload import SoftwareOffload
from bimetal.backends.net.protocol import NetBackend
from bimetal.backends.reactor import Reactor
from tests.backends.net.station import Station, turn_until
from tests.backends.net.user.cable import GATEWAY_MAC, GUEST, MAC, plugged

FRAME = bytes(range(60))


def descriptors() -> set[int]:
    """Those of this process that are open, but for the one by which they are listed."""
    found = set[int]()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            os.fstat(int(name))
            found.add(int(name))
    return found


def copy(network: NetBackend, own: set[int]) -> None:
    """Fork a process which lets go of ``network``: of its ``own`` descriptors it has none left."""
    pid = os.fork()
    if not pid:
        code = 2
        try:
            network.forked()
            network.close()
            code = bool(descriptors() & own)
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_cable_and_its_capture(tmp_path: Path) -> None:
    path, capture = tmp_path / "cable", tmp_path / "capture"
    reactor = Reactor()
    others = descriptors()
    cable = open_network("stream", [("listen", f"unix:{path}")])
    network = Capture(SoftwareOffload(cable), str(capture))
    station = Station(network, reactor)
    with socket.socket(socket.AF_UNIX) as far:
        others.add(far.fileno())
        far.settimeout(10)
        far.connect(str(path))
        turn_until(reactor, lambda: station.link)
        copy(network, descriptors() - others)
        assert path.exists()
        station.send(FRAME)
        assert far.recv(100) == len(FRAME).to_bytes(4) + FRAME
        network.close()
        assert far.recv(100) == b""
    assert FRAME in capture.read_bytes()
    reactor.close()


def test_datagrams(tmp_path: Path) -> None:
    near, far = (tmp_path / name for name in ("near", "far"))
    others = descriptors()
    words = [("local", f"unix:{near}"), ("remote", f"unix:{far}")]
    network = open_network("dgram", words)
    own = descriptors() - others
    station = Station(network, reactor := Reactor())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(str(far))
        peer.settimeout(10)
        copy(network, own)
        station.send(FRAME)
        assert peer.recv(100) == FRAME
        peer.sendto(FRAME, str(near))
        turn_until(reactor, lambda: station.frames == [FRAME])
    network.close()
    reactor.close()


def test_a_user_network_whose_sockets_wait_for_the_host() -> None:
    others = descriptors()
    with (
        plugged(("hostfwd", "tcp::0-:22")) as at,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        at.learn()
        port = server.getsockname()[1]
        to_host = Ether(src=MAC, dst=GATEWAY_MAC) / IP(src=GUEST, dst="10.0.2.2")
        at.send(to_host / UDP(sport=1000, dport=port) / b"asked")
        data, peer = server.recvfrom(100)
        assert data == b"asked"
        dialler = socket.create_connection(at.network.forwards[0][1:3])
        others |= {server.fileno(), dialler.fileno(), at.reactor._wakeup.fd}
        at.until(at.received)  # the SYN of who has dialled
        copy(at.network, descriptors() - others)
        server.sendto(b"answered", peer)
        at.until(lambda: b"answered" in b"".join(map(bytes, at.received())))
        where = at.network.forwards[0][1:3]
        at.network.close()
        assert dialler.recv(1) == b""
        dialler.close()
        with socket.create_server(where):
            pass
