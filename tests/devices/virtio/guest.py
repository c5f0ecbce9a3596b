"""A small guest: memory, a driver's side of virtqueues, and conversations over MMIO registers."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.mmio import VirtioMmio
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

BASE = 0x8000_0000
SIZE = 1 << 20

NEXT, WRITE, INDIRECT = 1, 2, 4
EVENT_IDX, INDIRECT_DESC, VERSION_1 = 1 << 29, 1 << 28, 1 << 32

DEVICE_ID, DEVICE_FEATURES, DEVICE_FEATURES_SEL = 0x008, 0x010, 0x014
DRIVER_FEATURES, DRIVER_FEATURES_SEL = 0x020, 0x024
QUEUE_SEL, QUEUE_SIZE_MAX, QUEUE_SIZE, QUEUE_READY, QUEUE_NOTIFY = 0x30, 0x34, 0x38, 0x44, 0x50
INTERRUPT_STATUS, INTERRUPT_ACK, STATUS = 0x060, 0x064, 0x070
QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE = 0x080, 0x090, 0x0A0
CONFIG_GENERATION, CONFIG = 0x0FC, 0x100

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 64


@dataclass(frozen=True)
class Used:
    """An entry of the used ring: which chain came back and how much was written into it."""

    head: int
    length: int


class Ring:
    """The driver's side of one queue of ``size`` entries, its three parts laid out in memory."""

    def __init__(self, guest: Guest, index: int, size: int):
        self.guest, self.index, self.size = guest, index, size
        self.descriptors = guest.allocate(16 * size, 16)
        self.available = guest.allocate(6 + 2 * size, 2)
        self.used = guest.allocate(6 + 8 * size, 4)
        self.free = list(range(size))
        self.chains: dict[int, list[int]] = {}
        self.added = 0
        self.taken = 0

    def describe(
        self, slot: int, address: int, length: int, flags: int, following: int = 0
    ) -> None:
        """Write one descriptor of the table."""
        entry = struct.pack("<QIHH", address, length, flags, following)
        self.guest.space.write(self.descriptors + 16 * slot, entry)

    def offer(self, head: int) -> None:
        """Put ``head`` into the available ring, without a notification."""
        slot = self.available + 4 + 2 * (self.added % self.size)
        self.guest.space.write(slot, struct.pack("<H", head))
        self.added = self.added + 1 & 0xFFFF
        self.guest.space.write(self.available + 2, struct.pack("<H", self.added))

    def chain(self, *buffers: tuple[int, int, int]) -> int:
        """Describe a chain of (address, length, flags) in free slots; its head."""
        slots = [self.free.pop(0) for _ in buffers]
        for place, (address, length, flags) in enumerate(buffers):
            last = place == len(buffers) - 1
            following = 0 if last else slots[place + 1]
            self.describe(slots[place], address, length, flags | (0 if last else NEXT), following)
        self.chains[slots[0]] = slots
        return slots[0]

    def indirect(self, *buffers: tuple[int, int, int]) -> int:
        """Describe a chain in a table of its own; the head, in the queue's table."""
        table = self.guest.allocate(16 * len(buffers), 16)
        for place, (address, length, flags) in enumerate(buffers):
            last = place == len(buffers) - 1
            entry = struct.pack("<QIHH", address, length, flags | (0 if last else NEXT), place + 1)
            self.guest.space.write(table + 16 * place, entry)
        return self.chain((table, 16 * len(buffers), INDIRECT))

    def notify(self) -> None:
        self.guest.write(QUEUE_NOTIFY, self.index)

    def submit(self, *buffers: tuple[int, int, int]) -> int:
        """Describe, offer and notify; the head of the chain."""
        head = self.chain(*buffers)
        self.offer(head)
        self.notify()
        return head

    def completed(self) -> list[Used]:
        """What the device has put into the used ring since the last call; its slots are free."""
        space = self.guest.space
        (index,) = struct.unpack("<H", space.read(self.used + 2, 2))
        entries = []
        while self.taken != index:
            slot = self.used + 4 + 8 * (self.taken % self.size)
            entries.append(Used(*struct.unpack("<II", space.read(slot, 8))))
            self.taken = self.taken + 1 & 0xFFFF
            self.free += self.chains.pop(entries[-1].head, [])
        return entries

    def want_interrupt_after(self, index: int) -> None:
        """Set used_event: interrupt once the used index goes beyond ``index``."""
        where = self.available + 4 + 2 * self.size
        self.guest.space.write(where, struct.pack("<H", index & 0xFFFF))

    @property
    def avail_event(self) -> int:
        """The index after which the device wants to be notified."""
        where = self.used + 4 + 8 * self.size
        (event,) = struct.unpack("<H", self.guest.space.read(where, 2))
        return int(event)


