"""Hostile drivers: whatever a guest writes into rings and registers, only it may suffer.

Each device runs beside things that it must not touch: a ROM, a piece of RAM that belongs to no
ring, and a back end that knows its bounds. Whatever happens, nothing raises, a broken device stays
silent until its reset, and after a reset it works like new.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bimetal.backends.block.memory import MemoryDisk
from bimetal.backends.chars.ring import Ring as Line
from bimetal.base.frames import Frame
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.virtio.balloon import VirtioBalloon
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.console import VirtioConsole
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.gpu import VirtioGpu
from bimetal.devices.virtio.input import VirtioInput, keyboard, tablet
from bimetal.devices.virtio.net import VirtioNet
from bimetal.devices.virtio.ninep import VirtioNinep
from bimetal.devices.virtio.rng import VirtioRng
from bimetal.devices.virtio.scsi import VirtioScsi
from bimetal.devices.virtio.serial import VirtioSerial
from bimetal.devices.virtio.vsock import VirtioVsock
from bimetal.devices.virtio.vsock_connection import Connection
from bimetal.devices.virtio.vsock_packets import HEADER
from bimetal.memory.ram import Ram
from tests.devices.virtio.cable import STATION, Cable, frame
from tests.devices.virtio.guest import (
    BASE,
    NEEDS_RESET,
    QUEUE_NOTIFY,
    STATUS,
    WRITE,
    Guest,
    Ring,
)

MEMORY = 64 << 10
QUEUE = 8
ROM = BASE + MEMORY
FAR = BASE + (1 << 20)
ARENA = BASE + MEMORY // 2
"""Where hostile buffers and tables lie; the rings lie below."""


class GuardedDisk(MemoryDisk):
    """A disk that a wrong offset or length makes fail aloud."""

    def _guard(self, offset: int, length: int) -> None:
        assert 0 <= offset <= offset + length <= self.size, f"{length} bytes at {offset}"

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._guard(offset, sum(map(len, buffers)))
        super().readv(offset, buffers)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._guard(offset, sum(map(len, buffers)))
        super().writev(offset, buffers)

    def discard(self, offset: int, length: int) -> None:
        self._guard(offset, length)
        super().discard(offset, length)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        self._guard(offset, length)
        super().write_zeroes(offset, length)


def block() -> VirtioDevice:
    return VirtioBlock(GuardedDisk(64 << 10), "fuzz")


def console() -> VirtioDevice:
    line = Line(limit=1 << 16)
    line.send(b"typed before anybody listened" * 100)
    return VirtioConsole(line, (80, 25))


def rng() -> VirtioDevice:
    return VirtioRng(bytes)


def net() -> VirtioDevice:
    cable = Cable()
    cable.answer = frame(b"answer")
    return VirtioNet(cable, STATION)


class Echo:
    """Answers each message with as much of it as there is room for."""

    limit = 8192
    readonly = True

    def answer(self, request: bytes, room: int) -> bytes:
        return (request + bytes(11))[: min(room, self.limit)]

    def reset(self) -> None: ...

    def close(self) -> None: ...

    def save(self) -> dict[str, Any]:
        return {}

    def load(self, state: Mapping[str, Any]) -> None: ...


def ninep() -> VirtioDevice:
    return VirtioNinep(Echo(), "fuzz")


class Nowhere:
    """Takes what a guest sends to any port of its host."""

    def connect(self, device: VirtioVsock) -> None: ...

    def dial(self, port: int) -> Nowhere:
        return self

    def begin(self, end: Connection) -> None:
        end.receive(b"hello" * 100)

    def established(self, port: int) -> None: ...

    def write(self, data: bytes) -> int:
        return len(data) // 2

    def read_on(self) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None: ...


def vsock() -> VirtioDevice:
    return VirtioVsock(Nowhere())


def serial() -> VirtioDevice:
    lines = [Line(limit=1 << 16), Line(limit=1 << 16)]
    for line in lines:
        line.send(b"typed before anybody listened" * 100)
    return VirtioSerial([("one", lines[0]), ("two", lines[1])])


def scsi() -> VirtioDevice:
    return VirtioScsi([ScsiDisk(GuardedDisk(64 << 10)), ScsiCdrom()])


def gpu() -> VirtioDevice:
    return VirtioGpu(64, 64)


def keys() -> VirtioDevice:
    return VirtioInput(keyboard())


def pointer() -> VirtioDevice:
    return VirtioInput(tablet())


DEVICES = [
    *(block, console, rng, net, ninep, vsock, VirtioBalloon, scsi, serial),
    *(gpu, keys, pointer),
]


class Range:
    """A guest with a device, and what the device must leave alone."""

    def __init__(self, make: Callable[[], VirtioDevice]):
        self.guest = Guest(make(), MEMORY)
        self.rom = Ram("rom", 4096, readonly=True)
        self.far = Ram("far", 4096)
        for memory, at in ((self.rom, ROM), (self.far, FAR)):
            memory.bytes[:] = b"\x5a" * 4096
            self.guest.space.add_memory(memory, at)

    def start(self) -> list[Ring]:
        """Reset the device, if there is one, and begin anew with memory that is zero."""
        self.guest.write(STATUS, 0)
        self.guest.ram.clear()
        self.guest._next = BASE
        if not self.guest.slot.device.queues:
            return []
        queues = len(self.guest.slot.device.queues)
        return self.guest.start(self.guest.offered, queues, QUEUE)

    def check(self) -> None:
        assert self.rom.bytes == b"\x5a" * 4096
        assert self.guest.irq() == (self.guest.read(0x060) != 0)

    def stir(self) -> None:
        """Have the outside do what it may do at any time."""
        device = self.guest.slot.device
        if isinstance(device, VirtioNet):
            long = [frame(bytes(range(200)))[:100], bytes(3000)]
            assert 0 <= device.receive([Frame([frame()]), Frame(long)] * 3) <= 6
            device.sendable()
        if isinstance(device, VirtioInput):
            for code in device.kind.codes[1][:3]:
                device.press(code, code not in device._down)
            device.point(1, 2)

    def check_alive(self) -> None:
        """After a reset the device does its work."""
        rings = self.start()
        assert not self.guest.read(STATUS) & NEEDS_RESET
        place = self.guest.room(64)
        match self.guest.slot.device:
            case VirtioBlock():
                rings[0].submit(self.guest.place(struct.pack("<IIQ", 8, 0, 0)), place)
                assert self.guest.peek(place)[:4] == b"fuzz"
            case VirtioRng():
                rings[0].submit(place)
                assert self.guest.peek(place) == bytes(64)
            case VirtioNinep():
                rings[0].submit(self.guest.place(b"hello"), place)
                assert self.guest.peek(place)[:5] == b"hello"
            case VirtioSerial():
                rings[2].submit(place)
                rings[3].submit(self.guest.place(struct.pack("<IHH", 0, 0, 1)))
                assert self.guest.peek(place)[:8] == struct.pack("<IHH", 0, 1, 0)
                rings = rings[:4]
            case VirtioScsi():
                inquiry = bytes((1, 0)) + bytes(17) + bytes((0x12, 0, 0, 0, 36)) + bytes(27)
                rings[2].submit(self.guest.place(inquiry), self.guest.room(108), place)
                assert self.guest.peek(place)[8:16] == b"BIMETAL "
            case VirtioBalloon():
                rings[3].submit((BASE + MEMORY - 4096, 4096, WRITE))
                assert self.guest.ram.bytes[-4096:] == bytes(4096)
            case VirtioVsock():
                request = HEADER.pack(3, 2, 1, 1, 0, 1, 1, 0, 0, 0)
                rings[0].submit(place)
                rings[1].submit(self.guest.place(request))
                assert len(rings[0].completed()) == 1
                rings = rings[:2]
            case VirtioGpu():
                rings[0].submit(self.guest.place(struct.pack("<I20x", 0x100)), place)
                assert self.guest.peek(place)[:4] == struct.pack("<I", 0x1101)
                rings = rings[:1]
            case VirtioInput() as device:
                rings[0].submit(place)
                device.press(device.kind.codes[1][0], True)
                assert self.guest.peek(place)[:2] == b"\1\0"
                rings = rings[:1]
            case VirtioConsole():
                rings[1].submit(self.guest.place(b"hello"))
            case VirtioNet():
                rings[0].submit(place)
                rings[1].submit(self.guest.place(bytes(12) + frame(b"hello")))
                assert len(rings[0].completed()) == 1
                rings[2].submit(self.guest.place(b"\0\0\1"), place)
                assert self.guest.peek(place)[0] == 0
        assert len(rings[-1].completed()) == 1


ADDRESSES = st.one_of(
    st.integers(ARENA, ARENA + 512),
    st.integers(BASE, BASE + MEMORY),
    st.sampled_from(
        [0, BASE, BASE - 1, ROM - 1, ROM, ROM + 4095, ROM + 4096, FAR, FAR + 4090, 2**64 - 1, 2**63]
    ),
    st.integers(0, 2**64 - 1),
)
LENGTHS = st.one_of(
    st.sampled_from([0, 1, 16, 20, 32, 48, 512, 513, 1024, 4096, MEMORY, 2**31, 2**32 - 1]),
    st.integers(0, 256),
)
FLAGS = st.one_of(st.integers(0, 7), st.integers(0, 0xFFFF))
INDEXES = st.one_of(st.integers(0, QUEUE), st.integers(0, 0xFFFF))
DESCRIPTORS = st.builds(struct.Struct("<QIHH").pack, ADDRESSES, LENGTHS, FLAGS, INDEXES)
TABLES = st.lists(DESCRIPTORS, min_size=QUEUE, max_size=QUEUE).map(b"".join)
HEADERS = st.builds(
    struct.Struct("<IIQ").pack,
    st.sampled_from([0, 1, 4, 8, 11, 13, 99]),
    st.just(0),
    st.one_of(st.integers(0, 130), st.just(2**64 - 1), st.just(2**55)),
)
PACKETS = st.builds(
    HEADER.pack,
    st.sampled_from([3, 3, 3, 2, 2**64 - 1]),
    st.sampled_from([2, 2, 2, 3]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from([0, 0, 1, 64, 2**18 + 1, 2**32 - 1]),
    st.sampled_from([1, 1, 1, 2]),
    st.integers(0, 8),
    st.integers(0, 4),
    st.sampled_from([0, 1, 2**18, 2**32 - 1]),
    st.sampled_from([0, 1, 100, 2**32 - 1]),
)
ARENAS = st.one_of(
    TABLES,
    st.lists(PACKETS, max_size=12).map(b"".join),
    st.lists(st.one_of(HEADERS, DESCRIPTORS), max_size=32).map(b"".join),
    st.binary(),
)
AVAILABLE = st.tuples(
    st.integers(0, 1),
    st.one_of(st.integers(0, QUEUE + 1), st.integers(0, 0xFFFF)),
    st.lists(INDEXES, min_size=QUEUE, max_size=QUEUE),
    st.integers(0, 0xFFFF),
)
ROUNDS = st.lists(st.tuples(TABLES, ARENAS, AVAILABLE), min_size=1, max_size=4)

quick = settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("make", DEVICES)
@quick
@given(rounds=ROUNDS, queue=st.integers(0, 2))
def test_hostile_rings(
    make: Callable[[], VirtioDevice],
    rounds: list[tuple[bytes, bytes, tuple[int, int, list[int], int]]],
    queue: int,
) -> None:
    world = Range(make)
    guest, rings = world.guest, world.start()
    ring = rings[queue % len(rings)]
    for table, arena, (flags, index, heads, event) in rounds:
        broken = guest.read(STATUS) & NEEDS_RESET
        before = bytes(guest.ram.bytes)
        guest.space.write(ARENA, arena)
        guest.space.write(ring.descriptors, table)
        words = struct.pack(f"<{QUEUE + 3}H", flags, index, *heads, event)
        guest.space.write(ring.available, words)
        if broken:
            before = bytes(guest.ram.bytes)
        ring.notify()
        world.stir()
        world.check()
        if broken:
            assert guest.ram.bytes == before, "a broken device wrote to memory"
            assert guest.read(STATUS) & NEEDS_RESET, "a broken device recovered by itself"
    world.check_alive()
    guest.slot.close()


@pytest.mark.parametrize("make", DEVICES)
@quick
@given(
    writable=st.lists(st.tuples(st.integers(0, 2000), st.booleans()), max_size=6),
    header=st.one_of(HEADERS, st.binary(max_size=40)),
    indirect=st.booleans(),
)
@example(writable=[(1, True)], header=bytes(16), indirect=True)
def test_used_lengths_and_untouched_bytes(
    make: Callable[[], VirtioDevice],
    writable: list[tuple[int, bool]],
    header: bytes,
    indirect: bool,
) -> None:
    """A device says truly how much it wrote, and writes nowhere else."""
    world = Range(make)
    guest, rings = world.guest, world.start()
    ring = rings[0]
    places = [guest.room(length) for length, _ in writable]
    buffers = [guest.place(header)] + places
    head = ring.indirect(*buffers) if indirect else ring.chain(*buffers)
    ring.offer(head)
    before = bytearray(guest.ram.bytes)
    ring.notify()
    world.stir()
    world.check()
    used = ring.completed()
    assert len(used) <= 1
    for entry in used:
        assert entry.head == head
        assert entry.length <= sum(length for _, length, _ in places)
    for address, length, flags in places:
        assert flags == WRITE
        start = address - BASE
        before[start : start + length] = guest.ram.bytes[start : start + length]
    start, size = ring.used - BASE, 6 + 8 * QUEUE
    before[start : start + size] = guest.ram.bytes[start : start + size]
    assert guest.ram.bytes == before


OFFSETS = st.one_of(
    st.sampled_from([0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x84, 0x90, 0xA0]),
    st.integers(0, 0x1FF),
)
VALUES = st.one_of(
    st.integers(0, 16),
    st.sampled_from([0xF, 0x8F, QUEUE, 2**31, 2**32 - 1, BASE & 0xFFFF_FFFF, ARENA & 0xFFFF_FFFF]),
    st.integers(0, 2**64 - 1),
)
ACCESSES = st.lists(
    st.tuples(st.booleans(), OFFSETS, st.sampled_from([1, 2, 4, 8]), VALUES), max_size=60
)


@pytest.mark.parametrize("make", [*DEVICES, VirtioDevice], ids=lambda make: make.__name__)
@quick
@given(accesses=ACCESSES, begun=st.booleans())
@example(accesses=[(True, 0x20, 4, 0xFFFF_FFFF)], begun=False)
def test_hostile_registers(
    make: Callable[[], VirtioDevice],
    accesses: list[tuple[bool, int, int, int]],
    begun: bool,
) -> None:
    world = Range(make)
    if begun:
        world.start()
    for write, offset, size, value in accesses:
        if write:
            world.guest.write(offset, value & (1 << 8 * size) - 1, size)
        else:
            answer = world.guest.read(offset, size)
            assert 0 <= answer < 1 << 8 * size
        world.stir()
        world.check()
    for queue in range(2):
        world.guest.write(QUEUE_NOTIFY, queue)
    state = world.guest.slot.save()
    world.guest.slot.load(state)
    assert world.guest.slot.save() == state
    if world.guest.slot.device.queues:
        world.check_alive()
