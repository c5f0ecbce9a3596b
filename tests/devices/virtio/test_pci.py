"""The PCI transport: what drivers find, and the same conversations as over virtio-mmio."""

from __future__ import annotations

import json
import struct
import subprocess

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.virtio.balloon import VirtioBalloon
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.gpu import VirtioGpu
from bimetal.devices.virtio.input import VirtioInput, keyboard, tablet
from bimetal.devices.virtio.pci import VirtioPci
from bimetal.devices.virtio.rng import VirtioRng
from bimetal.memory.space import AddressSpace
from tests.devices.pci.tree import HIGH, LOW
from tests.devices.virtio.guest import (
    CONFIG,
    DRIVER_OK,
    INTERRUPT_ACK,
    NEEDS_RESET,
    QUEUE_SEL,
    QUEUE_SIZE,
    QUEUE_SIZE_MAX,
    STATUS,
    VERSION_1,
    Ring,
)
from tests.devices.virtio.pci_guest import COMMON, DEVICE, ISR, NOTIFY, PciGuest
from tests.host import programs

QUEUE_VECTOR, CONFIG_VECTOR, QUEUES, NOTIFY_OFFSET = 0x1A, 0x10, 0x12, 0x1E
NO_VECTOR = 0xFFFF
MESSAGE = 0xFEE0_0000
LIMIT = 60


@pytest.fixture
def guest() -> PciGuest:
    return PciGuest(VirtioBlock(MemoryDisk(64 << 10), "serial"))


def structures(guest: PciGuest) -> dict[int, tuple[int, int, int]]:
    """The structures of registers by their kinds: base address register, offset and length."""
    found = {}
    for at in guest.tree.capabilities(1)[0x09]:
        kind, bar = guest.tree.read(1, at + 3, 1), guest.tree.read(1, at + 4, 1)
        found[kind] = (bar, guest.tree.read(1, at + 8), guest.tree.read(1, at + 12))
    return found


def identity(ring: Ring, guest: PciGuest) -> bytes:
    """The serial number, by a request."""
    room = guest.room(20)
    ring.submit(guest.place(struct.pack("<IIQ", 8, 0, 0)), room, guest.room(1))
    ring.completed()
    return guest.peek(room).rstrip(b"\0")


def test_what_it_says_it_is(guest: PciGuest) -> None:
    assert guest.tree.read(1, 0) == 0x1042_1AF4
    assert guest.tree.read(1, 8) == 0x01_0000_01


@programs("qemu-system-aarch64")
def test_what_kinds_of_devices_they_are() -> None:
    """As QEMU's are: firmware looks for screens and keyboards by that."""
    ours = {
        "rng": VirtioRng(), "gpu": VirtioGpu(64, 64),
        "keyboard": VirtioInput(keyboard()), "tablet": VirtioInput(tablet()),
        "balloon": VirtioBalloon(),
    }  # fmt: skip
    asked = '{"execute":"qmp_capabilities"}{"execute":"query-pci"}{"execute":"quit"}'
    told = subprocess.run(
        ["qemu-system-aarch64", "-M", "virt", "-display", "none", "-nodefaults", "-S"]
        + ["-qmp", "stdio", *(word for name in ours for word in ("-device", f"virtio-{name}-pci"))],
        input=asked, capture_output=True, text=True, check=True, timeout=LIMIT,
    )  # fmt: skip
    answers = [json.loads(line) for line in told.stdout.splitlines()]
    (buses,) = [each["return"] for each in answers if isinstance(each.get("return"), list)]
    _, *theirs = [each["class_info"]["class"] for each in buses[0]["devices"]]
    assert [VirtioPci(device, AddressSpace()).CLASS for device in ours.values()] == theirs


def test_where_its_structures_are(guest: PciGuest) -> None:
    assert structures(guest) == {
        1: (4, COMMON, 0x1000),
        2: (4, NOTIFY, 0x1000),
        3: (4, ISR, 0x1000),
        4: (4, DEVICE, 0x1000),
        5: (0, 0, 0),
    }
    assert set(guest.tree.capabilities(1)) == {0x01, 0x09, 0x10, 0x11}


def test_a_request_and_its_interrupt(guest: PciGuest) -> None:
    (ring,) = guest.start()
    assert guest.at(QUEUES, 2) == 1
    assert identity(ring, guest) == b"serial"
    assert guest.irq()
    assert guest.tree.lines == [False, True, False, False]
    assert guest.at(ISR, 1) == 1
    assert not guest.irq(), "to read the status is to acknowledge"
    assert guest.at(ISR, 1) == 0


def test_each_queue_has_its_message(guest: PciGuest) -> None:
    (at,) = guest.tree.capabilities(1)[0x11]
    assert guest.tree.read(1, at + 2, 2) == 1, "for the queue, and for the configuration"
    guest.tree.write(1, at + 2, 1 << 15, 2)
    guest.table(0, MESSAGE, 7)
    guest.table(1, MESSAGE + 4, 8)
    guest.negotiate(VERSION_1)
    assert guest.at(QUEUE_VECTOR, 2) == guest.at(CONFIG_VECTOR, 2) == NO_VECTOR
    guest.at(CONFIG_VECTOR, 2, 0)
    guest.at(QUEUE_VECTOR, 2, 1)
    assert (guest.at(CONFIG_VECTOR, 2), guest.at(QUEUE_VECTOR, 2)) == (0, 1)
    ring = guest.set_up(0)
    guest.go()
    identity(ring, guest)
    assert [message[1:] for message in guest.messages] == [(MESSAGE + 4, 8)]
    assert not guest.irq()
    guest.device.config_changed()
    assert [message[1:] for message in guest.messages[1:]] == [(MESSAGE, 7)]
    guest.at(QUEUE_VECTOR, 2, NO_VECTOR)
    identity(ring, guest)
    assert len(guest.messages) == 2


