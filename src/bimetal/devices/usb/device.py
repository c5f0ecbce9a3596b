"""A USB device, whatever it is plugged into: requests that every device knows, and endpoints
(USB 2.0, chapter 9).

A host controller carries out whole transfers: it hands over buffers, and a device that has nothing
to say yet, or cannot listen yet, says so (a NAK on a real bus) and tells later when to ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import ClassVar, NamedTuple

from bimetal.base.log import EventLog
from bimetal.devices.part import Part
from bimetal.devices.usb import descriptors
from bimetal.devices.usb.descriptors import IN, Identity, Interface, Speed

__all__ = [
    "CLEAR_FEATURE",
    "GET_DESCRIPTOR",
    "GET_STATUS",
    "SET_FEATURE",
    "TO_DEVICE",
    "Request",
    "Stall",
    "UsbDevice",
]

_REQUEST = Struct("<BBHHH")
TO_DEVICE, TO_INTERFACE, TO_ENDPOINT = 0, 1, 2
STANDARD = 0
GET_STATUS, CLEAR_FEATURE, SET_FEATURE = 0x00, 0x01, 0x03
GET_DESCRIPTOR, GET_CONFIGURATION, SET_CONFIGURATION = 0x06, 0x08, 0x09
GET_INTERFACE, SET_INTERFACE, SET_LATENCIES, SET_DELAY = 0x0A, 0x0B, 0x30, 0x31
ENDPOINT_HALT, REMOTE_WAKE_UP = 0, 1
SELF_POWERED, WAKES = 1, 2
U_FEATURES = range(48, 51)
"""Features of links and functions by which a SuperSpeed device saves power: there is none."""
FUNCTION_SUSPEND = 0


class Stall(Exception):
    """The endpoint is halted, or the device does not know the request (8.4.5)."""


class Request(NamedTuple):
    """A request for the endpoint 0 (9.3). ``kind`` has its direction, type and recipient, which is
    the interface or the endpoint ``which``."""

    kind: int
    number: int
    value: int
    which: int
    length: int

    @property
    def is_in(self) -> bool:
        """Whether data go to the host."""
        return bool(self.kind & IN)

    @property
    def type(self) -> int:
        """Who says what it means: 0 is the standard, 1 the device's class."""
        return self.kind >> 5 & 3

    @property
    def recipient(self) -> int:
        """What it is for: the device, an interface, an endpoint."""
        return self.kind & 31


