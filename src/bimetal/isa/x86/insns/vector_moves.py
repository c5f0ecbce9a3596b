"""Moves of vectors of MMX, SSE, SSE2, SSE3, SSE4.1 and AVX."""

from __future__ import annotations

from collections.abc import Mapping

from ....ir.compound import compound
from ....ir.value import Value, const
from ....ir.vector import shuffle
from ...trace import Cpu
from ..mmx_state import read_mmx, use_mmx, write_mmx
from ..operands import operand, pinned_memory
from ..simd import (
    Encoding,
    Form,
    Meaning,
    describe,
    encode_all,
    load_parts,
    merged,
    no_vvvv,
    read_parts,
    read_source,
    store_parts,
    write_parts,
)

LEGACY, VEX = Form(128, vex=False), Form(128, vex=True)


# -- whole vectors


def _load(aligned: bool) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        write_parts(cpu, fields["reg"], read_source(cpu, fields, form, aligned=aligned), form)

    return meaning


def _store(aligned: bool) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        parts = read_parts(cpu, fields["reg"], form)
        if pinned_memory(fields):
            store_parts(cpu, fields, parts, aligned)
        else:
            write_parts(cpu, fields["rm"], parts, form)

    return meaning


for _name, _prefix, _load_at, _store_at, _aligned, _since in (
    ("movups", "np", "10", "11", False, "sse"),
    ("movupd", "66", "10", "11", False, "sse2"),
    ("movaps", "np", "28", "29", True, "sse"),
    ("movapd", "66", "28", "29", True, "sse2"),
    ("movdqa", "66", "6f", "7f", True, "sse2"),
    ("movdqu", "f3", "6f", "7f", False, "sse2"),
    ("lddqu", "f2", "f0 mem", "", False, "sse3"),
    ("movntps", "np", "", "2b mem", True, "sse"),
    ("movntpd", "66", "", "2b mem", True, "sse2"),
    ("movntdq", "66", "", "e7 mem", True, "sse2"),
):
    for _opcode, _operands, _meaning in (
        (_load_at, "V@ W@", _load(_aligned)),
        (_store_at, "W@ V@", _store(_aligned)),
    ):
        if _opcode:
            encode_all(
                Encoding(_name, _prefix, f"0f {_opcode} /r", _operands, third=False),
                _meaning, sse=_since, avx="avx", avx2="avx", restartable=True,
            )  # fmt: skip

encode_all(
    Encoding("movntdqa", "66", "0f38 2a /r mem", third=False),
    _load(True), sse="sse4_1", avx="avx", avx2="avx2",
)  # fmt: skip


# -- scalars


