"""Tap devices, in a network of the test's own: the kernel is at the other end of the cable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bimetal.backends.net.choose import open_network
from bimetal.base.errors import BimetalError, ExitCode
from tests.host import program_path, programs

ROOT = Path(__file__).resolve().parents[3]

START = """
import socket, subprocess, sys
from bimetal.backends.net.choose import open_network
from bimetal.backends.net.tap import Tap
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError
from bimetal.base.frames import NEEDS_CHECKSUM, Offloads, Segmentation
from tests.backends.net.station import Station, turn_until
from tests.backends.net.test_offload import check_checksums, cut, internet_sum, tcp_frame
from tests.devices.virtio.cable import OTHER, STATION, frame

def ip(words):
    subprocess.run(["ip", *words.split()], check=True)

reactor = Reactor()
try:
    network = open_network("tap", [("ifname", "bmtap0")])
except BimetalError as error:
    print(error)
    sys.exit(77)
station = Station(network, reactor)
ip("link set bmtap0 address 52:54:00:00:00:99")
"""


def in_namespace(script: str) -> None:
    """Run a script that begins with a tap device."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), *sys.path])
    done = subprocess.run(
        [program_path("unshare"), "-rn", sys.executable, "-c", START + script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"this host lets nobody make a tap device: {done.stdout or done.stderr}")
    assert done.returncode == 0, done.stderr


@programs("unshare", "ip")
def test_frames_go_both_ways() -> None:
    in_namespace("""
ip("link set bmtap0 up")
far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
far.bind(("bmtap0", 0x88B5))
far.settimeout(10)
station.send(frame(b"from the guest"))
assert far.recv(2000).rstrip(b"\\0") == frame(b"from the guest")
far.send(frame(b"from the host" * 20))
turn_until(reactor, lambda: frame(b"from the host" * 20) in station.frames)

whole = tcp_frame(bytes(5000))
every = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
every.bind(("bmtap0", 0x0800))
every.settimeout(10)
station.send(whole, offload=cut(4, 1000))
assert every.recv(10000) == whole, "the kernel knows that it is to be cut"
station.send(whole, offload=cut(4, 1000)._replace(checksum_start=60000))
station.send(b"short" * 3)

station.room = 0
for number in range(20):
    far.send(frame(bytes((number,)) * 40))
for _ in range(20):
    reactor.turn()
station.received.clear()
station.make_room(None)
turn_until(reactor, lambda: frame(bytes((19,)) * 40) in station.frames)
network.close()
""")


@programs("unshare", "ip")
def test_checksums_are_left_to_a_guest_that_does_them_and_to_no_other() -> None:
    in_namespace("""
ip("addr add 192.0.2.1/24 dev bmtap0")
ip("link set bmtap0 up")
ip("neigh add 192.0.2.9 lladdr 52:54:00:00:00:01 dev bmtap0")
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

def datagram():
    station.received.clear()
    out.sendto(b"data", ("192.0.2.9", 9))
    found = lambda: [each for each in station.received if each[0][12:14] == b"\\x08\\0"]
    turn_until(reactor, lambda: bool(found()))
    return found()[0]

def is_right(data):
    udp = data[34:]
    pseudo = data[26:34] + b"\\0\\x11" + len(udp).to_bytes(2, "big")
    return internet_sum(pseudo + udp) == 0xFFFF

data, offload = datagram()
assert not any(offload) and is_right(data), (offload, data)
network.negotiated(Offloads.CHECKSUM)
data, offload = datagram()
assert offload.flags & NEEDS_CHECKSUM and not is_right(data), offload
assert (offload.checksum_start, offload.checksum_offset) == (34, 6)
network.negotiated(Offloads.ALL)
network.negotiated(0)
data, offload = datagram()
assert not any(offload) and is_right(data)
network.close()
""")


@programs("unshare", "ip")
def test_a_bridge_a_device_in_use_and_one_that_goes_away() -> None:
    in_namespace("""
ip("link add br0 type bridge")
bridged = open_network("tap", [("bridge", "br0")])
shown = subprocess.run(["ip", "link", "show", "master", "br0"], capture_output=True, text=True)
assert "tap0" in shown.stdout and "UP" in shown.stdout, shown
bridged.close()

def cause(**words):
    try:
        open_network("tap", list(words.items()))
    except BimetalError as error:
        assert error.remedy
        return error.cause
    raise AssertionError(words)

assert "busy" in cause(ifname="bmtap0")
assert "the bridge br9: No such device" in cause(bridge="br9")
ip("link set bmtap0 up")
ip("link del bmtap0")
turn_until(reactor, lambda: not station.link)
station.send(frame(b"into nowhere"))
network.close()
""")


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ({"ifname": "a-name-that-is-too-long"}, "is no name of a device"),
        ({"ifname": "tap0", "fd": "3"}, "is a device that is set up"),
        ({"fd": "99999"}, "is no tap device"),
        ({"script": "/etc/qemu-ifup"}, "script= is not run"),
        ({"ifnam": "tap0"}, "'ifnam' means nothing"),
    ],
)
def test_errors(words: dict[str, str], cause: str) -> None:
    with pytest.raises(BimetalError, match=cause) as caught:
        open_network("tap", list(words.items()))
    assert caught.value.remedy


@programs("setpriv")
def test_without_permission_it_says_what_root_has_to_do() -> None:
    script = """
import sys
from bimetal.backends.net.choose import open_network
from bimetal.base.errors import BimetalError
try:
    open_network("tap", [("ifname", "bmtap1")])
except BimetalError as error:
    assert "ip tuntap add" in error.remedy or "modprobe tun" in error.remedy, error
    sys.exit(int(error.exit_code))
"""
    path = os.pathsep.join([str(ROOT / "src"), *sys.path])
    drop = ["--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [program_path("setpriv"), *drop, sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (ExitCode.NO_PERMISSION, ExitCode.UNAVAILABLE), done.stderr
