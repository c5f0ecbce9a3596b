"""AES (FEAT_AES): single steps of its rounds (FIPS 197, sections 5.1 and 5.3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ....ir.compound import compound
from ....ir.value import Value
from ....ir.vector import lanes, shuffle
from ...trace import Cpu
from ..fp_access import need_fp
from ..state import a64
from ..substitution import affine, inverses, substituted

POLYNOMIAL = 0x11B
"""The polynomial of the field GF(2^8) that the bytes are elements of."""


@cache
def _substitutes() -> list[int]:
    """SubBytes (5.1.1): the inverse, and an affine map."""
    return [affine(number, 0x1F, 0x63) for number in inverses(POLYNOMIAL)]


def _originals() -> list[int]:
    return [_substitutes().index(number) for number in range(256)]


# Where each byte comes from: row r of the four columns is rotated by r (5.1.2, 5.3.1).
SHIFTED = [(n + 4 * (n % 4)) % 16 for n in range(16)]
UNSHIFTED = [SHIFTED.index(n) for n in range(16)]


def _encrypt(state: Value) -> Value:
    """ShiftRows and SubBytes."""
    return substituted(shuffle(8, SHIFTED, state), _substitutes())


def _decrypt(state: Value) -> Value:
    """InvShiftRows and InvSubBytes."""
    return substituted(shuffle(8, UNSHIFTED, state), _originals())


def _doubled(a: Value) -> Value:
    """Each byte times x in the field."""
    carried = lanes("slt", 8, a, 0)
    return lanes("shl", 8, a, 1) ^ lanes("and", 8, carried, POLYNOMIAL & 0xFF)


def _turned(a: Value, by: int) -> Value:
    """The rows of each column, each in the place of the one ``by`` above it."""
    return shuffle(8, [n - n % 4 + (n + by) % 4 for n in range(16)], a)


def _mix(a: Value) -> Value:
    """MixColumns (5.1.3): 2, 3, 1 and 1 times the rows from each one on."""
    return _doubled(a ^ _turned(a, 1)) ^ _turned(a, 1) ^ _turned(a, 2) ^ _turned(a, 3)


def _unmix(a: Value) -> Value:
    """InvMixColumns (5.3.3): 14, 11, 13 and 9 are 2, 3, 1 and 1 times 5, 0, 4 and 0."""
    return _mix(a ^ _doubled(_doubled(a ^ _turned(a, 2))))


def _round(name: str, opcode: str, step: str, meaning: Callable[[Value], Value]) -> None:
    @a64.insn(f"0100111000 10100 {opcode} 10 Rn:5 Rd:5", f"{name} {{Rd:v}}.16b, {{Rn:v}}.16b")
    def with_key(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        cpu.v[Rd] = compound(step, meaning, cpu.v[Rd] ^ cpu.v[Rn])


def _columns(name: str, opcode: str, step: str, meaning: Callable[[Value], Value]) -> None:
    @a64.insn(f"0100111000 10100 {opcode} 10 Rn:5 Rd:5", f"{name} {{Rd:v}}.16b, {{Rn:v}}.16b")
    def mixed(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        cpu.v[Rd] = compound(step, meaning, cpu.v[Rn])


_round("aese", "00100", "aes_encrypt", _encrypt)
_round("aesd", "00101", "aes_decrypt", _decrypt)
_columns("aesmc", "00110", "aes_mix", _mix)
_columns("aesimc", "00111", "aes_unmix", _unmix)
