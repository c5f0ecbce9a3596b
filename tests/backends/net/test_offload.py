"""Checksums and segments in software, against the plain words of RFC 1071, 791, 8200 and 9293."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimetal.backends.net.checksum import filled_in, header_checksum, words_sum
from bimetal.backends.net.offload import SoftwareOffload
from bimetal.backends.net.segments import plain_frames
from bimetal.base.frames import (
    CHECKSUM_VALID,
    NEEDS_CHECKSUM,
    PLAIN,
    Frame,
    Offload,
    Offloads,
    Segmentation,
)
from tests.backends.net.station import Station
from tests.devices.virtio.cable import OTHER, STATION, Cable

SOURCE, TARGET = bytes((10, 0, 2, 15)), bytes((10, 0, 2, 2))
SOURCE6, TARGET6 = (
    bytes.fromhex("fec0" + "00" * 13 + "15"),
    bytes.fromhex("fec0" + "00" * 13 + "02"),
)
FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80


def internet_sum(data: bytes) -> int:
    """The sum as RFC 1071, 4.1, has it: word by word, with the carry brought around."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def tcp_frame(
    payload: bytes,
    *,
    version: int = 4,
    flags: int = ACK | PSH | FIN,
    options: bytes = b"\1\1\1\0",
    sequence: int = 0xFFFF_FF00,
    tag: bytes = b"",
) -> bytes:
    """A TCP segment of any length as a driver leaves it to the card: checksums are not there."""
    words = 5 + len(options) // 4
    tcp = struct.pack(">HHIIBBHHH", 4000, 80, sequence, 7, words << 4, flags, 1000, 0, 0) + options
    if version == 4:
        length = 20 + len(tcp) + len(payload)
        header = struct.pack(">BBHHHBBH", 0x45, 0, length & 0xFFFF, 0xFFFE, 0x4000, 64, 6, 0)
        ip, kind = header + SOURCE + TARGET, b"\x08\x00"
    else:
        header = struct.pack(">IHBB", 6 << 28, len(tcp) + len(payload) & 0xFFFF, 6, 64)
        ip, kind = header + SOURCE6 + TARGET6, b"\x86\xdd"
    return STATION + OTHER + tag + kind + ip + tcp + payload


def cut(version: int, size: int, *, more: int = 0, tag: int = 0) -> Offload:
    start = 14 + tag + (20 if version == 4 else 40)
    kind = Segmentation.TCP4 if version == 4 else Segmentation.TCP6
    return Offload(NEEDS_CHECKSUM, kind | more, start + 24, size, start, 16)


def check_checksums(frame: bytes, version: int, tag: int = 0) -> None:
    """Both checksums are right: the sum with them is all ones."""
    ip = frame[14 + tag :]
    if version == 4:
        assert internet_sum(ip[:20]) == 0xFFFF
        assert int.from_bytes(ip[2:4], "big") == len(ip)
        pseudo, tcp = ip[12:20], ip[20:]
    else:
        assert int.from_bytes(ip[4:6], "big") == len(ip) - 40
        pseudo, tcp = ip[8:40], ip[40:]
    assert internet_sum(pseudo + struct.pack(">HH", 6, len(tcp)) + tcp) == 0xFFFF


@given(st.binary(max_size=70))
def test_sums_are_those_of_the_rfc(data: bytes) -> None:
    assert words_sum(data) % 0xFFFF == internet_sum(data) % 0xFFFF


def test_checksums_of_packets_that_are_known() -> None:
    # The example of RFC 1071, section 3; and the header that textbooks take, whose sum is B861.
    assert words_sum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2
    header = bytes.fromhex("45000073000040004011" + "0000" + "c0a80001c0a800c7")
    assert header_checksum(header) == 0xB861
    assert header_checksum(b"\xff\xff") == 0
    assert filled_in(0xFFFF) == 0xFFFF, "UDP may not have 0"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("length", [0, 1, 999, 1000, 1001, 5000, 65000])
