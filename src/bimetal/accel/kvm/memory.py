"""Memory slots: which stretches of guest-physical memory are this process's own bytes."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterable, Mapping
from itertools import count, pairwise

from bimetal.accel.kvm import abi
from bimetal.accel.kvm.device import KvmUnavailable
from bimetal.accel.kvm.kernel import Handle, address_of
from bimetal.seam import MemorySlot

__all__ = ["SlotTable"]


class SlotTable:
    """The slots of one machine. ``limit`` is how many the kernel allows."""

    def __init__(self, vm: Handle, limit: int, readonly: bool):
        self._vm, self._limit, self._readonly = vm, limit, readonly
        self._numbers: dict[MemorySlot, int] = {}
        self._log_dirty = False
        self._noted: set[int] = set()
        self._noted_lock = threading.Lock()

    @property
    def slots(self) -> tuple[MemorySlot, ...]:
        """The slots in force, in the order of their bases."""
        return tuple(sorted(self._numbers, key=lambda slot: slot.base))

    def replace(self, slots: Iterable[MemorySlot]) -> None:
        """Make ``slots`` the ones in force; unchanged ones are not touched."""
        wanted = sorted(slots, key=lambda slot: slot.base)
        self._check(wanted)
        for slot in [slot for slot in self._numbers if slot not in wanted]:
            self._region(self._numbers[slot], slot, size=0)
            del self._numbers[slot]
        free = (number for number in count() if number not in self._numbers.values())
        for slot in wanted:
            if slot not in self._numbers:
                number = next(free)
                self._region(number, slot, slot.size)
                self._numbers[slot] = number

    def _check(self, slots: list[MemorySlot]) -> None:
        for slot in slots:
            if not slot.size or (slot.base | slot.size | slot.host) % abi.PAGE:
                raise ValueError(f"{slot} is empty or not aligned to pages of {abi.PAGE} bytes")
            if slot.readonly and not self._readonly:
                raise KvmUnavailable("this kernel's KVM has no read-only memory", "run a newer one")
        for low, high in pairwise(slots):
            if low.base + low.size > high.base:
                raise ValueError(f"memory slots overlap: {low} and {high}")
        if len(slots) > self._limit:
            raise KvmUnavailable(
                f"the machine has {len(slots)} stretches of memory, KVM allows {self._limit}"
            )

    def _region(self, number: int, slot: MemorySlot, size: int) -> None:
        flags = abi.MEMORY_READONLY if slot.readonly else 0
        if self._log_dirty and not slot.readonly:
            flags |= abi.MEMORY_LOG_DIRTY
        region = abi.MEMORY_REGION.new(
            slot=number, flags=flags, base=slot.base, size=size, host=slot.host
        )
        try:
            self._vm.ioctl(abi.SET_USER_MEMORY_REGION, region)
        except OSError as error:
            what = "refuses" if size else "does not give back"
            raise KvmUnavailable(f"KVM {what} {slot}: {error.strerror}") from error

    def log_dirty(self, enabled: bool) -> None:
        """Start, with a clean log, or stop to record which pages are written."""
        self._log_dirty = enabled
        self._take_noted()
        for slot, number in self._numbers.items():
            if not slot.readonly:
                self._region(number, slot, slot.size)
        if enabled:
            self.take_dirty()

    def take_dirty(self) -> Mapping[int, bytes]:
        """The bitmaps of written pages by slot base, and a clean log."""
        if not self._log_dirty:
            raise RuntimeError("pages are not being logged: call log_dirty(True) first")
        noted = self._take_noted()
        return {
            slot.base: self._bitmap(number, slot, noted)
            for slot, number in self._numbers.items()
            if not slot.readonly
        }

    def note(self, pages: Iterable[int]) -> None:
        """Record pages that were written in the guest's name by somebody else than KVM, which does
        not know it: by their numbers, once they are written. From any thread."""
        if self._log_dirty:
            with self._noted_lock:
                self._noted.update(pages)

    def _take_noted(self) -> set[int]:
        with self._noted_lock:
            noted, self._noted = self._noted, set()
        return noted

    def _bitmap(self, number: int, slot: MemorySlot, noted: set[int]) -> bytes:
        pages = slot.size // abi.PAGE
        bitmap = bytearray((pages + 63) // 64 * 8)
        self._vm.ioctl(abi.GET_DIRTY_LOG, abi.DIRTY_LOG.new(slot=number, bitmap=address_of(bitmap)))
        for page in noted:
            place = page - slot.base // abi.PAGE
            if 0 <= place < pages:
                bitmap[place // 8] |= 1 << place % 8
        return bytes(bitmap[: (pages + 7) // 8])

    def peek(self, address: int, size: int) -> bytes:
        """Up to ``size`` bytes of guest-physical memory at ``address``, as far as a slot goes."""
        for slot in self._numbers:
            if slot.base <= address < slot.base + slot.size:
                offset = address - slot.base
                return ctypes.string_at(slot.host + offset, min(size, slot.size - offset))
        return b""
