"""Values of options that are words behind commas: ``size=20,format=qcow2``."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from

__all__ = ["Words", "refused"]

SWITCH = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


class Words:
    """The words of the ``option`` in ``text``. The first may be the value of ``first`` alone. Each
    is one of ``known``, or one of ``without_effect``, which are in ``notes``. Raises `BimetalError`
    for others."""

    def __init__(
        self,
        option: str,
        text: str,
        *,
        first: str = "",
        known: Collection[str],
        without_effect: Collection[str] = (),
    ):
        self.option = option
        self.notes: list[str] = []
        self._values: dict[str, str] = {}
        for number, part in enumerate(text.replace(",,", "\0").split(",")):
            word = part.replace("\0", ",")
            name, equals, value = word.partition("=")
            if first and not number and not equals:
                name, value = first, word
            elif not equals:
                value = "on"
            if name in without_effect:
                self.notes.append(f"{option} {name}")
            elif name in known:
                self._values[name] = value
            elif word:
                raise refused(f"{option}: there is no {name[:40]!r}", choose_from(name[:40], known))

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """What a word says."""
        return self._values.get(name, default)

    def switch(self, name: str) -> bool:
        """Whether a word is there, and not off."""
        value = self._values.get(name, "off")
        if value not in SWITCH:
            raise refused(f"{self.option}: {name}={value[:40]!r} is neither on nor off", "on, off")
        return SWITCH[value]

    def number(self, name: str, default: int = 0) -> int:
        """What a word says, from 0 on."""
        value = self._values.get(name, str(default))
        if not (value.isascii() and value.isdecimal() and len(value) < 10):
            raise refused(f"{self.option}: {name}={value[:40]!r} is no number", "give one")
        return int(value)

    def choice(self, name: str, choices: Mapping[str, str], default: str) -> str:
        """What one of a few words means."""
        value = self._values.get(name, default)
        if value not in choices:
            raise refused(
                f"{self.option}: {name}={value[:40]!r} is not there", choose_from(value, choices)
            )
        return choices[value]


def refused(cause: str, remedy: str) -> BimetalError:
    """The error for what cannot be asked for."""
    return BimetalError(cause, remedy, ExitCode.USAGE)
