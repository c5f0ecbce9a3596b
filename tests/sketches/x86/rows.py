"""Opcode rows in the words of Intel's manual, and the scan that makes words of bytes.

``"83 /0 ib"`` is an opcode byte, a ModRM byte whose middle field extends it, and an immediate
byte; ``/r`` is a ModRM byte with a register in the middle; ``70+cc`` has a condition in its low
bits, ``b8+r`` a register; ``lock`` says that the prefix is allowed. Prefixes stand before all of
that: 66 (``narrow``), F0 (``lock``), F2 and F3 (``rep``), and in long mode REX; ``np``, ``66``,
``f2`` and ``f3`` say which of them the opcode has. An operand in
memory is ``base + (index << scale) + disp``, where register 16 is none and 17 is rip.

The scan puts all of it at the same places of a word, `FIELDS`, so that rows are rows of bits.
"""

from __future__ import annotations

from bimetal.ir.value import Value, const, select

__all__ = ["COMPATIBILITY", "LONG", "NONE", "RIP", "opcode_row", "scan", "unscan"]

NONE, RIP = 16, 17
LONG, COMPATIBILITY = 0, 1
FETCH = 15
PREFIXES = 4
"""How many prefixes but REX the sketch takes; the manual has no limit but the length."""

# From the lowest bit of the word up. What tells instructions apart stands in the low 64 bits.
FIELDS = {
    "opcode": 8, "map": 1, "middle": 3, "memory": 1, "lock": 1, "rep": 2, "narrow": 1, "wide": 1,
    "rex": 1, "compatibility": 1, "length": 4, "reg": 4, "rm": 4, "base": 5, "index": 5,
    "scale": 2, "spare": 20, "disp": 32, "imm": 64,
}  # fmt: skip
_TAILS = {"ib": 1, "cb": 1, "iz": 4, "iv": 8}

# Prefixes that are part of an opcode: none of them, or one.
_MANDATORY = {
    "np": {"rep": "00", "narrow": "0"},
    "66": {"rep": "00", "narrow": "1"},
    "f2": {"rep": "10", "narrow": "0"},
    "f3": {"rep": "11", "narrow": "0"},
}

_modrm: set[int] = set()
_in_opcode: set[int] = set()
_tails: dict[int, set[int]] = {1: set(), 4: set(), 8: set()}


def _places(low: int, count: int) -> range:
    return range(low, low + count)


def opcode_row(row: str, mode: int | None = None) -> str:
    """The row of bits of an opcode row, perhaps in one mode only; `scan` knows its shape then."""
    literal: dict[str, str] = {"map": "0", "lock": "0", "spare": "0" * FIELDS["spare"]}
    if mode is not None:
        literal["compatibility"] = str(mode)
    opcodes, free = range(0), ""
    tail = 0
    for token in row.split():
        if token == "lock":
            del literal["lock"]
        elif token in _MANDATORY and "0f" in row.split():
            literal |= _MANDATORY[token]
        elif token == "0f" and not opcodes:
            literal["map"] = "1"
        elif token.startswith("/"):
            if token != "/r":
                literal["middle"] = f"{int(token[1]):03b}"
            _modrm.update(opcodes)
        elif token in _TAILS:
            tail = _TAILS[token]
        else:
            byte, _, free = token.partition("+")
            count = {"": 1, "cc": 16, "r": 8}[free]
            opcodes = _places(int(byte, 16) | int(literal["map"]) << 8, count)
            fixed = 8 - (count - 1).bit_length()
            literal["opcode"] = f"{int(byte, 16):08b}"[:fixed]
    if free == "r":
        _in_opcode.update(opcodes)
    if tail:
        _tails[tail].update(opcodes)
    return " ".join(_token(name, literal, free) for name in reversed(FIELDS))


def _token(name: str, literal: dict[str, str], free: str) -> str:
    bits = literal.get(name, "")
    rest = FIELDS[name] - len(bits)
    if name == "opcode":
        name = free or name
    return f"{bits} {name}:{rest}".strip() if rest else bits


def _among(opcode: Value, opcodes: set[int]) -> Value:
    """Whether an opcode of 9 bits is one of these."""
    table = const(sum(1 << number for number in opcodes), 512)
    return table.lsr(opcode.zext(512))[0]


