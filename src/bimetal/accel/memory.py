"""Guest-physical memory as Python code sees it: the slots of a machine."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from ..seam import MemorySlot

__all__ = ["Memory"]


class Memory:
    """The memory slots of a machine. Their owner keeps the host memory alive longer than this."""

    def __init__(self, slots: Iterable[MemorySlot] = ()):
        self._slots: list[tuple[MemorySlot, memoryview]] = []
        self.replace(slots)

    def replace(self, slots: Iterable[MemorySlot]) -> None:
        """Use these slots from now on."""
        self._slots = [
            (slot, memoryview((ctypes.c_ubyte * slot.size).from_address(slot.host)).cast("B"))
            for slot in slots
        ]

    def find(self, address: int, size: int, write: bool = False) -> memoryview | None:
        """The ``size`` bytes at ``address``; None if they are not in one slot, or if ``write`` and
        it is read-only."""
        for slot, view in self._slots:
            offset = address - slot.base
            if 0 <= offset <= slot.size - size:
                return None if write and slot.readonly else view[offset : offset + size]
        return None
