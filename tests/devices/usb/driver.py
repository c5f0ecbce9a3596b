"""A driver of an xHCI host controller, as small as can be, for ours and for QEMU's."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bimetal.base.clock import VirtualClock
from bimetal.devices.usb.device import UsbDevice
from bimetal.devices.usb.xhci.controller import Controller
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

BASE, SIZE = 0x8000_0000, 4 << 20
NORMAL, SETUP, DATA, STATUS, LINK, EVENT_DATA, NO_OP = 1, 2, 3, 4, 6, 7, 8
ENABLE, DISABLE, ADDRESS, CONFIGURE, EVALUATE = 9, 10, 11, 12, 13
RESET_ENDPOINT, STOP, SET_DEQUEUE, RESET_DEVICE, NO_OP_COMMAND = 14, 15, 16, 17, 23
TRANSFER_EVENT, COMPLETION, PORT_CHANGE = 32, 33, 34
SUCCESS, TRANSACTION_ERROR, TRB_ERROR, STALL, NO_SLOTS, NOT_ENABLED = 1, 4, 5, 6, 9, 11
SHORT, PARAMETER, CONTEXT_STATE, STOPPED = 13, 17, 19, 26
CONNECTED, ENABLED, RESETTING = 1, 2, 16
CYCLE, TOGGLE, ISP, CHAIN, IOC, IDT = 1, 2, 4, 16, 32, 64
BULK_OUT, CONTROL, BULK_IN, INTERRUPT_IN = 2, 4, 6, 7
RING_BLOCKS, EVENT_BLOCKS = 64, 64

_TRB = struct.Struct("<QII")


class Wires(Protocol):
    """A controller, and the memory that it shares with its driver."""

    def read(self, offset: int, size: int = 4) -> int: ...

    def write(self, offset: int, value: int, size: int = 4) -> None: ...

    def peek(self, address: int, length: int) -> bytes: ...

    def poke(self, address: int, data: bytes) -> None: ...


class Ours:
    """A controller of ours, with memory of its own."""

    def __init__(self, *devices: UsbDevice, slow: int = 4, fast: int = 4):
        self.space, self.clock = AddressSpace(), VirtualClock()
        self.ram = Ram("ram", SIZE)
        self.space.add_memory(self.ram, BASE)
        self.controller = Controller(self.space, self.clock, slow, fast)
        for socket, device in enumerate(devices, start=1):
            self.controller.plug(device, socket)

    def read(self, offset: int, size: int = 4) -> int:
        return self.controller.read(offset, size)

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.controller.write(offset, size, value)

    def peek(self, address: int, length: int) -> bytes:
        return self.space.read(address, length)

    def poke(self, address: int, data: bytes) -> None:
        self.space.write(address, data)


@dataclass(frozen=True)
class Event:
    """An event: its type, how something ended, and what it is about."""

    kind: int
    code: int
    parameter: int
    length: int
    endpoint: int
    slot: int
    by_data: bool


@dataclass
class Ring:
    """The producer's side of a ring of `RING_BLOCKS`, of which the last is a link."""

    at: int
    next: int = 0
    cycle: int = CYCLE


