"""AES (FEAT_AES): single steps of its rounds."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.compound import compound
from ....ir.value import Value
from ...aes import decrypt, encrypt, mix, unmix
from ...trace import Cpu
from ..fp_access import need_fp
from ..state import a64


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


_round("aese", "00100", "aes_encrypt", encrypt)
_round("aesd", "00101", "aes_decrypt", decrypt)
_columns("aesmc", "00110", "aes_mix", mix)
_columns("aesimc", "00111", "aes_unmix", unmix)
