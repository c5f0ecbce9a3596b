"""The controller, as a driver sees it."""

from __future__ import annotations

import struct

import pytest

from bimetal.base.state import BadState
from bimetal.devices.usb.descriptors import Speed
from bimetal.devices.usb.hid import HidDevice
from bimetal.devices.usb.hub import UsbHub
from bimetal.devices.usb.keyboard import UsbKeyboard
from bimetal.devices.usb.pointers import UsbMouse, UsbTablet
from bimetal.devices.usb.xhci.events import WAITING_LIMIT
from bimetal.screen.inputs import BUTTONS, RANGE
from bimetal.screen.keys import KEYS
from tests.devices.usb import driver
from tests.devices.usb.driver import (
    ADDRESS,
    BASE,
    CHAIN,
    CONTEXT_STATE,
    EVENT_BLOCKS,
    EVENT_DATA,
    INTERRUPT_IN,
    IOC,
    ISP,
    NO_OP,
    NO_OP_COMMAND,
    NORMAL,
    NOT_ENABLED,
    PORT_CHANGE,
    SHORT,
    SIZE,
    STALL,
    STOP,
    STOPPED,
    SUCCESS,
    TRANSACTION_ERROR,
    TRANSFER_EVENT,
    TRB_ERROR,
    Driver,
    Ours,
)

A, SHIFT = KEYS["a"], KEYS["leftshift"]
IN_1 = 3
"""The context of the endpoint 1 that reads."""


def started(device: HidDevice) -> tuple[Driver, Ours, int]:
    """A device that is configured, and the slot."""
    wires = Ours(device)
    host = Driver(wires)
    (port,) = host.connected()
    slot = host.address(port)
    assert host.control(slot, 0, 9, 1)[0] == SUCCESS
    assert host.configure(slot, (IN_1, INTERRUPT_IN, 8)).code == SUCCESS
    return host, wires, slot


def test_a_keyboard_is_found_and_heard() -> None:
    keyboard = UsbKeyboard()
    host, _, slot = started(keyboard)
    assert host.state(slot) == 3
    assert host.state(slot, IN_1) == 1
    code, data = host.descriptor(slot, 1, 18)
    assert (code, data[:2], data[8:12]) == (SUCCESS, b"\x12\1", b"\x27\6\1\0")
    at = host.submit(slot, IN_1, 8)
    assert not host.take()
    keyboard.press(SHIFT, True)
    keyboard.press(A, True)
    (event,) = host.take()
    assert (event.kind, event.code, event.length, event.slot) == (TRANSFER_EVENT, 1, 0, slot)
    assert host.wires.peek(at, 8) == b"\2\0\0\0\0\0\0\0"
    assert host.move(slot, IN_1, 8) == (SUCCESS, b"\2\0\4\0\0\0\0\0")
    keyboard.release_all()
    assert host.move(slot, IN_1, 8)[1] == b"\0\0\4\0\0\0\0\0"
    assert host.move(slot, IN_1, 8)[1] == bytes(8)


def test_more_keys_than_a_report_has_room_for() -> None:
    keyboard = UsbKeyboard()
    host, _, slot = started(keyboard)
    for name in "abcdefg":
        keyboard.press(KEYS[name], True)
    reports = [host.move(slot, IN_1, 8)[1] for _ in range(7)]
    assert reports[5] == b"\0\0\4\5\6\7\x08\x09"
    assert reports[6] == b"\0\0" + b"\1" * 6


def test_lights() -> None:
    keyboard = UsbKeyboard()
    host, _, slot = started(keyboard)
    assert host.control(slot, 0x21, 9, 0x200, 0, data=b"\2")[0] == SUCCESS
    assert keyboard.lights == 2


def test_a_tablet_points_and_leaves_out_what_nobody_asked_for() -> None:
    tablet = UsbTablet()
    host, _, slot = started(tablet)
    for x in range(100):
        tablet.point(x, 5)
    tablet.press(BUTTONS["left"], True)
    tablet.point(RANGE + 5, -1)
    tablet.turn(-2)
    seen = [struct.unpack("<BHHb", host.move(slot, IN_1, 6)[1]) for _ in range(len(tablet.reports))]
    assert len(seen) < 8
    assert seen[-3:] == [(1, 99, 5, 0), (1, RANGE, 0, 0), (1, RANGE, 0, -2)]


