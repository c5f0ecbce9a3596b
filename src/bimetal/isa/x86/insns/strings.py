"""Strings (volume 1, 7.3.9): MOVS, CMPS, SCAS, LODS, STOS, with REP.

Each step under REP is an execution of its own, so faults and interrupts find the registers as they
were before the step. Steps of MOVS and STOS take 16 bytes where they may.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.ir.value import Value, const, select
from bimetal.isa.trace import Cpu, when

from ..describing import insn
from ..fields import AX, CX, DI, NO_SEGMENT, SI
from ..flags import AC, DF, TF, set_flags, subtracted
from ..operands import Fields, Register, linear, operand_width, truncated
from ..state import ES

__all__ = ["Steps"]

AT_ONCE = 16
"""Bytes of the steps that take several items."""


class Steps:
    """The registers that an execution of a string instruction moves. ``items`` are how many it
    takes, ``moved`` says which of SI and DI it moves."""

    def __init__(self, cpu: Cpu, fields: Fields, width: int):
        self.cpu, self.fields, self.size = cpu, fields, width // 8
        self.asize, self.width = fields["asize"], width
        self.repeats = fields["pp"].uge(2)
        self._old = {n: cpu.r[n] for n in (CX, SI, DI)}
        self.count = truncated(self._old[CX], self.asize)
        self.backwards = (cpu.system_flags & DF) != 0

    @property
    def some(self) -> Value:
        """Whether there is anything to do."""
        there: Value = ~self.repeats | (self.count != 0)
        return there

    def offset(self, register: int) -> Value:
        """The offset in SI or DI."""
        return truncated(self._old[register], self.asize)

    def source(self, size: int = 0) -> Value:
        """The linear address of the source, whose segment may be overridden."""
        cpu, fields = self.cpu, self.fields
        return linear(cpu, fields, fields["seg"], self.offset(SI), size or self.size, False)

    def destination(self, writes: bool = True, size: int = 0) -> Value:
        """The linear address of the destination, in ES."""
        seg = select(self.fields["plain"] == 1, const(NO_SEGMENT, 4), ES)
        offset, size = self.offset(DI), size or self.size
        return linear(self.cpu, self.fields, seg, offset, size, writes)

    def advance(self, moved: tuple[int, ...], stop: Value | None = None, items: int = 1) -> None:
        """Move the registers, and go on if there is more, unless it is to ``stop``."""
        cpu, by = self.cpu, items * self.size
        step = const(by, 64)
        if items == 1:
            step = select(self.backwards, const(-by, 64), step)
        for n in moved:
            cpu.r[n] = self._merged(n, self._old[n] + step)
        with when(self.repeats):
            cpu.r[CX] = self._merged(CX, self._old[CX] - items)
            more = self.count != items
            with when(more if stop is None else more & ~stop):
                cpu.jump(cpu.pc)

    def _merged(self, register: int, value: Value) -> Value:
        old = self._old[register]
        low = truncated(value, self.asize)
        return select(self.asize == 0, (old & ~0xFFFF) | low, low)

    def may_take(self, *addresses: Value) -> Value:
        """Whether a step may take `AT_ONCE` bytes, forwards, from and to these addresses, none of
        which are in two pages."""
        items = AT_ONCE // self.size
        # Steps are seen one by one with TF, and those of words have to be aligned with AC.
        single = DF | TF | (AC if self.size > 1 else 0)
        plain = (self.cpu.system_flags & single) == 0
        fits: Value = self.repeats & plain & ~self.count.ult(items)
        for address in addresses:
            fits = fits & (address & 4095).ult(4096 - AT_ONCE + 1)
        # What wraps around at the end of the offsets is done in small steps.
        for register in (SI, DI)[-len(addresses) :]:
            last = self.offset(register) + AT_ONCE
            fits = fits & (truncated(last, self.asize) == last)
        return fits


def _string(
    opcode: int, name: str, operands: str, prefix: str, meaning: Callable[[Steps], None]
) -> None:
    def text(size: str) -> str:
        accumulator = "AL" if size == "b" else "rAX"
        shown = {"X": f"{{:X{size}}}", "Y": f"{{:Y{size}}}", "A": f"{{:{accumulator}}}"}
        return f"{{:{prefix}}}{name} {shown[operands[0]]}, {shown[operands[1]]}"

    @insn(f"{opcode:02x}", text("b"), restartable=True)
    def bytes_(cpu: Cpu, **fields: Value) -> None:
        _do(Steps(cpu, fields, 8), meaning)

    @insn(f"{opcode + 1:02x}", text("v"), restartable=True)
    def words(cpu: Cpu, **fields: Value) -> None:
        _do(Steps(cpu, fields, operand_width(fields)), meaning)


def _do(steps: Steps, meaning: Callable[[Steps], None]) -> None:
    with when(steps.some):
        meaning(steps)


def _movs(steps: Steps) -> None:
    cpu, source, to = steps.cpu, steps.source(), steps.destination()
    # A copy into what is yet to be read repeats a pattern.
    apart = ~(to - source).ult(AT_ONCE) | (to == source)
    with when(steps.may_take(source, to) & apart) as many:
        cpu.store(to, cpu.load(source, 8 * AT_ONCE, in_page=True), in_page=True)
        steps.advance((SI, DI), items=AT_ONCE // steps.size)
        with many.otherwise():
            cpu.store(to, cpu.load(source, steps.width))
            steps.advance((SI, DI))


def _stos(steps: Steps) -> None:
    cpu, to = steps.cpu, steps.destination()
    value = cpu.r[AX].trunc(steps.width)
    with when(steps.may_take(to)) as many:
        whole = value.zext(128)
        for width in (8, 16, 32, 64):
            if width >= steps.width:
                whole = whole | whole << width
        cpu.store(to, whole, in_page=True)
        steps.advance((DI,), items=AT_ONCE // steps.size)
        with many.otherwise():
            cpu.store(to, value)
            steps.advance((DI,))


def _lods(steps: Steps) -> None:
    cpu = steps.cpu
    value = cpu.load(steps.source(), steps.width)
    Register(cpu, const(AX, 4), steps.width).write(value)
    steps.advance((SI,))


def _stops(steps: Steps, equal: Value) -> Value:
    """Whether REPE (pp 2) or REPNE ends for a comparison's sake."""
    return equal ^ (steps.fields["pp"] == 2)


def _cmps(steps: Steps) -> None:
    cpu, width = steps.cpu, steps.width
    a, b = cpu.load(steps.source(), width), cpu.load(steps.destination(writes=False), width)
    _, flags = subtracted(a, b)
    set_flags(cpu, flags)
    steps.advance((SI, DI), _stops(steps, flags["zf"]))


def _scas(steps: Steps) -> None:
    cpu, width = steps.cpu, steps.width
    a, b = cpu.r[AX].trunc(width), cpu.load(steps.destination(writes=False), width)
    _, flags = subtracted(a, b)
    set_flags(cpu, flags)
    steps.advance((DI,), _stops(steps, flags["zf"]))


_string(0xA4, "movs", "YX", "rep", _movs)
_string(0xA6, "cmps", "XY", "repz", _cmps)
_string(0xAA, "stos", "YA", "rep", _stos)
_string(0xAC, "lods", "AX", "rep", _lods)
_string(0xAE, "scas", "AY", "repz", _scas)
