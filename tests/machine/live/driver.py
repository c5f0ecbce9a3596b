"""A guest in Python: it drives the disks of a real machine, whose own CPUs halt for ever."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bimetal.accel.script import ScriptAccelerator
from bimetal.backends.chars.null import NoChars
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.machine.machine import Machine
from tests.devices.virtio.guest import CONFIG, STATUS, VERSION_1, WRITE, Guest, Ring
from tests.devices.virtio.test_block import (
    DISCARD,
    DISCARD_FEATURE,
    FLUSH,
    FLUSH_FEATURE,
    IN,
    OUT,
    SECTOR,
    WRITE_ZEROES,
    ZEROES_FEATURE,
)

__all__ = ["SECTOR", "DiskDriver", "driven"]

LIMIT = 60
"""Seconds after which a request that should take milliseconds is taken for lost."""

DEPTH = 8
LARGEST = 1 << 20
RAM = 0x8000_0000


class DiskDriver(Guest):
    """Drives virtio disk ``number`` of a machine, one request after the other."""

    def __init__(self, machine: Machine, number: int = 0):
        self.machine = machine
        self._runner = machine._built()
        places = [
            placement
            for placement in self._runner.hardware.placements
            if any(isinstance(part, VirtioBlock) for part in placement.device.parts())
        ]
        slot: Any = places[number].device
        self.slot = slot
        self.space = self._runner.hardware.space
        self._next = RAM + (number + 1) * (4 << 20)
        self._answered = threading.Event()
        with self._runner.locked():
            slot.irq.connect(self._interrupt)
            features = FLUSH_FEATURE | DISCARD_FEATURE | ZEROES_FEATURE | VERSION_1
            self._ring: Ring = self.start(features, size=32)[0]
            self._head = self.allocate(16)
            self._status = self.allocate(1)
            self._data = self.allocate(LARGEST)

    def allocate(self, length: int, alignment: int = 16) -> int:
        address = -(-self._next // alignment) * alignment
        self._next = address + length
        return address

    @property
    def size(self) -> int:
        """What the configuration says the disk has."""
        with self._runner.locked():
            low, high = self.read(CONFIG), self.read(CONFIG + 4)
        return (low | high << 32) * SECTOR

    def read_at(self, offset: int, length: int) -> bytes:
        self._request(IN, offset, (self._data, length, WRITE))
        with self._runner.locked():
            return bytes(self.space.read(self._data, length))

    def write_at(self, offset: int, data: bytes) -> None:
        with self._runner.locked():
            self.space.write(self._data, data)
        self._request(OUT, offset, (self._data, len(data), 0))

    def flush(self) -> None:
        self._request(FLUSH, 0)

    def discard(self, offset: int, length: int) -> None:
        self._range(DISCARD, offset, length, 0)

    def zero(self, offset: int, length: int, *, unmap: bool = False) -> None:
        self._range(WRITE_ZEROES, offset, length, int(unmap))

    def _range(self, kind: int, offset: int, length: int, flags: int) -> None:
        with self._runner.locked():
            ranges = struct.pack("<QII", offset // SECTOR, length // SECTOR, flags)
            self.space.write(self._data, ranges)
        self._request(kind, 0, (self._data, 16, 0))

    def _request(self, kind: int, offset: int, *data: tuple[int, int, int]) -> None:
        """Make a request and wait for its end. Raises OSError if the device says that."""
        self._answered.clear()
        with self._runner.locked():
            self.space.write(self._head, struct.pack("<IIQ", kind, 0, offset // SECTOR))
            self.space.write(self._status, b"\xff")
            self._ring.submit((self._head, 16, 0), *data, (self._status, 1, WRITE))
        while True:
            with self._runner.locked():
                self.write(0x64, self.read(0x60))
                if self._ring.completed():
                    status = self.space.read(self._status, 1)[0]
                    break
            assert self._answered.wait(LIMIT), "the disk does not answer"
            self._answered.clear()
        if status:
            raise OSError(status, f"request {kind} at {offset}")

    def _interrupt(self, level: bool) -> None:
        if level:
            self._answered.set()

    @property
    def alive(self) -> bool:
        """Whether the device does not ask for a reset."""
        with self._runner.locked():
            return not self.read(STATUS) & 64


@contextmanager
def driven(
    folder: Path,
    *disks: Path,
    board: str = "riscv-virt",
    prepare: Callable[[Machine], object] | None = None,
    **options: Any,
) -> Iterator[Machine]:
    """A machine with ``disks``, running."""
    kernel = folder / "kernel.bin"
    kernel.write_bytes(b"\x13\0\0\0" * 16)
    with Machine(
        board,
        memory="64M",
        kernel=kernel,
        kernel_format="raw",
        bios="none",
        accel=ScriptAccelerator([]),
        serial=NoChars(),
    ) as machine:
        for disk in disks:
            machine.disk(disk, **options)
        if prepare is not None:
            prepare(machine)
        machine.start()
        yield machine
