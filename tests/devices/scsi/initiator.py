"""Sends commands to a SCSI unit, as a driver does, without a bus."""

from __future__ import annotations

import pytest

from bimetal.devices.scsi.sense import CheckCondition, Sense
from bimetal.devices.scsi.unit import Command, Unit, Work


class Failed(Exception):
    """The unit ended a command with this sense."""

    def __init__(self, sense: Sense):
        super().__init__(repr(sense))
        self.key, self.code = sense.key, sense.code


def ask(unit: Unit, *cdb: int, data: bytes = b"", room: int = 0) -> bytes:
    """One command, its data in pieces; what it answers. Raises `Failed`."""
    into = bytearray(room)
    view, half = memoryview(into), room // 2
    out = [memoryview(data[:3]), memoryview(data[3:])] if len(data) > 3 else [memoryview(data)]
    command = Command(bytes(cdb).ljust(16, b"\0"), [each for each in out if len(each)],
                      [each for each in (view[:half], view[half:]) if len(each)])  # fmt: skip
    work = carry_out(unit, command)
    moved = 0
    while True:
        try:
            step = next(work)
            assert callable(step) or step >= 0
            if callable(step):
                step()
        except StopIteration as end:
            moved = end.value
            break
    assert 0 <= moved <= max(room, len(data))
    return bytes(into[:moved])


def failure(unit: Unit, *cdb: int, data: bytes = b"", room: int = 0) -> tuple[int, int]:
    """Sense key and additional code with which the unit ends a command."""
    with pytest.raises(Failed) as caught:
        ask(unit, *cdb, data=data, room=room)
    return caught.value.key, caught.value.code


def carry_out(unit: Unit, command: Command) -> Work:
    """A command whose failure is a `Failed`."""
    try:
        return (yield from unit.start(command))
    except CheckCondition as condition:
        raise Failed(condition.sense) from None


def be(value: int, size: int) -> bytes:
    """``value`` as ``size`` bytes, as CDBs have it."""
    return value.to_bytes(size, "big")
