"""AVX2's gathers: lanes of memory at the addresses that a vector of indices gives."""

from __future__ import annotations

from ....ir.value import Value, const
from ...trace import Cpu, when
from ..fields import NONE
from ..operands import linear, truncated
from ..simd import Form, describe, read_parts, write_parts
from ..traps import undefined_opcode


def _has_index(index: Value | int, **_: Value | int) -> Value | bool:
    """Without a SIB byte, which names the vector of indices, the instruction is undefined."""
    return index != NONE


def _lane(parts: list[Value], lane: int, n: int) -> Value:
    count = 128 // lane
    part = parts[n // count]
    at = lane * (n % count)
    return part[at + lane - 1 : at]


def _gather(name: str, opcode: str, w: str, lane: int, index: int, width: int) -> None:
    count = width // max(lane, index)
    data, indices = Form(max(128, count * lane), vex=True), Form(max(128, count * index), vex=True)
    register = "qq" if data.width == 256 else "dq"
    kind = f"X{'y' if indices.width == 256 else 'x'}{'d' if lane == 32 else 'q'}"

    @describe(
        f"vex.{width}.66.0f38.{w} {opcode} /r mem",
        f"{name} {{:V{register}}}, {{:{kind}}}, {{:H{register}}}", "avx2",
        where=_has_index,
    )  # fmt: skip
    def gather(cpu: Cpu, **fields: Value) -> None:
        """Lanes whose mask is negative; the mask becomes zero."""
        data.ready(cpu)
        to, mask, by = fields["reg"], fields["vvvv"], fields["index"].trunc(4)
        with when((to == mask) | (to == by) | (mask == by)):
            undefined_opcode(cpu)
        numbers, masks = read_parts(cpu, by, indices), read_parts(cpu, mask, data)
        old = read_parts(cpu, to, data)
        base = cpu.r[fields["base"]] + fields["disp"].sext(64)
        parts = [const(0, 128)] * data.parts
        for n in range(count):
            offset = base + (_lane(numbers, index, n).sext(64) << fields["scale"].zext(64))
            offset = truncated(offset, fields["asize"])
            address = linear(cpu, fields, fields["seg"], offset, lane // 8, False)
            cell = cpu.local(_lane(old, lane, n))
            with when(_lane(masks, lane, n)[lane - 1] == 1):
                cell.set(cpu.load(address, lane))
            at = n // (128 // lane)
            parts[at] = parts[at] | cell.value.zext(128) << lane * (n % (128 // lane))
        write_parts(cpu, to, parts, data)
        write_parts(cpu, mask, [const(0, 128)] * data.parts, data)


for _width in (128, 256):
    for _name, _opcode, _w, _lane_bits, _index_bits in (
        ("vpgatherdd", "90", "w0", 32, 32), ("vpgatherdq", "90", "w1", 64, 32),
        ("vpgatherqd", "91", "w0", 32, 64), ("vpgatherqq", "91", "w1", 64, 64),
        ("vgatherdps", "92", "w0", 32, 32), ("vgatherdpd", "92", "w1", 64, 32),
        ("vgatherqps", "93", "w0", 32, 64), ("vgatherqpd", "93", "w1", 64, 64),
    ):  # fmt: skip
        _gather(_name, _opcode, _w, _lane_bits, _index_bits, _width)
