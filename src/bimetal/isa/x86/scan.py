"""From bytes to words: prefixes, opcode maps, ModRM, SIB, displacement, immediate (volume 2, 2).

What a prefix means for the opcode at hand is worked out here, once for each decoded instruction:
the sizes of operands and addresses, the segment, the registers' whole numbers.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from .fields import FIELDS, FLAT, LONG, NO_SEGMENT, NONE, RIP, SEGMENTED_16
from .opcode_maps import FORCED_64, HAS_MODRM, IMMEDIATES, IN_OPCODE, NAMED_64, REGISTER_ONLY

__all__ = ["FETCH", "GS", "among", "scan"]

FETCH = 15
"""Bytes of the longest instruction."""
CS, SS, DS, FS, GS = 1, 2, 3, 4, 5
GATHERS = 0x290
"""The first of four opcodes, 0F 38 90 to 93."""


def _choose(index: Value, *choices: int | Value, width: int = 0) -> Value:
    """The choice of a number; the last one for all above."""
    chosen = const(0, width) + choices[-1]
    for number in range(len(choices) - 2, -1, -1):
        chosen = select(index == number, choices[number], chosen)
    return chosen


def among(opcode: Value, opcodes: int) -> Value:
    """Whether an opcode of 10 bits is one of a mask."""
    word = const(opcodes >> 960, 64)
    for number in range(14, -1, -1):
        word = select(opcode[9:6] == number, opcodes >> 64 * number & ((1 << 64) - 1), word)
    return word.lsr(opcode[5:0].zext(64))[0]


class _Bytes:
    """The bytes of an instruction from the next one on, and how many were taken."""

    def __init__(self, raw: Value):
        self.rest, self.taken = raw, const(0, 8)

    @property
    def next(self) -> Value:
        """The next byte; zeros follow the last."""
        return self.rest[7:0]

    def skip(self, there: Value) -> None:
        """Take a byte, if a condition (one bit) holds."""
        self.rest = select(there, self.rest.lsr(8), self.rest)
        self.taken = self.taken + there.zext(8)

    def signed(self, size: Value, sizes: tuple[int, ...], width: int) -> Value:
        """Take a signed number of one of these ``sizes`` in bytes, or of none."""
        number, rest = const(0, width), self.rest
        for each in sizes:
            here = size == each
            number = select(here, self.rest.trunc(8 * each).sext(width), number)
            if 8 * each < self.rest.width:
                rest = select(here, self.rest.lsr(8 * each), rest)
        self.rest, self.taken = rest, self.taken + size
        return number


class _Prefixes:
    """What stands before the opcode: whether there are 66, 67 and F0, the last of F2 and F3 as
    `FIELDS` numbers them, the last segment, and REX."""

    def __init__(self, code: _Bytes, mode: Value):
        self.narrow, self.address, self.lock = const(0, 1), const(0, 1), const(0, 1)
        self.repeat, self.segment, self.rex = const(0, 2), const(NO_SEGMENT, 4), const(0, 8)
        for _ in range(FETCH - 1):
            if (more := self._one(code, mode)).known and not int(more):
                break

    def _one(self, code: _Bytes, mode: Value) -> Value:
        """Take one, if there is another; whether there is."""
        byte, long = code.next, mode == LONG
        is_rex = long & ((byte & 0xF0) == 0x40)
        is_narrow, is_address = byte == 0x66, byte == 0x67
        is_lock, is_repeat = byte == 0xF0, (byte & 0xFE) == 0xF2
        # 26, 2E, 36, 3E: ES, CS, SS, DS, which 64-bit mode ignores; 64 and 65: FS, GS.
        is_old, is_new = (byte & 0xE7) == 0x26, (byte & 0xFE) == 0x64
        legacy = is_narrow | is_address | is_lock | is_repeat | is_old | is_new
        self.narrow, self.address = self.narrow | is_narrow, self.address | is_address
        self.lock = self.lock | is_lock
        self.repeat = select(is_repeat, byte[1:0] ^ 1, self.repeat)
        self.segment = select(is_old & ~long, byte[4:3].zext(4), self.segment)
        self.segment = select(is_new, byte[0].zext(4) | FS, self.segment)
        self.rex = select(is_rex, byte, select(legacy, 0, self.rex))
        code.skip(is_rex | legacy)
        return is_rex | legacy


def scan(raw: Value, mode: Value) -> tuple[Value, Value]:
    """See `bimetal.isa.decoding`."""
    code = _Bytes(raw)
    before = _Prefixes(code, mode)
    long, plain = mode == LONG, (mode == LONG) | (mode == FLAT)
    fields = {"long": long, "plain": plain, "lock": before.lock, "rex": before.rex != 0}
    opcode = _opcode(code, before, mode, fields)
    middle = code.next[5:3]  # of ModRM, if there is one
    osize = _operand_size(opcode, middle, before, mode, fields["wide"])
    # A jump of 16 bits is not plain, as it wraps.
    short = (osize == 0) & ~long & _jumps(opcode, middle)
    fields["plain"] = plain & ~short
    of_16 = (mode == SEGMENTED_16) ^ before.address
    in_long = select(before.address, const(1, 2), 2)
    asize = select(long, in_long, select(of_16, const(0, 2), 1))
    fields |= {"osize": osize, "asize": asize, "spare": const(0, 4)}
    stack = _modrm(code, opcode, before, asize, fields)
    named = fields.pop("in_opcode") | fields.pop("b").zext(4) << 3
    fields["rm"] = select(among(opcode, IN_OPCODE), named, fields["rm"])
    fields["seg"] = _segment(before.segment, stack, long, plain)
    immediate = _immediate(code, opcode, middle, osize, asize)
    fields |= {"imm": immediate.trunc(32), "high": immediate[63:32]}
    fields["lengthy"] = ~code.taken.ult(FETCH + 1)
    fields["length"] = select(code.taken.ult(FETCH), code.taken, FETCH).trunc(4)
    word, at = const(0, sum(FIELDS.values())), 0
    for name, width in FIELDS.items():
        word = word | fields[name].zext(word.width) << at
        at += width
    return word, code.taken


def _opcode(code: _Bytes, before: _Prefixes, mode: Value, fields: dict[str, Value]) -> Value:
    """Take the opcode, or a VEX prefix and an opcode; map and byte."""
    first, second, third = code.next, code.rest[15:8], code.rest[23:16]
    long = mode == LONG
    # Outside 64-bit mode C4 and C5 are LES and LDS, unless that would name a register.
    vex = ((first & 0xFE) == 0xC4) & (long | (second.uge(0xC0)))
    vex3 = vex & (first == 0xC4)
    escape = ~vex & (first == 0x0F)
    of_38, of_3a = escape & (second == 0x38), escape & (second == 0x3A)
    for there in (vex | escape, vex | of_38 | of_3a, vex3):
        code.skip(there)
    byte = code.next
    code.skip(const(1, 1))
    number = select(of_38, const(2, 2), select(of_3a, const(3, 2), escape.zext(2)))
    number = select(vex, select(vex3, second[1:0], const(1, 2)), number)
    # Prefixes that VEX replaces, and maps that there are not: no such instruction.
    bad = before.narrow | before.lock | (before.repeat != 0) | (before.rex != 0)
    bad = vex & (bad | (vex3 & ((second & 0x1F).ult(1) | const(3, 5).ult(second[4:0]))))
    number = select(bad, 0, number)
    rxb = select(vex3, ~second[7:5], (~second[7]).zext(3) << 2)
    rxb = select(long, select(vex, rxb, before.rex[2:0]), 0)
    last = select(vex3, third, second)
    pp = select(before.repeat != 0, before.repeat, before.narrow.zext(2))
    fields |= {
        "map": number,
        "vex": vex,
        "opcode": byte,
        "l": vex & last[2],
        "pp": select(vex, last[1:0], pp),
        "vvvv": select(vex, ~last[6:3], 0) & select(long, const(15, 4), 7),
        "wide": select(vex, vex3 & third[7], before.rex[3]),
        "r": rxb[2],
        "x": rxb[1],
        "b": rxb[0],
        "in_opcode": byte[2:0].zext(4),
    }
    return byte.zext(10) | number.zext(10) << 8


def _jumps(opcode: Value, middle: Value) -> Value:
    """Whether it is a near jump, the size of whose operand is that of the instruction pointer."""
    return among(opcode, FORCED_64) | ((opcode == 0xFF) & ((middle == 2) | (middle == 4)))


def _operand_size(
    opcode: Value, middle: Value, before: _Prefixes, mode: Value, wide: Value
) -> Value:
    """The size of operands, by prefixes, the mode and the opcode (volume 1, table 3-4)."""
    named = among(opcode, NAMED_64) | ((opcode == 0xFF) & (middle == 6))
    forced = _jumps(opcode, middle)
    small = before.narrow ^ (mode == SEGMENTED_16)
    usual = select(small, const(0, 2), 1)
    in_long = select(before.narrow, const(0, 2), select(named, const(2, 2), 1))
    in_long = select(wide | forced, const(2, 2), in_long)
    return select(mode == LONG, in_long, usual)


def _segment(prefix: Value, stack: Value, long: Value, plain: Value) -> Value:
    """The segment of an operand in memory. Where segments are plain only FS and GS say anything,
    and CS, which cannot be written."""
    none = prefix == NO_SEGMENT
    usual = select(stack, const(SS, 4), DS)
    whole = select(none, usual, prefix)
    said = (prefix == FS) | (prefix == GS) | (~long & (prefix == CS))
    return select(plain, select(said, prefix, NO_SEGMENT), whole)


def _immediate(code: _Bytes, opcode: Value, middle: Value, osize: Value, asize: Value) -> Value:
    """Take the immediate, which is sign-extended."""
    whole = _choose(osize, 2, 4, 8, width=8)
    at_most_4 = _choose(osize, 2, 4, width=8)
    sizes: dict[str, Value | int] = {
        "ib": 1, "iw": 2, "iwb": 3, "iv": whole, "iz": at_most_4,
        "ap": at_most_4 + 2, "moffs": _choose(asize, 2, 4, 8, width=8),
    }  # fmt: skip
    size = const(0, 8)
    for name, mask in IMMEDIATES.items():
        size = select(among(opcode, mask), sizes[name], size)
    tested = middle.ult(2)  # F6 and F7: TEST alone has one
    size = select((opcode == 0xF6) & tested, 1, size)
    size = select((opcode == 0xF7) & tested, at_most_4, size)
    return code.signed(size, (1, 2, 3, 4, 6, 8), 64)


def _modrm(
    code: _Bytes, opcode: Value, before: _Prefixes, asize: Value, fields: dict[str, Value]
) -> Value:
    """Take ModRM, SIB and displacement (2.1.5, 2.2.1); whether the address is of the stack."""
    there = among(opcode, HAS_MODRM)
    byte = select(there, code.next, 0)
    code.skip(there)
    mod, low = byte[7:6], byte[2:0]
    memory = there & (mod != 3) & ~among(opcode, REGISTER_ONLY)
    old, b = memory & (asize == 0), fields["b"]
    has_sib = memory & ~old & (low == 4)
    sib = select(has_sib, code.next, 0)
    code.skip(has_sib)
    named = select(has_sib, sib[2:0], low)
    bare = memory & ~old & (mod == 0) & (named == 5)
    index = sib[5:3].zext(5) | fields["x"].zext(5) << 3
    register = named.zext(5) | b.zext(5) << 3
    relative = ~has_sib & (fields["long"] == 1)
    register = select(bare, select(relative, const(RIP, 5), NONE), register)
    # The eight forms of 16 bits: BX and BP, with SI, DI or nothing, or one of the four alone.
    without = old & (mod == 0) & (low == 6)
    base_16 = select(without, const(NONE, 5), _choose(low, 3, 3, 5, 5, 6, 7, 5, 3, width=5))
    index_16 = select(low.ult(4), const(6, 5) | (low & 1).zext(5), NONE)
    register = select(old, base_16, register)
    # Of gathers, the index is a vector's number, 4 too, and there is none without SIB.
    gathers = (opcode & ~3) == GATHERS
    index = select(has_sib & ((index != 4) | gathers), index, NONE)
    index = select(old & ~gathers, index_16, index)
    far = select(old, const(2, 8), 4)
    size = select(mod == 1, const(1, 8), select((mod == 2) | bare | without, far, 0))
    size = select(memory, size, 0)
    fields |= {
        "middle": byte[5:3],
        "reg": byte[5:3].zext(4) | (fields.pop("r") & there).zext(4) << 3,
        "memory": memory,
        "rm": select(there & ~memory, low.zext(4) | b.zext(4) << 3, 0),
        "base": select(memory, register, NONE),
        "index": select(memory, index, NONE),
        "scale": sib[7:6],
        "disp": code.signed(size, (1, 2, 4), 32),
    }
    fields.pop("x")
    return memory & ((register == 4) | (register == 5))
