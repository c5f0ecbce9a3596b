"""Options for what the machine runs: a kernel, firmware, a device tree."""

from __future__ import annotations

from bimetal.control.emulator.order import Order

__all__ = ["read_append", "read_bios", "read_dtb", "read_initrd", "read_kernel"]

OWN_FIRMWARE = "default"
"""The firmware that an emulator has itself."""


def read_kernel(order: Order, option: str, value: str) -> None:
    """The kernel."""
    order.machine["kernel"] = value


def read_initrd(order: Order, option: str, value: str) -> None:
    """The initial file system for the kernel."""
    order.machine["initrd"] = value


def read_append(order: Order, option: str, value: str) -> None:
    """The kernel's command line."""
    order.machine["append"] = value


def read_dtb(order: Order, option: str, value: str) -> None:
    """A device tree in place of the board's own."""
    order.machine["dtb"] = value


def read_bios(order: Order, option: str, value: str) -> None:
    """Firmware."""
    order.machine["bios"] = None if value == OWN_FIRMWARE else value
