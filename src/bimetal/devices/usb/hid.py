"""What people type and point with, on USB (Device Class Definition for HID 1.11).

Each change is a report, which waits until the host asks for it. They wait for a driver that is
slow, but not without limit, as virtio's input devices have it: what would be too much is not
pressed, and what is down is always released. Reports are not repeated while nothing changes: an
idle rate (7.2.4) is accepted, and means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import ClassVar

from bimetal.base.buffers import scatter
from bimetal.devices.usb.descriptors import IN, INTERRUPT, Identity, Interface, Pipe, Speed
from bimetal.devices.usb.device import Request, Stall, UsbDevice

__all__ = ["WAITING_LIMIT", "HidDevice", "identity"]

HID_CLASS, BOOT = 3, 1
HID, REPORT = 0x21, 0x22
"""Types of descriptors."""
GET_REPORT, GET_IDLE, GET_PROTOCOL = 1, 2, 3
SET_REPORT, SET_IDLE, SET_PROTOCOL = 9, 10, 11
CLASS, INTERFACE = 1, 1
INPUT_REPORT, OUTPUT_REPORT = 1, 2
HID_VERSION = 0x0111
PACKET, INTERVAL = 8, 7
"""Bytes of a packet at most; every 8 ms."""
PIPE = IN | 1

WAITING_LIMIT = 256
"""Reports that wait for a driver, besides those that release something."""


class HidDevice(UsbDevice):
    """The base of those devices. ``boot`` is the protocol that firmware knows it by: 1 for a
    keyboard, 2 for a mouse, 0 for what firmware does not know."""

    report: ClassVar[bytes] = b""
    """The report descriptor."""
    boot: ClassVar[int] = 0
    wakes = True
    saved: ClassVar[tuple[str, ...]] = ("reports", "down", "idle", "simple")

    def __init__(self, speed: Speed = Speed.HIGH) -> None:
        own = pack("<BBHBBBH", 9, HID, HID_VERSION, 0, 1, REPORT, len(self.report))
        pipes = (Pipe(PIPE, INTERRUPT, PACKET, INTERVAL),)
        kind = BOOT if self.boot else 0
        super().__init__(Interface(HID_CLASS, kind, self.boot, pipes, own), speed)
        self.reports: list[bytes] = []
        """What the driver has not heard yet."""
        self.down: list[int] = []
        """Keys or buttons that are down, in the order in which they were pressed."""
        self.idle = 0
        self.simple = False
        """Whether the driver wants the protocol of firmware."""

    # What a kind overrides

    def state(self) -> bytes:
        """What is the case now, as a report."""
        raise NotImplementedError

    def has(self, code: int) -> bool:
        """Whether there is a key or button of that number of Linux's."""
        raise NotImplementedError

    def told(self, data: bytes) -> None:
        """The driver tells something, in a report."""

    # See InputDevice

    @property
    def listens(self) -> bool:
        """See `InputDevice.listens`."""
        return self.configured and len(self.reports) < WAITING_LIMIT

    def press(self, code: int, down: bool) -> None:
        """See `InputDevice.press`."""
        if not self.configured or not self.has(code) or (code in self.down) == down:
            return
        if down and not self.listens:
            return
        (self.down.append if down else self.down.remove)(code)
        self.say(self.state())

    def release_all(self) -> None:
        """Whatever is down goes up."""
        for code in list(self.down):
            self.press(code, False)

    def point(self, x: int, y: int) -> None:
        """See `InputDevice.point`."""

    def move(self, right: int, down: int) -> None:
        """See `InputDevice.move`."""

    def turn(self, steps: int) -> None:
        """See `InputDevice.turn`."""

    def say(self, report: bytes) -> None:
        """Have the driver hear of a report."""
        self.reports.append(report)
        if self.may_wake:
            self.wake()
        self.ready(PIPE)

    # See UsbDevice

    def transfer(self, address: int, buffers: Sequence[memoryview]) -> int | None:
        if address != PIPE or not self.configured or address in self.halted:
            raise Stall
        return scatter(self.reports.pop(0), buffers) if self.reports else None

    def own_descriptor(self, kind: int) -> bytes:
        if kind == REPORT:
            return self.report
        if kind == HID:
            return self.interface.own
        raise Stall

    def answer(self, request: Request, data: bytes) -> bytes:
        if request.type != CLASS or request.recipient != INTERFACE:
            raise Stall
        match request.number:
            case n if n == GET_REPORT and request.value >> 8 == INPUT_REPORT:
                return self.state()
            case n if n == GET_IDLE:
                return bytes((self.idle,))
            case n if n == GET_PROTOCOL and self.boot:
                return bytes((not self.simple,))
            case n if n == SET_REPORT and request.value >> 8 == OUTPUT_REPORT:
                self.told(data)
            case n if n == SET_IDLE:
                self.idle = request.value >> 8
            case n if n == SET_PROTOCOL and self.boot and request.value < 2:
                self.simple = not request.value
            case _:
                raise Stall
        return b""

    def configure(self) -> None:
        self._forget()

    def reset(self) -> None:
        super().reset()
        self._forget()

    def _forget(self) -> None:
        self.reports.clear()
        self.down.clear()
        self.idle, self.simple = 0, False


def identity(product: str) -> Identity:
    """What all of them say of themselves but for their name: the numbers of QEMU's."""
    return Identity(0x0627, 0x0001, "Bimetal", product)
