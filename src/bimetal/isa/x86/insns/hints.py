"""Hints, fences, random numbers (volume 2): multi-byte NOPs, PREFETCH, CLFLUSH and its kind,
MFENCE, LFENCE, SFENCE, MONITOR, MWAIT, RDRAND, RDSEED."""

from __future__ import annotations

from bimetal.ir.value import Value, const
from bimetal.isa.trace import Cpu

from ..describing import insn
from ..operands import Memory, Register, operand_width
from ..privilege import need_ring_0


def nothing(cpu: Cpu, **_: Value) -> None:
    """Nothing that can be seen."""


for _opcode in range(0x19, 0x1E):
    for _digit in range(8):
        insn(f"0f {_opcode:02x} /{_digit}", "nop {:Ev}")(nothing)
for _digit, _hint in enumerate(("nta", "t0", "t1", "t2")):
    insn(f"0f 18 /{_digit} mem", f"prefetch{_hint} {{:Mb}}")(nothing)
    insn(f"0f 18 /{_digit} reg", "nop {:Ev}")(nothing)
for _digit in range(4, 8):
    insn(f"0f 18 /{_digit}", "nop {:Ev}")(nothing)
for _digit, _name in ((0, "prefetch"), (1, "prefetchw"), (2, "prefetchwt1")):
    insn(f"0f 0d /{_digit} mem", f"{_name} {{:Mb}}")(nothing)
insn("f3 0f 1e fa", "endbr64")(nothing)
insn("f3 0f 1e fb", "endbr32")(nothing)
for _digit in range(8):
    insn(f"0f 1e /{_digit}", "nop {:Ev}")(nothing)


def _line(row: str, name: str) -> None:
    @insn(row, f"{name} {{:Mb}}", extension=name)
    def flush(cpu: Cpu, **fields: Value) -> None:
        """The line has to be readable."""
        Memory(cpu, fields, 8).read()


_line("np 0f ae /7 mem", "clflush")
_line("66 0f ae /7 mem", "clflushopt")
_line("66 0f ae /6 mem", "clwb")


def _fence(digit: int, name: str, extension: str) -> None:
    @insn(f"np 0f ae /{digit} reg", name, extension=extension)
    def fence(cpu: Cpu, **_: Value) -> None:
        cpu.fence()


_fence(5, "lfence", "sse2")
_fence(6, "mfence", "sse2")
_fence(7, "sfence", "sse")


@insn("0f 01 c8", "monitor {:Mon}", extension="monitor")
def monitor(cpu: Cpu, **_: Value) -> None:
    need_ring_0(cpu)


@insn("0f 01 c9", "mwait", extension="monitor")
def mwait(cpu: Cpu, **_: Value) -> None:
    """Whoever waits looks again."""
    need_ring_0(cpu)
    cpu.relax()


def _random(digit: int, name: str) -> None:
    @insn(f"0f c7 /{digit} reg", f"{name} {{:Rv}}", where=lambda pp, **_: pp != 2, extension=name)
    def random(cpu: Cpu, **fields: Value) -> None:
        width = operand_width(fields)
        number = cpu.host("random", 64)
        Register(cpu, fields["rm"], width).write(number.trunc(width))
        for flag in ("pf", "af", "zf", "sf", "of"):
            setattr(cpu, flag, const(0, 1))
        cpu.cf = const(1, 1)


_random(6, "rdrand")
_random(7, "rdseed")
