"""SHA3 (FEAT_SHA3): logic of three operands and rotations, as Keccak needs them (FIPS 202)."""

from __future__ import annotations

from ....ir.value import Value
from ....ir.vector import lanes, splat
from ...trace import Cpu
from ..fp_access import need_fp
from ..state import a64


@a64.insn(
    "11001110 000 Rm:5 0 Ra:5 Rn:5 Rd:5", "eor3 {Rd:v}.16b, {Rn:v}.16b, {Rm:v}.16b, {Ra:v}.16b"
)
def eor3(cpu: Cpu, Rm: Value, Ra: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    cpu.v[Rd] = cpu.v[Rn] ^ cpu.v[Rm] ^ cpu.v[Ra]


@a64.insn(
    "11001110 001 Rm:5 0 Ra:5 Rn:5 Rd:5", "bcax {Rd:v}.16b, {Rn:v}.16b, {Rm:v}.16b, {Ra:v}.16b"
)
def bcax(cpu: Cpu, Rm: Value, Ra: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    cpu.v[Rd] = cpu.v[Rn] ^ (cpu.v[Rm] & ~cpu.v[Ra])


@a64.insn("11001110 011 Rm:5 1 0 00 11 Rn:5 Rd:5", "rax1 {Rd:v}.2d, {Rn:v}.2d, {Rm:v}.2d")
def rax1(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    cpu.v[Rd] = cpu.v[Rn] ^ lanes("rotl", 64, cpu.v[Rm], 1)


@a64.insn("11001110 100 Rm:5 imm6:6 Rn:5 Rd:5", "xar {Rd:v}.2d, {Rn:v}.2d, {Rm:v}.2d, {imm6:i}")
def xar(cpu: Cpu, Rm: Value, imm6: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    amounts = splat(imm6.zext(64), 2)
    cpu.v[Rd] = lanes("rotr", 64, cpu.v[Rn] ^ cpu.v[Rm], amounts)
