"""How operands are written: Intel's syntax, as GNU's tools print it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ..text import CompositeKind, Kind, named, number
from .fields import NO_SEGMENT, NONE, RIP

__all__ = ["CONDITIONS", "KINDS", "REGISTERS"]

_LEGACY = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
REGISTERS = {
    64: (*(f"r{name}" for name in _LEGACY), *(f"r{n}" for n in range(8, 16))),
    32: (*(f"e{name}" for name in _LEGACY), *(f"r{n}d" for n in range(8, 16))),
    16: (*_LEGACY, *(f"r{n}w" for n in range(8, 16))),
    8: (*("al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"), *(f"r{n}b" for n in range(8, 16))),
}
"""General registers by their width and number."""
_INSTRUCTION_POINTER = {32: "eip", 64: "rip"}
_HIGH = ("ah", "ch", "dh", "bh")
_SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "?", "?")
_SIZES = {
    8: "BYTE PTR ", 16: "WORD PTR ", 32: "DWORD PTR ", 64: "QWORD PTR ", 80: "TBYTE PTR ",
    128: "XMMWORD PTR ", 256: "YMMWORD PTR ", 48: "FWORD PTR ", 0: "",
}  # fmt: skip
CONDITIONS = tuple("o no b ae e ne be a s ns p np l ge le g".split())
"""Conditions by their numbers (volume 1, appendix B)."""

Fields = Mapping[str, int]
Width = Callable[[Fields], int]


def _size(fields: Fields) -> int:
    return 16 << fields["osize"]


def _register(number: int, width: int, rex: int) -> str:
    if width == 8 and not rex and 4 <= number < 8:
        return _HIGH[number - 4]
    return REGISTERS[width][number]


def _memory(fields: Fields, width: int) -> str:
    base, index, disp = fields["base"], fields["index"], fields["disp"]
    bits = 16 << fields["asize"]
    terms = (
        []
        if base == NONE
        else [_INSTRUCTION_POINTER[bits] if base == RIP else REGISTERS[bits][base]]
    )
    scaled = f"*{1 << fields['scale']}" if bits != 16 else ""
    terms += [] if index == NONE else [f"{REGISTERS[bits][index]}{scaled}"]
    seg = fields["seg"]
    usual = 2 if base in (4, 5) else 3
    shown = "" if seg in (NO_SEGMENT, usual) else f"{_SEGMENTS[seg]}:"
    if not terms:
        return f"{_SIZES[width]}{shown or 'ds:'}{disp & ((1 << bits) - 1):#x}"
    if base == RIP:  # GNU's tools show a negative one so
        disp |= (disp >> 31) * (0xFFFF_FFFF << 32)
    else:
        disp -= disp >> 31 << 32
    tail = f"{'-' if disp < 0 else '+'}{abs(disp):#x}" if disp else ""
    return f"{_SIZES[width]}{shown}[{'+'.join(terms)}{tail}]"


def _operand(show: Callable[[Fields], str]) -> CompositeKind:
    def read(text: str, pc: int) -> dict[str, int]:
        raise ValueError("x86 is assembled from bytes, not from text")

    return CompositeKind(lambda fields, pc: show(fields), read)


def _e(width: Width, seen: Width | None = None) -> CompositeKind:
    """A general register or memory; its width in memory may be another one."""

    def show(fields: Fields) -> str:
        if fields.get("memory"):
            return _memory(fields, (seen or width)(fields))
        return _register(fields["rm"], width(fields), fields["rex"])

    return _operand(show)


def _of(field: str, width: Width) -> CompositeKind:
    return _operand(lambda fields: _register(fields[field], width(fields), fields.get("rex", 1)))


def _number(fields: Fields) -> int:
    return fields["high"] << 32 | fields["imm"]


def _immediate(width: Width) -> CompositeKind:
    """A number as wide as the operand that it is for."""
    return _operand(lambda fields: hex(_number(fields) & ((1 << width(fields)) - 1)))


def _away(fields: Fields, pc: int) -> str:
    to = pc + fields["length"] + _number(fields)
    long = fields.get("long", 0)
    return hex(to & ((1 << (64 if long else 16 << fields["osize"])) - 1))


def _not(text: str, pc: int) -> dict[str, int]:
    raise ValueError("x86 is assembled from bytes, not from text")


def _fixed(width: int) -> Width:
    return lambda fields: width


def _y(fields: Fields) -> int:
    return 64 if fields["osize"] == 2 else 32


def _moffs(width: Width) -> CompositeKind:
    def show(fields: Fields) -> str:
        seg = fields["seg"]
        shown = "ds" if seg in (NO_SEGMENT, 3) else _SEGMENTS[seg]
        return f"{shown}:{_number(fields) & ((1 << (16 << fields['asize'])) - 1):#x}"

    return _operand(show)


def _implicit(width: Width, register: int, segment: str = "") -> CompositeKind:
    """Memory that a register points to, without saying so; in a segment, or one that a prefix
    says."""

    def show(fields: Fields) -> str:
        seg = fields["seg"]
        shown = segment or ("ds" if seg in (NO_SEGMENT, 3) else _SEGMENTS[seg])
        return f"{_SIZES[width(fields)]}{shown}:[{REGISTERS[16 << fields['asize']][register]}]"

    return _operand(show)


def _accumulator(width: Width) -> CompositeKind:
    return _operand(lambda fields: REGISTERS[width(fields)][0])


def _z(fields: Fields) -> int:
    return 16 if fields["osize"] == 0 else 32


def _sized(fields: Fields) -> str:
    return "wdq"[fields["osize"]]


def _far_pointer(fields: Fields) -> str:
    small = fields["osize"] == 0
    offset = fields["imm"] & (0xFFFF if small else 0xFFFF_FFFF)
    selector = fields["imm"] >> 16 if small else fields["high"] & 0xFFFF
    return f"{selector:#x}:{offset:#x}"


def _pair(fields: Fields) -> str:
    wide = fields["osize"] == 2
    shown = _memory(fields, 128 if wide else 64).replace("XMMWORD", "OWORD")
    return f"{16 if wide else 8}b {shown}"


def _prefix(names: Mapping[int, str], field: str) -> CompositeKind:
    return _operand(lambda fields: names.get(fields.get(field, 0), ""))


def _vector(field: str, name: str) -> CompositeKind:
    """A vector register; MMX has eight, whatever REX says."""
    mask = 7 if name == "mm" else 15
    return _operand(lambda fields: f"{name}{fields[field] & mask}")


def _vector_or_memory(name: str, width: int) -> CompositeKind:
    mask = 7 if name == "mm" else 15

    def show(fields: Fields) -> str:
        if fields.get("memory", 1):
            return _memory(fields, width)
        return f"{name}{fields['rm'] & mask}"

    return _operand(show)


def _gathered(fields: Fields, name: str, width: int) -> str:
    """An address with a vector of indices."""
    base, disp, bits = fields["base"], fields["disp"], 16 << fields["asize"]
    disp -= disp >> 31 << 32
    terms = [] if base == NONE else [REGISTERS[bits][base]]
    terms.append(f"{name}{fields['index']}*{1 << fields['scale']}")
    tail = f"{'-' if disp < 0 else '+'}{abs(disp):#x}" if disp or base == NONE else ""
    seg = fields["seg"]
    shown = "" if seg in (NO_SEGMENT, 2 if base in (4, 5) else 3) else f"{_SEGMENTS[seg]}:"
    return f"{_SIZES[width]}{shown}[{'+'.join(terms)}{tail}]"


_VECTORS: dict[str, Kind] = {
    **{
        f"{code}{letters}": _vector(field, name)
        for letters, name in (("dq", "xmm"), ("qq", "ymm"))
        for code, field in (("V", "reg"), ("H", "vvvv"), ("U", "rm"))
    },
    **{
        f"W{letters}": _vector_or_memory("ymm" if width == 256 else "xmm", width)
        for letters, width in (("b", 8), ("w", 16), ("d", 32), ("q", 64), ("dq", 128), ("qq", 256))
    },
    "Ldq": _operand(lambda fields: f"xmm{fields['imm'] >> 4 & 15}"),
    "Lqq": _operand(lambda fields: f"ymm{fields['imm'] >> 4 & 15}"),
    **{
        f"X{which}{letter}": _operand(partial(_gathered, name=f"{which}mm", width=width))
        for which in "xy"
        for letter, width in (("d", 32), ("q", 64))
    },
    "STi": _operand(lambda fields: f"st({fields['rm'] & 7})"),
    "Pq": _vector("reg", "mm"), "Nq": _vector("rm", "mm"),
    "Qq": _vector_or_memory("mm", 64), "Qd": _vector_or_memory("mm", 32),
    "Mqq": _operand(lambda fields: _memory(fields, 256)),
    "Mt": _operand(lambda fields: _memory(fields, 80)),
}  # fmt: skip

KINDS: dict[str, Kind] = _VECTORS | {
    "cc": named(CONDITIONS),
    "u": number(),
    "rel": CompositeKind(_away, _not),
    "lock": _prefix({1: "lock "}, "lock"),
    "rep": _prefix({2: "rep ", 3: "repnz "}, "pp"),
    "repz": _prefix({2: "repz ", 3: "repnz "}, "pp"),
    "pair": _operand(_pair),
    "abs": _operand(lambda fields: "abs" if fields["asize"] == 2 else ""),
    "abs_v": _operand(lambda fields: "abs" if fields["osize"] == 2 else ""),
    "cbw": _operand(lambda fields: ("bw", "wde", "dqe")[fields["osize"]]),
    "cwd": _operand(lambda fields: ("wd", "dq", "qo")[fields["osize"]]),
    "jcxz": _operand(lambda fields: ("cxz", "ecxz", "rcxz")[fields["asize"]]),
    "Eb": _e(_fixed(8)), "Ew": _e(_fixed(16)), "Ed": _e(_fixed(32)), "Ev": _e(_size), "Ey": _e(_y),
    "Eq": _e(_fixed(64)), "Rv": _e(_size, _fixed(16)), "Edb": _e(_fixed(32), _fixed(8)),
    "Edw": _e(_fixed(32), _fixed(16)),
    "Ezw": _e(lambda fields: 16 if fields["osize"] == 0 else 32, _fixed(16)),
    "Gb": _of("reg", _fixed(8)), "Gw": _of("reg", _fixed(16)), "Gd": _of("reg", _fixed(32)),
    "Gv": _of("reg", _size), "Gy": _of("reg", _y), "Gq": _of("reg", _fixed(64)),
    "By": _of("vvvv", _y), "Gz": _of("reg", lambda fields: 16 if fields["osize"] == 0 else 32),
    "Zb": _of("rm", _fixed(8)), "Zv": _of("rm", _size),
    "Rd": _of("rm", _fixed(32)), "Rq": _of("rm", _fixed(64)),
    "Ry": _of("rm", lambda fields: 64 if fields["long"] else 32),
    "Ib": _immediate(_fixed(8)), "Iw": _immediate(_fixed(16)), "Iz": _immediate(_size),
    "Iv": _immediate(_size), "I1": _operand(
        lambda fields: hex(fields["imm"] >> 8 & 0xFF)), "I2": _operand(
        lambda fields: hex(fields["imm"] >> 16 & 0xFF)),
    "M": _operand(lambda fields: _memory(fields, 0)),
    "Mb": _operand(lambda fields: _memory(fields, 8)),
    "Mw": _operand(lambda fields: _memory(fields, 16)),
    "Md": _operand(lambda fields: _memory(fields, 32)),
    "Mq": _operand(lambda fields: _memory(fields, 64)),
    "Mv": _operand(lambda fields: _memory(fields, _size(fields))),
    "My": _operand(lambda fields: _memory(fields, _y(fields))),
    "Mdq": _operand(lambda fields: _memory(fields, 128)),
    "Ap": _operand(_far_pointer),
    "Mon": _implicit(_fixed(0), 0), "eAX": _accumulator(_z),
    "Yz": _implicit(_z, 7, "es"), "Xz": _implicit(_z, 6),
    "Ry_o": _of("rm", _y), "isz": _operand(_sized),
    "Gr": _of("reg", lambda fields: 64 if fields["long"] else 32),
    "Exd": _e(lambda fields: min(_size(fields), 32)),
    "Ma": _operand(lambda fields: _memory(fields, 2 * _size(fields))),
    "Mp": _operand(lambda fields: _memory(fields, _z(fields) + 16)),
    "Ob": _moffs(_fixed(8)), "Ov": _moffs(_size),
    "Xlat": _implicit(_fixed(8), 3),
    "Xb": _implicit(_fixed(8), 6), "Xv": _implicit(_size, 6),
    "Yb": _implicit(_fixed(8), 7, "es"), "Yv": _implicit(_size, 7, "es"),
    "AL": _accumulator(_fixed(8)), "rAX": _accumulator(_size),
    "Sw": _operand(lambda fields: _SEGMENTS[fields["middle"]]),
    "Cd": _operand(lambda fields: f"cr{fields['reg']}"),
    "Dd": _operand(lambda fields: f"dr{fields['reg']}"),
}  # fmt: skip
"""Operands by the manual's codes (volume 2, appendix A.2). Z is a register in the opcode."""
