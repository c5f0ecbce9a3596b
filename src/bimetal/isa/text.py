"""Assembly text, in and out, from one template a description.

``"lw {rd:x}, {imm:s}({rs1:x})"``: an operand names a field and, after the colon, the kind of
operand by which the ISA prints and reads it. Text is invertible as encodings are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from ..ir.ops import signed

__all__ = [
    "CompositeKind",
    "Kind",
    "OperandKind",
    "Template",
    "composite",
    "in_range",
    "named",
    "number",
    "optional",
]


class OperandKind(Struct, frozen=True):
    """How a kind of operand is printed and read.

    ``show(value, width, pc)`` gets the field as an unsigned integer of ``width`` bits and the
    address of the instruction; ``read(text, width, pc)`` gives the field back, negative if it is
    signed, or raises ValueError or KeyError. ``shape`` is the regular expression of the text,
    which may be empty.
    """

    show: Callable[[int, int, int], str]
    read: Callable[[str, int, int], int]
    shape: str = r"[^,()\[\]\s]+"


class CompositeKind(Struct, frozen=True):
    """An operand that several fields make up; a template writes it as ``{:kind}``.

    ``show(fields, pc)`` gets all fields; ``read(text, pc)`` gives back those that it stands for.
    """

    show: Callable[[Mapping[str, int], int], str]
    read: Callable[[str, int], Mapping[str, int]]
    shape: str = r"[^,()\[\]\s]+"


Kind = OperandKind | CompositeKind


def composite(
    shape: str, show: Callable[[Mapping[str, int]], str], read: Callable[[str], Mapping[str, int]]
) -> CompositeKind:
    """One whose text does not depend on where the instruction stands."""
    return CompositeKind(lambda fields, pc: show(fields), lambda text, pc: read(text), shape)


def number(is_signed: bool = False, relative: bool = False, base: int = 10) -> OperandKind:
    """A number; ``relative`` ones are printed as the address ``pc + value``."""

    def show(value: int, width: int, pc: int) -> str:
        value = signed(value, width) if is_signed else value
        if relative:
            return hex((pc + value) & 0xFFFF_FFFF_FFFF_FFFF)
        return hex(value) if base == 16 else str(value)

    def read(text: str, width: int, pc: int) -> int:
        value = int(text, 0)
        if relative:
            value = signed((value - pc) & 0xFFFF_FFFF_FFFF_FFFF, 64)
        return in_range(value, width, is_signed)

    return OperandKind(show, read)


def in_range(value: int, width: int, is_signed: bool) -> int:
    """``value``, if ``width`` bits hold it; else ValueError."""
    low = -(1 << (width - 1)) if is_signed else 0
    if not low <= value < low + (1 << width):
        raise ValueError(f"{value:#x} does not fit in {width} bits")
    return value


def named(names: Sequence[str], offset: int = 0) -> OperandKind:
    """One of ``names``; the field counts from the name number ``offset``."""
    index = {name: i for i, name in enumerate(names[offset:])}
    return OperandKind(
        lambda value, width, pc: names[value + offset],
        lambda text, width, pc: in_range(index[text], width, False),
    )


def optional(prefix: str, names: Sequence[str], default: str) -> OperandKind:
    """One of ``names`` behind ``prefix``, or nothing at all for ``default``: ``.aq``, ``, rtz``."""
    index = {"" if name == default else prefix + name: i for i, name in enumerate(names)}
    texts = list(index)
    shape = "|".join(_spaced(text) for text in sorted(texts, key=len, reverse=True))
    return OperandKind(
        lambda value, width, pc: texts[value],
        lambda text, width, pc: index[re.sub(r"\s*,\s*", ", ", text)],
        f"(?:{shape})",
    )


def _spaced(text: str) -> str:
    """The regular expression of literal text; blanks around punctuation do not matter."""
    pieces = re.split(r"\s*([,()\[\]])\s*", text)
    pieces[::2] = (re.escape(words).replace(r"\ ", r"\s+") for words in pieces[::2])
    pieces[1::2] = (rf"\s*\{mark}\s*" for mark in pieces[1::2])
    return "".join(pieces)


_OPERAND = re.compile(r"\{(\w*)(?::(\w+))?\}")


class Template:
    """One instruction's text; ``kinds`` are the ISA's operand kinds by name."""

    def __init__(self, text: str, kinds: Mapping[str, Kind]):
        self.text, self._kinds = text, kinds
        self.mnemonic = _OPERAND.sub("", text).split()[0]

    @cached_property
    def operands(self) -> Sequence[tuple[str, Kind]]:
        """The names of its operands, and what kinds they are."""
        return [(name, self._kinds[kind or "u"]) for name, kind in _OPERAND.findall(self.text)]

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        """What reads the text. Made when it is needed: an ISA has hundreds, and to run a machine
        takes none of them."""
        parts: list[str] = []
        last = 0
        for match, (_, kind) in zip(_OPERAND.finditer(self.text), self.operands, strict=True):
            parts += _spaced(self.text[last : match.start()]), f"({kind.shape})"
            last = match.end()
        return re.compile("".join(parts) + _spaced(self.text[last:]))

    def show(self, fields: Mapping[str, int], widths: Mapping[str, int], pc: int) -> str:
        """The text of an instruction at ``pc``."""
        shown = iter(
            kind.show(fields, pc)
            if isinstance(kind, CompositeKind)
            else kind.show(fields[name], widths[name], pc)
            for name, kind in self.operands
        )
        return _OPERAND.sub(lambda _: next(shown), self.text)

    def read(self, text: str, widths: Mapping[str, int], pc: int) -> dict[str, int] | None:
        """The fields that ``text`` states, or None if it is not this instruction."""
        match = self._regex.fullmatch(text.strip())
        if match is None:
            return None
        fields: dict[str, int] = {}
        try:
            for (name, kind), operand in zip(self.operands, match.groups(), strict=True):
                if isinstance(kind, CompositeKind):
                    stated = kind.read(operand, pc)
                else:
                    stated = {name: kind.read(operand, widths[name], pc)}
                if any(fields.get(n, value) != value for n, value in stated.items()):
                    return None
                fields.update(stated)
        except (ValueError, KeyError):
            return None
        return fields
