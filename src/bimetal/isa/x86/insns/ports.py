"""I/O ports (volume 1, chapter 19): IN, OUT, INS, OUTS."""

from __future__ import annotations

from bimetal.ir.value import Value, const
from bimetal.isa.trace import Cpu, pin, when

from ..debug import watch_port
from ..describing import insn
from ..fields import AX, DI, DX, SI
from ..operands import Fields, Register
from ..privilege import need_io
from .strings import Steps


def _width(fields: Fields, byte: bool) -> int:
    return 8 if byte else 16 if pin(fields["osize"]) == 0 else 32


def _port(cpu: Cpu, fields: Fields, direct: bool) -> Value:
    return fields["imm"].trunc(8).zext(16) if direct else cpu.r[DX].trunc(16)


def _need(cpu: Cpu, port: Value, width: int) -> None:
    """#GP, if a port may not be accessed; and breakpoints."""
    need_io(cpu, port, width // 8)
    watch_port(cpu, port, width // 8)


def _in(row: str, byte: bool, direct: bool) -> None:
    port = "{:Ib}" if direct else "dx"

    @insn(row, f"in {'{:AL}' if byte else '{:eAX}'}, {port}", restartable=True)
    def read(cpu: Cpu, **fields: Value) -> None:
        width, port = _width(fields, byte), _port(cpu, fields, direct)
        _need(cpu, port, width)
        Register(cpu, const(AX, 4), width).write(cpu.load_port(port, width))


def _out(row: str, byte: bool, direct: bool) -> None:
    port = "{:Ib}" if direct else "dx"

    @insn(row, f"out {port}, {'{:AL}' if byte else '{:eAX}'}", restartable=True)
    def write(cpu: Cpu, **fields: Value) -> None:
        width, port = _width(fields, byte), _port(cpu, fields, direct)
        _need(cpu, port, width)
        cpu.store_port(port, Register(cpu, const(AX, 4), width).read())


_in("e4 ib", True, True)
_in("e5 ib", False, True)
_in("ec", True, False)
_in("ed", False, False)
_out("e6 ib", True, True)
_out("e7 ib", False, True)
_out("ee", True, False)
_out("ef", False, False)


def _strings(row: str, byte: bool, reads: bool) -> None:
    size = "b" if byte else "z"
    text = f"{{:rep}}ins {{:Y{size}}}, dx" if reads else f"{{:rep}}outs dx, {{:X{size}}}"

    @insn(row, text, restartable=True)
    def transfer(cpu: Cpu, **fields: Value) -> None:
        width = _width(fields, byte)
        port, steps = cpu.r[DX].trunc(16), Steps(cpu, fields, width)
        need_io(cpu, port, width // 8)
        with when(steps.some):
            watch_port(cpu, port, width // 8)
            if reads:
                to = steps.destination()
                # What cannot be stored must not be taken from the device.
                cpu.store(to, cpu.load(to, width))
                cpu.store(to, cpu.load_port(port, width))
                steps.advance((DI,))
            else:
                cpu.store_port(port, cpu.load(steps.source(), width))
                steps.advance((SI,))


_strings("6c", True, True)
_strings("6d", False, True)
_strings("6e", True, False)
_strings("6f", False, False)
