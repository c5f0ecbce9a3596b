"""The four ways in which a guest reaches a virtio device, with what the device must leave alone:
a ROM, RAM that belongs to no ring, and a device that nobody may reach by DMA.

A guest's accesses go over the bus, as those of its CPUs do.
"""

from __future__ import annotations

from typing import ClassVar

from bimetal.devices.device import Device
from bimetal.devices.virtio.mmio import VirtioMmio
from bimetal.devices.virtio.mmio_legacy import VirtioMmioLegacy
from bimetal.devices.virtio.mmio_slot import VirtioSlot
from bimetal.machine.bus import Bus
from bimetal.machine.messages import MessageWrites
from bimetal.memory.ram import Ram
from tests.devices.pci.tree import BAR, ECAM, HIGH, IO, LOW
from tests.devices.virtio import guest as mmio
from tests.devices.virtio import test_mmio_legacy as legacy
from tests.devices.virtio import test_pci_legacy as ports
from tests.devices.virtio.guest import BASE, Guest, Ring, RowRing
from tests.devices.virtio.pci_guest import PORTS, PciGuest
from tests.devices.virtio.test_block_aside import Errands
from tests.fuzz.virtio.devices import DEVICES, Outside, check_work, state_of, uncounted
from tests.turns import Deferred

__all__ = ["ARENA", "CARRIERS", "FAR", "MEMORY", "ROM", "SLOT", "WIRE", "Carrier"]

MEMORY = 256 << 10
ARENA = BASE + MEMORY - (32 << 10)
"""Where hostile buffers and tables lie; the rings lie below."""

ROM = BASE + MEMORY
FAR, WIRE = BASE + (1 << 20), BASE + (2 << 20)
FILL = b"\x5a" * 4096
SLOT = 0x1000_0000
PAGE = 4096
ACKNOWLEDGED, DRIVING, RUNNING = 1, 3, 7
EVERYTHING = (1 << 64) - 1


class Tripwire(Device):
    """A device that counts who reaches it."""

    kind = "wire"

    def __init__(self) -> None:
        super().__init__()
        self.reached = 0

    def read(self, offset: int, size: int) -> int:
        self.reached += 1
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        self.reached += 1


