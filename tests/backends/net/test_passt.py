"""passt at the far end of the cable."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from bimetal.backends.net.choose import open_network
from bimetal.backends.net.passt import _Passt
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError
from tests.backends.net.station import Station, turn_until
from tests.host import program_path, programs

MAC = "52:54:00:00:00:01"


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that any user may write to: started by root, passt becomes nobody."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def discover() -> bytes:
    """What a DHCP client says first."""
    options = [("message-type", "discover"), "end"]
    client = BOOTP(chaddr=bytes.fromhex(MAC.replace(":", "")), xid=7)
    packet = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / client
    return bytes(Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / packet / DHCP(options=options))


def offered(station: Station) -> bool:
    return any(DHCP in Ether(data) for data in station.frames)


@programs("passt")
def test_a_passt_of_our_own_answers_and_ends_with_the_network(reactor: Reactor) -> None:
    network = open_network("passt", [])
    assert isinstance(network, _Passt)
    station = Station(network, reactor)
    assert station.link
    station.send(discover())
    turn_until(reactor, lambda: offered(station) or not station.link)
    if not station.link:
        pytest.skip("passt cannot run on this host: it needs namespaces")
    network.close()
    assert network._process.returncode is not None
    network.close()


@programs("passt")
def test_a_passt_that_runs_already(reactor: Reactor, open_folder: Path) -> None:
    path = open_folder / "passt.socket"
    its = subprocess.Popen([program_path("passt"), "-f", "-q", "-1", "-s", str(path)])
    try:
        turn_until(reactor, lambda: path.exists() or its.poll() is not None)
        if its.poll() is not None:
            pytest.skip("passt cannot run on this host: it needs namespaces")
        station = Station(open_network("passt", [("path", str(path))]), reactor)
        station.send(discover())
        turn_until(reactor, lambda: offered(station))
        station.network.close()
    finally:
        its.kill()
        its.wait()


def test_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BimetalError, match="passt is not installed") as caught:
        open_network("passt", [])
    assert "user" in caught.value.remedy


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ({"path": "/nowhere/passt"}, "nobody answers at unix:/nowhere/passt"),
        ({"path": "/nowhere/passt", "tcp-ports": "80"}, "has its ports"),
        ({"hostfwd": "x"}, "'hostfwd' means nothing"),
    ],
)
def test_errors(words: dict[str, str], cause: str) -> None:
    with pytest.raises(BimetalError, match=cause):
        open_network("passt", list(words.items()))
