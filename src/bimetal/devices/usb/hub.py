"""A hub (USB 2.0, chapter 11): eight ports more, at full speed, without power switches.

What is behind it is reached through it, so a controller asks it for the device at a port, and it
answers as long as software has enabled that port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import pack
from typing import ClassVar

from bimetal.base.buffers import scatter
from bimetal.devices.usb.descriptors import IN, INTERRUPT, Identity, Interface, Pipe, Speed
from bimetal.devices.usb.device import (
    CLEAR_FEATURE,
    GET_DESCRIPTOR,
    GET_STATUS,
    SET_FEATURE,
    TO_DEVICE,
    Request,
    Stall,
    UsbDevice,
)

__all__ = ["HUB_PORTS", "UsbHub", "everything"]

HUB_PORTS = 8
HUB, HUB_DESCRIPTOR = 9, 0x29
"""The class of hubs, and the type of their descriptor."""
CLASS, TO_PORT = 1, 3
PIPE, INTERVAL = IN | 1, 12
"""The endpoint that tells of changes, and how often it is asked: every 255 ms."""
PIPE_BYTES = 1 + HUB_PORTS // 8
NO_SWITCHES, OVER_CURRENT_EACH, POWER_GOOD = 2, 1 << 3, 1
"""What the descriptor says: power is always on, and good after 2 ms (11.23.2.1)."""

CONNECTION, ENABLED, SUSPENDED, RESETTING, POWER, LOW = 0, 1, 2, 4, 8, 9
"""Bits of a port's status, and of what has changed: the first four (11.24.2.7)."""
CHANGES = 16
"""The number of the feature that is the change of the first bit (table 11-17)."""
TESTS = (21, 22)
"""Features for tests and lamps, which are accepted."""


