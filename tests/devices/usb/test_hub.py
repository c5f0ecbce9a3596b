"""A hub, as a driver sees it, and beside QEMU's."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.devices.usb.descriptors import Speed
from bimetal.devices.usb.hub import HUB_PORTS, UsbHub
from bimetal.devices.usb.keyboard import UsbKeyboard
from bimetal.devices.usb.pointers import UsbMouse
from bimetal.devices.usb.route import socket_named
from bimetal.screen.keys import KEYS
from tests.devices.usb.driver import (
    INTERRUPT_IN,
    SHORT,
    STALL,
    SUCCESS,
    TRANSACTION_ERROR,
    TRANSFER_EVENT,
    Driver,
    Ours,
)
from tests.devices.usb.test_like_qemu import Theirs
from tests.host import programs

IN_1 = 3
"""The context of the endpoint 1 that reads."""
GET_STATUS, CLEAR, SET, GET_DESCRIPTOR = 0, 1, 3, 6
FROM_PORT, TO_PORT, FROM_HUB = 0xA3, 0x23, 0xA0
ENABLE, SUSPEND, RESET, POWER, RESET_CHANGE, CONNECT_CHANGE = 1, 2, 4, 8, 20, 16
WAKE = 1


def hub_with(**devices: UsbHub | UsbKeyboard | UsbMouse) -> Ours:
    """A controller with a hub in socket 1, and devices at its ports: ``p1``, and behind it
    ``p1_2``."""
    wires = Ours(UsbHub())
    for name, device in devices.items():
        wires.controller.plug(device, socket_named(f"1.{name[1:].replace('_', '.')}"))
    return wires


def started(host: Driver) -> tuple[int, int]:
    """The root port and the slot of a hub that is configured."""
    port = next(each for each in host.connected() if host.port(each) >> 10 & 15 == Speed.FULL)
    slot = host.address(port)
    assert host.control(slot, 0, 9, 1)[0] == SUCCESS
    assert host.configure(slot, (IN_1, INTERRUPT_IN, 2)).code == SUCCESS
    return port, slot


def status_of(host: Driver, hub: int, port: int) -> tuple[int, ...]:
    """What is the case at a port of a hub, and what has changed."""
    code, data = host.control(hub, FROM_PORT, GET_STATUS, 0, port, 4)
    assert code == SUCCESS
    return struct.unpack("<HH", data)


def feature(host: Driver, hub: int, number: int, what: int, port: int) -> int:
    return host.control(hub, TO_PORT, number, what, port)[0]


class Beside(Theirs):
    """QEMU's hub with a mouse at its port 2."""

    devices = ("-device", "usb-hub,port=1", "-device", "usb-mouse,port=1.2")

    def __init__(self, folder: Path):
        (folder / "disk.img").write_bytes(bytes(512))
        super().__init__(folder / "disk.img", *self.devices)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Driver, Driver]]:
    theirs = Beside(tmp_path)
    yield Driver(hub_with(p2=UsbMouse(Speed.FULL))), Driver(theirs, theirs.wait)
    theirs.qemu.close()


@programs("qemu-system-riscv64")
def test_what_it_says_of_itself_as_qemus_does(pair: tuple[Driver, Driver]) -> None:
    """Left out: how large packets for control are, who has made it, how often it is asked, and the
    mask of USB 1.0's switches, which in QEMU's descriptor is shorter than lsusb expects."""
    seen: list[object] = []
    for host in pair:
        _, slot = started(host)
        told = [host.descriptor(slot, 1, 18)[1], host.descriptor(slot, 2, 255)[1]]
        hub = host.control(slot, FROM_HUB, GET_DESCRIPTOR, 0x2900, 0, 71)[1][1:9]
        device, whole = told
        seen.append((device[:7], device[8:14], device[17], whole[:7], whole[9:17], whole[18:24]))
        seen.append(hub)
        seen.append(host.control(slot, FROM_HUB, GET_STATUS, 0, 0, 4))
    assert seen[:3] == seen[3:]


