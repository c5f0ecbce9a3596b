"""Single bits and their counts (volume 2): BT, BTS, BTR, BTC, BSF, BSR, TZCNT, LZCNT, POPCNT, and
BMI1, BMI2, ADX, MOVBE, CRC32.

TZCNT and LZCNT are BSF and BSR, with a prefix that means nothing, on processors without them.
BSF and BSR of 0 leave the destination, all 64 bits of it; like POPCNT they clear the flags that
they are not about, but for PF, which follows from the result.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.trace import Cpu

from ..describing import insn
from ..fields import DX
from ..flags import Flags, parity, set_flags
from ..locked import locked
from ..operands import (
    Fields,
    Memory,
    Register,
    effective,
    linear,
    operand,
    operand_width,
    pinned_memory,
    truncated,
)
from .arithmetic import is_locked, lockable

NO_FLAGS: Flags = {name: const(0, 1) for name in ("cf", "pf", "af", "zf", "sf", "of")}

UPDATES: dict[str, Callable[[Value, Value], Value]] = {
    "bts": lambda old, bit: old | bit,
    "btr": lambda old, bit: old & ~bit,
    "btc": lambda old, bit: old ^ bit,
}


def _place(cpu: Cpu, fields: Fields, number: Value, writes: bool) -> Value:
    """The address of the word with a bit whose number may be outside of the operand."""
    width = number.width
    shift = {16: 4, 32: 5, 64: 6}[width]
    away = number.sext(64).asr(shift) * (width // 8)
    offset = truncated(effective(cpu, fields) + away, fields["asize"])
    return linear(cpu, fields, fields["seg"], offset, width // 8, writes)


def _bit(name: str, row: str, by_register: bool) -> None:
    update = UPDATES.get(name)
    text = f"{name} {{:Ev}}, " + ("{:Gv}" if by_register else "{:Ib}")

    def meaning(cpu: Cpu, **fields: Value) -> None:
        """CF becomes the bit, all other flags stay."""
        width = operand_width(fields)
        if by_register:
            number = operand(cpu, "Gv", fields).read()
        else:
            number = fields["imm"].trunc(8).zext(width)
        place = number & (width - 1)
        bit = const(1, width) << place
        if not pinned_memory(fields):
            to = Register(cpu, fields["rm"], width)
            old = to.read()
            if update is not None:
                to.write(update(old, bit))
        else:
            inside = number if by_register else const(0, width)
            address = _place(cpu, fields, inside, update is not None)
            if update is None:
                old = cpu.load(address, width)
            elif is_locked(_ANYWHERE, fields):
                how = {"bts": "or", "btr": "and", "btc": "xor"}[name]
                old = locked(cpu, how, address, ~bit if name == "btr" else bit)
            else:
                old = cpu.load(address, width)
                cpu.store(address, update(old, bit))
        cpu.cf = old.lsr(place)[0]

    (lockable(row, text) if update is not None else insn(row, text))(meaning)


_ANYWHERE = object.__new__(Memory)

for _digit, _name in ((4, "bt"), (5, "bts"), (6, "btr"), (7, "btc")):
    _bit(_name, f"0f {0x83 + 8 * _digit:02x} /r", True)
    _bit(_name, f"0f ba /{_digit} ib", False)


def _count(
    row: str, name: str, meaning: Callable[[Value], tuple[Value, Flags]], extension: str
) -> None:
    @insn(row, f"{name} {{:Gv}}, {{:Ev}}", extension=extension)
    def count(cpu: Cpu, **fields: Value) -> None:
        to, source = operand(cpu, "Gv", fields), operand(cpu, "Ev", fields).read()
        result, flags = meaning(source)
        to.write(result)
        set_flags(cpu, {**NO_FLAGS, **flags})


def _zeros(operation: str) -> Callable[[Value], tuple[Value, Flags]]:
    def meaning(source: Value) -> tuple[Value, Flags]:
        result = pure(operation, source)
        return result, {"cf": source == 0, "zf": result == 0}

    return meaning


_count("f3 0f bc /r", "tzcnt", _zeros("ctz"), "bmi1")
_count("f3 0f bd /r", "lzcnt", _zeros("clz"), "abm")


@insn("f3 0f b8 /r", "popcnt {:Gv}, {:Ev}", extension="popcnt")
def popcnt(cpu: Cpu, **fields: Value) -> None:
    to, source = operand(cpu, "Gv", fields), operand(cpu, "Ev", fields).read()
    to.write(pure("popcount", source))
    set_flags(cpu, {**NO_FLAGS, "zf": source == 0})


def _scan(row: str, name: str, reverse: bool) -> None:
    @insn(row, f"{name} {{:Gv}}, {{:Ev}}")
    def scan(cpu: Cpu, **fields: Value) -> None:
        to, source = operand(cpu, "Gv", fields), operand(cpu, "Ev", fields).read()
        assert isinstance(to, Register)
        width = source.width
        at = pure("clz", source) ^ (width - 1) if reverse else pure("ctz", source)
        whole, none = to.whole, source == 0
        cpu.r[to.number] = select(none, whole, to.merged(whole, at))
        even = parity(select(none, 0, at))
        set_flags(cpu, {**NO_FLAGS, "zf": none, "pf": even})


_scan("0f bc /r", "bsf", False)
_scan("0f bd /r", "bsr", True)


# -- BMI1


@insn("vex.lz.0f38 f2 /r", "andn {:Gy}, {:By}, {:Ey}", extension="bmi1")
def andn(cpu: Cpu, **fields: Value) -> None:
    to = operand(cpu, "Gy", fields)
    result = ~operand(cpu, "By", fields).read() & operand(cpu, "Ey", fields).read()
    to.write(result)
    set_flags(cpu, {**NO_FLAGS, **_sign_and_zero(result)})


def _sign_and_zero(result: Value) -> Flags:
    return {"sf": result[result.width - 1], "zf": result == 0}


def _lowest(digit: int, name: str, operation: Callable[[Value], Value]) -> None:
    @insn(f"vex.lz.0f38 f3 /{digit}", f"{name} {{:By}}, {{:Ey}}", extension="bmi1")
    def lowest(cpu: Cpu, **fields: Value) -> None:
        to, source = operand(cpu, "By", fields), operand(cpu, "Ey", fields).read()
        result, none = operation(source), source == 0
        to.write(result)
        carry = ~none if name == "blsi" else none
        flags = {**NO_FLAGS, **_sign_and_zero(result), "cf": carry}
        if name == "blsmsk":
            flags["zf"] = const(0, 1)
        set_flags(cpu, flags)


_lowest(1, "blsr", lambda a: a & (a - 1))
_lowest(2, "blsmsk", lambda a: a ^ (a - 1))
_lowest(3, "blsi", lambda a: a & -a)


@insn("vex.lz.0f38 f7 /r", "bextr {:Gy}, {:Ey}, {:By}", extension="bmi1")
def bextr(cpu: Cpu, **fields: Value) -> None:
    """From bit 7:0 on as many bits as 15:8 say."""
    to, source = operand(cpu, "Gy", fields), operand(cpu, "Ey", fields).read()
    width = source.width
    control = operand(cpu, "By", fields).read()
    start, count = control[7:0].zext(width), control[15:8].zext(width)
    down = select(start.ult(width), source.lsr(start & (width - 1)), 0)
    result = select(count.ult(width), down & ~(const(-1, width) << (count & (width - 1))), down)
    to.write(result)
    set_flags(cpu, {**NO_FLAGS, "zf": result == 0})


# -- BMI2


@insn("vex.lz.0f38 f5 /r", "bzhi {:Gy}, {:Ey}, {:By}", extension="bmi2")
def bzhi(cpu: Cpu, **fields: Value) -> None:
    to, source = operand(cpu, "Gy", fields), operand(cpu, "Ey", fields).read()
    width = source.width
    count = operand(cpu, "By", fields).read()[7:0].zext(width)
    inside = count.ult(width)
    result = select(inside, source & ~(const(-1, width) << (count & (width - 1))), source)
    to.write(result)
    set_flags(cpu, {**NO_FLAGS, **_sign_and_zero(result), "cf": ~inside})


@insn("vex.lz.f2.0f38 f6 /r", "mulx {:Gy}, {:By}, {:Ey}", extension="bmi2")
def mulx(cpu: Cpu, **fields: Value) -> None:
    """The high half counts if both halves go to one register."""
    high, low = operand(cpu, "Gy", fields), operand(cpu, "By", fields)
    a, width = operand(cpu, "Ey", fields).read(), high.width
    b = cpu.r[DX].trunc(width)
    whole = a.zext(2 * width) * b.zext(2 * width)
    low.write(whole.trunc(width))
    high.write(whole[2 * width - 1 : width])


def _shift(pp: str, name: str, operation: Callable[[Value, Value], Value]) -> None:
    @insn(f"vex.lz.{pp}.0f38 f7 /r", f"{name} {{:Gy}}, {{:Ey}}, {{:By}}", extension="bmi2")
    def shift(cpu: Cpu, **fields: Value) -> None:
        to, source = operand(cpu, "Gy", fields), operand(cpu, "Ey", fields).read()
        count = operand(cpu, "By", fields).read() & (source.width - 1)
        to.write(operation(source, count))


_shift("66", "shlx", lambda a, n: a << n)
_shift("f2", "shrx", lambda a, n: a.lsr(n))
_shift("f3", "sarx", lambda a, n: a.asr(n))


@insn("vex.lz.f2.0f3a f0 /r ib", "rorx {:Gy}, {:Ey}, {:Ib}", extension="bmi2")
def rorx(cpu: Cpu, **fields: Value) -> None:
    to, source = operand(cpu, "Gy", fields), operand(cpu, "Ey", fields).read()
    count = fields["imm"].trunc(8).zext(source.width) & (source.width - 1)
    to.write(pure("rotr", source, count))


def _spread(pp: str, name: str, operation: Callable[[Value, Value], Value]) -> None:
    @insn(f"vex.lz.{pp}.0f38 f5 /r", f"{name} {{:Gy}}, {{:By}}, {{:Ey}}", extension="bmi2")
    def spread(cpu: Cpu, **fields: Value) -> None:
        to, source = operand(cpu, "Gy", fields), operand(cpu, "By", fields).read()
        to.write(operation(source, operand(cpu, "Ey", fields).read()))


def _moves(mask: Value) -> list[tuple[Value, Value]]:
    """How bits under a mask are gathered: by 1, 2, 4 ... places each, those of a mask.

    Source: Warren, Hacker's Delight, 7-4, "Compress, or Generalized Extract".
    """
    width, steps = mask.width, []
    count = ~mask << 1
    for step in range(width.bit_length() - 1):
        places = count
        for n in range(width.bit_length() - 1):
            places = places ^ places << (1 << n)
        move = places & mask
        mask = (mask ^ move) | move.lsr(1 << step)
        steps.append((move, const(1 << step, width)))
        count = count & ~places
    return steps


def _pext(source: Value, mask: Value) -> Value:
    result = source & mask
    for move, step in _moves(mask):
        there = result & move
        result = (result ^ there) | there.lsr(step)
    return result


def _pdep(source: Value, mask: Value) -> Value:
    result = source
    for move, step in reversed(_moves(mask)):
        result = (result & ~move) | ((result << step) & move)
    return result & mask


_spread("f3", "pext", _pext)
_spread("f2", "pdep", _pdep)


# -- ADX, MOVBE, CRC32


def _add_with(row: str, name: str, flag: str) -> None:
    @insn(row, f"{name} {{:Gy}}, {{:Ey}}", extension="adx")
    def add(cpu: Cpu, **fields: Value) -> None:
        """Only one flag is looked at and set."""
        to = operand(cpu, "Gy", fields)
        a, b = to.read(), operand(cpu, "Ey", fields).read()
        carry: Value = getattr(cpu, flag)
        total = a + b + carry.zext(a.width)
        to.write(total)
        setattr(cpu, flag, ((a & b) | ((a | b) & ~total))[a.width - 1])


_add_with("66 0f38 f6 /r", "adcx", "cf")
_add_with("f3 0f38 f6 /r", "adox", "of")


def movbe_load(cpu: Cpu, **fields: Value) -> None:
    to = operand(cpu, "Gv", fields)
    to.write(pure("bswap", operand(cpu, "Ev", fields).read()))


def movbe_store(cpu: Cpu, **fields: Value) -> None:
    source = pure("bswap", operand(cpu, "Gv", fields).read())
    operand(cpu, "Ev", fields, writes=True).write(source)


for _prefix in ("np", "66"):
    insn(f"{_prefix} 0f38 f0 /r mem", "movbe {:Gv}, {:Mv}", extension="movbe")(movbe_load)
    insn(f"{_prefix} 0f38 f1 /r mem", "movbe {:Mv}, {:Gv}", extension="movbe")(movbe_store)

POLYNOMIAL = 0x82F6_3B78
"""CRC-32C, its bits reversed."""


def _crc(row: str, code: str) -> None:
    @insn(row, f"crc32 {{:Gy}}, {{:{code}}}", extension="sse4_2")
    def crc32(cpu: Cpu, **fields: Value) -> None:
        source, to = operand(cpu, code, fields), operand(cpu, "Gy", fields)
        data = source.read().zext(64)
        crc = to.read().trunc(32)
        for n in range(source.width // 8):
            byte = (crc ^ data.lsr(8 * n).trunc(32)) & 0xFF
            crc = crc.lsr(8) ^ _crc_of(byte)
        to.write(crc.zext(to.width))


def _crc_of(byte: Value) -> Value:
    """The remainder of a byte: a sum over its bits."""
    total = const(0, 32)
    for n in range(8):
        value = 1 << n
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        total = total ^ select(byte[n], const(value, 32), 0)
    return total


_crc("f2 0f38 f0 /r", "Eb")
_crc("f2 0f38 f1 /r", "Ev")
