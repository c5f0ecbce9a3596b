"""How results of verbs are printed: virsh's columns and messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Given", "Shown", "message", "said", "table"]

Given = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """How the result of a verb is printed: by ``show``, given the arguments too. ``flags`` are
    options that change only that, with what they mean. A ``message`` is not printed to who wants
    quiet."""

    show: Callable[[Any, Given], str]
    flags: Mapping[str, str] = field(default_factory=dict)
    message: bool = False


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, quiet: bool) -> str:
    """Columns, the first line of which is ``head``."""
    shown = [*rows] if quiet else [head, *rows]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        " "
        + "   ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]
    if not quiet:
        lines.insert(1, "-" * sum(width + 3 for width in widths))
    return "\n".join(lines) + "\n"


def said(text: str) -> Shown:
    """A message about a machine, whose name it has in the place of ``{}``."""
    return Shown(lambda known, given: text.format(repr(known.name), **given) + "\n", message=True)


def message(text: str) -> Shown:
    """A message, in which ``{}`` is the result, and words in braces are arguments."""
    return Shown(lambda result, given: text.format(result, **given) + "\n", message=True)
