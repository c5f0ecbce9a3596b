"""MXCSR, and saving and restoring of x87, SSE and AVX state: FXSAVE, XSAVE and their kin (volume 1,
10.5 and chapter 13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir.value import Value, const, select
from ...trace import Cpu, pin, slowly, when
from ..cpuid import has
from ..describing import insn
from ..fields import AX, CX, DX
from ..identity import SETTABLE
from ..operands import address_of
from ..simd import describe, no_vvvv
from ..traps import general_protection, no_math, undefined_opcode
from ..vector_state import (
    AVX,
    EMULATED,
    MXCSR_MASK,
    RESET_MXCSR,
    SSE,
    SWITCHED,
    check_vectors,
    read_mxcsr,
    ready,
    write_mxcsr,
)
from ..x87_state import INIT_FCW, read_register, renew_status, write_register

# -- MXCSR


def _mxcsr(start: str, v: str, checks: int, extension: str) -> None:
    where = no_vvvv if v else None

    @describe(f"{start} ae /2 mem", f"{v}ldmxcsr {{:Md}}", extension, where=where)
    def ldmxcsr(cpu: Cpu, **fields: Value) -> None:
        ready(cpu, checks)
        value = cpu.load(address_of(cpu, fields, 4), 32)
        with slowly((value & ~MXCSR_MASK) != 0):
            general_protection(cpu)
        write_mxcsr(cpu, value)

    @describe(f"{start} ae /3 mem", f"{v}stmxcsr {{:Md}}", extension, where=where)
    def stmxcsr(cpu: Cpu, **fields: Value) -> None:
        ready(cpu, checks)
        cpu.store(address_of(cpu, fields, 4, writes=True), read_mxcsr(cpu))


_mxcsr("np 0f", "", SSE, "sse")
_mxcsr("vex.128.0f.wig", "v", AVX, "avx")


# -- the legacy area: x87 and XMM registers

ST, XMM, YMM = 32, 160, 576
HEADER = 512
X87, XMMS, YMMS = 1, 2, 4
"""Components by their bits in XCR0."""
KNOWN = X87 | XMMS | YMMS


def _save_x87(cpu: Cpu, area: Value, long: bool) -> None:
    """Bytes 0 to 23 and the registers; with REX.W addresses have 64 bits."""
    word = cpu.fcw.zext(64) | cpu.fsw.zext(64) << 16 | cpu.ftw.zext(64) << 32
    cpu.store(area, word | (cpu.fop & 0x7FF).zext(64) << 48)
    for at, pointer in ((8, cpu.fip), (16, cpu.fdp)):
        cpu.store(area + at, pointer if long else pointer & 0xFFFF_FFFF)
    for n in range(8):
        cpu.store(area + (ST + 16 * n), read_register(cpu, n).zext(128))


def _save_xmm(cpu: Cpu, area: Value, long: int) -> None:
    for n in range(16 if long else 8):
        cpu.store(area + (XMM + 16 * n), cpu.xmm[n])


def _save_mxcsr(cpu: Cpu, area: Value) -> None:
    cpu.store(area + 24, read_mxcsr(cpu).zext(64) | const(MXCSR_MASK, 64) << 32)


def _restore_x87(cpu: Cpu, parts: Mapping[int, Value], long: bool) -> None:
    word = parts[0]
    cpu.fcw = word[15:0] & 0x1F7F | 0x40
    cpu.fsw = renew_status(word[31:16], word[15:0])
    cpu.ftw, cpu.fop = word[39:32], word[58:48].zext(16)
    cpu.fip = parts[8] if long else parts[8] & 0xFFFF_FFFF
    cpu.fdp = parts[16] if long else parts[16] & 0xFFFF_FFFF
    for n in range(8):
        write_register(cpu, n, parts[ST + 16 * n].trunc(80))


def _aligned(cpu: Cpu, fields: Mapping[str, Value], size: int, to: int, writes: bool) -> Value:
    area = address_of(cpu, fields, size, writes)
    with slowly((area & (to - 1)) != 0):
        general_protection(cpu)
    return area


def _legacy(
    row: str, name: str, middle: int, meaning: Callable[[Cpu, Value, int, int], None]
) -> None:
    @describe(f"np 0f ae /{middle} mem {row}", f"{name} {{:M}}", "fxsr", restartable=True)
    def instruction(cpu: Cpu, long: Value, wide: Value, **fields: Value) -> None:
        with slowly((cpu.vector_checks & (EMULATED | SWITCHED)) != 0):
            no_math(cpu)
        area = _aligned(cpu, {**fields, "long": long}, 512, 16, name.startswith("fxsave"))
        meaning(cpu, area, pin(long), pin(wide))


def _fxsave(cpu: Cpu, area: Value, long: int, wide: int) -> None:
    _save_x87(cpu, area, bool(wide))
    _save_mxcsr(cpu, area)
    _save_xmm(cpu, area, long)


def _fxrstor(cpu: Cpu, area: Value, long: int, wide: int) -> None:
    parts = {at: cpu.load(area + at, 64) for at in (0, 8, 16)}
    mxcsr = cpu.load(area + 24, 32)
    with slowly((mxcsr & ~MXCSR_MASK) != 0):
        general_protection(cpu)
    parts |= {ST + 16 * n: cpu.load(area + (ST + 16 * n), 128) for n in range(8)}
    wholes = [cpu.load(area + (XMM + 16 * n), 128) for n in range(16 if long else 8)]
    _restore_x87(cpu, parts, bool(wide))
    for n, whole in enumerate(wholes):
        cpu.xmm[n] = whole
    write_mxcsr(cpu, mxcsr)


for _row, _suffix in (("w0", ""), ("w1", "64")):
    _legacy(_row, f"fxsave{_suffix}", 0, _fxsave)
    _legacy(_row, f"fxrstor{_suffix}", 1, _fxrstor)


# -- XSAVE


def _enabled(cpu: Cpu) -> None:
    """#UD and #NM (13.7)."""
    with slowly((cpu.cr4 & 1 << 18) == 0):
        undefined_opcode(cpu)
    with slowly((cpu.vector_checks & SWITCHED) != 0):
        no_math(cpu)


