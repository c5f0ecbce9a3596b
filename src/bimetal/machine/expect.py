"""What a program waits for on a console, and what it is told when that does not come."""

from __future__ import annotations

import re

from msgspec import Struct

from bimetal.base.errors import BimetalError
from bimetal.machine.result import Result

__all__ = ["EndOfRun", "Found", "TimedOut", "Waits", "Wanted", "as_text", "still_runs"]

Waits = str | bytes | re.Pattern[str] | re.Pattern[bytes]
"""What can be waited for: a text as it stands, or a compiled regular expression."""

LIKE_A_PATTERN = re.compile(
    r"""
      ^\^ | \|                                # the start of a line; this or that
    | \\[dDsSwWbB.*+?()\[\]{}|^$]             # a class, or a sign that is not to mean anything
    | [.\])][*+] | \)\? | [\w\])]\{\d+,?\d*}  # repeated
    | \[\^?[^]\s]-[^]\s]                      # a class with a range
    | \(\?
    """,
    re.VERBOSE,
)


class TimedOut(BimetalError, TimeoutError):
    """What was waited for did not come in time: a TimeoutError whose remedy shows what came."""


def still_runs(seconds: float) -> TimedOut:
    """The error for a wait for the end of a run that took too long."""
    return TimedOut(f"the machine still runs after {seconds:g} s", "stop() ends it")


class EndOfRun(BimetalError):
    """The run ended before what was waited for came; ``result`` says how it ended."""

    result: Result | None = None


class Found(Struct, frozen=True):
    """What `Console.expect` saw: the ``text`` that matched, the ``groups`` of the pattern, and the
    output ``before`` it that nobody had read yet."""

    text: str
    groups: tuple[str, ...]
    before: str


class Wanted:
    """A text or a pattern, looked for in output. TypeError if it is neither.

    Patterns of characters see the output as UTF-8; each byte that is not UTF-8 is a character too,
    which only patterns like ``.`` match.
    """

    def __init__(self, wanted: Waits):
        if not isinstance(wanted, str | bytes | re.Pattern):
            raise TypeError(f"give a text or a compiled pattern, not {wanted!r}")
        self._wanted = wanted

    def find(self, data: bytes) -> tuple[Found, int] | None:
        """The first place in ``data``, and the number of bytes up to its end."""
        wanted = self._wanted
        if isinstance(wanted, str | bytes):
            return _find_bytes(re.compile(re.escape(_bytes(wanted))), data)
        if isinstance(wanted.pattern, str):
            return _find_text(wanted, data)
        return _find_bytes(wanted, data)

    def hints(self, data: bytes) -> list[str]:
        """A line on what to try instead, if a text looks as if it were meant as a pattern."""
        text = self._wanted if isinstance(self._wanted, str) else ""
        if not LIKE_A_PATTERN.search(text):
            return []
        try:
            pattern = re.compile(text)
        except re.error:
            return []
        if _find_text(pattern, data):
            return [f"as a pattern it would have been found: expect(re.compile({text!r}))"]
        return [f"a text is looked for as it stands; for a pattern: expect(re.compile({text!r}))"]

    def __str__(self) -> str:
        shown = self._wanted.pattern if isinstance(self._wanted, re.Pattern) else self._wanted
        return repr(shown)


def as_text(data: bytes) -> str:
    """Output as characters, as far as it is UTF-8."""
    return data.decode(errors="replace")


def _bytes(text: str | bytes) -> bytes:
    return text.encode(errors="surrogateescape") if isinstance(text, str) else text


def _find_bytes(pattern: re.Pattern[bytes], data: bytes) -> tuple[Found, int] | None:
    match = pattern.search(data)
    if match is None:
        return None
    groups = tuple(as_text(group or b"") for group in match.groups())
    return Found(as_text(match[0]), groups, as_text(data[: match.start()])), match.end()


def _find_text(pattern: re.Pattern[str], data: bytes) -> tuple[Found, int] | None:
    text = data.decode(errors="surrogateescape")  # so that the end can be told in bytes again
    match = pattern.search(text)
    if match is None:
        return None
    groups = tuple(as_text(_bytes(group or "")) for group in match.groups())
    before = as_text(_bytes(text[: match.start()]))
    return Found(as_text(_bytes(match[0])), groups, before), len(_bytes(text[: match.end()]))
