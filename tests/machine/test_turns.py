"""Guests that give the devices endless work: everybody else gets a turn all the same."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import pytest

from bimetal.accel.script import ScriptCpu, halt_until
from bimetal.machine.result import Ending
from bimetal.seam import Exit, Mmio
from tests.machine.conftest import LIMIT, Script, Scripted

RAM, UART, TEST, SLOT, FW_CFG = 0x8000_0000, 0x1000_0000, 0x10_0000, 0x1000_1000, 0x1010_0000
CLINT = 0x200_0000
STATUS, QUEUE_SIZE, QUEUE_READY, NOTIFY = SLOT + 0x70, SLOT + 0x38, SLOT + 0x44, SLOT + 0x50
FEATURES, FEATURES_SELECT = SLOT + 0x20, SLOT + 0x24
DESCRIPTORS, DRIVER, DEVICE = SLOT + 0x80, SLOT + 0x90, SLOT + 0xA0

TABLE, AVAILABLE, USED, INDIRECT, HEADER = (RAM + 0x100_0000 + 0x1_0000 * n for n in range(5))
DATA, SEGMENT, SEGMENTS = RAM + 0x200_0000, 14 << 20, 256
"""Each request reads 3.5 GiB into the same 14 MiB."""

REQUESTS = 256


def store(address: int, value: int, size: int = 4) -> Mmio:
    return Mmio(address, size, write=True, value=value)


def rings() -> dict[int, bytes]:
    """What the guest writes to memory: a queue full of requests that share one indirect table."""
    buffers = [(HEADER, 16, 1), *[(DATA, SEGMENT, 3)] * SEGMENTS, (HEADER + 64, 1, 2)]
    table = [struct.pack("<QIHH", *buffer, n + 1) for n, buffer in enumerate(buffers)]
    head = struct.pack("<QIHH", INDIRECT, 16 * len(table), 4, 0)
    available = struct.pack(f"<HH{REQUESTS}H", 0, REQUESTS, *range(REQUESTS))
    return {
        INDIRECT: b"".join(table),
        TABLE: head * REQUESTS,
        AVAILABLE: available,
        HEADER: struct.pack("<IIQ", 0, 0, 0),
    }


SET_UP: list[Exit] = [
    store(STATUS, 3),
    store(FEATURES, 1 << 28),
    store(FEATURES_SELECT, 1),
    store(FEATURES, 1),
    store(STATUS, 11),
    store(QUEUE_SIZE, REQUESTS),
    store(DESCRIPTORS, TABLE),
    store(DRIVER, AVAILABLE),
    store(DEVICE, USED),
    store(QUEUE_READY, 1),
    store(STATUS, 15),
    store(NOTIFY, 0),
]
"""From reset to a disk with all that work before it."""


@pytest.fixture
def hostile(script: Script, tmp_path: Path) -> Scripted:
    """CPU 0 rings the doorbell for ever, CPU 1 waits for it to begin and reads the serial port."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(8 << 30)

    def ring(cpu: ScriptCpu) -> Exit:
        cpu.repeat()
        return store(NOTIFY, 0)

    board = script(
        [*SET_UP[:-1], store(CLINT + 4, 1), *SET_UP[-1:], ring],
        [halt_until(3), *[Mmio(UART + 5, 1)] * 50, store(TEST, 0x5555)],
        bios="none",
    )
    board.machine.disk(image)
    for address, data in rings().items():
        board.machine.memory.write(address, data)
    return board


def test_another_cpu_goes_on(hostile: Scripted) -> None:
    hostile.machine.start()
    assert hostile.machine.wait(LIMIT).code == 0
    assert hostile.cpus[1].answers == [0x60] * 50
    accesses = hostile.machine.counters()["accesses"]
    assert accesses["virtio_mmio@10001000"] >= len(SET_UP[:-1]), "the disk was at work"


def test_a_program_ends_the_machine(hostile: Scripted) -> None:
    machine = hostile.machine
    hostile.cpus[1].script[1:] = []
    machine.start()
    while not hostile.cpus[1].finished:
        pass  # until the disk is at work
    stopping = threading.Thread(target=machine.close, daemon=True)
    stopping.start()
    stopping.join(LIMIT)
    assert not stopping.is_alive()
    assert machine.wait().ending is Ending.STOPPED