class RowRing(Ring):
    """A queue whose three parts lie in a row from ``at`` on, the used ring aligned, as those of
    drivers from before virtio 1."""

    def __init__(self, guest: Guest, at: int, alignment: int, index: int = 0, size: int = 16):
        super().__init__(guest, index, size)
        self.descriptors, self.available = at, at + 16 * size
        self.used = -(-(self.available + 6 + 2 * size) // alignment) * alignment


class Guest:
    """One MMIO slot with ``device`` behind it, a megabyte of RAM, and a driver's habits."""

    def __init__(self, device: VirtioDevice | None, size: int = SIZE):
        self.space = AddressSpace()
        self.ram = Ram("ram", size)
        self.space.add_memory(self.ram, BASE)
        self.slot = VirtioMmio(device, self.space)
        self._irq = False
        self.interrupts = 0
        self.slot.irq.connect(self._interrupt)
        self._next = BASE

    def _interrupt(self, level: bool) -> None:
        self._irq = level
        self.interrupts += level

    def irq(self) -> bool:
        """The level of the interrupt line."""
        return self._irq

    def read(self, offset: int, size: int = 4) -> int:
        return self.slot.read(offset, size)

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.slot.write(offset, size, value)

    def allocate(self, length: int, alignment: int = 16) -> int:
        """A piece of RAM that nothing else uses."""
        address = -(-self._next // alignment) * alignment
        self._next = address + length
        assert self._next <= BASE + self.ram.size
        return address

    def place(self, data: bytes) -> tuple[int, int, int]:
        """A buffer for the device to read, holding ``data``."""
        address = self.allocate(len(data))
        self.space.write(address, data)
        return address, len(data), 0

    def room(self, length: int) -> tuple[int, int, int]:
        """A buffer of ``length`` bytes for the device to write."""
        address = self.allocate(length)
        self.space.write(address, b"\xee" * length)
        return address, length, WRITE

    def peek(self, buffer: tuple[int, int, int]) -> bytes:
        """What is in a buffer now."""
        return self.space.read(buffer[0], buffer[1])

    @property
    def offered(self) -> int:
        features = 0
        for select in (0, 1):
            self.write(DEVICE_FEATURES_SEL, select)
            features |= self.read(DEVICE_FEATURES) << 32 * select
        return features

    def negotiate(self, features: int) -> bool:
        """Reset, acknowledge, accept ``features``; whether the device agreed."""
        self.write(STATUS, 0)
        self.write(STATUS, ACKNOWLEDGE)
        self.write(STATUS, ACKNOWLEDGE | DRIVER)
        for select in (0, 1):
            self.write(DRIVER_FEATURES_SEL, select)
            self.write(DRIVER_FEATURES, features >> 32 * select & 0xFFFF_FFFF)
        self.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK)
        return bool(self.read(STATUS) & FEATURES_OK)

    def set_up(self, index: int, size: int = 16) -> Ring:
        """Lay out queue ``index`` in memory and enable it."""
        ring = Ring(self, index, size)
        self.write(QUEUE_SEL, index)
        assert self.read(QUEUE_READY) == 0
        assert self.read(QUEUE_SIZE_MAX) >= size
        self.write(QUEUE_SIZE, size)
        for offset, address in (
            (QUEUE_DESC, ring.descriptors),
            (QUEUE_DRIVER, ring.available),
            (QUEUE_DEVICE, ring.used),
        ):
            self.write(offset, address & 0xFFFF_FFFF)
            self.write(offset + 4, address >> 32)
        self.write(QUEUE_READY, 1)
        return ring

    def go(self) -> None:
        self.write(STATUS, self.read(STATUS) | DRIVER_OK)

    def start(self, features: int = VERSION_1, queues: int = 1, size: int = 16) -> list[Ring]:
        """The whole initialisation of section 3.1.1."""
        assert self.negotiate(features | VERSION_1)
        rings = [self.set_up(index, size) for index in range(queues)]
        self.go()
        return rings
