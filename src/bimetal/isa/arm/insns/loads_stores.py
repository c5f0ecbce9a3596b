"""Loads and stores of one register (C4.1.94): every size and every way to give the address."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ....ir.value import Value
from ...trace import Cpu
from ..fp_access import need_fp
from ..operands import base_register, extended, write_sp
from ..state import a64

__all__ = ["TRANSFERS", "Transfer"]


class Transfer(Struct, frozen=True):
    """What an instruction transfers. ``size``, ``vector`` and ``opc`` are its fields, ``kind`` is
    the register's kind in assembly, ``bits`` the width in memory, ``to`` the width that it is
    extended to, by its sign if ``signed``; ``suffix`` is the end of the name."""

    size: str
    vector: str
    opc: str
    kind: str
    bits: int
    suffix: str = ""
    to: int = 0
    signed: bool = False

    @property
    def loads(self) -> bool:
        """Whether it goes from memory to a register."""
        return self.opc in ("01", "11") if self.vector == "1" else self.opc != "00"

    @property
    def name(self) -> str:
        """``ldr``, ``str``, ``ldrsb`` and so on."""
        return ("ldr" if self.loads else "str") + self.suffix

    @property
    def scale(self) -> int:
        """log2 of the bytes."""
        return (self.bits // 8).bit_length() - 1

    def begin(self, cpu: Cpu) -> None:
        """The checks before the access: floating-point traps."""
        if self.vector == "1":
            need_fp(cpu)

    def move(self, cpu: Cpu, number: Value, address: Value, unprivileged: bool = False) -> None:
        """Load or store register ``t`` at an address."""
        if not self.loads:
            self._store(cpu, number, address, unprivileged)
            return
        value = cpu.load(address, self.bits, unprivileged=unprivileged)
        if self.vector == "1":
            cpu.v[number] = value.zext(128)
        else:
            wide = value.sext(self.to) if self.signed else value
            cpu.x[number] = wide.zext(64)

    def _store(self, cpu: Cpu, number: Value, address: Value, unprivileged: bool) -> None:
        value = (cpu.v if self.vector == "1" else cpu.x)[number].trunc(self.bits)
        cpu.store(address, value, unprivileged=unprivileged)


TRANSFERS = (
    Transfer("00", "0", "00", "w", 8, "b"),
    Transfer("00", "0", "01", "w", 8, "b"),
    Transfer("00", "0", "10", "x", 8, "sb", 64, True),
    Transfer("00", "0", "11", "w", 8, "sb", 32, True),
    Transfer("01", "0", "00", "w", 16, "h"),
    Transfer("01", "0", "01", "w", 16, "h"),
    Transfer("01", "0", "10", "x", 16, "sh", 64, True),
    Transfer("01", "0", "11", "w", 16, "sh", 32, True),
    Transfer("10", "0", "00", "w", 32),
    Transfer("10", "0", "01", "w", 32),
    Transfer("10", "0", "10", "x", 32, "sw", 64, True),
    Transfer("11", "0", "00", "x", 64),
    Transfer("11", "0", "01", "x", 64),
    *(
        Transfer(size, "1", opc, kind, bits)
        for size, high, kind, bits in (
            ("00", "0", "b", 8), ("01", "0", "h", 16), ("10", "0", "s_", 32), ("11", "0", "d", 64),
            ("00", "1", "q", 128),
        )
        for opc in (high + "0", high + "1")
    ),
)  # fmt: skip


def _describe(transfer: Transfer) -> None:
    t = transfer
    head = f"{t.size} 111 {t.vector}"
    _unsigned(t, head)
    _register(t, head)
    unscaled = t.name[:2] + "u" + t.name[2:]
    _signed(t, f"{head} 00 {t.opc} 0 imm9:9 00", unscaled, "[{Rn:xsp}, {imm9:is}]", "none")
    _signed(t, f"{head} 00 {t.opc} 0 imm9:9 01", t.name, "[{Rn:xsp}], {imm9:is}", "post")
    _signed(t, f"{head} 00 {t.opc} 0 imm9:9 11", t.name, "[{Rn:xsp}, {imm9:is}]!", "pre")
    if t.vector == "0":
        plain = t.name[:2] + "t" + t.name[2:]
        _signed(t, f"{head} 00 {t.opc} 0 imm9:9 10", plain, "[{Rn:xsp}, {imm9:is}]", "user")


def _unsigned(t: Transfer, head: str) -> None:
    kind = f"i{1 << t.scale}" if t.scale else "i"

    @a64.insn(
        f"{head} 01 {t.opc} imm12:12 Rn:5 Rt:5",
        f"{t.name} {{Rt:{t.kind}}}, [{{Rn:xsp}}, {{imm12:{kind}}}]",
    )
    def meaning(cpu: Cpu, imm12: Value, Rn: Value, Rt: Value) -> None:
        t.begin(cpu)
        t.move(cpu, Rt, base_register(cpu, Rn) + (imm12.zext(64) << t.scale))


def _register(t: Transfer, head: str) -> None:
    @a64.insn(
        f"{head} 00 {t.opc} 1 Rm:5 option:3 S:1 10 Rn:5 Rt:5",
        f"{t.name} {{Rt:{t.kind}}}, [{{Rn:xsp}}, {{:index{t.scale}}}]",
        where=lambda option, **_: (option & 2) != 0,
    )
    def meaning(cpu: Cpu, Rm: Value, option: Value, S: Value, Rn: Value, Rt: Value) -> None:
        t.begin(cpu)
        offset = extended(cpu.x[Rm], option, S.zext(3) * t.scale, 64)
        t.move(cpu, Rt, base_register(cpu, Rn) + offset)


def _signed(t: Transfer, row: str, name: str, address: str, way: str) -> None:
    """A signed offset of nine bits: without write-back, post-indexed, pre-indexed, or with the
    rights of user mode."""

    @a64.insn(f"{row} Rn:5 Rt:5", f"{name} {{Rt:{t.kind}}}, {address}")
    def meaning(cpu: Cpu, imm9: Value, Rn: Value, Rt: Value) -> None:
        t.begin(cpu)
        base = base_register(cpu, Rn)
        moved = base + imm9.sext(64)
        where = base if way == "post" else moved
        if way in ("none", "user") or t.loads:
            t.move(cpu, Rt, where, way == "user")
            if way in ("post", "pre"):
                write_sp(cpu, Rn, moved)
            return
        # A store of the base register stores what it held before (C6.2).
        t.move(cpu, Rt, where)
        write_sp(cpu, Rn, moved)


for _transfer in TRANSFERS:
    _describe(_transfer)


def _literal(opc: str, vector: str, t: Transfer) -> None:
    @a64.insn(f"{opc} 011 {vector} 00 imm[20:2] Rt:5", f"{t.name} {{Rt:{t.kind}}}, {{imm:rel}}")
    def meaning(cpu: Cpu, imm: Value, Rt: Value) -> None:
        t.begin(cpu)
        t.move(cpu, Rt, cpu.pc + imm.sext(64))


_literal("00", "0", Transfer("10", "0", "01", "w", 32))
_literal("01", "0", Transfer("11", "0", "01", "x", 64))
_literal("10", "0", Transfer("10", "0", "10", "x", 32, "sw", 64, True))
for _opc, _kind, _bits in (("00", "s_", 32), ("01", "d", 64), ("10", "q", 128)):
    _literal(_opc, "1", Transfer("00", "1", "01", _kind, _bits))


# -- prefetches do nothing


def _prefetch(row: str, text: str, where: Callable[..., Value | bool] | None = None) -> None:
    @a64.insn(row, text, where=where)
    def meaning(cpu: Cpu, **fields: Value) -> None:
        """A hint."""


_prefetch("11 011 0 00 imm[20:2] Rt:5", "prfm {Rt:ix}, {imm:rel}")
_prefetch("11 111 0 01 10 imm12:12 Rn:5 Rt:5", "prfm {Rt:ix}, [{Rn:xsp}, {imm12:i8}]")
_prefetch("11 111 0 00 10 0 imm9:9 00 Rn:5 Rt:5", "prfum {Rt:ix}, [{Rn:xsp}, {imm9:is}]")
_prefetch(
    "11 111 0 00 10 1 Rm:5 option:3 S:1 10 Rn:5 Rt:5", "prfm {Rt:ix}, [{Rn:xsp}, {:index3}]",
    where=lambda option, **_: (option & 2) != 0,
)  # fmt: skip
