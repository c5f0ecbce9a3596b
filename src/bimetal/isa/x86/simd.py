"""Vector instructions: their operands in parts of 128 bits, and their forms.

XMM registers are `xmm`, the upper halves of YMM registers `ymmh`. Most instructions do the same to
both halves, so one meaning serves the forms with 64 bits (MMX), 128 and 256. A form of the legacy
encoding (SSE) leaves upper halves alone, one with VEX clears them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from ...ir.value import Value, const
from ..trace import Cpu, slowly
from .describing import insn
from .mmx_state import read_mmx, use_mmx, write_mmx
from .operands import Fields, address_of, pinned_memory
from .traps import general_protection
from .vector_state import AVX, NUMBERS, SSE, X87, ready

__all__ = [
    "LETTERS", "Encoding", "Form", "Meaning", "describe", "encode_all", "in_parts", "load_parts",
    "merged", "no_vvvv", "read_parts", "read_source", "store_parts", "write_parts",
]  # fmt: skip

LETTERS = {64: "q", 128: "dq", 256: "qq"}
"""How operand codes name widths."""


class Form:
    """An encoding of an instruction: ``width`` bits of vectors, with VEX or without."""

    def __init__(self, width: int, vex: bool):
        self.width, self.vex = width, vex

    @property
    def parts(self) -> int:
        """How many parts of 128 bits there are; one, too, if there are 64 only."""
        return max(1, self.width // 128)

    @property
    def part(self) -> int:
        """Bits of a part."""
        return min(self.width, 128)

    @property
    def checks(self) -> int:
        """What has to be looked at before."""
        return X87 if self.width == 64 else AVX if self.vex else SSE

    def ready(self, cpu: Cpu, numbers: bool = False) -> None:
        """Trap, if vectors may not be used now; ``numbers`` if it computes some."""
        ready(cpu, self.checks | (NUMBERS if numbers else 0))

    def first(self, fields: Fields) -> Value:
        """The number of the first source: with VEX a register of its own, else the destination."""
        return fields["vvvv" if self.vex else "reg"]


def read_parts(cpu: Cpu, number: Value, form: Form) -> list[Value]:
    """A register, in parts."""
    if form.width == 64:
        return [read_mmx(cpu, number)]
    parts = [cpu.xmm[number]]
    if form.width == 256:
        parts.append(cpu.ymmh[number])
    return parts


def write_parts(cpu: Cpu, number: Value, parts: Sequence[Value], form: Form) -> None:
    """Write a register; with VEX, what is above becomes 0."""
    if form.width == 64:
        write_mmx(cpu, number, parts[0])
        use_mmx(cpu)
        return
    cpu.xmm[number] = parts[0].zext(128)
    if form.vex:
        cpu.ymmh[number] = parts[1] if len(parts) > 1 else const(0, 128)


def read_source(
    cpu: Cpu, fields: Fields, form: Form, width: int = 0, aligned: bool | None = None
) -> list[Value]:
    """The operand that ModRM names, in parts; of fewer than 128 bits, if a ``width`` says so. In
    memory, 128 bits of legacy forms have to be aligned."""
    width = width or form.width
    if pinned_memory(fields):
        if aligned is None:
            aligned = not form.vex and width == 128
        return load_parts(cpu, fields, width, aligned)
    if form.width == 64:
        return [read_mmx(cpu, fields["rm"]).trunc(width)]
    if width < 128:
        return [cpu.xmm[fields["rm"]].trunc(width)]
    return read_parts(cpu, fields["rm"], Form(width, form.vex))


def _place(cpu: Cpu, fields: Fields, width: int, aligned: bool, writes: bool) -> Value:
    """The address of an operand in memory; 256 bits that have to be aligned are looked at here."""
    address = address_of(cpu, fields, width // 8, writes)
    if aligned and width == 256:
        with slowly((address & 31) != 0):
            general_protection(cpu)
    return address


def load_parts(cpu: Cpu, fields: Fields, width: int, aligned: bool = False) -> list[Value]:
    """An operand in memory."""
    address = _place(cpu, fields, width, aligned, writes=False)
    if width <= 128:
        return [cpu.load(address, width, aligned)]
    return [cpu.load(address + 16 * n if n else address, 128, aligned) for n in range(width // 128)]


def store_parts(cpu: Cpu, fields: Fields, parts: Sequence[Value], aligned: bool = False) -> None:
    """Write an operand in memory."""
    address = _place(cpu, fields, sum(part.width for part in parts), aligned, writes=True)
    for n, part in enumerate(parts):
        cpu.store(address + 16 * n if n else address, part, aligned)


def merged(whole: Value, low: Value) -> Value:
    """All of a register once its low bits are others."""
    return whole & -(1 << low.width) | low.zext(whole.width)


# -- forms


def describe(
    row: str,
    text: str,
    extension: str,
    *,
    where: Callable[..., Value | bool] | None = None,
    restartable: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Describe an instruction of an extension."""
    return insn(row, text, where=where, extension=extension, restartable=restartable)