class _Bytes:
    """The bytes of an instruction, one after the other; ``taken`` says how many are behind."""

    def __init__(self, raw: Value):
        self.raw, self.taken = raw, const(0, 8)

    def peek(self, width: int = 8) -> Value:
        """What comes next, zeros behind the last byte."""
        at = select(self.taken.ult(FETCH), self.taken, FETCH - 1).zext(self.raw.width)
        there = select(self.taken.ult(FETCH), self.raw.lsr(at * 8), 0)
        return there.trunc(width)

    def skip(self, taking: Value, size: Value | int = 1) -> None:
        """Take some bytes where a condition (one bit) holds."""
        self.taken = self.taken + select(taking, const(0, 8) + size, 0)

    def signed(self, width: int, size: Value) -> Value:
        """Take a signed number of 0, 1, 2, 4 or 8 bytes."""
        whole = self.peek(width)
        number = select(size == 0, const(0, width), whole)
        for some in (n for n in (1, 2, 4) if 8 * n < width):
            number = select(size == some, whole.trunc(8 * some).sext(width), number)
        self.taken = self.taken + size
        return number


def scan(raw: Value, mode: Value) -> tuple[Value, Value]:
    """See `bimetal.isa.decoding`."""
    code, fields = _Bytes(raw), {"compatibility": mode[0]}
    _scan_prefixes(code, mode, fields)
    rex = fields.pop("rex_bits")
    fields["map"] = code.peek() == 0x0F
    code.skip(fields["map"])
    fields["opcode"] = code.peek()
    code.skip(const(1, 1))
    opcode = fields["opcode"].zext(9) | fields["map"].zext(9) << 8
    _scan_modrm(code, _among(opcode, _modrm), rex, mode, fields)
    in_opcode = _among(opcode, _in_opcode)
    named = fields["opcode"][2:0].zext(4) | rex[0].zext(4) << 3
    fields["rm"] = select(in_opcode, named, fields["rm"])
    narrow = (fields["narrow"] == 1) & (fields["wide"] == 0)
    size = select(_among(opcode, _tails[1]), const(1, 8), 0)
    size = select(_among(opcode, _tails[4]), select(narrow, const(2, 8), 4), size)
    whole = select(fields["wide"], const(8, 8), select(narrow, const(2, 8), 4))
    size = select(_among(opcode, _tails[8]), whole, size)
    fields["imm"] = code.signed(64, size)
    fields["length"] = select(code.taken.ult(FETCH), code.taken, FETCH).trunc(4)
    # No row has these bits: what is too long is no instruction.
    fields["spare"] = (~code.taken.ult(FETCH + 1)).zext(FIELDS["spare"])
    word, at = const(0, sum(FIELDS.values())), 0
    for name, width in FIELDS.items():
        word = word | fields[name].zext(word.width) << at
        at += width
    return word, code.taken


def _scan_prefixes(code: _Bytes, mode: Value, fields: dict[str, Value]) -> None:
    narrow, lock, rep = const(0, 1), const(0, 1), const(0, 2)
    for _ in range(PREFIXES):
        byte = code.peek()
        is_narrow, is_lock, is_rep = byte == 0x66, byte == 0xF0, (byte & 0xFE) == 0xF2
        narrow, lock = narrow | is_narrow, lock | is_lock
        rep = select(is_rep, byte[1:0], rep)
        code.skip(is_narrow | is_lock | is_rep)
    byte = code.peek()
    there = ((byte & 0xF0) == 0x40) & (mode == LONG)
    rex = select(there, byte[3:0], 0)
    code.skip(there)
    fields |= {"narrow": narrow, "lock": lock, "rep": rep, "rex": there}
    fields |= {"wide": rex[3], "rex_bits": rex}


