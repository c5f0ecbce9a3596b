"""What x87 instructions have in common (volume 1, 8.1 and 8.5): operands on the stack, results,
exceptions."""

from __future__ import annotations

from collections.abc import Callable

from ...ir.extended import KNOWN_INEXACT, extended
from ...ir.value import Value, const, select
from ..trace import Cpu, slowly, when
from .mmx_state import TOP
from .operands import Fields, effective, linear
from .state import x86
from .traps import math_fault, no_math
from .vector_state import EMULATED, PENDING, SWITCHED, check_vectors
from .x87_state import C0, C1, C2, C3, ES, B, in_use, place, read_register

__all__ = [
    "DE", "IE", "INDEFINITE", "SF", "ZE", "Operation", "control_of", "control_ready",
    "math_operand", "math_ready", "note", "note_pointers", "push_status", "withheld",
]  # fmt: skip

IE, DE, ZE, OE, UE, PE, SF = (1 << n for n in range(7))
INDEFINITE = 0xFFFF << 64 | 3 << 62
EARLY = IE | DE | ZE
"""Exceptions that leave the destination alone if they are not masked."""


def control_of(cpu: Cpu) -> Value:
    """The control word of operations, with what FSW says already (`KNOWN_INEXACT`)."""
    told = (cpu.fsw & PE) << (KNOWN_INEXACT.bit_length() - PE.bit_length())
    word: Value = (cpu.fcw & ~(const(0, 16) | KNOWN_INEXACT)) | told
    return word


def math_ready(cpu: Cpu) -> None:
    """#NM or #MF, before an instruction that waits for exceptions that are pending."""
    with slowly((cpu.vector_checks & (EMULATED | SWITCHED | PENDING)) != 0):
        refuse_math(cpu, EMULATED | SWITCHED | PENDING)


def control_ready(cpu: Cpu) -> None:
    """#NM, before one that does not."""
    with slowly((cpu.vector_checks & (EMULATED | SWITCHED)) != 0):
        refuse_math(cpu, EMULATED | SWITCHED)


@x86.routine(what=8)
def refuse_math(cpu: Cpu, what: Value) -> None:
    """#NM or #MF, if one of these checks says so."""
    wrong = cpu.vector_checks & what
    with when((wrong & (EMULATED | SWITCHED)) != 0):
        no_math(cpu)
    with when((wrong & PENDING) != 0):
        math_fault(cpu)


def math_operand(cpu: Cpu, fields: Fields, size: int, writes: bool = False) -> tuple[Value, Value]:
    """The linear address of an operand in memory, and its offset in the segment, for FDP."""
    offset = effective(cpu, fields)
    return linear(cpu, fields, fields["seg"], offset, size, writes), offset


def note_pointers(cpu: Cpu, operand: Value | None = None) -> None:
    """What the last instruction but those of control was, and where its operand in memory is."""
    cpu.fip = cpu.pc - cpu.code_base
    if operand is not None:
        cpu.fdp = operand


def note(
    cpu: Cpu,
    status: Value,
    said: Value | int = C1,
    top: int = 0,
    write: Callable[[], None] = lambda: None,
    operand: Value | None = None,
) -> None:
    """Add what an instruction has raised to FSW, and set the condition codes that it says
    something of. The stack's top moves by ``top``. All else that changes is for ``write``, because
    what is done slowly has to be known before anything is written. ``operand`` is the offset of one
    in memory."""
    fsw, fcw = cpu.fsw, cpu.fcw
    moved = fsw & ~(7 << TOP) | ((fsw.lsr(TOP) + top) & 7) << TOP if top else fsw
    kept_codes = moved & ~(const(0, 16) | said)
    with slowly((status & ~fcw & 0x3F) != 0) as unmasked:
        write()
        # One that comes first leaves nothing that could be inexact.
        kept = select((status & SF) != 0, const(EARLY | SF | C1, 16), EARLY) | C0 | C2 | C3
        first = (status & ~fcw & EARLY) != 0
        note_pointers(cpu, operand)
        cpu.fsw = kept_codes | select(first, status & kept, status) | ES | B
        check_vectors(cpu)
        with unmasked.otherwise():
            write()
            note_pointers(cpu, operand)
            cpu.fsw = kept_codes | status


def withheld(cpu: Cpu, status: Value, kinds: int = EARLY) -> Value:
    """Whether an unmasked exception leaves the destination alone."""
    stopped: Value = (status & ~cpu.fcw & kinds) != 0
    return stopped


class Operation:
    """An instruction that reads some registers: whether all of them are in use."""

    def __init__(self, cpu: Cpu, *numbers: Value | int):
        self.cpu = cpu
        self.empty: Value = const(0, 1)
        self.values = []
        for number in numbers:
            self.empty = self.empty | ~in_use(cpu, number)
            self.values.append(read_register(cpu, number))

    def compute(self, name: str, *operands: Value) -> tuple[Value, Value]:
        """An operation on operands, of which those from registers may have been empty."""
        result, status = extended(name, control_of(self.cpu), *operands)
        return self.checked(result, status)

    def checked(self, result: Value, status: Value) -> tuple[Value, Value]:
        """A result, but the default NaN and what an empty register raises."""
        return (
            select(self.empty, const(INDEFINITE, 80), result),
            select(self.empty, const(IE | SF, 16), status),
        )

    def put(
        self,
        number: Value | int,
        result: Value,
        status: Value,
        said: Value | int = C1,
        pops: int = 0,
        operand: Value | None = None,
    ) -> None:
        """Write a result, and pop, unless an exception says otherwise."""
        cpu = self.cpu
        stopped = withheld(cpu, status)
        at = place(cpu, number)
        popped = const(0, 8)
        for n in range(pops):
            popped = popped | const(1, 8) << place(cpu, n).zext(8)
        mine = const(1, 8) << at.zext(8)

        def write() -> None:
            cpu.mm[at], cpu.exponent[at] = result.trunc(64), result[79:64]
            cpu.ftw = (cpu.ftw | mine) & ~popped

        with when(stopped) as wrong:
            note(cpu, status & ~C2, said, operand=operand)
            with wrong.otherwise():
                note(cpu, status, said, pops, write, operand)


def push_status(
    cpu: Cpu, value: Value, status: Value, said: int = C1, operand: Value | None = None
) -> None:
    """Push a value, unless an exception says otherwise."""
    full = in_use(cpu, 7) & ((status & SF) == 0)
    status = select(full, const(IE | SF | C1, 16), status)
    value = select(full, const(INDEFINITE, 80), value)
    at = place(cpu, 7)
    mine = const(1, 8) << at.zext(8)

    def write() -> None:
        cpu.mm[at], cpu.exponent[at] = value.trunc(64), value[79:64]
        cpu.ftw = cpu.ftw | mine

    with when(withheld(cpu, status)) as wrong:
        note(cpu, status, said, operand=operand)
        with wrong.otherwise():
            note(cpu, status, said, -1, write, operand)
