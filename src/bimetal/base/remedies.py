"""Remedies that were written for one command line, told on another one."""

from __future__ import annotations

import re
from collections.abc import Collection

__all__ = ["remedy_elsewhere"]

_CLAUSE = re.compile(r"(, or |; )")
_ASIDE = re.compile(r" \(--([a-z-]+)\)")
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")


def remedy_elsewhere(remedy: str, options: Collection[str] = ()) -> str:
    """The ``remedy`` without its clauses about options of ``bimetal run`` that are not among those
    of the command line at hand, by their names without hyphens. What names a whole command
    (``bimetal image info --backing-chain``) stays."""
    remedy = _ASIDE.sub(lambda aside: aside[0] if aside[1] in options else "", remedy)
    kept, joint = "", ""
    for number, piece in enumerate(_CLAUSE.split(remedy)):
        if number % 2:
            joint = piece
        elif "bimetal " in piece or all(name in options for name in _OPTION.findall(piece)):
            kept += (joint if kept else "") + piece
    return kept
