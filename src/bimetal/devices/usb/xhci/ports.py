"""The ports of the root hub (xHCI 1.1, sections 4.15, 4.19 and 5.4.8).

A socket for a device leads to two of them: one of USB 2, and one of USB 3. Which one it is that a
device is seen at is up to its speed. There is power at all times, and links are at once what they
are to be.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from bimetal.base.state import Stateful
from bimetal.devices.usb.descriptors import Speed
from bimetal.devices.usb.device import UsbDevice

__all__ = ["CHANGES", "Link", "PortBits", "RootHub"]


class PortBits:
    """Bits of PORTSC (5.4.8)."""

    CONNECTED, ENABLED, RESET = 1 << 0, 1 << 1, 1 << 4
    POWER, LINK_STROBE = 1 << 9, 1 << 16
    CONNECT_CHANGE, RESET_CHANGE, LINK_CHANGE = 1 << 17, 1 << 21, 1 << 22
    WARM_CHANGE, WARM_RESET = 1 << 19, 1 << 31
    WAKE = 7 << 25
    LINK_AT, SPEED_AT = 5, 10


CHANGES = 0x7F << 17
"""What happened at a port, of which software says that it knows."""
KEPT = PortBits.WAKE | 3 << 14
"""What software sets and nobody looks at: who wakes the host, and the colours of lamps."""


class Link(IntEnum):
    """States of a link."""

    U0 = 0
    U3 = 3
    DISABLED = 4
    RX_DETECT = 5
    POLLING = 7
    RESUME = 15


class RootHub(Stateful):
    """The ports: first ``slow`` ones of USB 2, then ``fast`` ones of USB 3. ``devices`` are in
    sockets that count from 1. ``changed`` hears of the number of a port at which something
    happened. ``status`` is what the register of each port shows."""

    saved = ("status",)
    fixed = ("_slow", "_devices", "_changed")

    def __init__(
        self,
        slow: int,
        fast: int,
        devices: dict[int, UsbDevice],
        changed: Callable[[int], None],
    ):
        self._slow, self._devices, self._changed = slow, devices, changed
        self.status = [0] * (slow + fast)

    def plug(self, device: UsbDevice, socket: int) -> None:
        """Plug ``device`` into a free socket, and tell software. ValueError if that cannot be."""
        fast = len(self.status) - self._slow
        ports = fast if device.speed is Speed.SUPER else self._slow
        if socket in self._devices or not 0 < socket <= ports:
            raise ValueError(f"no device can be in socket {socket}")
        self._devices[socket] = device
        self.plugged(self.port_of(socket, device))

    def unplug(self, socket: int) -> UsbDevice:
        """Take the device out of that socket, and tell software. KeyError if there is none."""
        device = self._devices.pop(socket)
        self.plugged(self.port_of(socket, device))
        device.reset()
        return device

    def port_of(self, socket: int, device: UsbDevice) -> int:
        """The number of the port, from 1 on, at which ``device`` in that socket is seen."""
        return self._slow + socket if device.speed is Speed.SUPER else socket

    def device_at(self, port: int) -> UsbDevice | None:
        """The device that is seen at that port."""
        for socket, device in self._devices.items():
            if self.port_of(socket, device) == port:
                return device
        return None

    def speaks(self, port: int, route: int = 0) -> UsbDevice | None:
        """The device at that port, if the port is enabled; or behind hubs there, where ``route``
        leads, four bits for each of their ports."""
        if not 0 < port <= len(self.status) or not self.status[port - 1] & PortBits.ENABLED:
            return None
        device = self.device_at(port)
        while device is not None and route:
            device, route = device.at_port(route & 15), route >> 4
        return device

    def news(self) -> list[int]:
        """The numbers of ports at which something happened of which software has not said that it
        knows."""
        return [port for port, status in enumerate(self.status, start=1) if status & CHANGES]

    def reset(self) -> None:
        """Go to the state after power-on, with the devices that are there."""
        for number in range(1, len(self.status) + 1):
            self.status[number - 1] = 0
            self.plugged(number)

    def plugged(self, port: int) -> None:
        """A device was perhaps plugged in at that port, or unplugged."""
        old, device = self.status[port - 1], self.device_at(port)
        status = old & (CHANGES | KEPT) | PortBits.POWER
        if device is None:
            link = Link.RX_DETECT
        elif device.speed is Speed.SUPER:
            link, status = Link.U0, status | PortBits.CONNECTED | PortBits.ENABLED
        else:
            link, status = Link.POLLING, status | PortBits.CONNECTED
        if device is not None:
            device.reset()
            status |= device.speed << PortBits.SPEED_AT
        status |= link << PortBits.LINK_AT
        happened = PortBits.CONNECT_CHANGE if (old ^ status) & PortBits.CONNECTED else 0
        self._become(port, status, happened)

    def written(self, port: int, value: int) -> None:
        """Software writes ``value`` into the register of that port."""
        status = self.status[port - 1] & ~(value & CHANGES) & ~KEPT | value & KEPT
        if value & PortBits.ENABLED and status & PortBits.ENABLED:
            status = _linked(status & ~PortBits.ENABLED, Link.DISABLED)
        self.status[port - 1] = status
        if value & (PortBits.RESET | PortBits.WARM_RESET):
            self._reset_port(port, warm=bool(value & PortBits.WARM_RESET))
        elif value & PortBits.LINK_STROBE:
            self._set_link(port, value >> PortBits.LINK_AT & 15)

    def roused(self, socket: int) -> None:
        """The device there wants attention; if it is suspended, its link resumes."""
        device = self._devices[socket]
        port = self.port_of(socket, device)
        status = self.status[port - 1]
        if _link(status) == Link.U3:
            link = Link.U0 if device.speed is Speed.SUPER else Link.RESUME
            self._become(port, _linked(status, link), PortBits.LINK_CHANGE)

    def _reset_port(self, port: int, *, warm: bool) -> None:
        device, status = self.device_at(port), self.status[port - 1]
        if device is None:
            return
        device.reset()
        status = _linked(status | PortBits.ENABLED, Link.U0)
        happened = PortBits.RESET_CHANGE
        if warm and device.speed is Speed.SUPER:
            happened |= PortBits.WARM_CHANGE
        self._become(port, status, happened)

    def _set_link(self, port: int, wanted: int) -> None:
        status = self.status[port - 1]
        before = _link(status)
        if wanted == Link.RX_DETECT and before == Link.DISABLED:
            self.plugged(port)
        elif not status & PortBits.ENABLED:
            return
        elif wanted == Link.U0:
            resumed = before in (Link.U3, Link.RESUME)
            self._become(port, _linked(status, Link.U0), PortBits.LINK_CHANGE * resumed)
        elif wanted in (Link.U3, Link.RESUME):
            self._become(port, _linked(status, Link(wanted)), 0)

    def _become(self, port: int, status: int, happened: int) -> None:
        """A port is like that from now on, and if this is news, software hears of it."""
        news = happened and not status & CHANGES
        self.status[port - 1] = status | happened
        if news:
            self._changed(port)


def _link(status: int) -> int:
    return status >> PortBits.LINK_AT & 15


def _linked(status: int, link: Link) -> int:
    return status & ~(15 << PortBits.LINK_AT) | link << PortBits.LINK_AT