def _requested(cpu: Cpu) -> Value:
    """The components that EDX:EAX and XCR0 name."""
    mask = cpu.r[AX] & 0xFFFF_FFFF | cpu.r[DX] << 32
    asked: Value = mask & cpu.xcr0
    return asked


def _in_use(cpu: Cpu) -> Value:
    """Components that are not in their initial state; none of them is looked at."""
    return const(KNOWN, 64)


def _xsave(name: str, row: str, compact: bool, extension: str) -> None:
    @describe(row, f"{name} {{:M}}", extension, restartable=True)
    def save(cpu: Cpu, long: Value, wide: Value, **fields: Value) -> None:
        _enabled(cpu)
        area = _aligned(cpu, {**fields, "long": long}, 576, 64, True)
        asked = _requested(cpu)
        old = cpu.load(area + HEADER, 64)
        with when((asked & X87) != 0):
            _save_x87(cpu, area, bool(pin(wide)))
        with when((asked & (XMMS | (0 if compact else YMMS))) != 0):
            _save_mxcsr(cpu, area)
        with when((asked & XMMS) != 0):
            _save_xmm(cpu, area, pin(long))
        with when((asked & YMMS) != 0):
            for n in range(16 if pin(long) else 8):
                cpu.store(area + (YMM + 16 * n), cpu.ymmh[n])
        if compact:
            cpu.store(area + HEADER, asked)
            cpu.store(area + (HEADER + 8), asked | 1 << 63)
        else:
            cpu.store(area + HEADER, (old & ~asked) | asked)


for _w, _suffix in (("w0", ""), ("w1", "64")):
    _xsave(f"xsave{_suffix}", f"np 0f ae /4 mem {_w}", False, "xsave")
    _xsave(f"xsaveopt{_suffix}", f"np 0f ae /6 mem {_w}", False, "xsaveopt")
    _xsave(f"xsavec{_suffix}", f"np 0f c7 /4 mem {_w}", True, "xsavec")


