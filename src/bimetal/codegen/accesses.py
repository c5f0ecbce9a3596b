"""Guest memory at a host pointer: order, byte order, and atomic updates, as LLVM has them."""

from __future__ import annotations

from ..ir.access import Access, Order
from ..ir.effects import Amo, Cas
from .floating import FloatLowering
from .layout import Layout

__all__ = ["AccessLowering"]

# Read-modify-write operations that keep the old value while it compares so with the operand.
_ORDERS = {"max": "sgt", "min": "slt", "umax": "ugt", "umin": "ult"}
# Those whose result depends on which byte is the first one.
_ARITHMETIC = {"add", "sub", *_ORDERS}
_LOADS = {Order.ACQUIRE: "acquire", Order.SEQUENTIAL: "seq_cst"}
_STORES = {Order.RELEASE: "release", Order.SEQUENTIAL: "seq_cst"}


class AccessLowering(FloatLowering):
    """Loads, stores and atomic updates of guest memory that has been found in the host's.

    On memory that no other vCPU works on, order means nothing, and what is atomic to the guest
    need not be so to the host.
    """

    layout: Layout

    # Plain accesses, such as calls make, in order: a full fence between a sequentially consistent
    # store and such a load stands behind the store, for stores are fewer.
    def order_loaded(self, access: Access) -> None:
        """What follows a plain load that is to be ordered as ``access`` says."""
        if self.layout.shared and access.order in _LOADS:
            self.put("fence acquire")

    def order_before_store(self, access: Access) -> None:
        """What precedes a plain store that is to be ordered so."""
        if self.layout.shared and access.order in _STORES:
            self.put("fence release")

    def order_stored(self, access: Access) -> None:
        """What follows it."""
        if self.layout.shared and access.order is Order.SEQUENTIAL:
            self.put("fence seq_cst")

    def load_at(self, pointer: str, access: Access, hints: str = "") -> str:
        """Load from a host pointer; the value as the guest sees it."""
        kind = f"i{access.width}"
        ordering = _LOADS.get(access.order) if self.layout.shared else None
        if ordering and access.width <= 64:
            text = (
                f"load atomic {self.volatile}{kind}, ptr {pointer} {ordering}, align {access.size}"
            )
        else:
            text = f"load {self.volatile}{kind}, ptr {pointer}, align 1"
        name = self.let(text + hints)
        if access.width > 64:  # hosts have such loads as two, or as compare-and-swap
            self.order_loaded(access)
        return self.in_order(name, access)

    def store_at(self, pointer: str, new: str, access: Access, hints: str = "") -> None:
        """Store a guest's value at a host pointer."""
        new = self.in_order(new, access)
        what = f"{self.volatile}i{access.width} {new}, ptr {pointer}"
        ordering = _STORES.get(access.order) if self.layout.shared else None
        if ordering:
            self.put(f"store atomic {what} {ordering}, align {access.size}{hints}")
        else:
            self.put(f"store {what}, align 1{hints}")

    @property
    def volatile(self) -> str:
        """What keeps LLVM from merging and moving accesses to shared memory.

        A guest orders its accesses by dependencies that LLVM sees through: a word that is read,
        then a flag, then the word again, at an address made of the flag, has to be read twice.
        """
        return "volatile " if self.layout.shared else ""

    def in_order(self, name: str, access: Access) -> str:
        """A value with its bytes as memory has them, from the guest's order or to it."""
        if not access.big_endian or access.width == 8:
            return name
        kind = f"i{access.width}"
        return self.let(f"call {kind} @llvm.bswap.{kind}({kind} {name})")

    def cas_at(self, pointer: str, value: Cas) -> str:
        """Atomic compare and swap at a host pointer; the old value."""
        access, kind = value.access, f"i{value.width}"
        expected = self.in_order(self.operand(value.expected), access)
        new = self.in_order(self.operand(value.new), access)
        if not self.layout.shared:
            old = self.let(f"load {kind}, ptr {pointer}")
            equal = self.let(f"icmp eq {kind} {old}, {expected}")
            swap, on = self.fresh("swap"), self.fresh("on")
            self.branch(equal, swap, on)
            self.label(swap)
            self.put(f"store {kind} {new}, ptr {pointer}")
            self.end(f"br label {on}")
            self.label(on)
        else:
            pair = self._exchange(pointer, kind, expected, new)
            old = self.let(f"extractvalue {{ {kind}, i1 }} {pair}, 0")
        return self.in_order(old, access)

    def amo_at(self, pointer: str, value: Amo) -> str:
        """Atomic read-modify-write at a host pointer; the old value."""
        access, kind, operation = value.access, f"i{value.width}", value.operation
        operand = self.operand(value.operand)
        swapped = access.big_endian and operation in _ARITHMETIC
        if not self.layout.shared:
            old = self.in_order(self.let(f"load {kind}, ptr {pointer}"), access)
            new = self.in_order(self._updated(operation, kind, old, operand), access)
            self.put(f"store {kind} {new}, ptr {pointer}")
            return old
        if swapped or access.width > 64:
            return self._update_loop(pointer, value, operand)
        there = self.in_order(operand, access)
        old = self.let(f"atomicrmw {operation} ptr {pointer}, {kind} {there} seq_cst")
        return self.in_order(old, access)

    def _update_loop(self, pointer: str, value: Amo, operand: str) -> str:
        """Compare and swap until no other vCPU has written in between."""
        access, kind = value.access, f"i{value.width}"
        first, before = self.let(f"load {kind}, ptr {pointer}"), self.at
        again, on, seen, found = self.fresh("again"), self.fresh("on"), self.fresh(), self.fresh()
        self.end(f"br label {again}")
        self.label(again)
        self.put(f"{seen} = phi {kind} [ {first}, {before} ], [ {found}, {again} ]")
        old = self.in_order(seen, access)
        new = self.in_order(self._updated(value.operation, kind, old, operand), access)
        pair = self._exchange(pointer, kind, seen, new)
        self.put(f"{found} = extractvalue {{ {kind}, i1 }} {pair}, 0")
        self.branch(self.let(f"extractvalue {{ {kind}, i1 }} {pair}, 1"), on, again)
        self.label(on)
        return old

    def _exchange(self, pointer: str, kind: str, expected: str, new: str) -> str:
        """What was there, and whether it was what was expected, as a pair."""
        return self.let(f"cmpxchg ptr {pointer}, {kind} {expected}, {kind} {new} seq_cst seq_cst")

    def _updated(self, operation: str, kind: str, old: str, operand: str) -> str:
        """What an atomicrmw operation (LLVM Language Reference) leaves in memory."""
        if operation == "xchg":
            return operand
        if operation in _ORDERS:
            keeps = self.let(f"icmp {_ORDERS[operation]} {kind} {old}, {operand}")
            return self.let(f"select i1 {keeps}, {kind} {old}, {kind} {operand}")
        return self.let(f"{operation} {kind} {old}, {operand}")
