"""Exclusive accesses: load-reserved and store-conditional, under any name.

RISC-V's LR and SC, AArch64's LDXR and STXR, PowerPC's lwarx and stwcx. are one thing here. A vCPU
has one reservation: an address, how many bytes were loaded from it, and what they were.

* A load-reserved sets it and replaces any earlier one.
* A store-conditional succeeds if it has the same address and size, and if memory still holds what
  was loaded; this is one compare-and-swap. Manuals let a store to elsewhere in the reservation
  granule fail, or leave it open, so here the granule is the location itself.
* A store-conditional ends it, whether it succeeds or not, and so does `Reservation.clear`, which
  whatever clears the reservation in an instruction set (CLREX, an exception, its return) calls.
* A store by another vCPU or a device ends it by changing the value in memory. *Deviation*: a store
  of the same value goes unnoticed; noticing it would slow down every plain store.

A misaligned conditional store traps whether there is a reservation or not.
"""

from __future__ import annotations

from ..ir.access import Order
from ..ir.value import Value, const
from .contract import STORE
from .describe import Isa
from .trace import Cpu, slowly, when

__all__ = ["Reservation"]


class Reservation:
    """The reservation of each vCPU of an instruction set, for accesses of up to ``widest`` bits.

    It adds registers of its own to the state, which no guest and no person can name. The misaligned
    trap is the one of the routine ``misaligned`` (`contract.Hooks`).
    """

    def __init__(self, isa: Isa, widest: int = 64):
        self._isa = isa
        sizes = {0} | {1 << n for n in range((widest // 8).bit_length())}
        isa.state.scalars(64, "reserved_address", "reserved_low", internal=True)
        if widest > 64:
            isa.state.scalars(64, "reserved_high", internal=True)
        # In bytes; 0 where there is no reservation.
        isa.state.scalars(8, "reserved_size", legal=sizes.__contains__, internal=True)

    def load(
        self,
        cpu: Cpu,
        address: Value,
        width: int,
        *,
        order: Order = Order.PLAIN,
        big_endian: bool = False,
    ) -> Value:
        """Load ``width`` bits and reserve them."""
        value = cpu.load(address, width, aligned=True, order=order, big_endian=big_endian)
        cpu.reserved_address = address
        cpu.reserved_low = value.trunc(64) if width > 64 else value.zext(64)
        if width > 64:
            cpu.reserved_high = value[127:64]
        cpu.reserved_size = const(width // 8, 8)
        return value

    def store(self, cpu: Cpu, address: Value, new: Value, *, big_endian: bool = False) -> Value:
        """Store if the location is still reserved; one bit that is 1 if it was stored."""
        width, size = new.width, new.width // 8
        if size > 1:
            with slowly((address & (size - 1)) != 0):
                self._isa.routines["misaligned"](cpu, STORE, address)
        stored = cpu.local(const(0, 1))
        with when((cpu.reserved_size == size) & (cpu.reserved_address == address)):
            seen = _seen(cpu, width)
            old = cpu.compare_and_swap(address, seen, new, big_endian=big_endian, reads=False)
            stored.set(old == seen)
        self.clear(cpu)
        return stored.value

    def clear(self, cpu: Cpu) -> None:
        """End the reservation."""
        cpu.reserved_size = const(0, 8)


def _seen(cpu: Cpu, width: int) -> Value:
    """What was loaded."""
    seen: Value = cpu.reserved_low
    if width > 64:
        seen = cpu.reserved_high.zext(128) << 64 | seen.zext(128)
    return seen.trunc(width)
