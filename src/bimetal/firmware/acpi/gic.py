"""Where the parts of a GIC are, as device trees and ACPI tables say it."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Gic", "MessageFrame"]


class MessageFrame(Struct, frozen=True):
    """A GICv2m frame at ``at``, whose messages raise ``count`` interrupts from ``first`` on."""

    at: int
    first: int
    count: int


class Gic(Struct, frozen=True):
    """Where the parts of a GIC of the ``version`` are; 0 for one that it does not have."""

    version: int
    distributor: int
    cpu_interface: int = 0
    frames: tuple[MessageFrame, ...] = ()
    redistributors: int = 0
    redistributors_size: int = 0
    translation: int = 0
