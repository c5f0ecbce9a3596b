"""Handlers: one or two native functions for each variant of each instruction.

All have the signature `PARAMETERS` and end in a tail call of the next handler, so there is no
dispatch loop, and the state, the record, the bias of the program counter, the budget and the TLB
stay in the host's registers. A *fast* handler has no calls and no stack frame: where it would
need one it hands the instruction, before it has changed anything, to its *slow* form.
"""

from __future__ import annotations

from ..ir import effects
from ..ir.analysis import Analysis, relative
from ..ir.value import Block, Value
from ..isa.describe import Insn
from .description import leading_to
from .emit import RARELY, USUALLY
from .floating import for_reference
from .flow import CC, PARAMETERS, FlowLowering
from .layout import OPERANDS, Layout
from .lower import is_static
from .record import NoRoom, Slot, Slots, fields_in, span
from .tlb import TlbLowering

__all__ = ["FastLowering", "SlowLowering", "can_be_fast", "define", "handler_text"]


class _HandlerLowering(FlowLowering):
    """What fast and slow handlers share: operands from the record, and the next record."""

    def __init__(self, layout: Layout, slots: Slots, insn: Insn, near: bool):
        super().__init__(layout)
        self.slots, self.insn, self.near = slots, insn, near
        self._static: dict[Value, bool] = {}
        self.resync = False

    # -- operands
    def _decoded(self, value: Value) -> bool:
        """Whether a value is computed when the record is decoded, and loaded where it is used.

        Values that would take half of the record or more (such as a mask of one bit) are computed
        by the handler instead.
        """
        most = 8 * (self.layout.record - OPERANDS) // 2
        return is_static(value, self._static) and span(value)[0] <= min(most, 64)

    def one(self, value: Value) -> None:
        if self.near and self._distance(value) is not None:
            return  # a near jump needs only the distance
        if not self._decoded(value):
            super().one(value)

    def missing(self, value: Value) -> str:
        if not self._decoded(value) or not self.slots.has_room(value):
            super().one(value)  # computed here, where it is used
            return self.names.pop(value)
        slot = self.slots.slot(value)
        return self._load_slot(slot.offset, slot.bytes, slot.is_signed, value.width)

    def _load_slot(self, offset: int, size: int, is_signed: bool, width: int) -> str:
        # Loaded at each use, so that no name is used in a block that its definition does not
        # dominate.
        name = self.let(f"load i{size * 8}, ptr {self.pointer('%rec', offset)}, align 1")
        if width == size * 8:
            return name
        cast = "trunc" if width < size * 8 else "sext" if is_signed else "zext"
        return self.let(f"{cast} i{size * 8} {name} to i{width}")

    def operand(self, value: Value) -> str:
        if value.op != "const" and self._decoded(value):
            return self.missing(value)
        return super().operand(value)

    def _gets_slot(self, index: Value, lost: tuple[int, int] | None) -> bool:
        """Whether a register's number gets a place: those of registers that are written have to."""
        return lost is not None or self.slots.has_room(index)

    def index(self, value: Value, lost: tuple[int, int] | None) -> str:
        if not self._decoded(value) or not self._gets_slot(value, lost):
            return super().index(value, lost)
        slot = self.slots.slot(value, lost)
        return self._load_slot(slot.offset, slot.bytes, False, 64)

    def op_pc(self, value: effects.Pc) -> None:
        self.names[value] = self.here()

    # -- going on
    def spend(self) -> str:
        """The budget after this instruction."""
        return self.let("sub i64 %budget, 1")

    def retire(self) -> None:
        """Continue with the next instruction in memory."""
        if self.resync:
            self._resync(self.following())
            return
        self.dispatch(self._following_record(), budget=self.spend())

    def _following_record(self) -> str:
        """The record of the next instruction in memory."""
        length = self.slots.length
        if length is None:
            return self.pointer("%rec", self.insn.length * self.layout.scale)
        slot = self.slots.slot(length, "length", self.shift)
        return self.pointer("%rec", self._load_slot(slot.offset, slot.bytes, False, 64))

    def following(self) -> str:
        """The address of the next instruction in memory."""
        return self.wrapped(self.address_of(self._following_record()))

    def _resync(self, pc: str, landing: int = 0) -> None:
        self.note_landing(landing)
        self.store_state("pc", pc)
        self.store_state("budget", self.spend())
        self.tail("@resync")

    def op_jump(self, value: effects.Jump) -> None:
        target = value.target
        if self.resync:
            self._resync(self.operand(target), value.landing)
            return
        distance = self._distance(target)
        if self.near and distance is not None:
            if distance.known and not int(distance):
                self._go(self.in_hand, "%pcb")
                return
            slot = self.slots.slot(distance, "distance", self.shift)
            self._go(self.record_at(slot), "%pcb")
            return
        self._far(self.operand(target), value.landing)

    def record_at(self, distance: Slot) -> str:
        """The record at a distance from the one in hand, which is an operand of that."""
        return self.pointer("%rec", self._load_slot(distance.offset, distance.bytes, True, 64))

    def _distance(self, target: Value) -> Value | None:
        """The distance of a jump relative to the program counter; None if it is not static."""
        away = relative(target)
        return away if away is not None and self._decoded(away) else None

    def _go(self, rec: str, pcb: str, landing: int = 0) -> None:
        """Go to a record by a jump, which is where the budget is checked."""
        budget = self.spend()
        spent = self.let(f"icmp slt i64 {budget}, 0")
        poll, go = self.fresh("poll"), self.fresh("go")
        self.branch(spent, poll, go, RARELY)
        self.label(poll)
        self.note_landing(landing)
        self.note_spent(self.in_hand, self.here(), in_region=False)
        self.tail("@poll", rec, pcb, budget)
        self.label(go)
        self.dispatch(rec, pcb, budget)

    def _far(self, target: str, landing: int) -> None:
        """Jump to any address, through the fetch TLB."""
        entry, hit = self.lookup(target)
        found, missed = self.fresh("found"), self.fresh("missed")
        self.branch(hit, found, missed, USUALLY)
        self.label(missed)
        if not landing:
            self.or_guarded(target, found)
        self.note_landing(landing)
        self.store_state("pc", target)
        self.tail("@fetch", budget=self.spend())
        self.label(found)
        self._go(*self.found(target, entry), landing)


