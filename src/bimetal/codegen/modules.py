"""One program in several modules of LLVM, which are compiled side by side and kept one by one.

Every module declares what it uses of the others. What was private to the program is public, as the
others find it by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["modules"]

SIZE = 768 << 10
"""Characters of a module, about: seconds of work for LLVM."""

_DEFINITION = re.compile(r"^define (?P<rest>.*@(?P<name>[\w.]+)\(.*\)).*\{$", re.MULTILINE)
_MENTION = re.compile(r"@([\w.]+)")


def modules(head: str, groups: Iterable[Sequence[str]]) -> list[str]:
    """The modules of functions that come in groups: no module has functions of two of them, so
    that a change in one leaves the others as they are. ``head`` begins each module."""
    pieces = [piece.replace("define internal ", "define ") for piece in _pieces(groups)]
    declarations = {
        match["name"]: f"declare {match['rest']}\n"
        for piece in pieces
        for match in _DEFINITION.finditer(piece)
    }
    return [_module(head, piece, declarations) for piece in pieces]


def _pieces(groups: Iterable[Sequence[str]]) -> Iterator[str]:
    """The functions of each group, together as far as the size allows."""
    for group in groups:
        piece: list[str] = []
        for function in group:
            piece.append(function)
            if sum(map(len, piece)) > SIZE:
                yield "".join(piece)
                piece = []
        if piece:
            yield "".join(piece)


def _module(head: str, piece: str, declarations: dict[str, str]) -> str:
    own = {match["name"] for match in _DEFINITION.finditer(piece)}
    used = dict.fromkeys(_MENTION.findall(piece))
    declared = (declarations[name] for name in used if name in declarations and name not in own)
    return "".join([head, *declared, piece])