class UsbHub(UsbDevice):
    """A hub with `HUB_PORTS`, which count from 1. ``devices`` are at its ports."""

    identity = Identity(0x0409, 0x55AA, "Bimetal", "Bimetal USB hub", 0x0101, HUB)
    wakes = True
    saved: ClassVar[tuple[str, ...]] = ("devices", "status", "changes")

    def __init__(self) -> None:
        pipes = (Pipe(PIPE, INTERRUPT, PIPE_BYTES, INTERVAL),)
        super().__init__(Interface(HUB, 0, 0, pipes), Speed.FULL)
        self.devices: dict[int, UsbDevice] = {}
        self.status = [1 << POWER] * HUB_PORTS
        self.changes = [0] * HUB_PORTS

    # What is plugged into it

    def plug(self, device: UsbDevice, port: int) -> None:
        """Plug ``device`` into a free ``port``, and tell software. ValueError if that cannot be."""
        if port in self.devices or not 0 < port <= HUB_PORTS or device.speed > Speed.LOW:
            raise ValueError(f"no such device can be at port {port} of a hub")
        self.devices[port] = device
        self._plugged(port)

    def unplug(self, port: int) -> UsbDevice:
        """Take the device out of that port, and tell software. KeyError if there is none."""
        device = self.devices.pop(port)
        self._plugged(port)
        device.reset()
        return device

    def at_port(self, port: int) -> UsbDevice | None:
        device = self.devices.get(port)
        speaks = self.configured and device is not None and self.status[port - 1] >> ENABLED & 1
        return device if speaks else None

    def roused(self, port: int) -> None:
        """The device there wants attention; if it is suspended, its port resumes."""
        if self.status[port - 1] >> SUSPENDED & 1:
            self.status[port - 1] &= ~(1 << SUSPENDED)
            self._happened(port, SUSPENDED)
        else:
            self.wake()

    def _plugged(self, port: int) -> None:
        """Something was plugged in there, or unplugged."""
        self.status[port - 1] = self._unused(port)
        device = self.devices.get(port)
        if device is not None:
            device.reset()
        self._happened(port, CONNECTION)

    def _unused(self, port: int) -> int:
        """The status of a port that was not enabled yet."""
        device = self.devices.get(port)
        if device is None:
            return 1 << POWER
        return 1 << POWER | 1 << CONNECTION | (device.speed is Speed.LOW) << LOW

    def _happened(self, port: int, change: int) -> None:
        self.changes[port - 1] |= 1 << change
        if self.may_wake:
            self.wake()
        self.ready(PIPE)

    # See UsbDevice

    def transfer(self, address: int, buffers: Sequence[memoryview]) -> int | None:
        if address != PIPE or not self.configured or address in self.halted:
            raise Stall
        changed = sum(1 << port for port, each in enumerate(self.changes, start=1) if each)
        return scatter(changed.to_bytes(PIPE_BYTES, "little"), buffers) if changed else None

    def answer(self, request: Request, data: bytes) -> bytes:
        if request.type != CLASS or request.recipient not in (TO_DEVICE, TO_PORT):
            raise Stall
        at_port = request.recipient == TO_PORT
        match request.number:
            case n if n == GET_DESCRIPTOR and request.is_in and not at_port:
                return self._descriptor_of_hub(request)
            case n if n == GET_STATUS and request.is_in and not at_port:
                return bytes(4)  # its own power is good
            case n if n == GET_STATUS and request.is_in:
                port = self._port(request)
                return pack("<HH", self.status[port - 1], self.changes[port - 1])
            case n if n == SET_FEATURE and at_port:
                self._set(self._port(request), request.value)
            case n if n == CLEAR_FEATURE and at_port:
                self._clear(self._port(request), request.value)
            case n if n == CLEAR_FEATURE and request.value < 2:
                pass  # changes that never happen
            case _:
                raise Stall
        return b""

    def reset(self) -> None:
        super().reset()
        self._begin_anew()
        for device in self.devices.values():
            device.reset()

    def configure(self) -> None:
        if not self.configured:  # no port of such a hub is in use (11.5.1.1)
            self._begin_anew()

    def _begin_anew(self) -> None:
        for port in range(1, HUB_PORTS + 1):
            self.status[port - 1] = self._unused(port)
            self.changes[port - 1] = int(port in self.devices) << CONNECTION

    # Its class

    def _descriptor_of_hub(self, request: Request) -> bytes:
        if request.value >> 8 != HUB_DESCRIPTOR:
            raise Stall
        bits = PIPE_BYTES
        how = NO_SWITCHES | OVER_CURRENT_EACH
        body = pack("<BBHBB", HUB_DESCRIPTOR, HUB_PORTS, how, POWER_GOOD, 0)
        return bytes((1 + len(body) + 2 * bits,)) + body + bytes(bits) + b"\xff" * bits

    def _port(self, request: Request) -> int:
        """The port that a request is for."""
        port = request.which & 0xFF
        if not self.configured or not 0 < port <= HUB_PORTS:
            raise Stall
        return port

    def _set(self, port: int, feature: int) -> None:
        device, status = self.devices.get(port), self.status[port - 1]
        if feature == RESETTING and device is not None:
            device.reset()
            self.status[port - 1] = self._unused(port) | 1 << ENABLED
            self._happened(port, RESETTING)
        elif feature == SUSPENDED and status >> ENABLED & 1:
            self.status[port - 1] |= 1 << SUSPENDED
        elif feature not in (RESETTING, SUSPENDED, POWER, *TESTS):
            raise Stall

    def _clear(self, port: int, feature: int) -> None:
        if feature == ENABLED:
            self.status[port - 1] &= ~(1 << ENABLED | 1 << SUSPENDED)
        elif feature == SUSPENDED:
            if self.status[port - 1] >> SUSPENDED & 1:
                self.status[port - 1] &= ~(1 << SUSPENDED)
                self._happened(port, SUSPENDED)
        elif CHANGES <= feature <= CHANGES + RESETTING:
            self.changes[port - 1] &= ~(1 << feature - CHANGES)
        elif feature not in (POWER, *TESTS):
            raise Stall


def everything(
    devices: Mapping[int, UsbDevice], at: int = 0, shift: int = 0
) -> Iterator[tuple[int, UsbDevice]]:
    """What is plugged in, and what is behind hubs among it, each with its place (`route`)."""
    for number, device in devices.items():
        place = at | number << shift
        yield place, device
        if isinstance(device, UsbHub):
            yield from everything(device.devices, place, shift + 4)