def _scan_modrm(
    code: _Bytes, there: Value, rex: Value, mode: Value, fields: dict[str, Value]
) -> None:
    """ModRM, SIB and displacement (volume 2, 2.1.3 to 2.2.1.6)."""
    byte = select(there, code.peek(), 0)
    code.skip(there)
    mod, middle, low = byte[7:6], byte[5:3], byte[2:0]
    memory = there & (mod != 3)
    has_sib = memory & (low == 4)
    sib = code.peek()
    code.skip(has_sib)
    base = select(has_sib, sib[2:0], low)
    bare = memory & (mod == 0) & (base == 5)  # no base, but a displacement
    without = select(has_sib | (mode != LONG), const(NONE, 5), RIP)
    register = base.zext(5) | rex[0].zext(5) << 3
    index = sib[5:3].zext(5) | rex[1].zext(5) << 3
    indexed = has_sib & (index != 4)
    wide = bare | (memory & (mod == 2))
    size = select(wide, const(4, 8), (memory & (mod == 1)).zext(8))
    fields |= {
        "middle": middle,
        "memory": memory,
        "reg": middle.zext(4) | rex[2].zext(4) << 3,
        "rm": select(memory, 0, low.zext(4) | rex[0].zext(4) << 3),
        "base": select(memory, select(bare, without, register), NONE),
        "index": select(indexed, index, NONE),
        "scale": select(indexed, sib[7:6], 0),
        "disp": code.signed(32, size),
    }


# -- back to bytes: the shortest form


def unscan(word: int) -> bytes:
    """The bytes of an instruction. ValueError if there are none."""
    fields, at = {}, 0
    for name, width in FIELDS.items():
        fields[name] = word >> at & ((1 << width) - 1)
        at += width
    opcode = fields["opcode"] | fields["map"] << 8
    rex, modrm = _modrm_bytes(fields) if opcode in _modrm else (0, b"")
    if opcode in _in_opcode:
        rex = fields["rm"] >> 3
    rex |= fields["wide"] << 3
    if rex and not fields["rex"]:
        raise ValueError("needs a REX prefix")
    prefixes = b"\xf0" * fields["lock"] + b"\x66" * fields["narrow"]
    prefixes += bytes([0xF0 | fields["rep"]]) if fields["rep"] else b""
    prefixes += bytes([0x40 | rex]) if fields["rex"] else b""
    return prefixes + b"\x0f" * fields["map"] + bytes([opcode & 0xFF]) + modrm + _tail(fields)


def _signed(value: int, width: int) -> int:
    return value - (value >> (width - 1) << width)


def _fits(value: int, size: int) -> bool:
    return -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1)


def _tail(fields: dict[str, int]) -> bytes:
    opcode = fields["opcode"] | fields["map"] << 8
    size = next((n for n, opcodes in _tails.items() if opcode in opcodes), 0)
    if size > 1:
        narrow = fields["narrow"] and not fields["wide"]
        size = 2 if narrow else size if fields["wide"] else 4
    value = _signed(fields["imm"], 64)
    if size and not _fits(value, size):
        raise ValueError(f"{value:#x} does not fit in {size} bytes")
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def _modrm_bytes(fields: dict[str, int]) -> tuple[int, bytes]:
    """The bits of REX, and ModRM, SIB and displacement."""
    rex, middle = fields["reg"] >> 3 << 2, fields["middle"] << 3
    if not fields["memory"]:
        return rex | fields["rm"] >> 3, bytes([0xC0 | middle | fields["rm"] & 7])
    base, index, disp = fields["base"], fields["index"], _signed(fields["disp"], 32)
    wide_disp = (disp & 0xFFFF_FFFF).to_bytes(4, "little")
    if base == RIP:
        return rex, bytes([middle | 5]) + wide_disp
    rex |= (index >> 3 & 1) << 1 if index != NONE else 0
    sib = fields["scale"] << 6 | (4 if index == NONE else index & 7) << 3
    if base == NONE:
        return rex, bytes([middle | 4, sib | 5]) + wide_disp
    rex |= base >> 3
    mod = 0 if not disp and base & 7 != 5 else 1 if _fits(disp, 1) else 2
    tail = (b"", bytes([disp & 0xFF]), wide_disp)[mod]
    if index == NONE and base & 7 != 4:
        return rex, bytes([mod << 6 | middle | base & 7]) + tail
    return rex, bytes([mod << 6 | middle | 4, sib | base & 7]) + tail
