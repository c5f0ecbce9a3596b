"""System registers: each is a pair of instructions, MRS and MSR, with its name in their text.

So a register that programs read all the time (TPIDR_EL0, CNTVCT_EL0) is decoded once and then as
quick as any other instruction, and the list of what there is follows from the descriptions. People
who look at a CPU from outside find the same registers, in lower case.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.value import Value, const
from ..trace import Cpu, slowly
from .state import a64
from .syndromes import E2H, EL0, EL2, trapped_by_hypervisor, undefined

__all__ = [
    "REGISTERS", "Check", "Encoding", "Read", "Write", "banked", "constant", "controller_register",
    "stored", "system_register",
]  # fmt: skip

Encoding = tuple[int, int, int, int, int]
"""op0, op1, CRn, CRm, op2 (D17.1)."""

REGISTERS: dict[str, Encoding] = {}
"""Every described register."""

Read = Callable[[Cpu], Value]
Write = Callable[[Cpu, Value], None]
Check = Callable[[Cpu, bool, Value], None]
"""Raises the exception of an access that may not be made now; told whether it is a write, and the
syndrome of a trapped access."""


def system_register(
    name: str,
    encoding: Encoding,
    read: Read | None,
    write: Write | None = None,
    *,
    check: Check | None = None,
    trapped: int = 0,
    extension: str = "system",
    shown: bool = True,
) -> None:
    """Describe a register. Without ``read`` it cannot be read, without ``write`` not written.

    Who may access it follows from op1 (D17.1.1); ``trapped`` are bits of HCR_EL2 that leave it to
    EL2, and ``check`` makes further tests. Models without the ``extension`` have no such register.
    One that is not ``shown`` is not seen from outside: reserved ones, and those whose reading has
    effects.
    """
    assert name not in REGISTERS, name
    assert encoding[0] in (2, 3), name
    REGISTERS[name] = encoding
    if read is not None and shown:
        # What op1 = 5 names is EL1's register whatever the level is, where EL1's own name means a
        # host's at EL2 (D5.1.5): from outside, names mean one register each.
        a64.view(name.replace("_el12", "_el1").replace("_el02", "_el0"), 64, read, write)
    if read is not None:
        _describe(
            name, encoding, False, lambda cpu, Rt: _load(cpu, Rt, read), check, trapped, extension
        )
    if write is not None:
        _describe(
            name, encoding, True, lambda cpu, Rt: write(cpu, cpu.x[Rt]), check, trapped, extension
        )


def controller_register(
    name: str,
    encoding: Encoding,
    *,
    reads: bool,
    writes: bool,
    check: Check | None = None,
    trapped: int = 0,
) -> None:
    """Describe a register that a controller on the board has; otherwise as `system_register`."""
    assert name not in REGISTERS, name
    REGISTERS[name] = encoding
    op0, op1, crn, crm, op2 = encoding
    number = const(op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2, 64)

    def read(cpu: Cpu, Rt: Value) -> None:
        cpu.leave("register", number, const(0, 64), const(0, 64), Rt.zext(64))

    def write(cpu: Cpu, Rt: Value) -> None:
        cpu.leave("register", number, const(1, 64), cpu.x[Rt], Rt.zext(64))

    if reads:
        _describe(name, encoding, False, read, check, trapped)
    if writes:
        _describe(name, encoding, True, write, check, trapped)


def _load(cpu: Cpu, number: Value, read: Read) -> None:
    cpu.x[number] = read(cpu)


def _describe(
    name: str,
    encoding: Encoding,
    writes: bool,
    access: Callable[[Cpu, Value], None],
    check: Check | None,
    trapped: int,
    extension: str = "system",
) -> None:
    op0, op1, crn, crm, op2 = encoding
    row = f"1101010100 {int(not writes)} 1 {op0 - 2:b} {op1:03b} {crn:04b} {crm:04b} {op2:03b} Rt:5"
    text = f"msr {name}, {{Rt:x}}" if writes else f"mrs {{Rt:x}}, {name}"
    iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1 | int(not writes)

    @a64.insn(row, text, name=f"{'msr' if writes else 'mrs'}_{name}", extension=extension)
    def meaning(cpu: Cpu, Rt: Value) -> None:
        _privilege(cpu, op1)
        if trapped or check is not None:
            full = const(iss, 64) | Rt.zext(64) << 5
            if trapped:
                trapped_by_hypervisor(cpu, trapped, full)
            if check is not None:
                check(cpu, writes, full)
        access(cpu, Rt)


def _privilege(cpu: Cpu, op1: int) -> None:
    """Undefined below the exception level that op1 stands for (D17.1.1, table D17-1)."""
    match op1:
        case 0 | 1 | 2:
            with slowly(cpu.el == EL0):
                undefined(cpu)
        case 4:
            with slowly(cpu.el != EL2):
                undefined(cpu)
        case 5:  # EL1's registers for a host at EL2
            with slowly((cpu.el != EL2) | ((cpu.hcr & E2H) == 0)):
                undefined(cpu)


def stored(
    name: str,
    encoding: Encoding,
    mask: int = -1,
    *,
    at: str = "",
    trapped: int = 0,
    extension: str = "system",
) -> None:
    """A register that keeps the bits of ``mask``, in the state's register ``at``."""
    place = at or name

    def read(cpu: Cpu) -> Value:
        value: Value = getattr(cpu, place)
        return value.zext(64)

    def write(cpu: Cpu, value: Value) -> None:
        kept = value & mask
        setattr(cpu, place, kept.trunc(a64.state.files[place].width))

    system_register(name, encoding, read, write, trapped=trapped, extension=extension)


def constant(
    name: str,
    encoding: Encoding,
    read: int | Read,
    *,
    check: Check | None = None,
    trapped: int = 0,
    shown: bool = True,
) -> None:
    """A register that cannot be written."""
    value = read if callable(read) else None
    number = 0 if callable(read) else read

    def get(cpu: Cpu) -> Value:
        return value(cpu) if value is not None else const(number, 64)

    system_register(name, encoding, get, check=check, trapped=trapped, shown=shown)


def banked(
    name: str,
    op1_el1: Encoding,
    mask: int = -1,
    *,
    written: Callable[[Cpu, Value], None] | None = None,
    trapped: int = 0,
    el12: bool = True,
) -> None:
    """A register with one of a kind at EL1 and EL2, and the name with which a host at EL2 reaches
    that of EL1 (D5.1.5). ``written`` is called after each write, with the bits that changed."""
    op0, _, crn, crm, op2 = op1_el1
    file = f"{name}_el"

    def own(cpu: Cpu) -> Value:
        """EL1's, or a host's own where EL2 says EL1."""
        host: Value = (cpu.el == EL2) & ((cpu.hcr & E2H) != 0)
        return host.zext(2) + 1

    def declare(suffix: str, op1: int, at: Callable[[Cpu], Value], trapped: int = 0) -> None:
        def write(cpu: Cpu, value: Value) -> None:
            register = getattr(cpu, file)
            changed = register[at(cpu)] ^ value & mask
            register[at(cpu)] = value & mask
            if written is not None:
                written(cpu, changed)

        encoding = (op0, op1, crn, crm, op2)
        system_register(
            f"{name}_{suffix}", encoding, lambda cpu: getattr(cpu, file)[at(cpu)], write,
            trapped=trapped, extension="vhe" if op1 == 5 else "system",
        )  # fmt: skip

    declare("el1", 0, own, trapped)
    declare("el2", 4, lambda cpu: const(2, 2))
    if el12:
        declare("el12", 5, lambda cpu: const(1, 2))
