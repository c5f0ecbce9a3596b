"""The word that the scan makes of an instruction's bytes: its fields, and the rows of opcodes.

A row is written as the manual writes opcodes. ``"83 /0 ib"`` is an opcode byte, a ModRM byte whose
middle field extends it, and an immediate byte; ``/r`` is a ModRM byte with a register in the
middle, and a second byte such as ``d0`` is a ModRM byte altogether. ``70+cc`` has a condition in
its low bits, ``b8+r`` a register; ``81|83`` are two opcodes of one meaning. Before the opcode stand
mandatory prefixes (``np``, ``66``, ``f2``, ``f3``) and the map (``0f``, ``0f38``, ``0f3a``), or as
in ``vex.128.66.0f38.w0`` what a VEX prefix says. Further words: ``lock`` for the prefix being
allowed, ``mem`` or ``reg`` for what ModRM has to name, ``w0`` and ``w1`` for REX.W, ``o64`` and
``i64`` for instructions of 64-bit mode alone and of all others, ``vvvv`` for a VEX prefix that has
to name no register.
"""

from __future__ import annotations

from .opcode_maps import HAS_MODRM, IMMEDIATES

__all__ = [
    "AX", "BP", "BX", "CX", "DI", "DX", "FIELDS", "FLAT", "LONG", "NONE", "NO_SEGMENT", "PREFIXES",
    "RIP", "SEGMENTED_16", "SEGMENTED_32", "SI", "SP", "literal_fields", "opcode_row", "too_long",
]  # fmt: skip

LONG, FLAT, SEGMENTED_32, SEGMENTED_16 = range(4)
"""Decode modes: 64-bit mode; 32-bit code where CS, DS, ES and SS are all of memory from 0 up, so
that they need not be looked at; 32-bit code; 16-bit code."""

AX, CX, DX, BX, SP, BP, SI, DI = range(8)
"""General registers by their numbers."""

NONE, RIP = 16, 17
"""No register, and the instruction pointer, as base or index of an address."""

NO_SEGMENT = 8
"""The segment of addresses that are linear as they are."""

# From the lowest bit of the word up. What tells instructions apart stands in the low 64 bits.
FIELDS = {
    "opcode": 8, "map": 2, "vex": 1, "l": 1, "pp": 2, "middle": 3, "memory": 1, "rm": 4, "lock": 1,
    "wide": 1, "rex": 1, "long": 1, "plain": 1, "lengthy": 1, "osize": 2, "asize": 2, "length": 4,
    "reg": 4, "vvvv": 4, "base": 5, "index": 5, "scale": 2, "seg": 4, "spare": 4,
    "disp": 32, "imm": 32, "high": 32,
}  # fmt: skip
"""Names and widths. ``pp`` numbers mandatory prefixes as VEX does (none, 66, F3, F2); ``osize`` and
``asize`` are the sizes of operands and addresses (16, 32, 64 bits); ``plain`` is 1 in the decode
modes without segments, ``lengthy`` for what is longer than 15 bytes; ``high`` is the upper half of
an immediate of up to 64 bits."""

PREFIXES = {"np": 0, "66": 1, "f3": 2, "f2": 3}
_MAPS = {"0f": 1, "0f38": 2, "0f3a": 3}
_SIZES = {"128": "0", "l0": "0", "lz": "0", "256": "1", "l1": "1"}


def _literals(row: str) -> tuple[dict[str, str], str]:
    """The literal bits of each field, and what stands in the low bits of the opcode."""
    literal = {"vex": "0", "map": "00", "lock": "0", "lengthy": "0", "spare": "0" * 4}
    opcode, free = -1, ""
    for token in row.split():
        if token.startswith("vex."):
            _vex(token, literal)
        elif token in PREFIXES and opcode < 0 and "pp" not in literal and literal["map"] == "00":
            literal["pp"] = f"{PREFIXES[token]:02b}"
        elif token in _MAPS and opcode < 0 and literal["map"] == "00":
            literal["map"] = f"{_MAPS[token]:02b}"
        elif token == "lock":
            del literal["lock"]
        elif token in _WORDS:
            name, bits = _WORDS[token]
            literal[name] = bits
        elif token.startswith("/"):
            assert HAS_MODRM >> opcode & 1, row
            if token != "/r":
                literal["middle"] = f"{int(token[1]):03b}"
        elif token in IMMEDIATES:
            assert IMMEDIATES[token] >> opcode & 1 or opcode in (0xF6, 0xF7), row
        elif opcode < 0:
            byte, _, free = token.partition("+")
            first, _, second = byte.partition("|")
            opcode = int(first, 16)
            literal["opcode"] = _opcode(opcode, int(second or first, 16), free)
            opcode |= int(literal["map"], 2) << 8
        else:
            byte = f"{int(token, 16):08b}"
            literal |= {"memory": "0", "middle": byte[2:5], "rm": byte[5:]}
    return literal, free


_WORDS = {
    "mem": ("memory", "1"), "reg": ("memory", "0"), "w0": ("wide", "0"), "w1": ("wide", "1"),
    "o64": ("long", "1"), "i64": ("long", "0"), "vvvv": ("vvvv", "0000"),
}  # fmt: skip


def _vex(token: str, literal: dict[str, str]) -> None:
    literal |= {"vex": "1", "pp": "00"}
    for part in token.split(".")[1:]:
        if part in _SIZES:
            literal["l"] = _SIZES[part]
        elif part in PREFIXES:
            literal["pp"] = f"{PREFIXES[part]:02b}"
        elif part in _MAPS:
            literal["map"] = f"{_MAPS[part]:02b}"
        elif part in _WORDS:
            literal["wide"] = _WORDS[part][1]
        else:
            assert part in ("lig", "wig"), token


def _opcode(first: int, second: int, free: str) -> str:
    """The bits of an opcode, with ``?`` for a free one."""
    count = {"": 0, "cc": 4, "r": 3}[free]
    bits = f"{first:08b}"[: 8 - count]
    differing = f"{first ^ second:08b}"[: 8 - count]
    return "".join("?" if other == "1" else bit for bit, other in zip(bits, differing, strict=True))


def opcode_row(row: str) -> str:
    """The row of bits of a row as the manual writes it."""
    literal, free = _literals(row.lower())
    return " ".join(_token(name, literal, free) for name in reversed(FIELDS))


def literal_fields(row: str) -> dict[str, int]:
    """The fields that a row says altogether, with their values."""
    literal, _ = _literals(row.lower())
    return {
        name: int(bits, 2)
        for name, bits in literal.items()
        if len(bits) == FIELDS[name] and "?" not in bits
    }


def _token(name: str, literal: dict[str, str], free: str) -> str:
    bits = literal.get(name, "")
    rest = FIELDS[name] - len(bits)
    shown = bits.replace("?", " either:1 ")
    if name == "rm" and bits:
        return f"{name}_high:{rest} {shown}" if rest else shown
    if name == "opcode" and free:
        name = free if free == "cc" else "in_opcode"
    return f"{shown} {name}:{rest}".strip() if rest else shown


def too_long() -> str:
    """The row of all that is longer than 15 bytes."""
    rest = [name for name in reversed(FIELDS) if name != "lengthy"]
    at = list(reversed(FIELDS)).index("lengthy")
    tokens = [f"{name}:{FIELDS[name]}" for name in rest]
    return " ".join([*tokens[:at], "1", *tokens[at:]])