def test_a_long_frame_becomes_segments(version: int, length: int) -> None:
    payload = random.Random(length).randbytes(length)
    whole = tcp_frame(payload, version=version, flags=ACK | PSH | FIN | CWR)
    made = [b"".join(f.pieces) for f in plain_frames(Frame([whole], cut(version, 1000)))]
    assert len(made) == max(1, -(-length // 1000))
    tcp = 34 if version == 4 else 54
    assert b"".join(frame[tcp + 24 :] for frame in made) == payload
    for number, frame in enumerate(made):
        check_checksums(frame, version)
        sequence, flags = int.from_bytes(frame[tcp + 4 : tcp + 8], "big"), frame[tcp + 13]
        assert sequence == (0xFFFF_FF00 + 1000 * number) % 2**32
        last, first = number == len(made) - 1, number == 0
        assert flags == ACK | (PSH | FIN) * last | CWR * first
        assert frame[:12] == STATION + OTHER
        assert frame[tcp + 20 : tcp + 24] == b"\1\1\1\0"
        if version == 4:
            assert int.from_bytes(frame[18:20], "big") == (0xFFFE + number) % 2**16


def test_tags_of_vlans_stay() -> None:
    tag = b"\x81\x00\x00\x07"
    whole = tcp_frame(bytes(3000), tag=tag)
    made = [b"".join(f.pieces) for f in plain_frames(Frame([whole], cut(4, 1000, tag=4)))]
    assert len(made) == 3
    for frame in made:
        assert frame[12:16] == tag
        check_checksums(frame, 4, tag=4)


def test_a_checksum_is_filled_in() -> None:
    """A driver leaves the sum of the pseudo header there, as it is (virtio 1.2, 5.1.6.2)."""
    whole = bytearray(tcp_frame(b"odd"))
    pseudo = words_sum(SOURCE + TARGET) + 6 + len(whole) - 34
    whole[50:52] = (pseudo % 0xFFFF).to_bytes(2, "big")
    offload = Offload(NEEDS_CHECKSUM, 0, 0, 0, 34, 16)
    (made,) = plain_frames(Frame([whole[:30], whole[30:]], offload))
    assert made.offload is PLAIN
    frame = b"".join(made.pieces)
    tcp = frame[34:]
    assert internet_sum(SOURCE + TARGET + struct.pack(">HH", 6, len(tcp)) + tcp) == 0xFFFF


@pytest.mark.parametrize(
    ("frame", "offload"),
    [
        (tcp_frame(bytes(3000)), cut(6, 1000)),
        (tcp_frame(bytes(3000), version=6), cut(4, 1000)),
        (tcp_frame(bytes(3000)), cut(4, 1)),
        (tcp_frame(bytes(3000)), cut(4, 1000)._replace(checksum_start=35)),
        (tcp_frame(bytes(3000)), cut(4, 1000)._replace(checksum_start=60000)),
        (tcp_frame(bytes(3000))[:50], cut(4, 1000)),
        (tcp_frame(b"", options=b"\1" * 40)[:70], cut(4, 1000)),
        (tcp_frame(b"x"), Offload(NEEDS_CHECKSUM, 0, 0, 0, 34, 60000)),
        (tcp_frame(b"x"), Offload(NEEDS_CHECKSUM, 0, 0, 0, 3, 16)),
    ],
)
def test_what_is_not_what_it_says_becomes_nothing(frame: bytes, offload: Offload) -> None:
    assert plain_frames(Frame([frame], offload)) == []


WORDS = st.integers(0, 0xFFFF)


@given(
    st.one_of(st.binary(min_size=14, max_size=200), st.binary(max_size=300).map(tcp_frame)),
    st.builds(Offload, st.integers(0, 3), st.integers(0, 255), WORDS, WORDS, WORDS, WORDS),
)
def test_hostile_offloads(data: bytes, offload: Offload) -> None:
    made = plain_frames(Frame([data], offload))
    assert sum(len(b"".join(frame.pieces)) for frame in made) <= len(data) * 12
    assert all(frame.offload is PLAIN for frame in made)


# Between a NIC and a network of which one does less


def both(takes: int) -> tuple[Cable, Station]:
    """A network that does ``takes``, and a NIC beyond the software."""
    network = Cable(offloads=takes)
    return network, Station(SoftwareOffload(network))


def lengths(frames: Sequence[tuple[bytes, Offload]]) -> list[int]:
    return [len(data) for data, _ in frames]


def test_a_network_gets_what_it_takes_and_no_more() -> None:
    whole, offload = tcp_frame(bytes(2500)), cut(4, 1000)
    network, station = both(Offloads.ALL)
    station.send(whole, offload=offload)
    assert network.sent == [(whole, offload)]
    for takes in (0, Offloads.CHECKSUM, Offloads.CHECKSUM | Offloads.TCP6):
        network, station = both(takes)
        assert station.network.offloads == Offloads.ALL
        station.send(b"plain frame---", whole)
        station.send(whole, offload=offload)
        assert lengths(network.sent) == [14, len(whole), 1058, 1058, 558]
    network, station = both(Offloads.CHECKSUM | Offloads.TCP4)
    station.send(whole, offload=offload)
    station.send(whole, offload=cut(4, 1000, more=Segmentation.ECN))
    assert lengths(network.sent) == [len(whole), 1058, 1058, 558]


def test_a_guest_gets_what_it_takes_and_no_more() -> None:
    network, station = both(0)
    network.deliver(tcp_frame(bytes(2500)), offload=cut(4, 1000))
    assert lengths(station.received) == [1058, 1058, 558]
    network.deliver(b"checked frame-", offload=Offload(CHECKSUM_VALID))
    assert station.received[-1] == (b"checked frame-", PLAIN)
    station.network.negotiated(Offloads.CHECKSUM | Offloads.TCP4)
    assert network.accepted == [Offloads.CHECKSUM | Offloads.TCP4]
    network.deliver(tcp_frame(bytes(2500)), offload=cut(4, 1000))
    assert station.received[-1] == (tcp_frame(bytes(2500)), cut(4, 1000))


def test_a_frame_that_was_begun_is_finished_before_the_next() -> None:
    network, station = both(0)
    network.room = 2
    station.send(tcp_frame(b"a" * 4500), offload=cut(4, 1000))
    station.send(b"the frame behind it")
    assert lengths(network.sent) == [1058, 1058]
    assert len(station.waiting) == 1
    network.make_room(1)
    assert lengths(network.sent) == [1058] * 3
    assert station.woken == 0
    network.make_room(None)
    assert lengths(network.sent) == [1058] * 4 + [558, 19]
    assert station.waiting == []


def test_the_same_towards_the_guest() -> None:
    network, station = both(0)
    station.room = 2
    network.deliver(tcp_frame(b"a" * 4500), offload=cut(4, 1000))
    network.deliver(b"the frame behind it")
    assert lengths(station.received) == [1058, 1058]
    station.make_room(1)
    assert lengths(station.received) == [1058] * 3
    station.make_room(None)
    assert lengths(station.received) == [1058] * 4 + [558, 19]


@given(
    st.lists(st.sampled_from([0, 1, 500, 3000, 20000]), max_size=6),
    st.lists(st.integers(0, 7), max_size=60),
)
def test_no_frame_is_lost_or_doubled_whatever_room_there_is(
    payloads: list[int], rooms: list[int]
) -> None:
    network, station = both(0)
    network.room = 0
    frames = [tcp_frame(bytes((number,)) * length) for number, length in enumerate(payloads)]
    for frame in frames:
        station.send(frame, offload=cut(4, 1000))
    for room in rooms:
        network.make_room(room)
    network.make_room(None)
    assert station.waiting == []
    wanted = b"".join(frame[58:] for frame in frames)
    assert b"".join(data[58:] for data, _ in network.sent) == wanted
