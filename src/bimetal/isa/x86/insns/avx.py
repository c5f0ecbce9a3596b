"""What only AVX and AVX2 have (volume 2, chapter 5): broadcasts, permutations across halves, masked
moves, shifts by lanes, gathers."""

from __future__ import annotations

from ....ir.value import Value, const, select
from ....ir.vector import choose, lanes, splat, table
from ...trace import Cpu, when
from ..operands import address_of, pinned_memory
from ..simd import (
    Form,
    describe,
    load_parts,
    no_vvvv,
    read_parts,
    read_source,
    store_parts,
    write_parts,
)
from .vector_shuffles import fields_of, places

SMALL, WIDE = Form(128, vex=True), Form(256, vex=True)
BOTH = ((SMALL, "dq"), (WIDE, "qq"))


# -- broadcasts


def _broadcast(name: str, opcode: str, lane: int, code: str, forms: str, extension: str) -> None:
    """A lane of memory, or with AVX2 of a register, in every lane."""
    for form, letters in BOTH:
        if letters not in forms.split():
            continue
        row = f"vex.{form.width}.66.0f38.w0 {opcode} /r"
        sources = [("mem", f"W{code}", extension)]
        if lane < 128:
            sources.append(("reg", "Udq", "avx2"))
        for where, source, since in sources:

            @describe(
                f"{row} {where}", f"{name} {{:V{letters}}}, {{:{source}}}", since, where=no_vvvv
            )
            def repeat(cpu: Cpu, form: Form = form, **fields: Value) -> None:
                form.ready(cpu)
                (value,) = (
                    load_parts(cpu, fields, lane)
                    if pinned_memory(fields)
                    else [cpu.xmm[fields["rm"]].trunc(lane)]
                )
                part = splat(value, 128 // lane) if lane < 128 else value
                write_parts(cpu, fields["reg"], [part] * form.parts, form)


_broadcast("vbroadcastss", "18", 32, "d", "dq qq", "avx")
_broadcast("vbroadcastsd", "19", 64, "q", "qq", "avx")
_broadcast("vbroadcastf128", "1a", 128, "dq", "qq", "avx")
_broadcast("vbroadcasti128", "5a", 128, "dq", "qq", "avx2")
for _suffix, _opcode, _lane in (("b", "78", 8), ("w", "79", 16), ("d", "58", 32), ("q", "59", 64)):
    _broadcast(f"vpbroadcast{_suffix}", _opcode, _lane, _suffix, "dq qq", "avx2")


# -- halves


def _insert_half(name: str, opcode: str, extension: str) -> None:
    @describe(
        f"vex.256.66.0f3a.w0 {opcode} /r ib",
        f"{name} {{:Vqq}}, {{:Hqq}}, {{:Wdq}}, {{:Ib}}", extension,
    )  # fmt: skip
    def into(cpu: Cpu, **fields: Value) -> None:
        WIDE.ready(cpu)
        (new,) = read_source(cpu, fields, WIDE, 128)
        low, high = read_parts(cpu, fields["vvvv"], WIDE)
        upper = fields["imm"][0] == 1
        parts = [select(upper, low, new), select(upper, new, high)]
        write_parts(cpu, fields["reg"], parts, WIDE)


def _extract_half(name: str, opcode: str, extension: str) -> None:
    @describe(
        f"vex.256.66.0f3a.w0 {opcode} /r ib", f"{name} {{:Wdq}}, {{:Vqq}}, {{:Ib}}", extension,
        where=no_vvvv,
    )  # fmt: skip
    def out_of(cpu: Cpu, **fields: Value) -> None:
        WIDE.ready(cpu)
        low, high = read_parts(cpu, fields["reg"], WIDE)
        half = select(fields["imm"][0] == 1, high, low)
        if pinned_memory(fields):
            store_parts(cpu, fields, [half])
        else:
            write_parts(cpu, fields["rm"], [half], SMALL)


def _permute_halves(name: str, opcode: str, extension: str) -> None:
    @describe(
        f"vex.256.66.0f3a.w0 {opcode} /r ib",
        f"{name} {{:Vqq}}, {{:Hqq}}, {{:Wqq}}, {{:Ib}}", extension,
    )  # fmt: skip
    def choose_two(cpu: Cpu, **fields: Value) -> None:
        WIDE.ready(cpu)
        b = read_source(cpu, fields, WIDE)
        halves = [*read_parts(cpu, fields["vvvv"], WIDE), *b]
        imm, parts = fields["imm"], []
        for n in (0, 4):
            low, high = (select(imm[n] == 1, odd, even) for even, odd in (halves[:2], halves[2:]))
            found = select(imm[n + 1] == 1, high, low)
            parts.append(select(imm[n + 3] == 1, const(0, 128), found))
        write_parts(cpu, fields["reg"], parts, WIDE)


for _letter, _opcodes, _since in (
    ("f", ("18", "19", "06"), "avx"),
    ("i", ("38", "39", "46"), "avx2"),
):
    _insert_half(f"vinsert{_letter}128", _opcodes[0], _since)
    _extract_half(f"vextract{_letter}128", _opcodes[1], _since)
    _permute_halves(f"vperm2{_letter}128", _opcodes[2], _since)


# -- permutations of lanes


def _in_halves(name: str, opcode: str, lane: int) -> None:
    """VPERMILPS and VPERMILPD: inside of halves, by a vector or an immediate."""
    mask = 128 // lane - 1
    for form, letters in BOTH:

        @describe(
            f"vex.{form.width}.66.0f38.w0 {opcode} /r",
            f"{name} {{:V{letters}}}, {{:H{letters}}}, {{:W{letters}}}", "avx",
        )  # fmt: skip
        def by_vector(cpu: Cpu, form: Form = form, **fields: Value) -> None:
            form.ready(cpu)
            chosen = read_source(cpu, fields, form)
            parts = []
            for part, by in zip(read_parts(cpu, fields["vvvv"], form), chosen, strict=True):
                # Of doubles bit 1 says which.
                numbers = lanes("lsr", lane, by, 1) if lane == 64 else by
                count = 128 // lane
                which = [numbers[lane * n + 1 : lane * n].trunc(2) & mask for n in range(count)]
                parts.append(table(places(lane, which), part))
            write_parts(cpu, fields["reg"], parts, form)

        @describe(
            f"vex.{form.width}.66.0f3a.w0 {int(opcode, 16) - 8:02x} /r ib",
            f"{name} {{:V{letters}}}, {{:W{letters}}}, {{:Ib}}", "avx", where=no_vvvv,
        )  # fmt: skip
        def by_immediate(cpu: Cpu, form: Form = form, **fields: Value) -> None:
            form.ready(cpu)
            parts = []
            for n, part in enumerate(read_source(cpu, fields, form)):
                imm = fields["imm"].lsr(2 * n) if lane == 64 else fields["imm"]
                width = 1 if lane == 64 else 2
                parts.append(table(places(lane, fields_of(imm, width, 128 // lane)), part))
            write_parts(cpu, fields["reg"], parts, form)


_in_halves("vpermilps", "0c", 32)
_in_halves("vpermilpd", "0d", 64)


def _across(name: str, opcode: str) -> None:
    """VPERMD and VPERMPS: any lanes of 32 bits."""

    @describe(f"vex.256.66.0f38.w0 {opcode} /r", f"{name} {{:Vqq}}, {{:Hqq}}, {{:Wqq}}", "avx2")
    def permute(cpu: Cpu, **fields: Value) -> None:
        WIDE.ready(cpu)
        source, parts = read_source(cpu, fields, WIDE), []
        for by in read_parts(cpu, fields["vvvv"], WIDE):
            which = [by[32 * n + 2 : 32 * n] for n in range(4)]
            parts.append(table(places(32, which), *source))
        write_parts(cpu, fields["reg"], parts, WIDE)


_across("vpermps", "16")
_across("vpermd", "36")


def _quadwords(name: str, opcode: str) -> None:
    @describe(
        f"vex.256.66.0f3a.w1 {opcode} /r ib", f"{name} {{:Vqq}}, {{:Wqq}}, {{:Ib}}", "avx2",
        where=no_vvvv,
    )  # fmt: skip
    def permute(cpu: Cpu, **fields: Value) -> None:
        WIDE.ready(cpu)
        source = read_source(cpu, fields, WIDE)
        numbers = fields_of(fields["imm"], 2, 4)
        parts = [table(places(64, numbers[n : n + 2]), *source) for n in (0, 2)]
        write_parts(cpu, fields["reg"], parts, WIDE)


_quadwords("vpermq", "00")
_quadwords("vpermpd", "01")


# -- AVX2: blends and shifts by lanes


def _blend_doublewords(form: Form, letters: str) -> None:
    @describe(
        f"vex.{form.width}.66.0f3a.w0 02 /r ib",
        f"vpblendd {{:V{letters}}}, {{:H{letters}}}, {{:W{letters}}}, {{:Ib}}", "avx2",
    )  # fmt: skip
    def vpblendd(cpu: Cpu, **fields: Value) -> None:
        form.ready(cpu)
        b = read_source(cpu, fields, form)
        parts = []
        for n, (x, y) in enumerate(zip(read_parts(cpu, fields["vvvv"], form), b, strict=True)):
            mask = const(0, 128)
            for k in range(4):
                mask = mask | fields["imm"][4 * n + k].sext(32).zext(128) << 32 * k
            parts.append(choose(mask, y, x))
        write_parts(cpu, fields["reg"], parts, form)


def _shift_each(name: str, opcode: str, operation: str, w: str, lane: int) -> None:
    for form, letters in BOTH:

        @describe(
            f"vex.{form.width}.66.0f38.{w} {opcode} /r",
            f"{name} {{:V{letters}}}, {{:H{letters}}}, {{:W{letters}}}", "avx2",
        )  # fmt: skip
        def shift(cpu: Cpu, form: Form = form, **fields: Value) -> None:
            form.ready(cpu)
            amounts, parts = read_source(cpu, fields, form), []
            for part, by in zip(read_parts(cpu, fields["vvvv"], form), amounts, strict=True):
                within = lanes("ult", lane, by, lane)
                held = lanes("and", lane, by, lane - 1)
                if operation == "asr":
                    held = choose(within, held, lanes("and", lane, ~within, lane - 1))
                moved = lanes(operation, lane, part, held)
                parts.append(moved if operation == "asr" else moved & within)
            write_parts(cpu, fields["reg"], parts, form)


for _each in BOTH:
    _blend_doublewords(*_each)
for _w, _suffix, _lane in (("w0", "d", 32), ("w1", "q", 64)):
    _shift_each("vpsrlv" + _suffix, "45", "lsr", _w, _lane)
    _shift_each("vpsllv" + _suffix, "47", "shl", _w, _lane)
_shift_each("vpsravd", "46", "asr", "w0", 32)


# -- masked moves


def _masked(name: str, opcode: str, w: str, lane: int, extension: str) -> None:
    for form, letters in BOTH:
        code = "M" + letters
        start = f"vex.{form.width}.66.0f38.{w}"

        @describe(
            f"{start} {opcode} /r mem",
            f"{name} {{:V{letters}}}, {{:H{letters}}}, {{:{code}}}", extension,
        )  # fmt: skip
        def load(cpu: Cpu, form: Form = form, **fields: Value) -> None:
            form.ready(cpu)
            address = address_of(cpu, fields, form.width // 8)
            masks = read_parts(cpu, fields["vvvv"], form)
            parts = []
            for n, mask in enumerate(masks):
                part = cpu.local(const(0, 128))
                for k in range(128 // lane):
                    with when(mask[lane * k + lane - 1] == 1):
                        one = cpu.load(address + (16 * n + lane // 8 * k), lane)
                        part.set(part.value | one.zext(128) << lane * k)
                parts.append(part.value)
            write_parts(cpu, fields["reg"], parts, form)

        @describe(
            f"{start} {int(opcode, 16) + 2:02x} /r mem",
            f"{name} {{:{code}}}, {{:H{letters}}}, {{:V{letters}}}", extension, restartable=True,
        )  # fmt: skip
        def store(cpu: Cpu, form: Form = form, **fields: Value) -> None:
            form.ready(cpu)
            address = address_of(cpu, fields, form.width // 8, writes=True)
            masks = read_parts(cpu, fields["vvvv"], form)
            for n, (mask, part) in enumerate(
                zip(masks, read_parts(cpu, fields["reg"], form), strict=True)
            ):
                for k in range(128 // lane):
                    with when(mask[lane * k + lane - 1] == 1):
                        one = part[lane * k + lane - 1 : lane * k]
                        cpu.store(address + (16 * n + lane // 8 * k), one)


_masked("vmaskmovps", "2c", "w0", 32, "avx")
_masked("vmaskmovpd", "2d", "w0", 64, "avx")
_masked("vpmaskmovd", "8c", "w0", 32, "avx2")
_masked("vpmaskmovq", "8c", "w1", 64, "avx2")