def _xrstor(name: str, row: str) -> None:
    @describe(row, f"{name} {{:M}}", "xsave", restartable=True)
    def restore(cpu: Cpu, long: Value, wide: Value, **fields: Value) -> None:
        """Components that the area says are initial become that (13.8)."""
        _enabled(cpu)
        area = _aligned(cpu, {**fields, "long": long}, 576, 64, False)
        asked, present = _requested(cpu), cpu.load(area + HEADER, 64)
        form = cpu.load(area + (HEADER + 8), 64)
        compact = form[63] == 1
        allowed = select(compact, form & KNOWN, cpu.xcr0)
        wrong = (present & ~allowed) != 0
        wrong = wrong | select(compact, (form & ~(cpu.xcr0 | 1 << 63)) != 0, form != 0)
        with slowly(wrong):
            general_protection(cpu)
        mxcsr = cpu.load(area + 24, 32)
        takes_mxcsr = (asked & (XMMS | YMMS)) != 0
        takes_mxcsr = select(compact, (asked & present & XMMS) != 0, takes_mxcsr)
        with slowly(takes_mxcsr & ((mxcsr & ~MXCSR_MASK) != 0)):
            general_protection(cpu)
        there = asked & present
        count = 16 if pin(long) else 8
        with when((asked & X87) != 0):
            _take_x87(cpu, area, (there & X87) != 0, bool(pin(wide)))
        with when((asked & XMMS) != 0):
            for n in range(count):
                _take(cpu, "xmm", n, area + (XMM + 16 * n), (there & XMMS) != 0)
        with when((asked & YMMS) != 0):
            for n in range(count):
                _take(cpu, "ymmh", n, area + (YMM + 16 * n), (there & YMMS) != 0)
        with when(takes_mxcsr) as given:
            write_mxcsr(cpu, mxcsr)
            with given.otherwise(), when((asked & XMMS) != 0):
                write_mxcsr(cpu, const(RESET_MXCSR, 32))


def _take(cpu: Cpu, file: str, n: int, address: Value, there: Value) -> None:
    value = cpu.local(const(0, 128))
    with when(there):
        value.set(cpu.load(address, 128))
    getattr(cpu, file)[n] = value.value


def _take_x87(cpu: Cpu, area: Value, there: Value, wide: bool) -> None:
    with when(there) as given:
        parts = {at: cpu.load(area + at, 64) for at in (0, 8, 16)}
        parts |= {ST + 16 * n: cpu.load(area + (ST + 16 * n), 128) for n in range(8)}
        _restore_x87(cpu, parts, wide)
        with given.otherwise():
            zero = const(0, 128)
            initial = {ST + 16 * n: zero for n in range(8)}
            initial |= {0: const(INIT_FCW, 64), 8: const(0, 64), 16: const(0, 64)}
            _restore_x87(cpu, initial, wide)
    check_vectors(cpu)


for _w, _suffix in (("w0", ""), ("w1", "64")):
    _xrstor(f"xrstor{_suffix}", f"np 0f ae /5 mem {_w}")


@insn("np 0f 01 d0", "xgetbv", extension="xsave")
def xgetbv(cpu: Cpu, **_: Value) -> None:
    with slowly((cpu.cr4 & 1 << 18) == 0):
        undefined_opcode(cpu)
    number = cpu.r[CX] & 0xFFFF_FFFF
    with slowly(has(cpu, "xgetbv1").zext(64).ult(number)):
        general_protection(cpu)
    value = select(number == 0, cpu.xcr0, cpu.xcr0 & KNOWN)
    cpu.r[AX], cpu.r[DX] = value & 0xFFFF_FFFF, value.lsr(32)


@insn("np 0f 01 d1", "xsetbv", extension="xsave")
def xsetbv(cpu: Cpu, **_: Value) -> None:
    """XCR0: x87 always, YMM not without XMM (13.3)."""
    with slowly((cpu.cr4 & 1 << 18) == 0):
        undefined_opcode(cpu)
    value = cpu.r[AX] & 0xFFFF_FFFF | cpu.r[DX] << 32
    reserved = (value & ~cpu.settable[SETTABLE.index("xcr0")]) != 0
    wrong = ((value & X87) == 0) | reserved | ((value & 6) == YMMS)
    with slowly((cpu.cpl != 0) | ((cpu.r[CX] & 0xFFFF_FFFF) != 0) | wrong):
        general_protection(cpu)
    cpu.xcr0 = value
    check_vectors(cpu)
    cpu.sync()
