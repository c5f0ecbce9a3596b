"""Coalesced writes: stores that the kernel collects in a ring instead of leaving the guest.

The ring lies in the shared area of a vCPU but belongs to the machine: whichever vCPU returns
first drains it, so that writes reach the board in order and before the exit that follows them.
Source: api.rst, KVM_(UN)REGISTER_COALESCED_MMIO; ``struct kvm_coalesced_mmio_ring``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from bimetal.accel.kvm import abi
from bimetal.accel.kvm.kernel import Handle, Mapping
from bimetal.seam import Exit, Mmio, Pio

__all__ = ["CoalescedRing"]

FIRST, LAST, ENTRIES = 0, 4, 8


class CoalescedRing:
    """The ring of one machine; ``page`` is its place in every vCPU's shared area."""

    def __init__(self, vm: Handle, page: int):
        self._vm, self._start = vm, page * abi.PAGE
        self._capacity = (abi.PAGE - ENTRIES) // abi.COALESCED_ENTRY.size
        self._lock = threading.Lock()
        self.active = False

    def add(self, address: int, size: int, port: bool) -> None:
        """Collect stores to ``size`` bytes at ``address`` (ports if ``port``) from now on."""
        zone = abi.COALESCED_ZONE.new(address=address, size=size, port=int(port))
        self._vm.ioctl(abi.REGISTER_COALESCED_MMIO, zone)
        self.active = True

    def remove(self, address: int, size: int, port: bool) -> None:
        """Undo `add`. What the ring still holds is drained by the next exit."""
        zone = abi.COALESCED_ZONE.new(address=address, size=size, port=int(port))
        self._vm.ioctl(abi.UNREGISTER_COALESCED_MMIO, zone)

    def drain(self, run: Mapping) -> list[Exit]:
        """The collected writes as exits, oldest first."""
        with self._lock:
            return list(self._drain(run))

    def _drain(self, run: Mapping) -> Iterator[Exit]:
        start = self._start
        first = abi.U32.unpack_from(run, start + FIRST)[0]
        last = abi.U32.unpack_from(run, start + LAST)[0]
        while first != last:
            entry = start + ENTRIES + first * abi.COALESCED_ENTRY.size
            address, length, port, data = abi.COALESCED_ENTRY.unpack_from(run, entry)
            value = int.from_bytes(data[:length], "little")
            yield (
                Pio(address, length, True, value) if port else Mmio(address, length, True, value)
            )
            first = (first + 1) % self._capacity
            abi.U32.pack_into(run, start + FIRST, first)