@programs("qemu-system-riscv64")
def test_what_happens_at_its_ports_as_with_qemus(pair: tuple[Driver, Driver]) -> None:
    """Left out: what it tells of changes by itself, for which QEMU wants time to pass, and that a
    port becomes enabled by a reset, which QEMU calls a change and the standard does not
    (11.24.2.7.2.2)."""

    def status(host: Driver, hub: int, port: int) -> tuple[int, int]:
        now, changed = status_of(host, hub, port)
        return now, changed & ~(1 << ENABLE)

    seen = []
    for host in pair:
        root, hub = started(host)
        told: list[object] = [status(host, hub, port) for port in range(1, HUB_PORTS + 1)]
        told += [feature(host, hub, CLEAR, CONNECT_CHANGE, 2), status(host, hub, 2)]
        told += [feature(host, hub, SET, RESET, 2), status(host, hub, 2)]
        told += [feature(host, hub, CLEAR, RESET_CHANGE, 2)]
        told += [status(host, hub, 2), feature(host, hub, SET, POWER, 1), status(host, hub, 1)]
        slot = host.address_behind(root, 2)
        told += [host.descriptor(slot, 1, 18)[1][:2], host.control(slot, 0, 9, 1)[0]]
        told += [feature(host, hub, SET, SUSPEND, 2), status(host, hub, 2)]
        told += [feature(host, hub, CLEAR, SUSPEND, 2), status(host, hub, 2)]
        told += [feature(host, hub, CLEAR, CONNECT_CHANGE + SUSPEND, 2), status(host, hub, 2)]
        told += [feature(host, hub, CLEAR, ENABLE, 2), status(host, hub, 2)]
        told += [feature(host, hub, SET, RESET, HUB_PORTS + 1)]
        seen.append(told)
    assert seen[0] == seen[1]


def test_a_keyboard_behind_two_hubs_is_heard() -> None:
    keyboard = UsbKeyboard(Speed.FULL)
    host = Driver(hub_with(p3=UsbHub(), p3_8=keyboard))
    root, first = started(host)
    assert feature(host, first, SET, RESET, 3) == SUCCESS
    second = host.address_behind(root, 0x3)
    assert host.control(second, 0, 9, 1)[0] == SUCCESS
    assert feature(host, second, SET, RESET, 8) == SUCCESS
    slot = host.address_behind(root, 0x83)
    assert host.control(slot, 0, 9, 1)[0] == SUCCESS
    assert host.configure(slot, (IN_1, INTERRUPT_IN, 8)).code == SUCCESS
    at = host.submit(slot, IN_1, 8)
    keyboard.press(KEYS["a"], True)
    assert host.await_event(TRANSFER_EVENT).code == SUCCESS
    assert host.wires.peek(at, 8) == b"\0\0\4\0\0\0\0\0"
    # 8 ms at full speed are 8 frames, and not 2 ** 7 microframes (USB 2.0, 9.6.6).
    assert host.descriptor(slot, 2, 255)[1][-1] == 8


def test_nobody_is_behind_a_port_that_is_not_enabled() -> None:
    host = Driver(hub_with(p1=UsbKeyboard(Speed.FULL)))
    root, hub = started(host)
    for route in (1, 2, 0x11):
        made = host.command(9)
        assert host.give_address(made.slot, root, route=route).code == TRANSACTION_ERROR
    assert feature(host, hub, SET, RESET, 1) == SUCCESS
    slot = host.address_behind(root, 1)
    assert host.descriptor(slot, 1, 18)[0] == SUCCESS
    assert feature(host, hub, CLEAR, ENABLE, 1) == SUCCESS
    assert host.descriptor(slot, 1, 18)[0] == TRANSACTION_ERROR


def test_ports_of_a_hub_that_was_not_configured_meanwhile_begin_anew() -> None:
    """USB 2.0, 11.5.1.1."""
    host = Driver(hub_with(p2=UsbMouse(Speed.FULL)))
    _, hub = started(host)
    assert feature(host, hub, SET, RESET, 2) == SUCCESS
    assert feature(host, hub, CLEAR, CONNECT_CHANGE, 2) == SUCCESS
    assert status_of(host, hub, 2)[0] >> ENABLE & 1
    assert host.control(hub, 0, 9, 0)[0] == SUCCESS
    assert host.control(hub, 0, 9, 1)[0] == SUCCESS
    now, changed = status_of(host, hub, 2)
    assert (now >> ENABLE & 1, now & 1, changed) == (0, 1, 1)


