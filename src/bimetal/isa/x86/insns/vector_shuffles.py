"""Shuffles by an immediate, single lanes in and out, and blends, of SSE, SSE2, SSSE3, SSE4.1, AVX
and AVX2.

An immediate is a number that is known when an instruction is decoded, but there are 256: what they
choose is looked up, and where the number is constant LLVM makes a shuffle of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir.value import Value, const, select
from ....ir.vector import choose, element, insert, join, lanes, table
from ...trace import Cpu
from ..mmx_state import use_mmx
from ..numbers import LEGACY, VEX
from ..operands import Memory, Register, pinned_memory
from ..packed import iota
from ..simd import (
    Encoding,
    Form,
    Meaning,
    describe,
    encode_all,
    in_parts,
    load_parts,
    no_vvvv,
    read_parts,
    read_source,
    store_parts,
    write_parts,
)

MMX = Form(64, vex=False)


def places(lane: int, numbers: list[Value]) -> Value:
    """Numbers of bytes, from numbers of lanes."""
    size, result = lane // 8, const(0, 128)
    for n, number in enumerate(numbers):
        inside = const(join(range(size), 8), lane)
        ones = const(join([size] * size, 8), lane)
        result = result | (inside + number.zext(lane) * ones).zext(128) << lane * n
    return result


def fields_of(imm: Value, width: int, count: int) -> list[Value]:
    """Successive fields of an immediate."""
    return [imm[width * n + width - 1 : width * n] for n in range(count)]


# -- lanes of one operand


def _one_operand(indices: Callable[[Value], Value]) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        source, by = read_source(cpu, fields, form), indices(fields["imm"])
        parts = [table(by, part.zext(128)).trunc(form.part) for part in source]
        write_parts(cpu, fields["reg"], parts, form)

    return meaning


def _doublewords(imm: Value) -> Value:
    return places(32, fields_of(imm, 2, 4))


def _words(imm: Value, high: bool) -> Value:
    chosen = [number.zext(4) | (4 if high else 0) for number in fields_of(imm, 2, 4)]
    others = [const(n, 4) for n in (range(4) if high else range(4, 8))]
    return places(16, [*others, *chosen] if high else [*chosen, *others])


for _name, _prefix, _indices in (
    ("pshufd", "66", _doublewords),
    ("pshufhw", "f3", lambda imm: _words(imm, True)),
    ("pshuflw", "f2", lambda imm: _words(imm, False)),
):
    encode_all(
        Encoding(_name, _prefix, "0f 70 /r ib", "V@ W@ Ib", third=False),
        _one_operand(_indices), sse="sse2", avx="avx", avx2="avx2",
    )  # fmt: skip
encode_all(
    Encoding("pshufw", "np", "0f 70 /r ib", "V@ W@ Ib"),
    _one_operand(lambda imm: _words(imm, False)), mmx="sse",
)  # fmt: skip


# -- lanes of two operands


def with_immediate(operation: Callable[[Value, Value, Value], Value]) -> Meaning:
    """The meaning of an operation of two operands and an immediate on each part."""

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        in_parts(lambda a, b: operation(a, b, fields["imm"]))(cpu, form, fields)

    return meaning


def _singles(a: Value, b: Value, imm: Value) -> Value:
    """SHUFPS: two lanes of each operand."""
    numbers = fields_of(imm, 2, 4)
    by = [number.zext(4) | (4 if n > 1 else 0) for n, number in enumerate(numbers)]
    return table(places(32, by), a, b)


encode_all(
    Encoding("shufps", "np", "0f c6 /r ib", "V@ W@ Ib"), with_immediate(_singles),
    sse="sse", avx="avx", avx2="avx",
)  # fmt: skip


def in_turn(operation: Callable[[Value, Value, Value], Value], bits: int) -> Meaning:
    """The same where each part has ``bits`` bits of the immediate of its own."""

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        b = read_source(cpu, fields, form)
        a = read_parts(cpu, form.first(fields), form)
        parts = [
            operation(x, y, fields["imm"].lsr(bits * n))
            for n, (x, y) in enumerate(zip(a, b, strict=True))
        ]
        write_parts(cpu, fields["reg"], parts, form)

    return meaning


def _doubles(a: Value, b: Value, imm: Value) -> Value:
    """SHUFPD."""
    return table(places(64, [imm[0].zext(3), imm[1].zext(3) | 2]), a, b)


encode_all(
    Encoding("shufpd", "66", "0f c6 /r ib", "V@ W@ Ib"), in_turn(_doubles, 2),
    sse="sse2", avx="avx", avx2="avx",
)  # fmt: skip


def _aligned(a: Value, b: Value, imm: Value) -> Value:
    """PALIGNR: the operands one above the other, moved down by bytes."""
    size = a.width // 8
    if size == 16:
        return table(iota(imm, most=32), b, a)
    both = b.zext(128) | a.zext(128) << 64
    return table(iota(imm), both).trunc(64)


encode_all(
    Encoding("palignr", "66", "0f3a 0f /r ib", "V@ W@ Ib"), with_immediate(_aligned),
    mmx="ssse3", sse="ssse3", avx="avx", avx2="avx2",
)  # fmt: skip


def blended(lane: int) -> Callable[[Value, Value, Value], Value]:
    """Lanes of the second operand where the immediate has ones."""

    def operation(a: Value, b: Value, imm: Value) -> Value:
        mask = const(0, a.width)
        for n in range(a.width // lane):
            mask = mask | imm[n].sext(lane).zext(a.width) << lane * n
        return choose(mask, b, a)

    return operation


for _name, _opcode, _meaning, _avx2 in (
    ("blendps", "0c", in_turn(blended(32), 4), "avx"),
    ("blendpd", "0d", in_turn(blended(64), 2), "avx"),
    ("pblendw", "0e", with_immediate(blended(16)), "avx2"),
):
    encode_all(
        Encoding(_name, "66", f"0f3a {_opcode} /r ib", "V@ W@ Ib"), _meaning,
        sse="sse4_1", avx="avx", avx2=_avx2,
    )  # fmt: skip


def _by_signs(lane: int, a: Value, b: Value, mask: Value) -> Value:
    """Lanes of the second operand where a mask is negative."""
    return choose(lanes("slt", lane, mask, 0), b, a)


def _variable_blend(name: str, opcode: str, vex_opcode: str, lane: int, avx2: str) -> None:
    @describe(f"66 0f38 {opcode} /r", f"{name} {{:Vdq}}, {{:Wdq}}, xmm0", "sse4_1")
    def implicit(cpu: Cpu, **fields: Value) -> None:
        """The mask is XMM0."""
        LEGACY.ready(cpu)
        (b,) = read_source(cpu, fields, LEGACY)
        reg = fields["reg"]
        cpu.xmm[reg] = _by_signs(lane, cpu.xmm[reg], b, cpu.xmm[0])

    for form, letters, extension in ((VEX, "dq", "avx"), (Form(256, vex=True), "qq", avx2)):
        codes = ", ".join(f"{{:{code}{letters}}}" for code in "VHWL")

        @describe(f"vex.{form.width}.66.0f3a.w0 {vex_opcode} /r ib", f"v{name} {codes}", extension)
        def named(cpu: Cpu, form: Form = form, **fields: Value) -> None:
            """The mask's register is named by the immediate."""
            form.ready(cpu)
            b = read_source(cpu, fields, form)
            a = read_parts(cpu, fields["vvvv"], form)
            mask = read_parts(cpu, mask_register(fields), form)
            parts = [_by_signs(lane, *each) for each in zip(a, b, mask, strict=True)]
            write_parts(cpu, fields["reg"], parts, form)