def no_vvvv(vvvv: Value | int, **_: Value | int) -> Value | bool:
    """Where VEX.vvvv names no operand it has to be 1111, which is 0 here."""
    return vvvv == 0


Meaning = Callable[[Cpu, Form, Mapping[str, Value]], None]


class Encoding(Struct, frozen=True):
    """How an instruction is written in one of its forms.

    ``prefix`` is the mandatory one, ``opcode`` the map and the byte, and what follows. ``operands``
    are those of the legacy form by their codes, with ``@`` for the letters of the width; ``third``
    says that the forms with VEX have a source of their own (H) behind the first operand.
    """

    name: str
    prefix: str
    opcode: str
    operands: str = "V@ W@"
    third: bool = True
    w: str = "wig"

    def legacy(self) -> tuple[str, str]:
        """Row and text without VEX."""
        return f"{self.prefix} {self.opcode}", f"{self.name} {self._shown(128)}"

    def mmx(self, prefix: str = "np") -> tuple[str, str]:
        """Row and text with MMX registers. PUNPCKL reads half of them from memory."""
        source = "Qd" if self.name.startswith("punpckl") else "Qq"
        shown = self.operands.replace("V@", "Pq").replace("W@", source)
        return f"{prefix} {self.opcode}", f"{self.name} {_braced(shown)}"

    def vex(self, width: int, prefixed: str = "v") -> tuple[str, str]:
        """Row and text with VEX."""
        place, _, rest = self.opcode.partition(" ")
        size = "lig" if width == 0 else str(width)
        parts = [part for part in ("vex", size, self.prefix, place, self.w) if part != "np"]
        shown = self._shown(width or 128, True)
        return f"{'.'.join(parts)} {rest}", f"{prefixed}{self.name} {shown}"

    def _shown(self, width: int, vex: bool = False) -> str:
        codes = self.operands.replace("@", LETTERS[width]).split()
        if vex and self.third:
            codes.insert(1, f"H{LETTERS[width]}")
        return _braced(" ".join(codes))


def _braced(codes: str) -> str:
    return ", ".join(f"{{:{code}}}" for code in codes.split())


def encode_all(
    encoding: Encoding,
    meaning: Meaning,
    *,
    mmx: str = "",
    sse: str = "",
    avx: str = "",
    avx2: str = "",
    restartable: bool = False,
) -> None:
    """Describe an instruction in the forms that have an extension."""

    def add(row: tuple[str, str], extension: str, form: Form) -> None:
        where = no_vvvv if form.vex and not encoding.third else None

        @describe(*row, extension, where=where, restartable=restartable)
        def instruction(cpu: Cpu, **fields: Value) -> None:
            meaning(cpu, form, fields)

    if mmx:
        add(encoding.mmx(), mmx, Form(64, vex=False))
    if sse:
        add(encoding.legacy(), sse, Form(128, vex=False))
    if avx:
        add(encoding.vex(128), avx, Form(128, vex=True))
    if avx2:
        add(encoding.vex(256), avx2, Form(256, vex=True))


def in_parts(operation: Callable[[Value, Value], Value], mmx: int = 64) -> Meaning:
    """The meaning of an operation of two operands on each part. With MMX registers it reads ``mmx``
    bits of the second one."""

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        b = read_source(cpu, fields, form, mmx if form.width == 64 else 0)
        b = [part.zext(form.part) for part in b]
        a = read_parts(cpu, form.first(fields), form)
        write_parts(cpu, fields["reg"], [operation(x, y) for x, y in zip(a, b, strict=True)], form)

    return meaning