class UsbDevice(Part):
    """The base of all devices: one configuration with one interface.

    ``ready`` hears of an endpoint that is worth asking again, ``wake`` of a device that wants
    attention while it is suspended; whoever it is plugged into sets both.
    """

    identity: ClassVar[Identity]
    wakes: ClassVar[bool] = False
    """Whether it can wake a host that sleeps."""
    saved: ClassVar[tuple[str, ...]] = ("configured", "halted", "may_wake", "_asked", "_given")
    fixed: ClassVar[tuple[str, ...]] = ("events", "speed", "serial", "interface", "ready", "wake")

    def __init__(self, interface: Interface, speed: Speed = Speed.HIGH, serial: str = ""):
        self.events = EventLog("usb")
        self.interface, self.speed, self.serial = interface, speed, serial
        self.ready: Callable[[int], None] = _nobody
        self.wake: Callable[[], None] = _nobody_sleeps
        self.configured = self.may_wake = False
        self.halted: set[int] = set()
        """Addresses of endpoints that answer nothing but STALL."""
        self._asked: bytes | None = None
        """The request that is under way at endpoint 0."""
        self._given = b""
        """The data that came with it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {self.events.source}>"

    # What a kind of device overrides

    def transfer(self, address: int, buffers: Sequence[memoryview]) -> int | None:
        """Carry out a transfer of the endpoint with that ``address``, into or out of ``buffers``:
        the bytes that were moved, or None if it is too early. Raises `Stall`."""
        raise Stall

    def answer(self, request: Request, data: bytes) -> bytes:
        """Carry out a request that is not the standard's: what the host reads, if it does. Raises
        `Stall`."""
        raise Stall

    def own_descriptor(self, kind: int) -> bytes:
        """A descriptor of its class. Raises `Stall`."""
        raise Stall

    def configure(self) -> None:
        """The host has chosen the configuration, or taken the choice back."""

    def at_port(self, port: int) -> UsbDevice | None:
        """The device that a hub speaks to at its ``port``; others have none."""
        return None

    def resume(self, address: int) -> None:
        """The endpoint of that ``address`` was halted, and is not any more."""

    def reset(self) -> None:
        """Go to the state after power-on. Overriding methods call this one first."""
        self.configured = self.may_wake = False
        self.halted.clear()
        self._asked, self._given = None, b""

    def close(self) -> None:
        """Give back what the host lent. Idempotent."""

    # Endpoint 0, stage by stage

    def begin(self, packet: bytes) -> None:
        """The setup stage of a request, which ends the one before."""
        self._asked, self._given = packet, b""

    def give(self, limit: int) -> bytes:
        """The data stage of a request that reads: the data. Raises `Stall`."""
        request = self._request()
        if not request.is_in:
            raise Stall
        self._asked = None
        return self._carry_out(request, b"")[: min(limit, request.length)]

    def take(self, data: bytes) -> None:
        """The data stage of a request that writes. Raises `Stall`."""
        request = self._request()
        if request.is_in or len(data) > request.length:
            raise Stall
        self._given = data

    def finish(self) -> None:
        """The status stage: a request that writes is carried out. Raises `Stall`."""
        if self._asked is not None:
            request = self._request()
            self._asked = None
            self._carry_out(request, self._given)

    def _request(self) -> Request:
        if self._asked is None:
            raise Stall
        return Request(*_REQUEST.unpack(self._asked))

    # Requests

    def _carry_out(self, request: Request, data: bytes) -> bytes:
        if request.type != STANDARD:
            return self.answer(request, data)
        match request.number, request.recipient:
            case n, _ if n == GET_DESCRIPTOR and request.is_in:
                return self._descriptor(request)
            case n, _ if n == GET_STATUS and request.is_in:
                return self._status(request).to_bytes(2, "little")
            case n, to if n in (CLEAR_FEATURE, SET_FEATURE):
                self._feature(to, request, n == SET_FEATURE)
            case n, to if n == SET_CONFIGURATION and to == TO_DEVICE:
                self._choose(request.value & 0xFF)
            case n, _ if n == GET_CONFIGURATION and request.is_in:
                return bytes((self.configured,))
            case n, to if n == GET_INTERFACE and to == TO_INTERFACE and self.configured:
                return bytes(1)
            case n, to if n == SET_INTERFACE and to == TO_INTERFACE and self.configured:
                if request.value or request.which:
                    raise Stall
                self.halted.clear()
            case n, _ if n in (SET_LATENCIES, SET_DELAY) and self.speed is Speed.SUPER:
                pass
            case _:
                raise Stall
        return b""

    def _descriptor(self, request: Request) -> bytes:
        kind, number = request.value >> 8, request.value & 0xFF
        fast = self.speed is Speed.SUPER
        match kind:
            case descriptors.DEVICE:
                return descriptors.device(self.speed, self.identity, bool(self.serial))
            case descriptors.CONFIGURATION if number == 0:
                return descriptors.configuration(self.speed, self.interface, wakes=self.wakes)
            case descriptors.STRING if number == 0:
                return descriptors.languages()
            case descriptors.STRING:
                known = dict(enumerate(descriptors.texts(self.identity, self.serial), start=1))
                if not known.get(number):
                    raise Stall
                return descriptors.text(known[number])
            case descriptors.QUALIFIER if self.speed is Speed.HIGH:
                return descriptors.qualifier()
            case descriptors.BOS if fast:
                return descriptors.object_store()
        return self.own_descriptor(kind)

    def _status(self, request: Request) -> int:
        if request.recipient == TO_ENDPOINT:
            return int(request.which & 0xFF in self.halted)
        if request.recipient == TO_DEVICE:
            return SELF_POWERED | WAKES * self.may_wake
        return 0

    def _feature(self, to: int, request: Request, on: bool) -> None:
        address = request.which & 0xFF
        if to == TO_ENDPOINT and request.value == ENDPOINT_HALT:
            if address not in (each.address for each in self.interface.pipes):
                raise Stall
            if on:
                self.halted.add(address)
            else:
                self.halted.discard(address)
                self.resume(address)
        elif to == TO_DEVICE and request.value == REMOTE_WAKE_UP and self.wakes:
            self.may_wake = on
        elif self.speed is not Speed.SUPER or request.value not in (*U_FEATURES, FUNCTION_SUSPEND):
            raise Stall

    def _choose(self, number: int) -> None:
        if number > 1:
            raise Stall
        self.configured = bool(number)
        self.halted.clear()
        self.configure()


def _nobody(address: int) -> None:
    """It is not plugged in."""


def _nobody_sleeps() -> None:
    """It is not plugged in."""