def _scalar(name: str, prefix: str, width: int, since: str) -> None:
    letter = {32: "d", 64: "q"}[width]

    @describe(f"{prefix} 0f 10 /r mem", f"{name} {{:Vdq}}, {{:W{letter}}}", since)
    def load(cpu: Cpu, **fields: Value) -> None:
        LEGACY.ready(cpu)
        write_parts(cpu, fields["reg"], load_parts(cpu, fields, width), LEGACY)

    @describe(f"{prefix} 0f 10 /r reg", f"{name} {{:Vdq}}, {{:Udq}}", since)
    def move(cpu: Cpu, reg: Value, rm: Value, **_: Value) -> None:
        LEGACY.ready(cpu)
        cpu.xmm[reg] = merged(cpu.xmm[reg], cpu.xmm[rm].trunc(width))

    @describe(f"{prefix} 0f 11 /r mem", f"{name} {{:W{letter}}}, {{:Vdq}}", since)
    def store(cpu: Cpu, **fields: Value) -> None:
        LEGACY.ready(cpu)
        store_parts(cpu, fields, [cpu.xmm[fields["reg"]].trunc(width)])

    @describe(f"{prefix} 0f 11 /r reg", f"{name} {{:Udq}}, {{:Vdq}}", since)
    def move_back(cpu: Cpu, reg: Value, rm: Value, **_: Value) -> None:
        LEGACY.ready(cpu)
        cpu.xmm[rm] = merged(cpu.xmm[rm], cpu.xmm[reg].trunc(width))

    vex = f"vex.lig.{prefix}.0f.wig"

    @describe(f"{vex} 10 /r mem", f"v{name} {{:Vdq}}, {{:W{letter}}}", "avx", where=no_vvvv)
    def load_vex(cpu: Cpu, **fields: Value) -> None:
        VEX.ready(cpu)
        write_parts(cpu, fields["reg"], load_parts(cpu, fields, width), VEX)

    @describe(f"{vex} 10 /r reg", f"v{name} {{:Vdq}}, {{:Hdq}}, {{:Udq}}", "avx")
    def move_vex(cpu: Cpu, reg: Value, vvvv: Value, rm: Value, **_: Value) -> None:
        VEX.ready(cpu)
        write_parts(cpu, reg, [merged(cpu.xmm[vvvv], cpu.xmm[rm].trunc(width))], VEX)

    @describe(f"{vex} 11 /r mem", f"v{name} {{:W{letter}}}, {{:Vdq}}", "avx", where=no_vvvv)
    def store_vex(cpu: Cpu, **fields: Value) -> None:
        VEX.ready(cpu)
        store_parts(cpu, fields, [cpu.xmm[fields["reg"]].trunc(width)])

    @describe(f"{vex} 11 /r reg", f"v{name} {{:Udq}}, {{:Hdq}}, {{:Vdq}}", "avx")
    def move_back_vex(cpu: Cpu, reg: Value, vvvv: Value, rm: Value, **_: Value) -> None:
        VEX.ready(cpu)
        write_parts(cpu, rm, [merged(cpu.xmm[vvvv], cpu.xmm[reg].trunc(width))], VEX)


_scalar("movss", "f3", 32, "sse")
_scalar("movsd", "f2", 64, "sse2")


# -- single lanes of general registers and memory, the rest cleared


def _in(row: str, name: str, width: int, form: Form, extension: str, code: str) -> None:
    where = no_vvvv if form.vex else None
    target = "Pq" if form.width == 64 else "Vdq"

    @describe(row, f"{name} {{:{target}}}, {{:{code}}}", extension, where=where)
    def into(cpu: Cpu, **fields: Value) -> None:
        form.ready(cpu)
        source = operand(cpu, code, fields)
        value = source.read()
        write_parts(cpu, fields["reg"], [value.zext(form.part)], form)


def _out(row: str, name: str, width: int, form: Form, extension: str, code: str) -> None:
    where = no_vvvv if form.vex else None
    source = "Pq" if form.width == 64 else "Vdq"

    @describe(row, f"{name} {{:{code}}}, {{:{source}}}", extension, where=where)
    def out_of(cpu: Cpu, **fields: Value) -> None:
        form.ready(cpu)
        (value,) = read_parts(cpu, fields["reg"], form)
        operand(cpu, code, fields, writes=True).write(value.trunc(width))
        if form.width == 64:
            use_mmx(cpu)


MMX = Form(64, vex=False)
for _form, _start, _v, _extension in (
    (LEGACY, "66 0f", "", "sse2"),
    (VEX, "vex.128.66.0f", "v", "avx"),
    (MMX, "np 0f", "", "mmx"),
):
    for _name, _width, _w, _code in (("movd", 32, "w0", "Ed"), ("movq", 64, "w1 o64", "Eq")):
        if _form.vex:
            _begin = f"{_start}.{_w[:2]} {{}} /r{_w[2:]}"
        else:
            _begin = f"{_start} {{}} /r {_w}"
        _in(_begin.format("6e"), _v + _name, _width, _form, _extension, _code)
        _out(_begin.format("7e"), _v + _name, _width, _form, _extension, _code)


# -- quadwords


def _quadwords(row: str, name: str, form: Form, extension: str, loads: bool) -> None:
    text = f"{name} {{:Vdq}}, {{:Wq}}" if loads else f"{name} {{:Wq}}, {{:Vdq}}"

    @describe(row, text, extension, where=no_vvvv if form.vex else None)
    def move(cpu: Cpu, **fields: Value) -> None:
        form.ready(cpu)
        if loads:
            write_parts(cpu, fields["reg"], read_source(cpu, fields, form, 64), form)
            return
        low = cpu.xmm[fields["reg"]].trunc(64)
        if pinned_memory(fields):
            store_parts(cpu, fields, [low])
        else:
            write_parts(cpu, fields["rm"], [low], form)