def test_vectors_that_are_not_there(guest: PciGuest) -> None:
    for register in (QUEUE_VECTOR, CONFIG_VECTOR):
        guest.at(register, 2, 2)
        assert guest.at(register, 2) == NO_VECTOR
    guest.write(QUEUE_SEL, 5)
    guest.at(QUEUE_VECTOR, 2, 0)
    assert guest.at(QUEUE_VECTOR, 2) == NO_VECTOR
    assert guest.read(QUEUE_SIZE_MAX) == guest.at(NOTIFY_OFFSET, 2) == 0
    guest.write(QUEUE_SIZE, 8)
    guest.write(0x50, 5)
    assert guest.device.events.counts


def test_a_queue_is_not_taken_away_again(guest: PciGuest) -> None:
    guest.start()
    guest.at(0x1C, 2, 0)
    assert guest.at(0x1C, 2) == 1
    guest.at(0x20, 4, 0x1000)
    assert guest.device.events.counts


def test_the_configuration_of_the_device(guest: PciGuest) -> None:
    assert guest.read(CONFIG) == 128
    assert guest.read(CONFIG + 1, 1) == 0
    assert guest.read(CONFIG + 0x800) == 0xFFFF_FFFF


def test_registers_by_way_of_configuration_space(guest: PciGuest) -> None:
    (ring,) = guest.start()
    at = guest.tree.capabilities(1)[0x09][-1]
    assert guest.tree.read(1, at + 3, 1) == 5
    guest.tree.write(1, at + 4, 4, 1)
    for offset, size, expected in ((DEVICE, 4, 128), (0x14, 1, 15), (QUEUES, 2, 1)):
        guest.tree.write(1, at + 8, offset)
        guest.tree.write(1, at + 12, size)
        assert guest.tree.read(1, at + 16) == expected
    ring.offer(ring.chain(guest.place(struct.pack("<IIQ", 8, 0, 0)), guest.room(21)))
    guest.tree.write(1, at + 8, NOTIFY)
    guest.tree.write(1, at + 16, 0)
    assert len(ring.completed()) == 1


@pytest.mark.parametrize(
    ("bar", "offset", "size"), [(0, 0, 4), (4, 0x4000, 4), (4, 2, 4), (4, 0, 3), (4, 0, 2**31)]
)
def test_no_registers_by_way_of_configuration_space(
    guest: PciGuest, bar: int, offset: int, size: int
) -> None:
    at = guest.tree.capabilities(1)[0x09][-1]
    for register, value in ((4, bar), (8, offset), (12, size)):
        guest.tree.write(1, at + register, value)
    guest.tree.write(1, at + 16, 0xFFFF_FFFF)
    assert guest.tree.read(1, at + 16) == 0


def test_a_broken_driver_is_told(guest: PciGuest) -> None:
    (ring,) = guest.start()
    ring.offer(99)
    ring.notify()
    assert guest.read(STATUS) & NEEDS_RESET
    assert guest.at(ISR, 1) == 2
    guest.write(STATUS, 0)
    (ring,) = guest.start()
    assert identity(ring, guest) == b"serial"


def test_a_reset_of_the_function_alone(guest: PciGuest) -> None:
    (ring,) = guest.start()
    identity(ring, guest)
    (at,) = guest.tree.capabilities(1)[0x10]
    guest.tree.write(1, at + 8, 1 << 15, 2)
    assert not guest.irq()
    assert guest.tree.map() == {"ram": 0x8000_0000}
    guest.configure()
    assert guest.read(STATUS) == 0
    (ring,) = guest.start()
    assert identity(ring, guest) == b"serial"


def test_it_sleeps_and_wakes(guest: PciGuest) -> None:
    (ring,) = guest.start()
    (at,) = guest.tree.capabilities(1)[0x01]
    guest.tree.write(1, at + 4, 3, 2)
    assert guest.tree.map() == {"ram": 0x8000_0000}
    guest.tree.write(1, at + 4, 0, 2)
    assert guest.tree.map() == {
        "ram": 0x8000_0000, "function.msix": LOW, "function.registers": HIGH,
    }  # fmt: skip
    assert identity(ring, guest) == b"serial", "as if nothing had been"


def test_its_state_goes_into_another_machine(guest: PciGuest) -> None:
    (ring,) = guest.start()
    identity(ring, guest)
    other = PciGuest(VirtioBlock(MemoryDisk(64 << 10), "serial"))
    other.ram.bytes[:] = guest.ram.bytes
    other.function.load(guest.function.save())
    assert other.tree.lines == guest.tree.lines == [False, True, False, False]
    assert other.read(STATUS) & DRIVER_OK
    ring.guest = other
    other._next = guest._next
    other.write(INTERRUPT_ACK, 1)
    assert identity(ring, other) == b"serial"
    assert other.irq()


def test_devices_do_not_know_how_they_are_carried() -> None:
    class Counting(VirtioDevice):
        device_id = 42
        queue_limits = (8, 8, 8)

    guest = PciGuest(Counting())
    assert guest.read(0x008) == 42
    assert guest.tree.read(1, 8) >> 8 == 0x00_FF00
    assert guest.at(QUEUES, 2) == 3
