"""Captures, as tcpdump reads them."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
from pathlib import Path

import pytest

from bimetal.backends.net.capture import Capture
from bimetal.base.errors import BimetalError
from tests.backends.net.station import Station
from tests.devices.virtio.cable import Cable, frame
from tests.host import program_path, programs

TCPDUMP = "tcpdump"


def read(path: Path) -> list[bytes]:
    """The frames of a capture, each as tcpdump's hexadecimal dump has it."""
    words = [program_path(TCPDUMP), "-nn", "-t", "-xx", "-r", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "truncated" not in done.stderr
    frames: list[bytes] = []
    for line in done.stdout.splitlines():
        if line.startswith("\t0x"):
            frames[-1] += bytes.fromhex(line.partition(":")[2].replace(" ", ""))
        else:
            frames.append(b"")
    return frames


@programs(TCPDUMP)
def test_what_goes_both_ways_is_in_the_file_in_its_order(tmp_path: Path) -> None:
    path, cable = tmp_path / "trace.pcapng", Cable()
    station = Station(Capture(cable, str(path)))
    cable.answer = frame(b"answer")
    station.send(frame(b"question"))
    cable.answer = None
    cable.deliver(frame(bytes(9000)))
    expected = [frame(b"question"), frame(b"answer"), frame(bytes(9000))]
    assert read(path) == expected, "it is complete before it is closed"
    station.network.close()
    assert read(path) == expected
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "what people say to each other is private"


@programs(TCPDUMP)
def test_frames_that_find_no_room_are_written_once(tmp_path: Path) -> None:
    path, cable = tmp_path / "trace.pcapng", Cable()
    station = Station(Capture(cable, str(path)))
    cable.room = 1
    station.send(frame(b"1"), frame(b"2"), frame(b"3"))
    cable.make_room(None)
    station.room = 1
    cable.deliver(frame(b"4"), frame(b"5"))
    station.make_room(None)
    assert read(path) == [frame(bytes((digit,))) for digit in b"12345"]


@programs(TCPDUMP)
def test_a_full_disk_ends_the_capture_and_not_the_network(tmp_path: Path) -> None:
    path, cable = tmp_path / "trace.pcapng", Cable()
    station = Station(Capture(cable, str(path)))
    station.send(frame(b"1"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, before[1]))
        station.send(frame(bytes(200)), frame(b"2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    station.send(frame(b"3"))
    assert len(cable.sent) == 4
    assert read(path) == [frame(b"1")], "no frame is cut in two"


@programs(TCPDUMP)
def test_an_earlier_capture_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "trace.pcapng"
    for data in (b"a first run, which was longer", b"second"):
        station = Station(Capture(Cable(), str(path)))
        station.send(frame(data))
        station.network.close()
    assert read(path) == [frame(b"second")]
    path.write_bytes(b"a user's file")
    with pytest.raises(BimetalError, match="is no pcapng file"):
        Capture(Cable(), str(path))
    assert path.read_bytes() == b"a user's file"


@pytest.mark.parametrize("path", ["/nowhere/trace.pcapng", "/proc/1/x", "/"])
def test_a_capture_that_cannot_be(path: str) -> None:
    with pytest.raises(BimetalError, match="cannot be written") as caught:
        Capture(Cable(), path)
    assert caught.value.remedy


def test_a_pipe_that_nobody_reads_ends_the_capture_and_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    cable = Cable()
    station = Station(Capture(cable, str(path)))
    for _ in range(100):
        station.send(frame(bytes(5000)))
    assert len(cable.sent) == 100
