"""Operand kinds of A64 assembly (C1.2), by the names that descriptions use in their templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...ir.ops import signed
from ..text import CompositeKind, Kind, OperandKind, in_range, named, number

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


def tail(
    shape: str, show: Callable[[Mapping[str, int]], str], read: Callable[[str], Mapping[str, int]]
) -> CompositeKind:
    """Operands at the end of a line that may be left out: ``, lsl #3``."""
    return CompositeKind(lambda fields, pc: show(fields), lambda text, pc: read(text), shape)


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

    return tail(r"(?:\s*,\s*(?:lsl|lsr|asr|ror)\s+#?\d+)?", show, read)


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

    return tail(rf"[wx]\w+\s*,\s*(?:{'|'.join(EXTENDS)})(?:\s+#\d+)?", show, read)


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

    return tail(r"[wx]\w+(?:\s*,\s*(?:lsl|uxtw|sxtw|sxtx)(?:\s+#\d+)?)?", show, read)


def following(names: tuple[str, ...]) -> OperandKind:
    """The register behind an even one, which a field names."""
    return OperandKind(
        lambda value, width, pc: names[value + 1],
        lambda text, width, pc: names.index(text) - 1,
    )


def by_twelve() -> CompositeKind:
    """``, lsl #12``: the field ``sh`` of immediates."""
    return tail(
        r"(?:\s*,\s*lsl\s+#12)?",
        lambda fields: ", lsl #12" if fields["sh"] else "",
        lambda text: {"sh": int(bool(text))},
    )


