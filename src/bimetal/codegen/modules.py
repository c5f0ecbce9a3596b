"""Splitting a program into several LLVM modules, compiled in parallel and stored separately.

Each module declares what it uses from the others. Functions with internal linkage become external,
because the other modules find them by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["modules", "pieces"]

SIZE = 768 << 10
"""Approximate characters of text in a module: some seconds of work for LLVM."""

_DEFINITION = re.compile(r"^define (?P<rest>.*@(?P<name>[\w.]+)\(.*\)).*\{$", re.MULTILINE)
_MENTION = re.compile(r"@([\w.]+)")


def modules(head: str, groups: Iterable[Sequence[str]]) -> list[str]:
    """The texts of the modules for groups of functions, each starting with ``head``.

    No module has functions of two groups, so a change in one group leaves the modules of the others
    as they are.
    """
    texts = [piece.replace("define internal ", "define ") for piece in pieces(groups)]
    declarations = {
        match["name"]: f"declare {match['rest']}\n"
        for piece in texts
        for match in _DEFINITION.finditer(piece)
    }
    return [_module(head, piece, declarations) for piece in texts]


def pieces(groups: Iterable[Sequence[str]]) -> Iterator[str]:
    """The functions of each group, joined up to the size of a module."""
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