class Carrier:
    """A device of that ``kind`` in a machine. Its turns are ``deferred``, or taken at once."""

    places: ClassVar[tuple[tuple[int, int], ...]]
    """Where registers are: first addresses and numbers of bytes."""

    def __init__(self, kind: str, deferred: bool = False):
        self.kind = kind
        self.turns = Deferred()
        self.errands = Errands()
        self.device = DEVICES[kind](self.errands)
        self.outside = Outside(self.device)
        self.guest = self._carry(self.turns if deferred else None)
        space = self.guest.space
        self.bus = Bus(space, "bus")
        self.rom, self.far = Ram("rom", PAGE, readonly=True), Ram("far", PAGE)
        for memory, at in ((self.rom, ROM), (self.far, FAR)):
            memory.bytes[:] = FILL
            space.add_memory(memory, at)
        self.wire = Tripwire()
        space.add_device(self.wire, WIRE, PAGE)

    def _carry(self, defer: Deferred | None) -> Guest:
        raise NotImplementedError

    @property
    def whole(self) -> Device:
        """The device with its transport."""
        raise NotImplementedError

    # What a guest does

    def access(self, place: int, offset: int, size: int, value: int | None = None) -> int:
        """Read, or write, where registers are."""
        base, length = self.places[place % len(self.places)]
        address = base + offset % length
        if value is None:
            return self.bus.read(address, size)
        self.bus.write(address, size, value & (1 << 8 * size) - 1)
        return 0

    def begin(self, features: int) -> None:
        """Reset the device, wherever its registers were moved, and choose those of ``features``
        that it offers."""
        self.restart()
        self.guest.negotiate(features & self.guest.offered)

    def lay(self, index: int, size: int) -> Ring:
        """Give queue ``index`` rings in memory, of ``size`` entries if the guest may choose."""
        return self.guest.set_up(index, size)

    def put(self, index: int, size: int, addresses: tuple[int, int, int]) -> None:
        """Enable queue ``index`` with three numbers for where its parts are."""
        guest = self.guest
        guest.write(mmio.QUEUE_SEL, index)
        guest.write(mmio.QUEUE_SIZE, size)
        for offset, address in zip(
            (mmio.QUEUE_DESC, mmio.QUEUE_DRIVER, mmio.QUEUE_DEVICE), addresses, strict=True
        ):
            guest.write(offset, address & 0xFFFF_FFFF)
            guest.write(offset + 4, address >> 32)
        guest.write(mmio.QUEUE_READY, 1)

    def go(self) -> None:
        """Say that the driver is ready."""
        self.guest.go()

    def notify(self, index: int) -> None:
        """Ring the doorbell of queue ``index``."""
        self.guest.write(mmio.QUEUE_NOTIFY, index)

    def start(self, features: int = EVERYTHING, size: int = 8) -> list[Ring]:
        """Set the device up as a driver does, in memory that is zero."""
        self.begin(features)
        self.guest.ram.clear()
        self.guest._next = BASE
        rings = [self.lay(index, size) for index in range(len(self.device.queues))]
        self.go()
        return rings

    def restart(self) -> None:
        """Have the device listen, and reset it."""
        self.guest.write(mmio.STATUS, 0)
        self.settle()

    @property
    def status(self) -> int:
        """The device's status, as its registers tell it."""
        return self.guest.read(mmio.STATUS, 4)

    # What the machine does

    def settle(self) -> None:
        """Finish what waits for a turn, or for the host."""
        while self.turns or self.errands.open:
            while self.turns:
                self.turns.pop(0)()
            while self.errands.open:
                self.errands.open.pop(0).finish()

    def reload(self) -> None:
        """Save the whole, and load that. A device that runs goes on at once, and may find that it
        has been given nonsense."""
        self.whole.let_go()
        self.whole.settle()
        state, ran = self.whole.save(), self.device.running
        self.whole.load(state)
        assert ran or self.whole.save() == state

    # What has to be

    def check(self) -> None:
        """Nothing was touched that is none of the device's business."""
        assert self.rom.bytes == FILL
        assert self.far.bytes == FILL
        assert self.wire.reached == 0
        assert 0 <= self.status <= 0xFF

    def check_new(self) -> None:
        """After a reset the device knows what it knew at first, and does its work."""
        self.outside.calm()
        self.restart()
        fresh = type(self)(self.kind)
        assert state_of(self.device) == state_of(fresh.device)
        rings = self.start()
        assert not self.status & mmio.NEEDS_RESET
        check_work(self.device, self.guest, rings, self.settle)
        self.whole.close()
        fresh.whole.close()


class Slot(Carrier):
    """A virtio-mmio slot."""

    places = ((SLOT, 0x200), (SLOT, 0xB0))
    version: ClassVar[type[VirtioSlot]]

    def _carry(self, defer: Deferred | None) -> Guest:
        guest = Guest(None, MEMORY)
        guest.slot = self.version(self.device, guest.space, defer)  # type: ignore[assignment]
        guest.slot.irq.connect(guest._interrupt)
        guest.space.add_device(guest.slot, SLOT, 0x200)
        return guest

    @property
    def whole(self) -> Device:
        return self.guest.slot

    def check(self) -> None:
        super().check()
        assert self.guest.irq() == (self.guest.read(mmio.INTERRUPT_STATUS) != 0)


class ModernSlot(Slot):
    """Version 2."""

    version = VirtioMmio