def mask_register(fields: Mapping[str, Value]) -> Value:
    """The register in the upper bits of the immediate; there are eight outside 64-bit mode."""
    return fields["imm"][7:4] & select(fields["long"] == 1, const(15, 4), 7)


_variable_blend("pblendvb", "10", "4c", 8, "avx2")
_variable_blend("blendvps", "14", "4a", 32, "avx")
_variable_blend("blendvpd", "15", "4b", 64, "avx")


# -- single lanes


def _insert_lane(name: str, row: str, lane: int, code: str, form: Form, extension: str) -> None:
    """A lane from a general register or memory, by the immediate."""
    target = "Pq" if form.width == 64 else "Vdq"
    third = "{:Hdq}, " if form.vex else ""

    @describe(f"{row} ib", f"{name} {{:{target}}}, {third}{{:{code}}}, {{:Ib}}", extension)
    def into(cpu: Cpu, **fields: Value) -> None:
        form.ready(cpu)
        if pinned_memory(fields):
            value = Memory(cpu, fields, lane).read()
        else:
            value = Register(cpu, fields["rm"], max(lane, 16)).read().trunc(lane)
        (whole,) = read_parts(cpu, form.first(fields), form)
        count = form.part // lane
        number = (fields["imm"] & (count - 1)).trunc(8).zext(32)
        write_parts(cpu, fields["reg"], [insert(whole, lane, number, value)], form)


