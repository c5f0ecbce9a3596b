"""Stencils: native code for one instruction, with holes where its operands belong.

A stencil is a fast handler that has its operands in itself instead of in a record. LLVM compiles
each one once for a host; to translate an instruction is then to copy its stencil and to fill the
holes (`runs`), which takes some ten nanoseconds. Registers stay in the vCPU's state, so a run of
stencils can be entered at each instruction. What a fast handler leaves to its slow form, a stencil
leaves to the handler, before it has changed anything.

What belongs into a hole is said by a symbol's name (`hole`). LLVM does not know these symbols, and
the relocations that it writes for them say where the holes are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..ir import effects
from ..ir.access import Access
from ..ir.analysis import Analysis
from ..ir.value import Block, Value
from ..isa.describe import Insn
from .emit import RARELY, USUALLY
from .flow import CC, PARAMETERS, FlowLowering, StubLowering
from .handler import FastLowering, can_be_fast, define
from .hole import HANDLER_BASE, RECORD_BASE, Filling
from .layout import Layout
from .record import Slot, Slots
from .tlb import METADATA

__all__ = [
    "COLD",
    "GO_ON",
    "NEXT",
    "WAY_OUT",
    "go_on_text",
    "stencil_module",
    "stencil_text",
    "way_out_text",
]

NEXT, COLD = "next", "cold"
"""Symbols of the two ways out: to the next instruction in memory, and to the handler."""

GO_ON, WAY_OUT = "go_on", "way_out"
"""Symbols of two stencils more: one goes on at a record, the other leads from a `COLD` to the
handler."""

# The range of registers' offsets in the state: so they can be displacements.
_PREAMBLE = """
!7 = !{i64 0, i64 2147483648}
attributes #2 = { nounwind optsize }
"""
_PLACE = re.compile(r"ptr @(hole\.[\w.]+) to")


class HoleLowering(FlowLowering):
    """Lowers holes, and tail calls from code that knows its record only by one."""

    def hole(self, filling: Filling, size: int = 8) -> str:
        """A hole as a number: of 8 bytes, or of 4, with the sign or zeros above them.

        It is the operand of one instruction of the host's, of which LLVM knows nothing: about an
        address of a symbol it would assume that it is not 0 and not that of another one.
        """
        name = filling.symbol
        if size == 8:
            text = f"movabsq $${name}, $0"
        else:
            text = f"movq $${name}, $0" if filling.signed else f"movl $${name}, ${{0:k}}"
        return self.let(f'call i64 asm "{text}", "=r"()')

    def hole_pointer(self, filling: Filling) -> str:
        """A hole as a pointer."""
        return self.let(f"inttoptr i64 {self.hole(filling)} to ptr")

    @property
    def in_hand(self) -> str:
        return self.hole_pointer(Filling(RECORD_BASE))

    def tail(
        self,
        target: str,
        rec: str = "",
        pcb: str = "%pcb",
        budget: str = "%budget",
        tlb: str = "%tlb",
    ) -> None:
        super().tail(target, rec or self.in_hand, pcb, budget, tlb)

    def fall(self, way_out: str, budget: str) -> None:
        """Leave by `NEXT` or `COLD`, which know the record."""
        super().tail(f"@{way_out}", "%rec", "%pcb", budget, "%tlb")


class StencilLowering(HoleLowering, FastLowering):
    """Lowers an instruction's fast form with its operands as holes."""

    def __init__(self, layout: Layout, slots: Slots, insn: Insn, near: bool, jumps: bool):
        super().__init__(layout, slots, insn, near, f"@{COLD}")
        self._jumps, self._sets = jumps, list[effects.Set]()

    # -- operands
    def _load_slot(self, offset: int, size: int, is_signed: bool, width: int) -> str:
        filling = Filling(slot=offset, bytes=size, signed=is_signed)
        name = self.hole(filling, 8 if size > 4 else 4)
        if width > 64:
            return self.let(f"{'sext' if is_signed else 'zext'} i64 {name} to i{width}")
        return self.narrow(name, "i64", width)

    def _slot(self, file_name: str, index: Value, writing: bool) -> tuple[str, str, int]:
        file = self.layout.spec.files[file_name]
        size = self.layout.slot_bytes(file)
        lost = (file.zero, file.count) if writing and file.zero is not None else None
        if index.known or not self._decoded(index) or not self._gets_slot(index, lost):
            return super()._slot(file_name, index, writing)
        slot = self.slots.slot(index, lost)
        first = self.layout.offsets[file_name]
        place = Filling(addend=first, slot=slot.offset, bytes=slot.bytes, scale=size).symbol
        # As a displacement: LLVM may not compare these, which it takes for different symbols.
        pointer = f"getelementptr i8, ptr %st, i64 ptrtoint (ptr @{place} to i64)"
        return self.let(pointer), f"i{size * 8}", file.width

    # -- where it is
    def here(self) -> str:
        return self.let(f"add i64 {self.hole(Filling(RECORD_BASE, shift=self.shift))}, %pcb")

    def following(self) -> str:
        length = self.slots.length
        if length is None:
            filling = Filling(RECORD_BASE, self.insn.length * self.layout.scale, shift=self.shift)
        else:
            slot = self.slots.slot(length, "length", self.shift)
            filling = Filling(RECORD_BASE, 0, slot.offset, slot.bytes, shift=self.shift)
        return self.wrapped(self.let(f"add i64 {self.hole(filling)}, %pcb"))

    # -- going on
    def op_set(self, value: effects.Set) -> None:
        """Before a jump nothing is changed: its handler may have to do it all again."""
        self._sets.append(value) if self._jumps else super().op_set(value)

    def _change(self) -> None:
        """Write the registers that the jump changes."""
        for value in self._sets:
            super().op_set(value)

    def retire(self) -> None:
        self._change()
        self.fall(NEXT, self.spend())

    def leave_it(self) -> str:
        if not self._slow_label:
            self._slow_label = self.aside(lambda: self.fall(COLD, "%budget"))
        return self._slow_label

    def _go(self, rec: str, pcb: str, landing: int = 0) -> None:
        on = self.fresh("on")
        spent = self.let("icmp slt i64 %budget, 1")
        self.branch(spent, self.leave_it(), on, RARELY)
        self.label(on)
        self._change()
        self.dispatch(rec, pcb, self.spend())

    def _far(self, target: str, landing: int = 0) -> None:
        entry, hit = self.lookup(target)
        found = self.fresh("found")
        self.branch(hit, found, self.leave_it(), USUALLY)
        self.label(found)
        self._go(*self.found(target, entry))

    def record_at(self, distance: Slot) -> str:
        filling = Filling(RECORD_BASE, 0, distance.offset, distance.bytes, signed=True)
        return self.hole_pointer(filling)

    def look_again(
        self, va: str, tags: str, access: Access, write: bool, count: int, found: str
    ) -> None:
        """Misaligned accesses are the handler's."""


