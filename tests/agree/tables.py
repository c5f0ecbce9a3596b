"""The tables of cases that QEMU's user emulation can tell the outcome of."""

from __future__ import annotations

from functools import cache

from .operands import cases, instructions
from .state import Case

__all__ = ["EXTENSIONS", "table"]

EXTENSIONS = (
    *("i", "m", "a", "c", "f", "d", "zfh"),
    *("zba", "zbb", "zbc", "zbs", "zbkb", "zbkx", "zihintpause"),
)

# Where they go next is compared elsewhere; a process has no privileges, and QEMU's reservations
# are of another kind.
ELSEWHERE = {
    *("auipc", "beq", "bge", "bgeu", "blt", "bltu", "bne", "ebreak", "ecall", "jal", "jalr"),
    *("c.beqz", "c.bnez", "c.ebreak", "c.j", "c.jalr", "c.jr"),
    *("lr.d", "lr.w", "sc.d", "sc.w"),
}


def _sound(case: Case) -> bool:
    """QEMU 7.2's ctzw counts beyond the low word, if that is zero."""
    if not case.text.startswith("ctzw"):
        return True
    source = case.word >> 15 & 31
    return source != 0 and case.before.registers[f"x{source}"] & 0xFFFF_FFFF != 0


def rounds(extension: str) -> bool:
    """Whether instructions have a rounding mode; six encodings have five and the dynamic one."""
    return extension in ("f", "d", "zfh")


@cache
def table(extension: str, words: int = 4, states: int = 12) -> list[Case]:
    """Cases of an extension: ``words`` encodings of each instruction, in ``states`` states each.

    Where there are rounding modes, at least one encoding has each of them.
    """
    return [
        case
        for insn in instructions(extension)
        if insn.name not in ELSEWHERE
        for case in cases(insn, max(words, 6) if rounds(extension) else words, states)
        if _sound(case)
    ]