def test_what_comes_and_goes_is_told() -> None:
    host = Driver(wires := hub_with())
    _, slot = started(host)
    at = host.submit(slot, IN_1, 2)
    wires.controller.plug(UsbKeyboard(Speed.FULL), 0x81)
    assert host.await_event(TRANSFER_EVENT).code == SUCCESS
    assert host.wires.peek(at, 2) == b"\0\1"
    assert status_of(host, slot, 8) == (1 << 8 | 1, 1)
    assert feature(host, slot, CLEAR, CONNECT_CHANGE, 8) == SUCCESS
    at = host.submit(slot, IN_1, 2)
    wires.controller.unplug(0x81)
    assert host.await_event(TRANSFER_EVENT).code == SUCCESS
    assert status_of(host, slot, 8) == (1 << 8, 1)
    assert host.control(slot, TO_PORT, SET, 99, 8)[0] == STALL


def test_what_cannot_be_at_its_ports() -> None:
    plug = hub_with(p1=UsbKeyboard(Speed.FULL)).controller.plug
    for device, port in ((UsbMouse(Speed.FULL), 1), (UsbMouse(Speed.FULL), 9), (UsbMouse(), 2)):
        with pytest.raises(ValueError, match="no such device"):
            plug(device, port << 4 | 1)
    with pytest.raises(KeyError):
        plug(UsbMouse(Speed.FULL), 0x111)


def test_a_keyboard_wakes_the_hub_and_that_the_controller() -> None:
    keyboard = UsbKeyboard(Speed.FULL)
    host = Driver(hub_with(p1=keyboard))
    root, hub = started(host)
    assert feature(host, hub, SET, RESET, 1) == SUCCESS
    slot = host.address_behind(root, 1)
    assert host.control(slot, 0, 9, 1)[0] == SUCCESS
    for each in (slot, hub):
        assert host.control(each, 0, SET, WAKE)[0] == SUCCESS
    assert feature(host, hub, SET, SUSPEND, 1) == SUCCESS
    host.operate(0x400 + 16 * (root - 1), 1 << 9 | 1 << 16 | 3 << 5)
    assert host.port(root) >> 5 & 15 == 3
    keyboard.press(KEYS["a"], True)
    assert host.port(root) >> 5 & 15 == 15
    host.operate(0x400 + 16 * (root - 1), 1 << 9 | 1 << 16)
    assert status_of(host, hub, 1)[0] & 1 << SUSPEND == 0
    assert status_of(host, hub, 1)[1] & 1 << SUSPEND


def test_all_of_it_goes_on_in_another_machine() -> None:
    def made() -> tuple[UsbKeyboard, Ours]:
        keyboard = UsbKeyboard(Speed.FULL)
        return keyboard, hub_with(p4=keyboard)

    _, first = made()
    host = Driver(first)
    root, hub = started(host)
    assert feature(host, hub, SET, RESET, 4) == SUCCESS
    slot = host.address_behind(root, 4)
    assert host.control(slot, 0, 9, 1)[0] == SUCCESS
    assert host.configure(slot, (IN_1, INTERRUPT_IN, 8)).code == SUCCESS
    keyboard, second = made()
    second.controller.load(first.controller.save())
    second.ram.bytes[:] = first.ram.bytes
    host.wires = second
    at = host.submit(slot, IN_1, 64)
    keyboard.press(KEYS["b"], True)
    assert host.await_event(TRANSFER_EVENT).code == SHORT
    assert second.peek(at, 8) == b"\0\0\5\0\0\0\0\0"


def test_devices_come_in_any_order_and_to_a_machine_that_had_none() -> None:
    """A snapshot has devices by socket, and a controller without any can be plugged into later."""
    first, second = Ours(), Ours()
    second.controller.load(first.controller.save())
    for wires, sockets in ((first, (3, 1)), (second, (1, 3))):
        for socket in sockets:
            wires.controller.plug(UsbKeyboard(), socket)
    second.controller.load(first.controller.save())
    assert Driver(second).connected() == [1, 3]