def stencil_text(
    layout: Layout, symbol: str, insn: Insn, block: Block, near: bool, slots: Slots
) -> str:
    """The LLVM definition of an instruction's stencil, under the handler's symbol; empty if it has
    none. ``slots`` are the operands of the handler."""
    does = Analysis(block)
    jumps = bool(does.jumps)
    if not can_be_fast(does) or (jumps and not _changes_last(block, does)):
        return ""
    lowering = StencilLowering(layout, slots, insn, near, jumps)
    return define(lowering, block, f"@{symbol}", "#2")


def _changes_last(block: Block, does: Analysis) -> bool:
    """Whether all that a jump changes can be put off until nothing can prevent it any more."""
    written = 0
    for value in block:
        if isinstance(value, effects.Get) and written:
            return False
        written += isinstance(value, effects.Set)
    return not does.accesses and written == len(does.sets)


def go_on_text(layout: Layout) -> str:
    """The LLVM definition of the stencil that goes on at a record."""
    g = _WayLowering(layout)
    g.dispatch(g.in_hand)
    return g.define(GO_ON)


def way_out_text(layout: Layout) -> str:
    """The LLVM definition of the stencil that goes from another one's `COLD` to the handler."""
    g = _WayLowering(layout)
    g.tail(g.hole_pointer(Filling(HANDLER_BASE)))
    return g.define(WAY_OUT)


class _WayLowering(HoleLowering, StubLowering):
    """Writes stencils that are not those of an instruction."""


def stencil_module(functions: Iterable[str]) -> str:
    """An LLVM module of stencils."""
    text = "".join(functions)
    places = sorted(set(_PLACE.findall(text)))
    ways_out = (f"declare {CC} void @{name}({PARAMETERS})\n" for name in (NEXT, COLD))
    declared = (f"@{place} = external global i8, !absolute_symbol !7\n" for place in places)
    return "".join((METADATA, _PREAMBLE, *ways_out, *declared, text))
