"""What hostile drivers put into rings, buffers and registers: strategies for hypothesis."""

from __future__ import annotations

import struct

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.virtio.vsock_packets import HEADER as PACKET
from tests.devices.virtio.guest import BASE
from tests.fuzz.virtio.carriers import ARENA, FAR, MEMORY, ROM, SLOT, WIRE

__all__ = ["HISTORIES", "MESSAGES", "ROUNDS", "TABLE", "long", "quick"]

TABLE = 8
"""Entries at the beginning of rings and tables that are filled."""

NUMBERS = st.one_of(
    st.integers(0, 16),
    st.sampled_from([0x8F, 256, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]),
    st.sampled_from([BASE, ARENA, ROM, FAR, WIRE]),
    st.sampled_from([BASE, ARENA, FAR, WIRE]).map(lambda address: address >> 12),
    st.integers(0, 2**64 - 1),
)
ADDRESSES = st.one_of(
    st.integers(ARENA, ARENA + 512),
    st.integers(BASE, BASE + MEMORY),
    st.sampled_from([0, BASE, BASE - 1, ROM - 1, ROM, ROM + 4095, ROM + 4096, FAR - 1, FAR + 4090]),
    st.sampled_from([SLOT, SLOT + 0x50, WIRE, WIRE + 8, 2**32, 2**63, 2**64 - 1]),
    st.integers(0, 2**64 - 1),
)
LENGTHS = st.one_of(
    st.sampled_from([0, 1, 16, 20, 32, 48, 512, 513, 1024, 4096, MEMORY, 2**31, 2**32 - 1]),
    st.integers(0, 256),
)
FLAGS = st.one_of(st.integers(0, 7), st.integers(0, 0xFFFF))
INDEXES = st.one_of(st.integers(0, TABLE), st.integers(0, 0xFFFF))
DESCRIPTORS = st.builds(struct.Struct("<QIHH").pack, ADDRESSES, LENGTHS, FLAGS, INDEXES)
TABLES = st.lists(DESCRIPTORS, min_size=1, max_size=TABLE).map(b"".join)

DISK_REQUESTS = st.builds(
    struct.Struct("<IIQ").pack,
    st.sampled_from([0, 1, 4, 8, 11, 13, 99]),
    st.just(0),
    st.one_of(st.integers(0, 130), st.just(2**64 - 1), st.just(2**55)),
)
SCSI_REQUESTS = st.builds(
    lambda target, opcode, rest: bytes((1, target, 0, 0)) + bytes(15) + bytes((opcode,)) + rest,
    st.integers(0, 2),
    st.one_of(
        st.sampled_from(sorted({*ScsiDisk.handlers, *ScsiCdrom.handlers})), st.integers(0, 255)
    ),
    st.one_of(st.binary(min_size=31, max_size=31), st.just(bytes(31)), st.just(b"\1" * 31)),
)
PACKETS = st.builds(
    PACKET.pack,
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
COMMANDS = st.builds(
    lambda kind, command, data: bytes((kind, command)) + data,
    st.integers(0, 6),
    st.integers(0, 6),
    st.one_of(st.binary(max_size=8), st.integers(0, 2**64 - 1).map(struct.Struct("<Q").pack)),
)
PORT_MESSAGES = st.builds(
    struct.Struct("<IHH").pack, st.integers(0, 3), st.integers(0, 8), st.integers(0, 2)
)
PAGES = st.lists(
    st.one_of(st.integers(BASE >> 12, ROM >> 12), st.integers(0, 2**32 - 1)), max_size=6
)
MESSAGES = st.one_of(
    DISK_REQUESTS,
    SCSI_REQUESTS,
    PACKETS,
    COMMANDS,
    PORT_MESSAGES,
    PAGES.map(lambda pages: struct.pack(f"<{len(pages)}I", *pages)),
    st.binary(max_size=80),
)
"""What devices are asked, each in its words, and other devices in those."""

ARENAS = st.one_of(TABLES, st.lists(st.one_of(MESSAGES, DESCRIPTORS), max_size=24).map(b"".join))
AVAILABLE = st.builds(
    lambda flags, index, heads, event: struct.pack(f"<{TABLE + 3}H", flags, index, *heads, event),
    st.integers(0, 1),
    st.one_of(st.integers(0, TABLE + 1), st.integers(0, 0xFFFF)),
    st.lists(INDEXES, min_size=TABLE, max_size=TABLE),
    st.integers(0, 0xFFFF),
)
ROUNDS = st.lists(st.tuples(TABLES, ARENAS, AVAILABLE), min_size=1, max_size=4)
"""What is in a queue's table, in its buffers and in its available ring, one after the other."""

QUEUES = st.integers(0, 8)
FEATURES = st.one_of(st.just(2**64 - 1), st.just(0), st.integers(0, 2**64 - 1))
OFFSETS = st.one_of(
    st.integers(0, 0x40),
    st.sampled_from([0x44, 0x50, 0x64, 0x70, 0x80, 0x84, 0x90, 0xA0, 0x100, 0x108, 0x120]),
    st.integers(0, 0x3FFF),
)
SIZES = st.sampled_from([1, 2, 4, 8])
BUFFERS = st.lists(st.tuples(st.integers(0, 2000), st.booleans()), max_size=6)

STEPS = st.one_of(
    st.tuples(st.just("start"), FEATURES, st.sampled_from([1, 2, 8, 16])),
    st.tuples(st.just("ask"), QUEUES, MESSAGES, BUFFERS),
    st.tuples(st.just("ask"), QUEUES, MESSAGES, BUFFERS),
    st.tuples(st.just("ring"), QUEUES, st.tuples(TABLES, ARENAS, AVAILABLE)),
    st.tuples(
        st.just("put"), FEATURES, QUEUES, NUMBERS, st.tuples(ADDRESSES, ADDRESSES, ADDRESSES)
    ),
    st.tuples(st.just("write"), st.integers(0, 7), OFFSETS, SIZES, NUMBERS),
    st.tuples(st.just("write"), st.integers(0, 7), OFFSETS, SIZES, NUMBERS),
    st.tuples(st.just("read"), st.integers(0, 7), OFFSETS, SIZES),
    st.tuples(st.just("notify"), QUEUES),
    st.tuples(st.sampled_from(["stir", "turn", "restart", "reload"])),
)
HISTORIES = st.lists(STEPS, max_size=30)
"""What a guest does, and what happens around it."""

_health = [HealthCheck.data_too_large]
quick = settings(max_examples=5, suppress_health_check=_health)
long = settings(max_examples=1000, suppress_health_check=_health)