def test_a_mouse_goes_where_it_is_pointed_at() -> None:
    mouse = UsbMouse()
    host, _, slot = started(mouse)
    mouse.point(0, 0)
    mouse.point(RANGE, 320)
    seen = [struct.unpack("<Bbbb", host.move(slot, IN_1, 4)[1]) for _ in range(len(mouse.reports))]
    assert (sum(each[1] for each in seen), sum(each[2] for each in seen)) == (1023, 10)
    assert host.control(slot, 0x21, 11, 0)[0] == SUCCESS  # firmware's protocol
    mouse.press(BUTTONS["right"], True)
    assert host.move(slot, IN_1, 4) == (SHORT, b"\2\0\0")


def test_transfers_of_several_blocks_and_their_events() -> None:
    keyboard = UsbKeyboard()
    host, _, slot = started(keyboard)
    ring, at = host.rings[slot, IN_1], host.room(64)
    host.add(ring, at, 3, NORMAL << 10 | CHAIN | ISP)
    host.add(ring, at + 16, 20, NORMAL << 10 | CHAIN | ISP)
    host.add(ring, 0x1234, 0, EVENT_DATA << 10 | IOC)
    host.add(ring, 0, 0, NO_OP << 10 | IOC)
    host.ring_bell(slot, IN_1)
    keyboard.press(A, True)
    first, second = host.take()
    assert (first.code, first.length, first.parameter) == (SHORT, 15, ring.at + 16)
    assert (second.code, second.parameter) == (SUCCESS, ring.at + 48)
    assert host.wires.peek(at, 3) + host.wires.peek(at + 16, 5) == b"\0\0\4\0\0\0\0\0"
    host.add(ring, at, 8, NORMAL << 10 | CHAIN)
    host.add(ring, 0x1234, 0, EVENT_DATA << 10 | IOC)
    host.ring_bell(slot, IN_1)
    keyboard.press(A, False)
    (event,) = host.take()
    assert (event.by_data, event.parameter, event.length) == (True, 0x1234, 8)


def test_a_ring_turns_around() -> None:
    tablet = UsbTablet()
    host, _, slot = started(tablet)
    for n in range(3 * driver.RING_BLOCKS):
        tablet.point(n + 1, n)
        assert host.move(slot, IN_1, 6)[1] == struct.pack("<BHHb", 0, n + 1, n, 0)


def test_events_wait_for_room_and_none_is_lost() -> None:
    keyboard = UsbKeyboard()
    host, wires, slot = started(keyboard)
    for _ in range(2):
        for _ in range(EVENT_BLOCKS - 20):
            host.add(host.commands, 0, 0, NO_OP_COMMAND << 10)
        host.ring_bell(0)
    first = host.take()
    assert len(first) == EVENT_BLOCKS - 1
    assert wires.controller.interrupters[0].waiting == []
    assert len(first) + len(host.take()) == 2 * (EVENT_BLOCKS - 20)
    assert host.control(slot, 0x80, 8, length=1) == (SUCCESS, b"\1")


def test_what_waits_for_a_driver_that_takes_no_events_has_a_limit() -> None:
    host, wires, _ = started(UsbKeyboard())
    controller, stop = wires.controller, 2
    for _ in range(EVENT_BLOCKS + WAITING_LIMIT + 5):
        host.ring_bell(0)
        host.operate(0x18, stop)
    assert len(controller.interrupters[0].waiting) == WAITING_LIMIT
    assert [what for what in controller.events.counts if "no room for its events" in str(what)]
    found = 0
    while events := host.take():
        found += len(events)
    assert found == WAITING_LIMIT + EVENT_BLOCKS - 1
    assert host.command(NO_OP_COMMAND).code == SUCCESS


def test_devices_that_are_not_plugged_in_have_no_state() -> None:
    hub = UsbHub()
    hub.plug(UsbKeyboard(Speed.FULL), 1)
    for there, missing in (((UsbKeyboard(),), ()), ((hub,), (UsbHub(),))):
        state = Ours(*there).controller.save()
        with pytest.raises(BadState, match="not plugged in"):
            Ours(*missing).controller.load(state)