class LegacySlot(Slot):
    """Version 1."""

    version = VirtioMmioLegacy

    def begin(self, features: int) -> None:
        self.restart()
        guest = self.guest
        for status in (ACKNOWLEDGED, DRIVING):
            guest.write(mmio.STATUS, status)
        guest.write(mmio.DRIVER_FEATURES_SEL, 0)
        guest.write(mmio.DRIVER_FEATURES, features & guest.offered)
        guest.write(legacy.GUEST_PAGE_SIZE, PAGE)

    def lay(self, index: int, size: int) -> Ring:
        at = self.guest.allocate(3 * PAGE, PAGE)
        self.put(index, size, (at // PAGE, PAGE, PAGE))
        return RowRing(self.guest, at, PAGE, index, size)

    def put(self, index: int, size: int, addresses: tuple[int, int, int]) -> None:
        page, bytes_in_page, alignment = (number & 0xFFFF_FFFF for number in addresses)
        guest = self.guest
        guest.write(mmio.QUEUE_SEL, index)
        guest.write(mmio.QUEUE_SIZE, size)
        guest.write(legacy.GUEST_PAGE_SIZE, bytes_in_page)
        guest.write(legacy.QUEUE_ALIGN, alignment)
        guest.write(legacy.QUEUE_PFN, page)

    def go(self) -> None:
        self.guest.write(mmio.STATUS, RUNNING)


class ModernFunction(Carrier):
    """A PCI function that is driven by the registers of virtio 1."""

    places: ClassVar[tuple[tuple[int, int], ...]] = (
        (HIGH, 0x4000),
        (HIGH, 0x40),
        (HIGH + 0x2000, 0x40),
        (LOW, 0x1000),
        (LOW, 0x40),
        (ECAM + (1 << 15), 0x100),
    )
    transitional = False
    guest: PciGuest

    def _carry(self, defer: Deferred | None) -> Guest:
        guest = PciGuest(self.device, MEMORY, transitional=self.transitional, defer=defer)
        host = guest.tree.host
        host.message.connect(MessageWrites(guest.space, host.events))
        return guest

    @property
    def whole(self) -> Device:
        return self.guest.function

    def restart(self) -> None:
        self.guest.function.reset()
        self.guest.configure()
        super().restart()

    def check_new(self) -> None:
        self.outside.calm()
        self.guest.function.reset()
        self.settle()
        fresh = type(self)(self.kind)
        fresh.guest.function.reset()
        assert uncounted(self.whole.save()) == uncounted(fresh.whole.save())
        super().check_new()


class TransitionalFunction(ModernFunction):
    """One that drivers from before virtio 1 use by its ports, if there is an old number for such a
    device; else it is driven by its registers, of which hostile guests make use in any case."""

    places = (*ModernFunction.places, (IO + PORTS, 0x40), (IO + PORTS, 0x20))
    transitional = True

    @property
    def has_ports(self) -> bool:
        """Whether there are ports."""
        return bool(self.guest.tree.read(1, BAR) & 1)

    def begin(self, features: int) -> None:
        if not self.has_ports:
            super().begin(features)
            return
        self.restart()
        for status in (ACKNOWLEDGED, DRIVING):
            self.guest.port(ports.STATUS, 1, status)
        self.guest.port(ports.ACCEPTED, 4, features & self.guest.port(ports.FEATURES, 4))

    def lay(self, index: int, size: int) -> Ring:
        if not self.has_ports:
            return super().lay(index, size)
        self.guest.port(ports.SELECT, 2, index)
        return ports.PortRing(self.guest, index)

    def put(self, index: int, size: int, addresses: tuple[int, int, int]) -> None:
        if not self.has_ports:
            super().put(index, size, addresses)
            return
        self.guest.port(ports.SELECT, 2, index)
        self.guest.port(ports.PFN, 4, addresses[0] & 0xFFFF_FFFF)

    def go(self) -> None:
        if self.has_ports:
            self.guest.port(ports.STATUS, 1, RUNNING)
        else:
            super().go()

    def notify(self, index: int) -> None:
        if self.has_ports:
            self.guest.port(ports.NOTIFY, 2, index)
        else:
            super().notify(index)


CARRIERS: dict[str, type[Carrier]] = {
    "mmio": ModernSlot,
    "mmio-legacy": LegacySlot,
    "pci": ModernFunction,
    "pci-transitional": TransitionalFunction,
}
