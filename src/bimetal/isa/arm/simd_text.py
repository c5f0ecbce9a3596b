"""Operand kinds of Advanced SIMD (C1.2.4): arrangements, lanes, lists, immediates."""

from __future__ import annotations

from collections.abc import Mapping

from ..text import CompositeKind, Kind, OperandKind, composite, in_range, named

__all__ = ["SIMD"]

ARRANGEMENTS = ("8b", "16b", "4h", "8h", "2s", "4s", "1d", "2d")
"""By size and Q."""


def arrangement() -> CompositeKind:
    """``16b``: what the fields size and Q say."""
    return composite(
        r"(?:8b|16b|4h|8h|2s|4s|1d|2d)",
        lambda fields: ARRANGEMENTS[fields["size"] << 1 | fields["Q"]],
        lambda text: dict(zip(("size", "Q"), divmod(ARRANGEMENTS.index(text), 2), strict=True)),
    )


def of_size(*texts: str) -> CompositeKind:
    """A text for each value of the field size."""
    return composite(
        "|".join(f"(?:{text})" for text in texts),
        lambda fields: texts[fields["size"]],
        lambda text: {"size": texts.index(text)},
    )


def doubled() -> CompositeKind:
    """The arrangement with lanes of twice the width of size and Q."""
    return composite(
        r"(?:4h|8h|2s|4s|1d|2d)",
        lambda fields: ARRANGEMENTS[fields["size"] + 1 << 1 | fields["Q"]],
        lambda text: dict(zip(("size", "Q"), divmod(ARRANGEMENTS.index(text) - 2, 2), strict=True)),
    )


def scalar_by_size(field: str, more: int = 0) -> CompositeKind:
    """``b3``: a register with the letter of the field size, or of the next sizes."""
    letters = "bhsd"[more:]
    return composite(
        rf"[{letters}]\d+",
        lambda fields: f"{letters[fields['size']]}{fields[field]}",
        lambda text: {"size": letters.index(text[0]), field: int(text[1:])},
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
    return composite(
        "|".join(f"(?:{text})" for text in two),
        lambda fields: two[fields["Q"]],
        lambda text: {"Q": two.index(text)},
    )


def lane_number(field: str, size: int) -> CompositeKind:
    """The number of a lane in imm5 (above a one) or imm4."""
    shift = size + (field == "imm5")
    return composite(
        r"\d+",
        lambda fields: str(fields[field] >> shift),
        lambda text: {field: int(text) << shift},
    )


def unsaid(field: str) -> CompositeKind:
    """A field that means nothing, and that texts do not say."""
    return composite("", lambda fields: "", lambda text: {field: 0})


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

    return composite(rf"\{{[^}},]*(?:,[^}},]*){{{count - 1}}}\}}", show, read)


def whole_size(count: int) -> CompositeKind:
    """``#32``: the bytes of so many registers, by Q."""
    return composite(
        r"#?\d+",
        lambda fields: f"#{count * (16 if fields['Q'] else 8)}",
        lambda text: {"Q": int(int(text.strip("# ")) == 16 * count)},
    )


def each_size(count: int) -> CompositeKind:
    """``#8``: the bytes of a structure of so many elements, by size."""
    return composite(
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

    return composite(rf"\{{[^}},]*\.{letter}(?:,[^}},]*){{{count - 1}}}\}}", show, read)


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

    return composite(r"\d+", show, read)


def shift_of_immediate(word: str, lowest: int) -> CompositeKind:
    """``, lsl #8``, by the field ``shift`` in bytes."""

    def show(fields: Mapping[str, int]) -> str:
        amount = 8 * (fields["shift"] + lowest)
        return f", {word} #{amount}" if amount else ""

    def read(text: str) -> dict[str, int]:
        return {"shift": (int(text.rpartition("#")[2]) // 8 if text else 0) - lowest}

    return composite(rf"(?:\s*,\s*{word}\s+#\d+)?", show, read)


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


def quarters() -> OperandKind:
    """An angle in degrees."""
    return OperandKind(
        lambda value, width, pc: f"#{90 * value}",
        lambda text, width, pc: in_range(int(text.strip("# ")) // 90, width, False),
        r"#?(?:0|90|180|270)\b",
    )


SIMD: dict[str, Kind] = {
    "b": named(tuple(f"b{n}" for n in range(32))),
    "h": named(tuple(f"h{n}" for n in range(32))),
    "s_": named(tuple(f"s{n}" for n in range(32))),
    "d": named(tuple(f"d{n}" for n in range(32))),
    "q": named(tuple(f"q{n}" for n in range(32))),
    "v": named(tuple(f"v{n}" for n in range(32))),
    "arrangement": arrangement(),
    "doubled": doubled(),
    "wide": of_size("8h", "4s", "2d"),
    "narrow0": of_size("8b", "4h", "2s"),
    "narrow1": of_size("16b", "8h", "4s"),
    **{f"scalar_{field}": scalar_by_size(field) for field in ("Rd", "Rn", "Rm")},
    **{f"long_{field}": scalar_by_size(field, 1) for field in ("Rd", "Rn")},
    "lane_bits": of_size("#8", "#16", "#32"),
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
    "any_lane": unsaid("imm5"),
    "q_h": by_q(1),
    "q_s": by_q(2),
    "lsl8": shift_of_immediate("lsl", 0),
    "msl": shift_of_immediate("msl", 1),
    "bytemask": byte_mask(),
    "float": float_immediate(),
    "quarters": quarters(),
}