def _extract_lane(name: str, row: str, lane: int, code: str, form: Form, extension: str) -> None:
    """A lane to a general register, zero-extended, or memory."""
    source = "Pq" if form.width == 64 else "Vdq"

    @describe(
        f"{row} ib", f"{name} {{:{code}}}, {{:{source}}}, {{:Ib}}", extension,
        where=no_vvvv if form.vex else None,
    )  # fmt: skip
    def out_of(cpu: Cpu, **fields: Value) -> None:
        form.ready(cpu)
        value = _lane_of(cpu.xmm[fields["reg"]], lane, fields["imm"])
        if pinned_memory(fields):
            store_parts(cpu, fields, [value])
        else:
            cpu.r[fields["rm"]] = value.zext(64)


def _lane_of(whole: Value, lane: int, imm: Value) -> Value:
    count = whole.width // lane
    return element(whole, lane, (imm & (count - 1)).trunc(8).zext(32))


def _row(vex: bool, place: str, opcode: str, w: str = "") -> str:
    """The row of one of them; what has a width of its own is of 64-bit mode alone if that is 64."""
    wide = " o64" if w == "w1" else ""
    if vex:
        return f"vex.128.66.{place}.{w or 'wig'} {opcode} /r{wide}"
    return f"66 {place} {opcode} /r {w}{wide}"


def _lane_forms(form: Form) -> None:
    vex, v = form.vex, "v" if form.vex else ""
    words, others = ("avx", "avx") if vex else ("sse2", "sse4_1")
    _insert_lane(v + "pinsrw", _row(vex, "0f", "c4"), 16, "Edw", form, words)
    _insert_lane(v + "pinsrb", _row(vex, "0f3a", "20"), 8, "Edb", form, others)
    _extract_lane(v + "pextrb", _row(vex, "0f3a", "14"), 8, "Edb", form, others)
    _extract_lane(v + "pextrw", _row(vex, "0f3a", "15"), 16, "Edw", form, others)
    _extract_lane(v + "extractps", _row(vex, "0f3a", "17"), 32, "Ed", form, others)
    for suffix, lane, w, code in (("d", 32, "w0", "Ed"), ("q", 64, "w1", "Eq")):
        _insert_lane(f"{v}pinsr{suffix}", _row(vex, "0f3a", "22", w), lane, code, form, others)
        _extract_lane(f"{v}pextr{suffix}", _row(vex, "0f3a", "16", w), lane, code, form, others)


_lane_forms(LEGACY)
_lane_forms(VEX)
_insert_lane("pinsrw", "np 0f c4 /r", 16, "Edw", MMX, "sse")


def _word_out(row: str, text: str, extension: str, form: Form) -> None:
    @describe(row, text, extension, where=no_vvvv if form.vex else None)
    def pextrw(cpu: Cpu, **fields: Value) -> None:
        form.ready(cpu)
        (whole,) = read_parts(cpu, fields["rm"], form)
        cpu.r[fields["reg"]] = _lane_of(whole, 16, fields["imm"]).zext(64)
        if form.width == 64:
            use_mmx(cpu)


_word_out("66 0f c5 /r ib reg", "pextrw {:Gy}, {:Udq}, {:Ib}", "sse2", LEGACY)
_word_out("vex.128.66.0f c5 /r ib reg", "vpextrw {:Gd}, {:Udq}, {:Ib}", "avx", VEX)
_word_out("np 0f c5 /r ib reg", "pextrw {:Gy}, {:Nq}, {:Ib}", "sse", MMX)


def _insertps(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
    """A lane of the source, and zeros where the immediate says so."""
    form.ready(cpu)
    imm = fields["imm"]
    if pinned_memory(fields):
        (value,) = load_parts(cpu, fields, 32)
    else:
        value = element(cpu.xmm[fields["rm"]], 32, imm[7:6].zext(32))
    whole = insert(cpu.xmm[form.first(fields)], 32, imm[5:4].zext(32), value)
    kept = const(0, 128)
    for n in range(4):
        kept = kept | (~imm[n]).sext(32).zext(128) << 32 * n
    write_parts(cpu, fields["reg"], [whole & kept], form)


encode_all(
    Encoding("insertps", "66", "0f3a 21 /r ib", "V@ Wd Ib"), _insertps, sse="sse4_1", avx="avx"
)
