"""Doorbells: writes to devices that reach the service thread while the CPU runs on.

Where the accelerator can, each doorbell that a device declares becomes an eventfd; the reactor
then does the write that the CPU did. Elsewhere the CPU leaves its run and does it itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from bimetal.backends.reactor import Reactor, Watch
from bimetal.devices.device import Device
from bimetal.machine.hardware import Hardware
from bimetal.seam import Accelerator, Doorbell, Doorbells

__all__ = ["BoardDoorbells"]


class BoardDoorbells:
    """The doorbells of all devices of a board; none if the accelerator cannot have them."""

    def __init__(self, hardware: Hardware, accelerator: Accelerator, reactor: Reactor):
        self._accelerator = accelerator
        self._hung: list[tuple[Doorbell, int, Watch, Callable[[], None]]] = []
        if not isinstance(accelerator, Doorbells):
            return
        for placement in hardware.placements:
            for offset, size, value in placement.device.doorbells():
                doorbell = Doorbell(placement.at + offset, size, value, placement.port)
                fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                accelerator.add_doorbell(doorbell, fd)
                ring = partial(
                    self._ring, fd, partial(_write, placement.device, offset, size, value)
                )
                self._hung.append((doorbell, fd, reactor.watch(fd, ring), ring))

    def answer(self) -> None:
        """Do now what has rung and was not done yet."""
        for _, _, _, ring in self._hung:
            ring()

    def forget(self) -> None:
        """Whatever rang before does not count any more: the devices are being reset."""
        for _, fd, _, _ in self._hung:
            _silence(fd)

    def close(self) -> None:
        """Give the descriptors back. Idempotent."""
        while self._hung:
            doorbell, fd, watch, _ = self._hung.pop()
            watch.close()
            if isinstance(self._accelerator, Doorbells):
                self._accelerator.remove_doorbell(doorbell, fd)
            os.close(fd)

    @staticmethod
    def _ring(fd: int, write: Callable[[], None]) -> None:
        if _silence(fd):
            write()


def _write(device: Device, offset: int, size: int, value: int) -> None:
    device.write(offset, size, value)


def _silence(fd: int) -> bool:
    """Read the eventfd; whether it had been signalled."""
    with suppress(BlockingIOError):
        return os.eventfd_read(fd) > 0
    return False
