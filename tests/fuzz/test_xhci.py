"""Hostile drivers of USB: whatever is in their rings, contexts and registers, nothing raises, only
their own RAM is touched, and after a reset the controller and its devices are as new."""

from __future__ import annotations

import struct
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.usb.descriptors import Speed
from bimetal.devices.usb.device import Stall, UsbDevice
from bimetal.devices.usb.keyboard import UsbKeyboard
from bimetal.devices.usb.pointers import UsbMouse, UsbTablet
from bimetal.devices.usb.storage import UsbStorage
from bimetal.memory.ram import Ram
from tests.devices.usb.driver import BASE, BULK_IN, BULK_OUT, INTERRUPT_IN, SIZE, Driver, Ours

ROM = 0x1000
KINDS: tuple[Callable[[], UsbDevice], ...] = (
    UsbKeyboard,
    UsbTablet,
    UsbMouse,
    lambda: UsbStorage(ScsiDisk(MemoryDisk(1 << 20)), Speed.SUPER),
)

WORD = st.one_of(
    st.sampled_from([0, 1, 2, 3, 8, 0x10, 0x20, 0xFFFF, 1 << 31, 0xFFFF_FFFF]),
    st.integers(0, 0xFFFF_FFFF),
)
ADDRESS = st.one_of(
    st.integers(0, SIZE // 16).map(lambda n: BASE + 16 * n),
    st.integers(BASE, BASE + 0x20000),
    st.sampled_from([0, ROM, ROM + 16, BASE - 16, BASE + SIZE - 16, (1 << 64) - 16, 1 << 63]),
)
TRB = st.builds(
    lambda parameter, length, kind, flags, slot, endpoint: struct.pack(
        "<QII", parameter, length, kind << 10 | flags | slot << 24 | endpoint << 16
    ),
    ADDRESS,
    st.one_of(st.sampled_from([0, 8, 13, 31, 512]), WORD),
    st.one_of(st.integers(0, 23), st.integers(0, 63)),
    st.integers(0, 0x3FF),
    st.one_of(st.integers(0, 5), st.integers(0, 255)),
    st.one_of(st.integers(0, 5), st.integers(0, 31)),
)
BELL = st.tuples(st.just("bell"), st.integers(0, 33), st.one_of(st.integers(0, 5), WORD))
REGISTER = st.tuples(
    st.just("register"),
    st.one_of(
        st.integers(0, 0x40).map(lambda n: 0x40 + 4 * n),
        st.integers(0, 0x20).map(lambda n: 0x440 + 4 * n),
        st.integers(0, 0x10).map(lambda n: 0x1020 + 4 * n),
        st.integers(0, 0x3FFF),
    ),
    WORD,
)
COMMAND = st.tuples(st.just("command"), st.just(0), TRB)
TRANSFER = st.tuples(st.just("transfer"), st.integers(0, 7), TRB)
MEMORY = st.tuples(st.just("memory"), ADDRESS, st.binary(min_size=1, max_size=64))
PRESS = st.tuples(st.just("press"), st.integers(0, 3), st.integers(0, 300))
PLUG = st.tuples(st.just("plug"), st.integers(1, 4), st.integers(0, 3))
HISTORY = st.lists(
    st.one_of(BELL, BELL, COMMAND, COMMAND, TRANSFER, TRANSFER, REGISTER, MEMORY, PRESS, PLUG),
    max_size=40,
)


class World:
    """A controller with every kind of device, all set up by a driver, before it turns hostile."""

    def __init__(self) -> None:
        self.wires = Ours(*[make() for make in KINDS])
        self.rom = Ram("rom", 4096, readonly=True)
        self.wires.space.add_memory(self.rom, ROM)
        self.driver = Driver(self.wires)
        self.slots = []
        for port in self.driver.connected():
            slot = self.driver.address(port)
            self.driver.control(slot, 0, 9, 1)
            pipes = [(3, BULK_IN, 1024), (4, BULK_OUT, 1024)] if port > 4 else []
            self.driver.configure(slot, *(pipes or [(3, INTERRUPT_IN, 8)]))
            self.slots.append(slot)

    def do(self, what: str, where: int, value: int | bytes) -> None:
        controller, driver = self.wires.controller, self.driver
        match what, value:
            case "bell", int():
                self.wires.write(0x2000 + 4 * where, value & 0xFFFF_FFFF)
            case "register", int():
                self.wires.write(where & -4, value)
                self.wires.read(where & -4)
            case "command", bytes():
                driver.add(driver.commands, *struct.unpack("<QII", value))
                driver.ring_bell(0)
            case "transfer", bytes():
                rings = [ring for (slot, _), ring in driver.rings.items() if slot in self.slots]
                driver.add(rings[where % len(rings)], *struct.unpack("<QII", value))
            case "memory", bytes():
                place = min(max(where, BASE), BASE + SIZE - len(value))
                self.wires.poke(place, value)
            case "press", int():
                for device in list(controller.devices.values()):
                    if isinstance(device, UsbKeyboard | UsbTablet | UsbMouse):
                        device.press(value, bool(where & 1))
                        device.point(value * 100, where)
                        device.turn(where)
            case "plug", int():
                if where in controller.devices:
                    controller.unplug(where).close()
                else:
                    controller.plug(KINDS[value](), where)

    def check_alive(self) -> None:
        for socket in list(self.wires.controller.devices):
            self.wires.controller.unplug(socket).close()
        self.wires.controller.reset()
        assert self.wires.controller.save() == Ours().controller.save()
        self.wires.controller.plug(UsbKeyboard(), 2)
        self.wires.ram.clear()
        driver = Driver(self.wires)
        assert driver.descriptor(driver.address(2), 1, 18)[1][:2] == b"\x12\1"


@given(HISTORY)
def test_whatever_a_driver_does(history: list[tuple[str, int, int | bytes]]) -> None:
    world = World()
    for step in history:
        world.do(*step)
    assert world.rom.bytes == bytes(4096)
    for device in world.wires.controller.devices.values():
        assert len(getattr(device, "reports", [])) < 600
    saved = world.wires.controller.save()
    other = Ours(slow=4, fast=4)
    for socket, device in world.wires.controller.devices.items():
        other.controller.plug(KINDS[kind_of(device)](), socket)
    other.controller.load(saved)
    assert other.controller.save() == saved
    world.check_alive()


def kind_of(device: UsbDevice) -> int:
    kinds: tuple[type[UsbDevice], ...] = (UsbKeyboard, UsbTablet, UsbMouse, UsbStorage)
    return kinds.index(type(device))


@given(
    st.integers(0, 3),
    st.lists(
        st.one_of(
            st.tuples(st.just("setup"), st.binary(min_size=8, max_size=8)),
            st.tuples(
                st.just("setup"),
                st.builds(
                    struct.Struct("<BBHHH").pack,
                    st.sampled_from([0, 1, 2, 0x80, 0x81, 0x82, 0x21, 0xA1]),
                    st.integers(0, 12),
                    st.integers(0, 0xFFFF),
                    st.integers(0, 0x82),
                    st.integers(0, 300),
                ),
            ),
            st.tuples(st.just("give"), st.integers(0, 70000)),
            st.tuples(st.just("take"), st.binary(max_size=70)),
            st.tuples(st.just("finish"), st.none()),
            st.tuples(st.sampled_from(["read", "write"]), st.integers(0, 2000)),
            st.tuples(
                st.just("command"),
                st.builds(
                    struct.Struct("<IIIBBB16s").pack,
                    st.just(0x4342_5355),
                    st.integers(0, 9),
                    st.one_of(st.integers(0, 2048), st.integers(0, 0xFFFF_FFFF)),
                    st.sampled_from([0, 0x80]),
                    st.just(0),
                    st.integers(1, 16),
                    st.builds(
                        lambda first, rest: bytes((first,)) + rest,
                        st.sampled_from([0, 3, 0x12, 0x1A, 0x25, 0x28, 0x2A, 0x35, 0x41, 0x42]),
                        st.binary(min_size=15, max_size=15),
                    ),
                ),
            ),
        ),
        max_size=30,
    ),
)
def test_whatever_a_device_is_asked(kind: int, steps: list[tuple[str, int | bytes | None]]) -> None:
    device = KINDS[kind]()
    device.configured = True
    for what, value in steps:
        try:
            match what, value:
                case "setup", bytes():
                    device.begin(value)
                case "give", int():
                    assert len(device.give(value)) <= value
                case "take", bytes():
                    device.take(value)
                case "finish", None:
                    device.finish()
                case "read", int():
                    room = memoryview(bytearray(value))
                    moved = device.transfer(0x81, [room[:9], room[9:]])
                    assert moved is None or 0 <= moved <= value
                case "write", int():
                    moved = device.transfer(2, [memoryview(bytes(value))])
                    assert moved is None or 0 <= moved <= value
                case "command", bytes():
                    device.transfer(2, [memoryview(value)])
        except Stall:
            pass
    assert device.save() is not None
    device.close()
