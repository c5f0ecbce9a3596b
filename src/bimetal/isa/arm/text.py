"""Operand kinds of A64 assembly (C1.2), by the names that descriptions use in their templates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ...ir.ops import signed
from ..text import CompositeKind, Kind, OperandKind, composite, in_range, named, number
from .simd_text import SIMD

__all__ = ["CONDITIONS", "KINDS", "W_NAMES", "X_NAMES", "bit_mask"]

X_NAMES = (*(f"x{n}" for n in range(31)), "xzr")
W_NAMES = (*(f"w{n}" for n in range(31)), "wzr")
CONDITIONS = tuple("eq ne cs cc mi pl vs vc hi ls ge lt gt le al nv".split())
SHIFTS = ("lsl", "lsr", "asr", "ror")
EXTENDS = tuple("uxtb uxth uxtw uxtx sxtb sxth sxtw sxtx".split())


def hash_number(is_signed: bool = False, scale: int = 1, base: int = 10) -> OperandKind:
    """``#12``: a number that the field holds divided by ``scale``."""

    def show(value: int, width: int, pc: int) -> str:
        value = (signed(value, width) if is_signed else value) * scale
        return f"#{value:#x}" if base == 16 else f"#{value}"

    def read(text: str, width: int, pc: int) -> int:
        value, rest = divmod(int(text.removeprefix("#"), 0), scale)
        if rest:
            raise ValueError(f"{text} is no multiple of {scale}")
        return in_range(value, width, is_signed)

    return OperandKind(show, read)


def shifted(amount: str) -> CompositeKind:
    """``, lsr #7``: a shift by the field ``amount``; a shift by nothing is not written."""

    def show(fields: Mapping[str, int]) -> str:
        kind, by = fields["shift"], fields[amount]
        return f", {SHIFTS[kind]} #{by}" if kind or by else ""

    def read(text: str) -> dict[str, int]:
        if not text:
            return {"shift": 0, amount: 0}
        kind, _, by = text.strip(", ").partition(" ")
        return {"shift": SHIFTS.index(kind), amount: int(by.strip(" #"), 0)}

    return composite(r"(?:\s*,\s*(?:lsl|lsr|asr|ror)\s+#?\d+)?", show, read)


def extend(r: str) -> CompositeKind:
    """``w3, sxtw #2``: a register, how it is extended, and a shift left by up to 4.

    The plain form of a width (UXTW of w, UXTX of x) is always written, as it has to be where the
    stack pointer is not named.
    """

    def show(fields: Mapping[str, int]) -> str:
        option, amount = fields["option"], fields["imm3"]
        name = (X_NAMES if r == "x" and option & 3 == 3 else W_NAMES)[fields["Rm"]]
        return f"{name}, {EXTENDS[option]}" + (f" #{amount}" if amount else "")

    def read(text: str) -> dict[str, int]:
        name, _, rest = text.partition(",")
        kind, _, amount = rest.strip().partition(" ")
        option = EXTENDS.index(kind)
        names = X_NAMES if r == "x" and option & 3 == 3 else W_NAMES
        return {
            "Rm": names.index(name.strip()),
            "option": option,
            "imm3": int(amount.strip(" #") or "0", 0),
        }

    return composite(rf"[wx]\w+\s*,\s*(?:{'|'.join(EXTENDS)})(?:\s+#\d+)?", show, read)


def index(scale: int) -> CompositeKind:
    """``x3, lsl #3`` or ``w3, sxtw #3``: a register as an index; it is multiplied by the size of
    what it counts, or not."""

    def show(fields: Mapping[str, int]) -> str:
        option, scaled = fields["option"], fields["S"]
        name = (X_NAMES if option & 1 else W_NAMES)[fields["Rm"]]
        if option == 3:
            return f"{name}, lsl #{scale}" if scaled else name
        return f"{name}, {EXTENDS[option]}" + (f" #{scale}" if scaled else "")

    def read(text: str) -> dict[str, int]:
        name, _, rest = text.partition(",")
        kind, _, _ = rest.strip().partition(" ")
        names = X_NAMES if name[0] == "x" else W_NAMES
        option = 3 if kind in ("", "lsl") else EXTENDS.index(kind)
        return {"Rm": names.index(name.strip()), "option": option, "S": int("#" in rest)}

    return composite(r"[wx]\w+(?:\s*,\s*(?:lsl|uxtw|sxtw|sxtx)(?:\s+#\d+)?)?", show, read)


def following(names: tuple[str, ...]) -> OperandKind:
    """The register behind an even one, which a field names."""
    return OperandKind(
        lambda value, width, pc: names[value + 1],
        lambda text, width, pc: names.index(text) - 1,
    )


def by_twelve() -> CompositeKind:
    """``, lsl #12``: the field ``sh`` of immediates."""
    return composite(
        r"(?:\s*,\s*lsl\s+#12)?",
        lambda fields: ", lsl #12" if fields["sh"] else "",
        lambda text: {"sh": int(bool(text))},
    )


