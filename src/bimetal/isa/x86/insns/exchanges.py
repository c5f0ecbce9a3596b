"""Compare and exchange (volume 2): CMPXCHG, CMPXCHG8B, CMPXCHG16B, XADD."""

from __future__ import annotations

from bimetal.ir.value import Value, const, select
from bimetal.isa.trace import Cpu, pin, slowly, when

from ..fields import AX, BX, CX, DX
from ..flags import added, set_flags, subtracted
from ..locked import compared, locked
from ..operands import Memory, Register, address_of, operand, write_both
from ..traps import general_protection
from .arithmetic import is_locked, lockable


def _cmpxchg(row: str, e: str, g: str) -> None:
    @lockable(row, f"cmpxchg {{:{e}}}, {{:{g}}}")
    def cmpxchg(cpu: Cpu, **fields: Value) -> None:
        """If the accumulator is what is there, the source goes there; else it is loaded. Memory is
        written in any case."""
        to, new = operand(cpu, e, fields, writes=True), operand(cpu, g, fields).read()
        accumulator = Register(cpu, const(AX, 4), to.width)
        expected, whole = accumulator.read(), accumulator.whole
        if isinstance(to, Memory):
            if is_locked(to, fields):
                old = compared(cpu, to.address, expected, new)
            else:
                old = to.read()
                to.write(select(old == expected, new, old))
            equal = old == expected
            cpu.r[AX] = select(equal, whole, accumulator.merged(whole, old))
        else:
            assert isinstance(to, Register)
            old, there, number = to.read(), to.whole, to.number
            with when(old == expected) as equal_:
                cpu.r[number] = to.merged(there, new)
                with equal_.otherwise():
                    cpu.r[AX] = accumulator.merged(whole, old)
        set_flags(cpu, subtracted(expected, old)[1])


_cmpxchg("0f b0 /r", "Eb", "Gb")
_cmpxchg("0f b1 /r", "Ev", "Gv")


def _xadd(row: str, e: str, g: str) -> None:
    @lockable(row, f"xadd {{:{e}}}, {{:{g}}}")
    def xadd(cpu: Cpu, **fields: Value) -> None:
        to, source = operand(cpu, e, fields, writes=True), operand(cpu, g, fields)
        b = source.read()
        assert isinstance(source, Register)
        if isinstance(to, Memory):
            whole = source.whole
            if is_locked(to, fields):
                a = locked(cpu, "add", to.address, b)
            else:
                a = to.read()
                to.write(a + b)
            cpu.r[source.number] = source.merged(whole, a)
        else:
            assert isinstance(to, Register)
            a = to.read()
            write_both(source, a, to, a + b)
        set_flags(cpu, added(a, b)[1])


_xadd("0f c0 /r", "Eb", "Gb")
_xadd("0f c1 /r", "Ev", "Gv")


def _pair(cpu: Cpu, **fields: Value) -> None:
    """EDX:EAX with EBX's and ECX's as the new value; with REX.W of 64 bits each, which #GP if the
    address is not a multiple of 16. Only ZF changes."""
    width = 64 if int(fields["wide"]) else 32
    address = address_of(cpu, fields, width // 4, writes=True)
    a, b, c, d = (cpu.r[n].trunc(width).zext(2 * width) for n in (AX, BX, CX, DX))
    expected, new = d << width | a, c << width | b
    if width == 64:
        with slowly((address & 15) != 0):
            general_protection(cpu)
    if pin(fields["lock"]):
        old = compared(cpu, address, expected, new)
    else:
        old = cpu.load(address, 2 * width)
        cpu.store(address, select(old == expected, new, old))
    cpu.zf = old == expected
    with when(old != expected):
        cpu.r[AX] = old.trunc(width).zext(64)
        cpu.r[DX] = old[2 * width - 1 : width].zext(64)


lockable("0f c7 /1 mem w0", "cmpxchg{:pair}", extension="cx8")(_pair)
lockable("0f c7 /1 mem w1", "cmpxchg{:pair}", extension="cx16")(_pair)
