"""Guest memory at a host pointer: ordering, byte order and atomic updates in LLVM's terms."""

from __future__ import annotations

from ..ir.access import Access, Order
from ..ir.effects import Amo, Cas
from .floating import FloatLowering
from .layout import Layout

__all__ = ["AccessLowering"]

# The comparison of old value and operand under which a read-modify-write keeps the old value.
_ORDERS = {"max": "sgt", "min": "slt", "umax": "ugt", "umin": "ult"}
# Operations whose result depends on byte order.
_ARITHMETIC = {"add", "sub", *_ORDERS}
_LOADS = {Order.ACQUIRE: "acquire", Order.SEQUENTIAL: "seq_cst"}
_STORES = {Order.RELEASE: "release", Order.SEQUENTIAL: "seq_cst"}


class AccessLowering(FloatLowering):
    """Loads, stores and atomic updates of guest memory whose host address is known.

    On memory that no other vCPU accesses, ordering means nothing, and the guest's atomic operations
    need not be atomic on the host.
    """

    layout: Layout

    # Ordering for plain accesses, such as the slow path makes. The full fence needed between a
    # sequentially consistent store and a later load goes after the store, because stores are fewer.
    def order_loaded(self, access: Access) -> None:
        """Emit the fence after a plain load, if its ``access.order`` needs one."""
        if self.layout.shared and access.order in _LOADS:
            self.put("fence acquire")

    def order_before_store(self, access: Access) -> None:
        """Emit the fence before a plain store, if its ``access.order`` needs one."""
        if self.layout.shared and access.order in _STORES:
            self.put("fence release")

    def order_stored(self, access: Access) -> None:
        """Emit the fence after a plain store, if its ``access.order`` needs one."""
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
        if access.width > 64:  # hosts do these as two loads, or as a compare-and-swap
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
        """``volatile`` on shared memory, which keeps LLVM from merging and moving accesses.

        A guest may order its accesses by address dependencies that LLVM sees through. If it reads a
        word, then a flag, then the word again at an address computed from the flag, the word has to
        be read twice.
        """
        return "volatile " if self.layout.shared else ""

    def in_order(self, name: str, access: Access) -> str:
        """Swap a value's bytes if the guest's byte order for this access is not the host's."""
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
        """A compare-and-swap; LLVM's pair of the old value and whether it was as expected."""
        return self.let(f"cmpxchg ptr {pointer}, {kind} {expected}, {kind} {new} seq_cst seq_cst")

    def _updated(self, operation: str, kind: str, old: str, operand: str) -> str:
        """The value that an ``atomicrmw`` operation (LLVM Language Reference) stores."""
        if operation == "xchg":
            return operand
        if operation in _ORDERS:
            keeps = self.let(f"icmp {_ORDERS[operation]} {kind} {old}, {operand}")
            return self.let(f"select i1 {keeps}, {kind} {old}, {kind} {operand}")
        return self.let(f"{operation} {kind} {old}, {operand}")
