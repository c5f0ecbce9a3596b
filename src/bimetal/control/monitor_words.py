"""Words of a language for people: each has a name, some of them shorter ones, and arguments."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import did_you_mean
from bimetal.control.managed import Managed

__all__ = ["Word", "Words"]

SHOWN = 80
"""Characters of what somebody typed that a message repeats."""


class Word(Struct, frozen=True):
    """The word ``name``, which ``run`` carries out, given the machine and the arguments, and of
    which it returns what is to be printed."""

    name: str
    run: Callable[..., str]
    help: str
    other_names: tuple[str, ...] = ()
    takes: str = ""

    def check(self, arguments: list[str]) -> None:
        """Raise `BimetalError` for the wrong number of arguments."""
        taken = [*inspect.signature(self.run).parameters.values()][1:]
        needed = [each for each in taken if each.default is inspect.Parameter.empty]
        if not len(needed) <= len(arguments) <= len(taken):
            raise BimetalError(
                f"{self.name} takes {self.takes or 'nothing'}",
                f"write {self.name} {self.takes}".rstrip(),
                ExitCode.USAGE,
            )


class Words:
    """The words that may follow ``before``, which is "" for the first word of a line."""

    def __init__(self, before: str):
        self._before = before
        self._words: dict[str, Word] = {}

    def add(self, word: Word) -> None:
        """Let ``word`` be known."""
        for name in (word.name, *word.other_names):
            self._words[name] = word

    def run(self, vm: Managed, line: str) -> str:
        """Carry out a line; what it prints. Raises `BimetalError`."""
        try:
            name, *arguments = shlex.split(line) or [""]
        except ValueError as error:
            raise BimetalError(
                f"{line[:SHOWN]!r}: {error}", "close the quotation", ExitCode.USAGE
            ) from error
        if not name:
            return ""
        word = self._words.get(name)
        if word is None:
            hint = did_you_mean(name[:SHOWN], self._words) or "'help' lists the words"
            said = f"{self._before} {name[:SHOWN]}".strip()
            raise BimetalError(f"unknown command: {said!r}; {hint}", hint, ExitCode.USAGE)
        word.check(arguments)
        return word.run(vm, *arguments)

    def listing(self) -> str:
        """All words, with what they do."""
        lines = []
        for name, word in self._words.items():
            if name == word.name:
                names = "|".join((name, *word.other_names))
                lines.append(f"{self._before} {names} {word.takes}".strip() + f" -- {word.help}\n")
        return "".join(lines)
