"""The words behind the name of a network: ``user,hostfwd=tcp::2222-:22,restrict=on``."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from

__all__ = ["Options", "Words", "refusal", "split_words"]

Words = Sequence[tuple[str, str]]
"""Names and values in the order in which they were written; a word without a value has ""."""


def split_words(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The first word of ``text``, and the others as names and values. A comma inside a word is
    written twice."""
    first, *others = [word.replace("\0", ",") for word in text.replace(",,", "\0").split(",")]
    pairs = [word.partition("=") for word in others if word]
    return first, [(name, value) for name, _, value in pairs]


class Options:
    """The words for the network called ``kind``. Take what it knows, and then `finish`."""

    def __init__(self, kind: str, words: Words):
        self.kind = kind
        self._words = list(words)
        self._known: list[str] = []

    @property
    def left(self) -> Words:
        """The words that nobody has asked for yet."""
        return self._words

    def every(self, name: str) -> list[str]:
        """The values of a word that may stand several times."""
        self._known.append(name)
        values = [value for each, value in self._words if each == name]
        self._words = [word for word in self._words if word[0] != name]
        return values

    def text(self, name: str) -> str | None:
        """The value of a word that stands once; None without it. Raises `BimetalError` if it stands
        twice or has no value."""
        values = self.every(name)
        if len(values) > 1:
            raise refusal(f"{name}= stands twice for the network {self.kind}", "leave one of them")
        if values == [""]:
            raise refusal(f"{name}= has no value", f"write {name}=VALUE")
        return values[0] if values else None

    def number(self, name: str, low: int, high: int) -> int | None:
        """The value as a number from ``low`` to ``high``; None without it.

        Raises `BimetalError`.
        """
        text = self.text(name)
        if text is None:
            return None
        if not text.isdecimal() or not low <= int(text) <= high:
            raise refusal(f"{name}={text} is not right", f"give a number from {low} to {high}")
        return int(text)

    def switch(self, name: str) -> bool | None:
        """Whether something is on; the word alone means on. None without it. Raises
        `BimetalError`."""
        values = self.every(name)
        if not values:
            return None
        if len(values) > 1 or values[0] not in ("", "on", "off", "yes", "no", "true", "false"):
            raise refusal(f"{name}={values[-1]} is not right", f"write {name}=on or {name}=off")
        return values[0] in ("", "on", "yes", "true")

    def finish(self) -> None:
        """Raise `BimetalError` if a word is left, which nobody knows."""
        for name, _ in self._words:
            raise refusal(
                f"{name!r} means nothing to the network {self.kind}",
                choose_from(name, sorted(set(self._known))),
            )

    def one_of(self, *names: str) -> str:
        """Which one of ``names`` stands there. Raises `BimetalError` if not exactly one does."""
        self._known += names
        there = [name for name in names if any(each == name for each, _ in self._words)]
        if len(there) != 1:
            listed = f"{', '.join(f'{name}=' for name in names[:-1])} or {names[-1]}="
            found = "none" if not there else "more than one"
            raise refusal(f"the network {self.kind} has {found} of {listed}", "give one of them")
        return there[0]


def refusal(cause: str, remedy: str) -> BimetalError:
    """The error that words of the user are wrong."""
    return BimetalError(cause, remedy, ExitCode.USAGE)