class Driver:
    """Drives what is behind ``wires``. ``wait`` lets time pass where it has to."""

    def __init__(self, wires: Wires, wait: Callable[[], None] = lambda: None):
        self.wires, self.wait = wires, wait
        self._free = BASE + 0x10000
        capabilities = wires.read(0)
        self.operational = capabilities & 0xFF
        self.ports = wires.read(4) >> 24
        self.doorbells, self.runtime = wires.read(0x14), wires.read(0x18)
        self.rings: dict[tuple[int, int], Ring] = {}
        self.contexts: dict[int, int] = {}
        self._kept: list[Event] = []
        """Events that came behind one that was waited for."""
        self.begin()

    def room(self, size: int, alignment: int = 64) -> int:
        at = -(-self._free // alignment) * alignment
        self._free = at + size
        assert self._free <= BASE + SIZE
        self.wires.poke(at, bytes(size))
        return at

    def begin(self) -> None:
        """Reset the controller, and let it run (4.2)."""
        self.operate(0, 2)
        while self.operation(0) & 2 or self.operation(4) & 1 << 11:
            self.wait()
        self.operate(0x38, self.wires.read(4) & 0xFF)
        self.table = self.room(0x1000, 4096)
        self.operate_wide(0x30, self.table)
        self.commands = self.ring()
        self.operate_wide(0x18, self.commands.at | CYCLE)
        self.events_at = self.room(16 * EVENT_BLOCKS)
        segments = self.room(64)
        self.wires.poke(segments, struct.pack("<QII", self.events_at, EVENT_BLOCKS, 0))
        self.event, self.event_cycle = 0, CYCLE
        self.set_interrupter(8, 1)
        self.advance()
        self.set_interrupter(0x10, segments)
        self.set_interrupter(0x14, 0)
        self.set_interrupter(0, 2)
        self.operate(0, 5)

    def operation(self, offset: int) -> int:
        return self.wires.read(self.operational + offset)

    def operate(self, offset: int, value: int) -> None:
        self.wires.write(self.operational + offset, value)

    def operate_wide(self, offset: int, value: int) -> None:
        self.operate(offset, value & 0xFFFF_FFFF)
        self.operate(offset + 4, value >> 32)

    def set_interrupter(self, offset: int, value: int) -> None:
        self.wires.write(self.runtime + 0x20 + offset, value)

    def advance(self) -> None:
        """Say how many events were taken, and that the interrupt is done with."""
        at = self.events_at + 16 * self.event
        self.set_interrupter(0x18, at & 0xFFFF_FFFF | 8)
        self.set_interrupter(0x1C, at >> 32)

    # Rings

    def ring(self) -> Ring:
        made = Ring(self.room(16 * RING_BLOCKS))
        link = _TRB.pack(made.at, 0, LINK << 10 | TOGGLE)
        self.wires.poke(made.at + 16 * (RING_BLOCKS - 1), link)
        return made

    def add(self, ring: Ring, parameter: int, status: int, control: int) -> int:
        """Add a block, which belongs to the controller at once; its address."""
        at = ring.at + 16 * ring.next
        self.wires.poke(at, _TRB.pack(parameter, status, control | ring.cycle))
        ring.next += 1
        if ring.next == RING_BLOCKS - 1:
            chained = control & CHAIN
            link = _TRB.pack(ring.at, 0, LINK << 10 | TOGGLE | chained | ring.cycle)
            self.wires.poke(ring.at + 16 * ring.next, link)
            ring.next, ring.cycle = 0, ring.cycle ^ CYCLE
        return at

    def take(self) -> list[Event]:
        """The events that there are."""
        found, self._kept = self._kept, []
        count = len(found)
        while True:
            at = self.events_at + 16 * self.event
            parameter, status, control = _TRB.unpack(self.wires.peek(at, 16))
            if control & CYCLE != self.event_cycle:
                break
            kind = control >> 10 & 63
            found.append(
                Event(
                    *(kind, status >> 24, parameter, status & 0xFF_FFFF),
                    *(control >> 16 & 31, control >> 24, bool(control & 4)),
                )
            )
            self.event += 1
            if self.event == EVENT_BLOCKS:
                self.event, self.event_cycle = 0, self.event_cycle ^ CYCLE
        if len(found) > count:
            self.advance()
        return found

    def ring_bell(self, slot: int, endpoint: int = 0) -> None:
        self.wires.write(self.doorbells + 4 * slot, endpoint)

    def await_event(self, kind: int) -> Event:
        for _ in range(1000):
            events = self.take()
            wanted = next((event for event in events if event.kind == kind), None)
            if wanted is not None:
                self._kept = events[events.index(wanted) + 1 :]
                return wanted
            self.wait()
        raise AssertionError("no event")

    def command(self, kind: int, slot: int = 0, parameter: int = 0, flags: int = 0) -> Event:
        """Carry out a command; how it ended."""
        at = self.add(self.commands, parameter, 0, kind << 10 | slot << 24 | flags)
        self.ring_bell(0)
        event = self.await_event(COMPLETION)
        assert event.parameter == at
        return event

    # Devices

    def connected(self) -> list[int]:
        """The ports at which something is."""
        every = range(1, self.ports + 1)
        return [port for port in every if self.port(port) & CONNECTED]

    def port(self, number: int) -> int:
        return self.operation(0x400 + 16 * (number - 1))

    def reset_port(self, number: int) -> None:
        self.operate(0x400 + 16 * (number - 1), 1 << 9 | RESETTING)
        while not self.port(number) & ENABLED:
            self.wait()
        self.operate(0x400 + 16 * (number - 1), 1 << 9 | 0x7F << 17)

    def address(self, port: int) -> int:
        """Reset a port and give its device an address; the slot (4.3)."""
        self.reset_port(port)
        return self.address_behind(port)

    def address_behind(self, port: int, route: int = 0) -> int:
        """The same for a device behind a hub whose port was reset."""
        made = self.command(ENABLE)
        assert made.code == SUCCESS
        event = self.give_address(made.slot, port, route=route)
        assert event.code == SUCCESS
        return made.slot

    def give_address(self, slot: int, port: int, flags: int = 0, route: int = 0) -> Event:
        """ADDRESS DEVICE alone."""
        ring = self.rings[slot, 1] = self.ring()
        speed = self.port(port) >> 10 & 15
        packet = 512 if speed == 4 else 64
        context = self.contexts[slot] = self.room(0x400)
        self.wires.poke(self.table + 8 * slot, struct.pack("<Q", context))
        given = self.room(33 * 32)
        self.wires.poke(given, struct.pack("<II", 0, 3))
        self.wires.poke(given + 32, struct.pack("<II", route | speed << 20 | 1 << 27, port << 16))
        endpoint = (0, 3 << 1 | CONTROL << 3 | packet << 16, ring.at | CYCLE, 8)
        self.wires.poke(given + 64, struct.pack("<IIQI", *endpoint))
        return self.command(ADDRESS, slot, given, flags)

    def context(self, slot: int, index: int) -> tuple[int, ...]:
        """What the controller tells in a device context."""
        return struct.unpack("<8I", self.wires.peek(self.contexts[slot] + 32 * index, 32))

    def state(self, slot: int, index: int = 0) -> int:
        words = self.context(slot, index)
        return words[0] & 7 if index else words[3] >> 27

    def configure(self, slot: int, *endpoints: tuple[int, int, int]) -> Event:
        """Set up endpoints: the number, type and packet size of each."""
        given = self.room(33 * 32)
        flags, last = 1, max(number for number, _, _ in endpoints)
        for number, kind, packet in endpoints:
            flags |= 1 << number
            ring = self.rings[slot, number] = self.ring()
            words = (7 << 16, 3 << 1 | kind << 3 | packet << 16, ring.at | CYCLE, packet)
            self.wires.poke(given + 32 * (number + 1), struct.pack("<IIQI", *words))
        self.wires.poke(given, struct.pack("<II", 0, flags))
        slot_words = list(self.context(slot, 0))
        slot_words[0] = slot_words[0] & ~(31 << 27) | last << 27
        self.wires.poke(given + 32, struct.pack("<8I", *slot_words))
        return self.command(CONFIGURE, slot, given)

    # Transfers

    def control(
        self, slot: int, kind: int, number: int, value: int = 0, which: int = 0,
        length: int = 0, data: bytes = b"",
    ) -> tuple[int, bytes]:  # fmt: skip
        """A request; how it ended, and what was read."""
        ring, inwards, size = self.rings[slot, 1], kind >> 7, length or len(data)
        setup = int.from_bytes(struct.pack("<BBHHH", kind, number, value, which, size), "little")
        stage = (2 + inwards) << 16 if size else 0
        self.add(ring, setup, 8, SETUP << 10 | IDT | stage)
        at = self.room(max(size, 1), 4096)
        if size:
            self.wires.poke(at, data.ljust(size, b"\xee"))
            self.add(ring, at, size, DATA << 10 | inwards << 16 | ISP)
        back = 0 if inwards and size else 1
        self.add(ring, 0, 0, STATUS << 10 | back << 16 | IOC)
        self.ring_bell(slot, 1)
        left = 0
        event = self.await_event(TRANSFER_EVENT)
        if event.code == SHORT:
            left = event.length
            event = self.await_event(TRANSFER_EVENT)
        got = self.wires.peek(at, size - left) if inwards else b""
        return event.code, got

    def recover(self, slot: int, endpoint: int) -> None:
        """Let an endpoint that is halted go on, behind all that was added."""
        assert self.state(slot, endpoint) == 2
        assert self.command(RESET_ENDPOINT, slot, flags=endpoint << 16).code == SUCCESS
        ring = self.rings[slot, endpoint]
        where = ring.at + 16 * ring.next | ring.cycle
        assert self.command(SET_DEQUEUE, slot, where, endpoint << 16).code == SUCCESS

    def descriptor(self, slot: int, kind: int, length: int, number: int = 0) -> tuple[int, bytes]:
        return self.control(slot, 0x80, 6, kind << 8 | number, 0, length)

    def submit(self, slot: int, endpoint: int, size: int = 0, data: bytes = b"") -> int:
        """Add a transfer of one block, and ring; where its data are."""
        at = self.room(size or len(data), 4096)
        self.wires.poke(at, data.ljust(size, b"\xee"))
        block = NORMAL << 10 | IOC | ISP
        self.add(self.rings[slot, endpoint], at, size or len(data), block)
        self.ring_bell(slot, endpoint)
        return at

    def move(self, slot: int, endpoint: int, size: int = 0, data: bytes = b"") -> tuple[int, bytes]:
        """The same, and wait for it; how it ended, and what was read."""
        at = self.submit(slot, endpoint, size, data)
        event = self.await_event(TRANSFER_EVENT)
        return event.code, self.wires.peek(at, (size or len(data)) - event.length)
