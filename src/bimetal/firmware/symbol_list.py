"""Lists of symbols as tools print them: the names of a guest's code, line by line.

They come in the forms of nm(1), of which the kernel's System.map and /proc/kallsyms are one, and
in those of ``nm -P``, ``readelf -s`` and ``objdump -t``. Such lists are made by scripts and edited
by people, so the form is that of most lines, and what is in none of it is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

__all__ = ["Line", "read_list"]

HEX = "[0-9a-fA-F]{1,16}"
FORMS = (
    # An address, with nm -S a size, a type, and a name, which has blanks where it is demangled;
    # then, in kallsyms, the module, or with nm -l where the source is.
    re.compile(
        rf"(?:\S+:)?(?P<address>{HEX}) (?:(?P<size>{HEX}) )?(?P<kind>[A-Za-z?-]) "
        r"(?P<name>\S[^\t]*?)(?:\s+\[(?P<module>[\w.-]+)\]|\t.*)?"
    ),
    # nm -P
    re.compile(rf"(?P<name>\S+) (?P<kind>[A-Za-z?-]) (?P<address>{HEX})(?: (?P<size>{HEX}))?"),
    # readelf -s
    re.compile(
        rf"\d+: (?P<address>{HEX}) +(?P<decimal>\d+) +(?P<kind>[A-Z_]+) +[A-Z_]+ +[A-Z]+ +"
        r"(?P<section>\S+) +(?P<name>\S.*)"
    ),
    # objdump -t
    re.compile(
        rf"(?P<address>{HEX}) .{{5}}(?P<debugging>.)(?P<kind>[ FfO]) (?P<section>\S+)\t"
        rf"(?P<size>{HEX}) +(?:\.hidden )?(?P<name>\S.*)"
    ),
)

EXPECTED = re.compile(
    r"(?:\S+:\s+)?[A-Za-z] \S.*|\S+ [A-Za-z]|\d+: .*|.*:|.*: +file format .*"
    r"|Num: .*|Symbol table .*|SYMBOL TABLE.*"
)
"""What tools print beside symbols: headings, and symbols without a place or a name."""
SAMPLE = 1000
"""Lines by which the form of a list is known."""

CODE = ("T", "t", "W", "w", "i", "F", "FUNC", "GNU_IFUNC", "IFUNC")
UNTYPED = ("NOTYPE", " ")
NOWHERE = ("UND", "*UND*", "ABS", "*ABS*")
DATA = (".data", ".rodata", ".bss", ".sdata", ".sbss")


class Line(Struct, frozen=True):
    """A symbol; ``size`` is 0 where the list does not tell, ``module`` empty for the kernel's own.

    What is no code is worth knowing too: code ends there.
    """

    address: int
    size: int
    name: str
    module: str
    is_code: bool


def read_list(text: str) -> tuple[list[Line], int]:
    """The symbols that ``text`` lists, and how many of its lines say something else."""
    lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
    form = _form_of(lines[:SAMPLE]) or _form_of(lines)
    if form is None:
        return [], len(lines)
    matches = [form.fullmatch(line) for line in lines]
    odd = sum(
        match is None and not _is_expected(line) for line, match in zip(lines, matches, strict=True)
    )
    return list(_symbols(match.groupdict() for match in matches if match)), odd


def _form_of(lines: list[str]) -> re.Pattern[str] | None:
    """The form of ``lines``: that in which most of them have the longest addresses, since names
    may look like numbers, as ``add`` does."""
    scores = {
        form: sum(len(match["address"]) for line in lines if (match := form.fullmatch(line)))
        for form in FORMS
    }
    best = max(FORMS, key=scores.__getitem__)
    return best if scores[best] else None


def _is_expected(line: str) -> bool:
    """Whether a line is what tools print beside symbols: headings, or symbols without a place."""
    return EXPECTED.fullmatch(line) is not None


def _symbols(found: Iterator[dict[str, str | None]]) -> Iterator[Line]:
    for each in found:
        kind, section = str(each["kind"]), each.get("section") or ""
        size = int(each.get("decimal") or 0) or int(each.get("size") or "0", 16)
        is_code = kind in CODE or (kind in UNTYPED and not section.startswith(DATA))
        yield Line(
            int(str(each["address"]), 16),
            size,
            str(each["name"]),
            each.get("module") or "",
            is_code and section not in NOWHERE and each.get("debugging") != "d",
        )