def test_what_is_stopped_is_told_and_goes_on_where_it_was() -> None:
    keyboard = UsbKeyboard()
    host, _, slot = started(keyboard)
    at = host.submit(slot, IN_1, 8)
    host.add(host.commands, 0, 0, STOP << 10 | slot << 24 | IN_1 << 16)
    host.ring_bell(0)
    told, done = host.take()
    assert (told.code, told.length, done.code) == (STOPPED, 8, SUCCESS)
    keyboard.press(A, True)
    assert not host.take()
    host.ring_bell(slot, IN_1)
    (event,) = host.take()
    assert event.code == SUCCESS
    assert host.wires.peek(at, 8)[2] == 4
    assert host.command(driver.RESET_ENDPOINT, slot, flags=IN_1 << 16).code == CONTEXT_STATE


def test_a_request_that_the_device_does_not_know_halts_the_endpoint() -> None:
    host, _, slot = started(UsbKeyboard())
    assert host.descriptor(slot, 77, 8)[0] == STALL
    host.recover(slot, 1)
    assert host.control(slot, 0x80, 0, length=2) == (SUCCESS, b"\1\0")
    assert host.control(slot, 0x40, 0x99)[0] == STALL
    host.recover(slot, 1)
    assert host.control(slot, 0x02, 3, 0, 0x81)[0] == SUCCESS  # halt the endpoint
    assert host.control(slot, 0x82, 0, 0, 0x81, 2) == (SUCCESS, b"\1\0")
    assert host.move(slot, IN_1, 8)[0] == STALL
    host.recover(slot, IN_1)
    assert host.control(slot, 0x02, 1, 0, 0x81)[0] == SUCCESS
    host.submit(slot, IN_1, 8)
    assert not host.take()


def test_what_is_unplugged_is_told_and_fails() -> None:
    wires = Ours(UsbKeyboard())
    host = Driver(wires)
    slot = host.address(1)
    assert wires.controller.unplug(1).reports == []  # type: ignore[attr-defined]
    (event,) = host.take()
    assert (event.kind, event.parameter >> 24) == (PORT_CHANGE, 1)
    assert not host.port(1) & driver.CONNECTED
    assert host.descriptor(slot, 1, 18)[0] == TRANSACTION_ERROR
    wires.controller.plug(UsbTablet(), 1)
    assert host.connected() == [1]
    assert host.descriptor(host.address(1), 1, 18)[0] == SUCCESS


def test_slots_that_are_not_there() -> None:
    host, _, slot = started(UsbKeyboard())
    assert host.command(ADDRESS, slot + 1, BASE).code == NOT_ENABLED
    assert host.command(ADDRESS, 255, BASE).code == NOT_ENABLED
    assert host.command(driver.DISABLE, slot).code == SUCCESS
    assert host.command(driver.DISABLE, slot).code == NOT_ENABLED
    assert host.command(50).code == TRB_ERROR
    made = host.command(driver.ENABLE)
    assert (made.code, made.slot) == (SUCCESS, slot)
    assert host.give_address(made.slot, 2).code == TRANSACTION_ERROR


@pytest.mark.parametrize("at", [0, 0x40, BASE + SIZE - 8, 1 << 63, (1 << 64) - 64])
def test_memory_that_is_not_there_stops_the_controller(at: int) -> None:
    host, wires, slot = started(UsbKeyboard())
    host.add(host.rings[slot, IN_1], at, 16, NORMAL << 10 | IOC)
    wires.controller.devices[1].press(A, True)  # type: ignore[attr-defined]
    host.ring_bell(slot, IN_1)
    assert host.operation(4) & 5 == 5
    assert wires.controller.events.counts
    again = Driver(wires)
    assert again.descriptor(again.address(1), 1, 18)[0] == SUCCESS


def test_what_the_capabilities_say() -> None:
    wires = Ours(slow=3, fast=2)
    assert [wires.read(at) for at in (0x20, 0x28, 0x30, 0x38)] == [
        *(0x0200_0402, 1 | 3 << 8, 0x0300_0002, 4 | 2 << 8),
    ]
    assert wires.read(0x24) == wires.read(0x34) == int.from_bytes(b"USB ", "little")
    assert wires.read(4) == 32 | 16 << 8 | 5 << 24
    assert (wires.read(0, 1), wires.read(2, 2)) == (0x40, 0x110)