for _form, _v, _extension in ((LEGACY, "", "sse2"), (VEX, "v", "avx")):
    _f3, _66 = ("vex.128.f3.0f", "vex.128.66.0f") if _v else ("f3 0f", "66 0f")
    _quadwords(f"{_f3} 7e /r", f"{_v}movq", _form, _extension, True)
    _quadwords(f"{_66} d6 /r", f"{_v}movq", _form, _extension, False)


@describe("np 0f 6f /r", "movq {:Pq}, {:Qq}", "mmx")
def movq_in(cpu: Cpu, **fields: Value) -> None:
    MMX.ready(cpu)
    write_parts(cpu, fields["reg"], read_source(cpu, fields, MMX), MMX)


def _mmx_out(row: str, name: str, extension: str) -> None:
    @describe(row, f"{name} {{:Qq}}, {{:Pq}}", extension)
    def movq_out(cpu: Cpu, **fields: Value) -> None:
        MMX.ready(cpu)
        value = read_mmx(cpu, fields["reg"])
        if pinned_memory(fields):
            store_parts(cpu, fields, [value])
        else:
            write_mmx(cpu, fields["rm"], value)
        use_mmx(cpu)


_mmx_out("np 0f 7f /r", "movq", "mmx")
_mmx_out("np 0f e7 /r mem", "movntq", "sse")


@describe("f2 0f d6 /r reg", "movdq2q {:Pq}, {:Udq}", "sse2")
def movdq2q(cpu: Cpu, reg: Value, rm: Value, **_: Value) -> None:
    MMX.ready(cpu)
    write_parts(cpu, reg, [cpu.xmm[rm].trunc(64)], MMX)


@describe("f3 0f d6 /r reg", "movq2dq {:Vdq}, {:Nq}", "sse2")
def movq2dq(cpu: Cpu, reg: Value, rm: Value, **_: Value) -> None:
    MMX.ready(cpu)
    write_parts(cpu, reg, [read_mmx(cpu, rm)], LEGACY)
    use_mmx(cpu)


# -- halves


def _half(name: str, prefix: str, opcode: str, high: bool, since: str) -> None:
    """Load one half, and keep the other one; the opcode that follows stores it."""

    def joined(whole: Value, half: Value) -> Value:
        if high:
            return whole.trunc(64).zext(128) | half.zext(128) << 64
        return merged(whole, half)

    @describe(f"{prefix} 0f {opcode} /r mem", f"{name} {{:Vdq}}, {{:Mq}}", since)
    def load(cpu: Cpu, **fields: Value) -> None:
        LEGACY.ready(cpu)
        (half,) = load_parts(cpu, fields, 64)
        cpu.xmm[fields["reg"]] = joined(cpu.xmm[fields["reg"]], half)

    vex = "vex.128.0f" if prefix == "np" else f"vex.128.{prefix}.0f"

    @describe(f"{vex} {opcode} /r mem", f"v{name} {{:Vdq}}, {{:Hdq}}, {{:Mq}}", "avx")
    def load_vex(cpu: Cpu, **fields: Value) -> None:
        VEX.ready(cpu)
        (half,) = load_parts(cpu, fields, 64)
        write_parts(cpu, fields["reg"], [joined(cpu.xmm[fields["vvvv"]], half)], VEX)

    following = f"{int(opcode, 16) + 1:02x}"
    for start, form, v, extension in ((f"{prefix} 0f", LEGACY, "", since), (vex, VEX, "v", "avx")):

        @describe(
            f"{start} {following} /r mem", f"{v}{name} {{:Mq}}, {{:Vdq}}", extension,
            where=no_vvvv if v else None,
        )  # fmt: skip
        def store(cpu: Cpu, form: Form = form, **fields: Value) -> None:
            form.ready(cpu)
            whole = cpu.xmm[fields["reg"]]
            store_parts(cpu, fields, [whole[127:64] if high else whole.trunc(64)])


