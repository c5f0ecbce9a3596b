"""AES-NI and VAES, PCLMULQDQ and VPCLMULQDQ, GFNI."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir.compound import compound
from ....ir.value import Value, const, select
from ....ir.vector import lanes, splat
from ... import aes
from ...substitution import inverses, substituted
from ...trace import Cpu
from ..simd import (
    Encoding,
    Form,
    encode_all,
    in_parts,
    read_source,
    write_parts,
)
from .vector_shuffles import with_immediate

# -- AES


def _mixed(state: Value) -> Value:
    return aes.mix(aes.encrypt(state))


def _unmixed(state: Value) -> Value:
    return aes.unmix(aes.decrypt(state))


def _round(step: str, meaning: Callable[[Value], Value]) -> Callable[[Value, Value], Value]:
    return lambda state, key: compound(step, meaning, state) ^ key


for _name, _opcode, _step, _meaning in (
    ("aesenc", "dc", "aes_encrypt_mix", _mixed),
    ("aesenclast", "dd", "aes_encrypt", aes.encrypt),
    ("aesdec", "de", "aes_decrypt_mix", _unmixed),
    ("aesdeclast", "df", "aes_decrypt", aes.decrypt),
):
    _encoding = Encoding(_name, "66", f"0f38 {_opcode} /r")
    encode_all(_encoding, in_parts(_round(_step, _meaning)), sse="aes", avx="aes", avx2="vaes")

encode_all(
    Encoding("aesimc", "66", "0f38 db /r", third=False),
    in_parts(lambda a, b: compound("aes_unmix", aes.unmix, b)), sse="aes", avx="aes",
)  # fmt: skip


def _key_assist(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
    """Words 1 and 3 substituted; and the same, rotated, with a constant. In equal columns rows may
    be shifted as they like."""
    form.ready(cpu)
    (source,) = read_source(cpu, fields, form)
    constant, result = fields["imm"][7:0].zext(32), const(0, 128)
    for n in (1, 3):
        column = splat(source[32 * n + 31 : 32 * n], 4)
        word = compound("aes_encrypt", aes.encrypt, column).trunc(32)
        turned = (word.lsr(8) | word << 24) ^ constant
        pair = word.zext(128) | turned.zext(128) << 32
        result = result | pair << 32 * (n - 1)
    write_parts(cpu, fields["reg"], [result], form)


encode_all(
    Encoding("aeskeygenassist", "66", "0f3a df /r ib", "V@ W@ Ib", third=False), _key_assist,
    sse="aes", avx="aes",
)  # fmt: skip


# -- products of polynomials


def _product(a: Value, b: Value) -> Value:
    total, wide = const(0, 128), a.zext(128)
    for bit in range(64):
        total = total ^ (wide << bit & b[bit].sext(128))
    return total


def _half(value: Value, high: Value) -> Value:
    return select(high == 1, value[127:64], value.trunc(64))


encode_all(
    Encoding("pclmulqdq", "66", "0f3a 44 /r ib", "V@ W@ Ib"),
    with_immediate(
        lambda a, b, imm: compound("clmul", _product, _half(a, imm[0]), _half(b, imm[4]))
    ),
    sse="pclmulqdq", avx="pclmulqdq", avx2="vpclmulqdq",
)  # fmt: skip


# -- the field with 256 elements


def _field_product(a: Value, b: Value) -> Value:
    """GF2P8MULB: bytes multiplied modulo AES' polynomial."""
    total = const(0, a.width)
    for bit in range(8):
        chosen = lanes("ne", 8, lanes("and", 8, b, 1 << bit), 0)
        total = total ^ (a & chosen)
        carried = lanes("slt", 8, a, 0)
        a = lanes("shl", 8, a, 1) ^ lanes("and", 8, carried, aes.POLYNOMIAL & 0xFF)
    return total


def _transformed(x: Value, matrix: Value, imm: Value) -> Value:
    """Each byte times the matrix of its quadword, whose rows come from the last byte on; and a
    constant."""
    result = const(0, x.width)
    for bit in range(8):
        row = const(0, x.width)
        for quad in range(x.width // 64):
            at = 64 * quad + 8 * (7 - bit)
            row = row | splat(matrix[at + 7 : at], 8).zext(x.width) << 64 * quad
        odd = lanes("and", 8, lanes("popcount", 8, x & row), 1)
        result = result | lanes("shl", 8, odd, bit)
    return result ^ splat(imm[7:0], x.width // 8)


def _transformed_inverse(x: Value, matrix: Value, imm: Value) -> Value:
    inverted = compound("field_inverses", _inverted, x)
    return _transformed(inverted, matrix, imm)


def _inverted(x: Value) -> Value:
    return substituted(x, inverses(aes.POLYNOMIAL))


encode_all(
    Encoding("gf2p8mulb", "66", "0f38 cf /r", w="w0"), in_parts(_field_product),
    sse="gfni", avx="gfni", avx2="gfni",
)  # fmt: skip
for _name, _opcode, _operation in (
    ("gf2p8affineqb", "ce", _transformed),
    ("gf2p8affineinvqb", "cf", _transformed_inverse),
):
    encode_all(
        Encoding(_name, "66", f"0f3a {_opcode} /r ib", "V@ W@ Ib", w="w1"),
        with_immediate(_operation), sse="gfni", avx="gfni", avx2="gfni",
    )  # fmt: skip