class FastLowering(TlbLowering, _HandlerLowering):
    """The fast form: accesses that hit the TLB; everything else is left to the slow form."""

    def __init__(self, layout: Layout, slots: Slots, insn: Insn, near: bool, slow: str):
        super().__init__(layout, slots, insn, near)
        self._slow = slow
        self._slow_label = ""

    def leave_it(self) -> str:
        if not self._slow_label:
            self._slow_label = self.aside(lambda: self.tail(self._slow))
        return self._slow_label


class SlowLowering(_HandlerLowering):
    """The slow form: accesses are calls, and the state holds the instruction's address."""

    def __init__(self, layout: Layout, slots: Slots, insn: Insn, near: bool, resync: bool):
        super().__init__(layout, slots, insn, near)
        self.resync = resync
        self.store_state("pc", self.here())
        self.store_state("budget", "%budget")
        self.store_state("replay_at", "0")

    def retire(self) -> None:
        self.store_state("replay_count", "0")
        super().retire()

    def op_jump(self, value: effects.Jump) -> None:
        self.store_state("replay_count", "0")
        super().op_jump(value)

    def op_sync(self, value: effects.Sync) -> None:
        """Nothing to do: every way out of such a handler goes to the stub `resync`."""

    def hand_over(self) -> None:
        """Leave the instruction in hand to the reference, which finds it by its record."""
        self.set_leave("reference", self.let("ptrtoint ptr %rec to i64"))
        self.stopped()

    def op_leave(self, value: effects.Leave) -> None:
        if value.reason == "reference":
            self.hand_over()
            return
        self.set_leave(value.reason, *(self.operand(argument) for argument in value.args))
        self.store_state("pc", self.following())
        self.store_state("budget", self.spend())
        self.stopped()


def handler_text(
    layout: Layout, symbol: str, insn: Insn, block: Block, near: bool
) -> tuple[str, Slots, str]:
    """LLVM definitions of a handler's forms, its operands, and the symbol that records get.

    ``near`` is the variant for jumps whose target is in the same page.
    """
    widths, size = insn.pattern.widths, layout.record
    try:
        return _handler_text(layout, symbol, insn, block, near, Slots(widths, size, bare=False))
    except NoRoom:
        used = {name: width for name, width in widths.items() if name in fields_in(block)}
        return _handler_text(layout, symbol, insn, block, near, Slots(used, size))


def _handler_text(
    layout: Layout, symbol: str, insn: Insn, block: Block, near: bool, slots: Slots
) -> tuple[str, Slots, str]:
    does, texts = Analysis(block), []
    slow, fast_possible = f"@{symbol}_slow", can_be_fast(does)
    entry = f"@{symbol}" if fast_possible else slow
    if fast_possible:
        fast = FastLowering(layout, slots, insn, near, slow)
        texts.append(define(fast, block, entry, "#0", leading_to(entry)))
    if not fast_possible or does.cold or does.accesses:
        # After a store to code, decoded records have to be checked again.
        looks = does.syncs or (layout.isa.coherent and does.stores)
        lowering = SlowLowering(layout, slots, insn, near, looks)
        if _by_reference(does):
            lowering.hand_over()
        more = "" if fast_possible else leading_to(entry)
        texts.append(define(lowering, block, slow, "#2", more))
    return "".join(texts), slots, entry


def _by_reference(does: Analysis) -> bool:
    return any(for_reference(operation) for operation in does.floats)


def can_be_fast(does: Analysis) -> bool:
    """Whether an instruction has a form without calls and a stack frame."""
    return not does.frame and not _by_reference(does)


def define(
    lowering: _HandlerLowering, block: Block, symbol: str, attributes: str, more: str = ""
) -> str:
    """The LLVM definition of a handler, or of what is like one, once ``block`` is lowered; ``more``
    stands behind its attributes."""
    lowering.block(block)
    if lowering.open:
        lowering.retire()
    body = "\n".join(["entry:", *lowering.allocas, *lowering.lines, *lowering.exits])
    # LLVM requires this attribute of functions that depend on the floating-point environment.
    strict = " strictfp" if ".constrained." in body else ""
    head = f"define {CC} void {symbol}({PARAMETERS}) {attributes}{strict}{more}"
    return f"{head} {{\n{body}\n}}\n"
