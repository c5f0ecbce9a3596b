"""Interrupts that the kernel delivers by itself: routes, eventfds, messages.

Each *global system interrupt* (GSI) leads along a route to a pin of an interrupt controller or to
a message. Source: api.rst, KVM_SET_GSI_ROUTING, KVM_IRQFD, KVM_IRQ_LINE, KVM_SIGNAL_MSI.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable

from bimetal.accel.kvm import abi
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.device import KvmUnavailable
from bimetal.accel.kvm.kernel import Handle

__all__ = ["Routes", "deliver_message", "pc_routes"]

HEADER = struct.Struct("<II")
NO_FD = 0


def pc_routes() -> dict[int, list[bytes]]:
    """The routes of a PC: GSI 0 to 15 to the PICs and to the I/O APIC, 16 to 23 only to that."""
    routes: dict[int, list[bytes]] = {}
    for gsi in range(x86.IO_APIC_PINS):
        routes[gsi] = [_pin(gsi, x86.IO_APIC, gsi)]
        if gsi < 16:
            chip = x86.PIC_MASTER if gsi < 8 else x86.PIC_SLAVE
            routes[gsi].append(_pin(gsi, chip, gsi % 8))
    return routes


def _pin(gsi: int, chip: int, pin: int) -> bytes:
    return x86.ROUTE_IRQCHIP.pack(gsi, x86.ROUTE_TO_IRQCHIP, 0, 0, chip, pin)


def deliver_message(vm: Handle, address: int, data: int) -> None:
    """Deliver a message-signalled interrupt now."""
    message = abi.MSI.new(address_low=address & 0xFFFF_FFFF, address_high=address >> 32, data=data)
    vm.ioctl(abi.SIGNAL_MSI, message)


class Routes:
    """The routes of one machine, and the eventfds bound to them. Thread-safe."""

    def __init__(self, vm: Handle, limit: int, routes: dict[int, list[bytes]]):
        self._vm, self._limit, self._routes = vm, limit, routes
        self._lock = threading.Lock()
        self._install()

    def add_message(self, address: int, data: int, gsi: int | None = None) -> int:
        """Let ``gsi``, or else a free one, deliver a message-signalled interrupt; for `bind`.

        Pins of an I/O APIC that the board models (split) are messages below GSI 24.
        """
        with self._lock:
            if gsi is None:
                free = range(x86.IO_APIC_PINS, self._limit)
                gsi = next((number for number in free if number not in self._routes), None)
            if gsi is None:
                raise KvmUnavailable(f"all {self._limit} interrupt routes of KVM are in use")
            low, high = address & 0xFFFF_FFFF, address >> 32
            self._routes[gsi] = [
                x86.ROUTE_MSI.pack(gsi, x86.ROUTE_TO_MSI, 0, 0, low, high, data, 0)
            ]
            self._install()
            return gsi

    def remove_message(self, gsi: int) -> None:
        """Free a GSI of `add_message`."""
        with self._lock:
            del self._routes[gsi]
            self._install()

    def bind(self, gsi: int, fd: int, resample_fd: int | None) -> None:
        """Let a write to the eventfd ``fd`` raise ``gsi``; see `InterruptController.bind_irq`."""
        flags = 0 if resample_fd is None else abi.IRQFD_RESAMPLE
        self._irqfd(gsi, fd, flags, NO_FD if resample_fd is None else resample_fd)

    def unbind(self, gsi: int, fd: int) -> None:
        """Undo `bind`."""
        self._irqfd(gsi, fd, abi.IRQFD_DEASSIGN, NO_FD)

    def _irqfd(self, gsi: int, fd: int, flags: int, resample_fd: int) -> None:
        request = abi.IRQFD.new(fd=fd, gsi=gsi, flags=flags, resample_fd=resample_fd)
        self._vm.ioctl(abi.IRQFD_REQUEST, request)

    def _install(self) -> None:
        entries = _flat(self._routes.values())
        table = bytearray(HEADER.pack(len(entries), 0) + b"".join(entries))
        self._vm.ioctl(abi.SET_GSI_ROUTING, table)


def _flat(rows: Iterable[list[bytes]]) -> list[bytes]:
    return [entry for row in rows for entry in row]
