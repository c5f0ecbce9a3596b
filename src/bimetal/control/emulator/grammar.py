"""How values of options are written on QEMU's command line.

    virtio-blk-pci,drive=disk,serial=A,,B          the first word may go without its name
    socket,id=mon,path=/run/mon,server,nowait      a name alone is on, "no" before it is off
    driver=qcow2,file.driver=file,file.filename=x  dots lead into objects
    {"driver": "raw", "file": "protocol0"}         or all of it is JSON

A comma in a value is written twice. Source: QEMU, docs/system (invocation), and the rules of
qobject/keyval.c as its documentation of them says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from
from bimetal.base.sizes import parse_size

__all__ = ["Words", "read_words", "wrong"]

LENGTH_LIMIT = 1 << 17
"""Characters of a value: what Linux passes to a program in one argument (execve(2))."""
DEPTH_LIMIT = 16
SHOWN = 80

TRUE, FALSE = ("on", "yes", "true", "y"), ("off", "no", "false", "n")

Value = str | int | float | bool | list[Any] | dict[str, Any] | None


def read_words(option: str, text: str, first: str = "", repeated: Sequence[str] = ()) -> Words:
    """The value ``text`` of an ``option``, whose first word has the name ``first`` if it has none;
    of words that may be ``repeated`` it has lists. Raises `BimetalError`."""
    if len(text) > LENGTH_LIMIT:
        raise wrong(option, f"a value of {len(text)} characters", "write less")
    if text.startswith("{"):
        return Words(option, _read_json(option, text))
    nested: dict[str, Any] = {}
    for name, value in _split(option, text, first):
        if name in repeated:
            nested.setdefault(name, []).append(value)
        else:
            _put(option, nested, name, value)
    return Words(option, nested)


def wrong(option: str, what: str, remedy: str) -> BimetalError:
    """The error that there cannot be ``what`` behind an option."""
    return BimetalError(f"-{option}: {what}", remedy, ExitCode.USAGE)


class Words:
    """What is said behind ``option``, by name. Take what is known, and then `finish`: what nobody
    has taken is an error. Methods raise `BimetalError` for a value of another type."""

    def __init__(self, option: str, values: Mapping[str, Any]):
        self.option = option
        self._left = dict(values)
        self._known: list[str] = []

    def __contains__(self, name: object) -> bool:
        return name in self._left

    def take(self, name: str) -> Value:
        """Whatever is said of ``name``; None if nothing is."""
        self._known.append(name)
        value: Value = self._left.pop(name, None)
        return value

    def peek(self, name: str) -> str:
        """A text that stays there for others; "" if it is none."""
        value = self._left.get(name)
        return value if isinstance(value, str) else ""

    def text(self, name: str, default: str = "") -> str:
        """A text."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, int | str):
            return str(value)
        raise self.refused(name, value, "a text")

    def needed(self, name: str) -> str:
        """A text that has to be there."""
        value = self.text(name)
        if not value:
            raise wrong(self.option, f"there is no {name}", f"add {name}=")
        return value

    def switch(self, name: str, default: bool = False) -> bool:
        """Whether something is on."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if value in TRUE or value in FALSE:
            return value in TRUE
        raise self.refused(name, value, "on or off")

    def number(self, name: str, default: int = 0, least: int = 0, most: int = 1 << 62) -> int:
        """A whole number, which may be in hexadecimal."""
        value = self.take(name)
        if value is None:
            return default
        read = _number(value)
        if read is None or not least <= read <= most:
            raise self.refused(name, value, f"a number from {least} to {most}")
        return read

    def size(self, name: str, unit: int = 1) -> int | None:
        """A number of bytes, which may have a suffix; a number alone counts ``unit``."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if isinstance(value, str):
            try:
                return parse_size(value, unit=unit)
            except BimetalError as error:
                raise self.refused(name, value, "a size like 512M") from error
        raise self.refused(name, value, "a size like 512M")

    def inner(self, name: str) -> Words | None:
        """An object, as words of its own; None if nothing is said."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.refused(name, value, "an object")
        return Words(f"{self.option} {name}", value)

    def ignore(self, *names: str) -> None:
        """Take words that mean nothing here, whatever they say; who calls this says why."""
        for name in names:
            self.take(name)

    def only(self, name: str, *values: str) -> None:
        """Take a word that may have one of these values alone, since nothing else is there."""
        self.choice(name, *values)

    def choice(self, name: str, *values: str) -> str:
        """One of these values; the first one if nothing is said."""
        value = self.text(name, values[0])
        if value not in values:
            raise wrong(
                self.option,
                f"{name}={value[:SHOWN]} is not there",
                choose_from(value[:SHOWN], [*values]),
            )
        return value

    def rest(self) -> dict[str, Any]:
        """All that nobody has taken, which is taken now."""
        left, self._left = self._left, {}
        return left

    def finish(self) -> None:
        """Raise `BimetalError` if something is left."""
        for name in self._left:
            raise wrong(
                self.option,
                f"{name[:SHOWN]!r} is not there",
                choose_from(name[:SHOWN], sorted(set(self._known))),
            )

    def refused(self, name: str, value: object, wanted: str) -> BimetalError:
        """The error that a word has another value than one that is ``wanted``."""
        return wrong(self.option, f"{name}={value!s:.80} is not right", f"write {wanted}")


def _number(value: Value) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and 0 < len(value) <= 20:
        try:
            return int(value, 16 if value[:2] in ("0x", "0X") else 10)
        except ValueError:
            return None
    return None


def _read_json(option: str, text: str) -> dict[str, Any]:
    try:
        values = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise wrong(option, f"this is no JSON: {error}", "correct it") from error
    if not isinstance(values, dict) or not _is_shallow(values, DEPTH_LIMIT):
        raise wrong(option, "this is no object, or nests too deeply", 'write {"NAME": VALUE}')
    return values


def _is_shallow(value: Any, depth: int) -> bool:
    if isinstance(value, dict | list):
        inner: Iterable[Any] = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_shallow(each, depth - 1) for each in inner)
    return True


def _split(option: str, text: str, first: str) -> list[tuple[str, str]]:
    """The words, by name."""
    found: list[tuple[str, str]] = []
    for number, word in enumerate(text.replace(",,", "\0").split(",")):
        name, equals, value = word.partition("=")
        if equals:
            found.append((name, value.replace("\0", ",")))
        elif number == 0 and first:
            found.append((first, word.replace("\0", ",")))
        elif not word:
            raise wrong(option, "there is a comma too many", "write it twice if it is meant")
        elif word.startswith("no") and word[2:] in NEGATABLE:
            found.append((word[2:], "off"))
        else:
            found.append((word, "on"))
    return found


NEGATABLE = ("wait", "server", "delay", "telnet")
"""Names that people switch off by a "no" before them, which QEMU allows for all."""


def _put(option: str, nested: dict[str, Any], name: str, value: str) -> None:
    """Put a value where the dots in its name lead. The last of several is meant, as with QEMU."""
    *parents, last = name.split(".")
    if not all((*parents, last)) or len(parents) >= DEPTH_LIMIT:
        raise wrong(option, f"{name[:SHOWN]!r} is no name", "write NAME=VALUE")
    place = nested
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise wrong(option, f"{parent[:SHOWN]!r} is a value and an object", "say one of them")
    if isinstance(place.get(last), dict):
        raise wrong(option, f"{last[:SHOWN]!r} is a value and an object", "say one of them")
    place[last] = value