_half("movlps", "np", "12", False, "sse")
_half("movlpd", "66", "12", False, "sse2")
_half("movhps", "np", "16", True, "sse")
_half("movhpd", "66", "16", True, "sse2")


def _across(name: str, opcode: str, up: bool) -> None:
    """MOVHLPS and MOVLHPS."""

    def joined(first: Value, second: Value) -> Value:
        if up:
            return first.trunc(64).zext(128) | second.trunc(64).zext(128) << 64
        return merged(first, second[127:64])

    @describe(f"np 0f {opcode} /r reg", f"{name} {{:Vdq}}, {{:Udq}}", "sse")
    def move(cpu: Cpu, reg: Value, rm: Value, **_: Value) -> None:
        LEGACY.ready(cpu)
        cpu.xmm[reg] = joined(cpu.xmm[reg], cpu.xmm[rm])

    @describe(f"vex.128.0f {opcode} /r reg", f"v{name} {{:Vdq}}, {{:Hdq}}, {{:Udq}}", "avx")
    def move_vex(cpu: Cpu, reg: Value, vvvv: Value, rm: Value, **_: Value) -> None:
        VEX.ready(cpu)
        write_parts(cpu, reg, [joined(cpu.xmm[vvvv], cpu.xmm[rm])], VEX)


_across("movhlps", "12", up=False)
_across("movlhps", "16", up=True)


# -- repeated lanes, and signs


def _repeated(lane: int, indices: tuple[int, ...]) -> Meaning:
    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        parts = [shuffle(lane, indices, part) for part in read_source(cpu, fields, form)]
        write_parts(cpu, fields["reg"], parts, form)

    return meaning


for _name, _opcode, _indices in (
    ("movsldup", "12", (0, 0, 2, 2)),
    ("movshdup", "16", (1, 1, 3, 3)),
):
    encode_all(
        Encoding(_name, "f3", f"0f {_opcode} /r", third=False),
        _repeated(32, _indices), sse="sse3", avx="avx", avx2="avx",
    )  # fmt: skip


def _twice(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
    """MOVDDUP of 128 bits, which reads 64."""
    form.ready(cpu)
    (low,) = read_source(cpu, fields, form, 64)
    write_parts(cpu, fields["reg"], [low.zext(128) | low.zext(128) << 64], form)


encode_all(
    Encoding("movddup", "f2", "0f 12 /r", "V@ Wq", third=False), _twice, sse="sse3", avx="avx"
)
encode_all(Encoding("movddup", "f2", "0f 12 /r", third=False), _repeated(64, (0, 0)), avx2="avx")


def _signs(lane: int) -> Meaning:
    """The sign of each lane, a bit each."""

    def whole(part: Value) -> Value:
        return signs_of(part, lane)

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        total, at = const(0, 64), 0
        for part in read_parts(cpu, fields["rm"], form):
            signs = compound(f"signs_{lane}", whole, part) if part.width == 128 else whole(part)
            total, at = total | signs.zext(64) << at, at + part.width // lane
        cpu.r[fields["reg"]] = total
        if form.width == 64:
            use_mmx(cpu)

    return meaning


def signs_of(part: Value, lane: int) -> Value:
    """The signs of lanes, a bit each."""
    count = part.width // lane
    total = const(0, count)
    for n in range(count):
        total = total | part[lane * n + lane - 1].zext(count) << n
    return total


for _name, _prefix, _opcode, _lane, _mmx, _sse, _avx2 in (
    ("movmskps", "np", "50", 32, "", "sse", "avx"),
    ("movmskpd", "66", "50", 64, "", "sse2", "avx"),
    ("pmovmskb", "66", "d7", 8, "", "sse2", "avx2"),
):
    encode_all(
        Encoding(_name, _prefix, f"0f {_opcode} /r reg", "Gy U@", third=False),
        _signs(_lane), sse=_sse, avx="avx", avx2=_avx2,
    )  # fmt: skip
encode_all(Encoding("pmovmskb", "66", "0f d7 /r reg", "Gy Nq"), _signs(8), mmx="sse")