def by_halfwords() -> CompositeKind:
    """``, lsl #16``: the field ``hw`` of move wide."""

    def read(text: str) -> dict[str, int]:
        amount = int(text.rpartition("#")[2], 0) if text else 0
        return {"hw": {0: 0, 16: 1, 32: 2, 48: 3}[amount]}

    return composite(
        r"(?:\s*,\s*lsl\s+#\d+)?",
        lambda fields: f", lsl #{16 * fields['hw']}" if fields["hw"] else "",
        read,
    )


def bit_mask(n: int, immr: int, imms: int, width: int) -> int | None:
    """DecodeBitMasks (J1.1.3): a run of ones, rotated and repeated; None if reserved."""
    length = (n << 6 | ~imms & 63).bit_length() - 1
    if length < 1:
        return None
    size = 1 << length
    levels = size - 1
    ones, rotation = imms & levels, immr & levels
    if ones == levels or size > width:
        return None
    run = (1 << (ones + 1)) - 1
    element = (run >> rotation | run << (size - rotation)) & ((1 << size) - 1)
    return sum(element << at for at in range(0, width, size))


def _masks(width: int) -> CompositeKind:
    def show(fields: Mapping[str, int]) -> str:
        mask = bit_mask(fields.get("N", 0), fields["immr"], fields["imms"], width)
        return f"#{mask:#x}" if mask is not None else "#reserved"

    def read(text: str) -> dict[str, int]:
        wanted = int(text.removeprefix("#"), 0) & ((1 << width) - 1)
        return _inverse(width)[wanted]

    return composite(r"#?-?\w+", show, read)


@cache
def _inverse(width: int) -> dict[int, dict[str, int]]:
    """The fields of every mask; those of the assembler's choice, which has no bit too many."""
    found: dict[int, dict[str, int]] = {}
    for n in range(2 if width == 64 else 1):
        for imms in range(64):
            length = (n << 6 | ~imms & 63).bit_length() - 1
            for immr in range(1 << max(length, 0)):
                mask = bit_mask(n, immr, imms, width)
                if mask is not None:
                    found[mask] = {"N": n, "immr": immr, "imms": imms}
    return (
        found if width == 64 else {k: {n: f[n] for n in ("immr", "imms")} for k, f in found.items()}
    )


def page_relative() -> OperandKind:
    """An address in units of pages from the page of the instruction."""

    def show(value: int, width: int, pc: int) -> str:
        return hex((pc & ~0xFFF) + (signed(value, width) << 12) & 0xFFFF_FFFF_FFFF_FFFF)

    def read(text: str, width: int, pc: int) -> int:
        distance = (int(text, 0) - (pc & ~0xFFF)) & 0xFFFF_FFFF_FFFF_FFFF
        if distance & 0xFFF:
            raise ValueError(f"{text} is not the address of a page")
        return in_range(signed(distance, 64) >> 12, width, True)

    return OperandKind(show, read)


def fraction_bits() -> OperandKind:
    """``#16``: places behind the binary point; the field counts down from its whole range."""
    return OperandKind(
        lambda value, width, pc: f"#{(1 << width) - value}",
        lambda text, width, pc: in_range((1 << width) - int(text.strip("#"), 0), width, False),
    )


def _read_upper_bit(text: str, width: int, pc: int) -> int:
    return in_range(int(text.removeprefix("#"), 0) - 32, width, False)


def ending(field: str, *texts: str) -> CompositeKind:
    """The end of a name, by a field."""
    return composite(
        "|".join(texts),
        lambda fields: texts[fields[field]],
        lambda text: {field: texts.index(text)},
    )


KINDS: dict[str, Kind] = {
    "u": number(),
    "s": number(is_signed=True),
    "rel": number(is_signed=True, relative=True),
    "page": page_relative(),
    "x": named(X_NAMES),
    "w": named(W_NAMES),
    "xsp": named((*X_NAMES[:31], "sp")),
    "wsp": named((*W_NAMES[:31], "wsp")),
    "cond": named(CONDITIONS),
    "i": hash_number(),
    "i32": OperandKind(lambda value, width, pc: f"#{value + 32}", _read_upper_bit),
    "is": hash_number(is_signed=True),
    "fbits": fraction_bits(),
    "ix": hash_number(base=16),
    **{f"i{scale}": hash_number(scale=scale) for scale in (2, 4, 8, 16)},
    **{f"is{scale}": hash_number(is_signed=True, scale=scale) for scale in (2, 4, 8, 16)},
    "shift6": shifted("imm6"),
    "extend_w": extend("w"),
    "extend_x": extend("x"),
    **{f"index{scale}": index(scale) for scale in range(5)},
    "x_next": following(X_NAMES),
    "w_next": following(W_NAMES),
    **SIMD,
    "user": ending("user", "", "t"),
    "hint": ending("hint", "", "n"),
    "whose": ending("users", "", "wt", "rt", "t"),
    "hints": ending("hints", "", "wn", "rn", "n"),
    "sh12": by_twelve(),
    "hw": by_halfwords(),
    "mask32": _masks(32),
    "mask64": _masks(64),
}