def by_halfwords() -> CompositeKind:
    """``, lsl #16``: the field ``hw`` of move wide."""

    def read(text: str) -> dict[str, int]:
        amount = int(text.rpartition("#")[2], 0) if text else 0
        return {"hw": {0: 0, 16: 1, 32: 2, 48: 3}[amount]}

    return tail(
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
        return _MASKS[width][wanted]

    return tail(r"#?-?\w+", show, read)


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


_MASKS = {width: _inverse(width) for width in (32, 64)}


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


# -- SIMD: arrangements, lanes, lists, immediates

ARRANGEMENTS = ("8b", "16b", "4h", "8h", "2s", "4s", "1d", "2d")
"""By size and Q."""


def arrangement() -> CompositeKind:
    """``16b``: what the fields size and Q say."""
    return tail(
        r"(?:8b|16b|4h|8h|2s|4s|1d|2d)",
        lambda fields: ARRANGEMENTS[fields["size"] << 1 | fields["Q"]],
        lambda text: dict(zip(("size", "Q"), divmod(ARRANGEMENTS.index(text), 2), strict=True)),
    )


def of_size(*texts: str) -> CompositeKind:
    """A text for each value of the field size."""
    return tail(
        "|".join(f"(?:{text})" for text in texts),
        lambda fields: texts[fields["size"]],
        lambda text: {"size": texts.index(text)},
    )


def doubled() -> CompositeKind:
    """The arrangement with lanes of twice the width of size and Q."""
    return tail(
        r"(?:4h|8h|2s|4s|1d|2d)",
        lambda fields: ARRANGEMENTS[fields["size"] + 1 << 1 | fields["Q"]],
        lambda text: dict(zip(("size", "Q"), divmod(ARRANGEMENTS.index(text) - 2, 2), strict=True)),
    )


def scalar_by_size(more: int) -> CompositeKind:
    """``b3``: the register Rd with the letter of the field size, or of the next sizes."""
    letters = "bhsd"[more:]
    return tail(
        rf"[{letters}]\d+",
        lambda fields: f"{letters[fields['size']]}{fields['Rd']}",
        lambda text: {"size": letters.index(text[0]), "Rd": int(text[1:])},
    )


def right_shift(lane: int) -> OperandKind:
    """``#3``: a shift to the right, which the field holds as the width less it."""
    return OperandKind(
        lambda value, width, pc: f"#{lane - value}",
        lambda text, width, pc: in_range(lane - int(text.strip("# "), 0), width, False),
    )


def by_q(size: int) -> CompositeKind:
    """An arrangement of one size: the field Q says the rest."""
    two = ARRANGEMENTS[2 * size : 2 * size + 2]
    return tail(
        "|".join(f"(?:{text})" for text in two),
        lambda fields: two[fields["Q"]],
        lambda text: {"Q": two.index(text)},
    )


def lane_number(field: str, size: int) -> CompositeKind:
    """The number of a lane in imm5 (above a one) or imm4."""
    shift = size + (field == "imm5")
    return tail(
        r"\d+",
        lambda fields: str(fields[field] >> shift),
        lambda text: {field: int(text) << shift},
    )


def register_list(count: int) -> OperandKind:
    """``{v0.16b, v1.16b}``: registers that follow one another."""

    def show(value: int, width: int, pc: int) -> str:
        return "{" + ", ".join(f"v{(value + n) % 32}.16b" for n in range(count)) + "}"

    def read(text: str, width: int, pc: int) -> int:
        first = int(text.strip("{}").split(".")[0].strip(" v"))
        if show(first, width, pc).replace(" ", "") != text.replace(" ", ""):
            raise ValueError(f"{text} does not list {count} registers that follow one another")
        return first

    return OperandKind(show, read, r"\{[^}]*\}")


def vectors(count: int) -> CompositeKind:
    """``{v1.4s, v2.4s}``: registers from Rt on, in the arrangement of size and Q."""

    def show(fields: Mapping[str, int]) -> str:
        what = ARRANGEMENTS[fields["size"] << 1 | fields["Q"]]
        return "{" + ", ".join(f"v{(fields['Rt'] + n) % 32}.{what}" for n in range(count)) + "}"

    def read(text: str) -> dict[str, int]:
        number, _, what = text.strip("{}").split(",")[0].strip().partition(".")
        size, q = divmod(ARRANGEMENTS.index(what), 2)
        return {"Rt": int(number[1:]), "size": size, "Q": q}

    return tail(rf"\{{[^}},]*(?:,[^}},]*){{{count - 1}}}\}}", show, read)


def whole_size(count: int) -> CompositeKind:
    """``#32``: the bytes of so many registers, by Q."""
    return tail(
        r"#?\d+",
        lambda fields: f"#{count * (16 if fields['Q'] else 8)}",
        lambda text: {"Q": int(int(text.strip("# ")) == 16 * count)},
    )


def each_size(count: int) -> CompositeKind:
    """``#8``: the bytes of a structure of so many elements, by size."""
    return tail(
        r"#?\d+",
        lambda fields: f"#{count << fields['size']}",
        lambda text: {"size": (int(text.strip("# ")) // count).bit_length() - 1},
    )


def lane_list(letter: str, count: int) -> CompositeKind:
    """``{v1.s, v2.s}``: a lane of each, whose number follows."""

    def show(fields: Mapping[str, int]) -> str:
        return "{" + ", ".join(f"v{(fields['Rt'] + n) % 32}.{letter}" for n in range(count)) + "}"

    def read(text: str) -> dict[str, int]:
        return {"Rt": int(text.strip("{}").split(".")[0].strip(" v"))}

    return tail(rf"\{{[^}},]*\.{letter}(?:,[^}},]*){{{count - 1}}}\}}", show, read)


def structure_lane(size: int) -> CompositeKind:
    """The number of a lane in Q, S and size, as far as the size of a lane leaves them."""

    def show(fields: Mapping[str, int]) -> str:
        number = fields["Q"] << 3 | fields.get("S", 0) << 2 | fields.get("size", 0)
        return str(number >> size)

    def read(text: str) -> dict[str, int]:
        number = int(text) << size
        found = {"Q": number >> 3}
        if size < 3:
            found["S"] = number >> 2 & 1
        if size < 2:
            found["size"] = number & 3
        return found

    return tail(r"\d+", show, read)


def shift_of_immediate(word: str, lowest: int) -> CompositeKind:
    """``, lsl #8``, by the field ``shift`` in bytes."""

    def show(fields: Mapping[str, int]) -> str:
        amount = 8 * (fields["shift"] + lowest)
        return f", {word} #{amount}" if amount else ""

    def read(text: str) -> dict[str, int]:
        return {"shift": (int(text.rpartition("#")[2]) // 8 if text else 0) - lowest}

    return tail(rf"(?:\s*,\s*{word}\s+#\d+)?", show, read)


def byte_mask() -> OperandKind:
    """A byte of zeros or ones for each bit."""

    def show(value: int, width: int, pc: int) -> str:
        return f"#{sum(0xFF << 8 * n for n in range(8) if value >> n & 1):#x}"

    def read(text: str, width: int, pc: int) -> int:
        number = int(text.removeprefix("#"), 0)
        found = sum(1 << n for n in range(8) if number >> 8 * n & 1)
        if show(found, width, pc) != f"#{number:#x}":
            raise ValueError(f"{text} has a byte that is not all zeros or ones")
        return found

    return OperandKind(show, read)


def float_immediate() -> OperandKind:
    """A number with four bits of significand and three of exponent (VFPExpandImm)."""

    def value_of(imm8: int) -> float:
        exponent = (imm8 >> 4 & 3) - 3 if imm8 & 0x40 else (imm8 >> 4 & 3) + 1
        return (-1.0 if imm8 & 0x80 else 1.0) * (16 + (imm8 & 15)) / 16 * 2.0**exponent

    values = {value_of(n): n for n in range(256)}
    return OperandKind(
        lambda value, width, pc: f"#{value_of(value):.18e}",
        lambda text, width, pc: values[float(text.removeprefix("#"))],
        r"#?-?[\d.]+(?:e[+-]?\d+)?",
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
    "b": named(tuple(f"b{n}" for n in range(32))),
    "h": named(tuple(f"h{n}" for n in range(32))),
    "s_": named(tuple(f"s{n}" for n in range(32))),
    "d": named(tuple(f"d{n}" for n in range(32))),
    "q": named(tuple(f"q{n}" for n in range(32))),
    "v": named(tuple(f"v{n}" for n in range(32))),
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
    "arrangement": arrangement(),
    "doubled": doubled(),
    "wide": of_size("8h", "4s", "2d"),
    "narrow0": of_size("8b", "4h", "2s"),
    "narrow1": of_size("16b", "8h", "4s"),
    "of_scalar": scalar_by_size(0),
    "long_scalar": scalar_by_size(1),
    **{f"right{lane}": right_shift(lane) for lane in (8, 16, 32, 64)},
    "bytes": by_q(0),
    **{f"vlist{count}": vectors(count) for count in range(1, 5)},
    **{f"all{count}": whole_size(count) for count in range(1, 5)},
    **{f"each{count}": each_size(count) for count in range(1, 5)},
    **{f"{c}list{count}": lane_list(c, count) for c in "bhsd" for count in range(1, 5)},
    **{f"at{size}": structure_lane(size) for size in range(4)},
    **{f"q{letter}": by_q(size) for size, letter in enumerate("bhsd")},
    **{f"lane{size}": lane_number("imm5", size) for size in range(4)},
    **{f"from{size}": lane_number("imm4", size) for size in range(4)},
    **{f"list{count}": register_list(count) for count in range(1, 5)},
    "q_h": by_q(1),
    "q_s": by_q(2),
    "lsl8": shift_of_immediate("lsl", 0),
    "msl": shift_of_immediate("msl", 1),
    "bytemask": byte_mask(),
    "float": float_immediate(),
    "sh12": by_twelve(),
    "hw": by_halfwords(),
    "mask32": _masks(32),
    "mask64": _masks(64),
}
