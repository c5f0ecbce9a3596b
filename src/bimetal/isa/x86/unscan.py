"""From words back to bytes: the shortest encoding."""

from __future__ import annotations

from .fields import FIELDS, NONE, RIP
from .opcode_maps import HAS_MODRM, IMMEDIATES, IN_OPCODE

__all__ = ["unscan"]

_MANDATORY = (b"", b"\x66", b"\xf3", b"\xf2")
_SEGMENTS = (b"\x26", b"\x2e", b"\x36", b"\x3e", b"\x64", b"\x65")
_MAPS = (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a")


def unscan(word: int) -> bytes:
    """The bytes of an instruction, of 64-bit or 32-bit code. ValueError if there are none."""
    fields, at = {}, 0
    for name, width in FIELDS.items():
        fields[name] = word >> at & ((1 << width) - 1)
        at += width
    opcode = fields["opcode"] | fields["map"] << 8
    rex, modrm = _modrm(fields) if HAS_MODRM >> opcode & 1 else (0, b"")
    if IN_OPCODE >> opcode & 1:
        rex = fields["rm"] >> 3
    rex |= fields["wide"] << 3
    tail = bytes([fields["opcode"]]) + modrm + _immediate(fields, opcode)
    prefixes = b"\xf0" * fields["lock"]
    usual = 2 if fields["memory"] and fields["base"] in (4, 5) else 3
    if fields["seg"] < len(_SEGMENTS) and (fields["plain"] or fields["seg"] != usual):
        prefixes += _SEGMENTS[fields["seg"]]
    if fields["asize"] != (2 if fields["long"] else 1):
        prefixes += b"\x67"
    if fields["vex"]:
        return prefixes + _vex(fields, rex) + tail
    if fields["osize"] == 0 and fields["pp"] != 1:
        prefixes += b"\x66"
    prefixes += _MANDATORY[fields["pp"]]
    if rex and not fields["rex"]:
        raise ValueError("needs a REX prefix")
    prefixes += bytes([0x40 | rex]) if fields["rex"] else b""
    return prefixes + _MAPS[fields["map"]] + tail


def _vex(fields: dict[str, int], rex: int) -> bytes:
    last = (fields["vvvv"] ^ 15) << 3 | fields["l"] << 2 | fields["pp"]
    if fields["map"] == 1 and not fields["wide"] and not rex & 3:
        return bytes([0xC5, (~rex & 4) << 5 | last])
    return bytes([0xC4, (~rex & 7) << 5 | fields["map"], fields["wide"] << 7 | last])


def _signed(value: int, width: int) -> int:
    return value - (value >> (width - 1) << width)


def _fits(value: int, size: int) -> bool:
    return -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1)


def _immediate(fields: dict[str, int], opcode: int) -> bytes:
    whole, most = 2 << fields["osize"], min(2 << fields["osize"], 4)
    sizes = {
        "ib": 1, "iw": 2, "iwb": 3, "iv": whole, "iz": most, "ap": most + 2,
        "moffs": 2 << fields["asize"],
    }  # fmt: skip
    size = next((sizes[name] for name, mask in IMMEDIATES.items() if mask >> opcode & 1), 0)
    if opcode in (0xF6, 0xF7) and fields["middle"] < 2:
        size = 1 if opcode == 0xF6 else most
    value = _signed(fields["high"] << 32 | fields["imm"], 64)
    if size and not _fits(value, size):
        raise ValueError(f"{value:#x} does not fit in {size} bytes")
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def _modrm(fields: dict[str, int]) -> tuple[int, bytes]:
    """The bits of REX, and ModRM, SIB and displacement."""
    rex, middle = fields["reg"] >> 3 << 2, fields["middle"] << 3
    if not fields["memory"]:
        return rex | fields["rm"] >> 3, bytes([0xC0 | middle | fields["rm"] & 7])
    if fields["asize"] == 0:
        return rex, _modrm_16(fields, middle)
    base, index, disp = fields["base"], fields["index"], _signed(fields["disp"], 32)
    wide_disp = (disp & 0xFFFF_FFFF).to_bytes(4, "little")
    if base == RIP or (base == index == NONE and not fields["long"]):
        return rex, bytes([middle | 5]) + wide_disp
    rex |= (index >> 3 & 1) << 1 if index != NONE else 0
    sib = fields["scale"] << 6 | (4 if index == NONE else index & 7) << 3
    if base == NONE:
        return rex, bytes([middle | 4, sib | 5]) + wide_disp
    rex |= base >> 3
    mod = 0 if not disp and base & 7 != 5 else 1 if _fits(disp, 1) else 2
    tail = (b"", bytes([disp & 0xFF]), wide_disp)[mod]
    if index == NONE and base & 7 != 4 and not fields["scale"]:
        return rex, bytes([mod << 6 | middle | base & 7]) + tail
    return rex, bytes([mod << 6 | middle | 4, sib | base & 7]) + tail


def _modrm_16(fields: dict[str, int], middle: int) -> bytes:
    """ModRM and displacement of 16-bit addresses."""
    base, index, disp = fields["base"], fields["index"], _signed(fields["disp"], 32)
    if base == NONE:
        return bytes([middle | 6]) + (disp & 0xFFFF).to_bytes(2, "little")
    forms = [(3, 6), (3, 7), (5, 6), (5, 7), (6, NONE), (7, NONE), (5, NONE), (3, NONE)]
    low = forms.index((base, index))
    mod = 0 if not disp and low != 6 else 1 if _fits(disp, 1) else 2
    tail = (b"", bytes([disp & 0xFF]), (disp & 0xFFFF).to_bytes(2, "little"))[mod]
    return bytes([mod << 6 | middle | low]) + tail
