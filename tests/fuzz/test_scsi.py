"""Hostile SCSI commands: every one ends, and moves no more than there is room for."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.scsi.unit import Unit
from tests.devices.scsi.initiator import Failed, ask
from tests.fuzz.virtio.devices import GuardedDisk

BYTES = st.one_of(st.sampled_from([0, 1, 2, 4, 8, 0x3F, 0x80, 0xAA, 0xFF]), st.integers(0, 255))
OPCODES = sorted({*ScsiDisk.handlers, *ScsiCdrom.handlers})
COMMANDS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(OPCODES), st.integers(0, 255)),
        st.one_of(
            st.lists(BYTES, min_size=15, max_size=15),
            st.integers(0, 9).map(lambda n: [0] * n + [1] + [0] * (14 - n)),
        ),
        st.sampled_from([b"", bytes(512), b"x" * 512, bytes(24), b"\0\x16\0\x10" + bytes(20)]),
        st.sampled_from([0, 1, 8, 255, 512, 8192]),
    ),
    max_size=30,
)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.data_too_large],
)
@given(commands=COMMANDS, kind=st.integers(0, 2))
def test_hostile_commands(commands: list[tuple[int, list[int], bytes, int]], kind: int) -> None:
    makes: list[Unit] = [
        ScsiDisk(GuardedDisk()),
        ScsiCdrom(MemoryDisk(64 << 10, readonly=True)),
        ScsiCdrom(),
    ]
    unit = makes[kind]
    for opcode, rest, data, room in commands:
        with suppress(Failed):
            ask(unit, opcode, *rest, data=data, room=room)
    state = unit.save()
    unit.load(state)
    assert unit.save() == state
