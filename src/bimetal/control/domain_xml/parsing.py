"""XML that anybody may have written: parsed without entities, files or networks, in bounded memory;
and what is asked of its elements, with errors that say where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lxml import etree

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import did_you_mean

__all__ = ["Element", "Notes", "attribute", "choice", "number", "parse", "place", "refused"]
__all__ += ["text_of", "unknown"]

Element = Any
"""An element of lxml, which has no types."""

SIZE_LIMIT = 1 << 20
"""Bytes of a definition."""

SHOWN = 60


class Notes(list[str]):
    """What was asked for and has no effect here."""

    def add(self, element: Element, why: str = "") -> None:
        """Note an element, and ``why`` it has no effect, or what has in its place."""
        what = f"line {element.sourceline}: {place(element)}"
        self.append(f"{what}: {why}" if why else what)


def parse(text: bytes | str, root: str) -> Element:
    """The element ``root`` that is all of a document. Raises `BimetalError`."""
    data = text.encode(errors="replace") if isinstance(text, str) else text
    if len(data) > SIZE_LIMIT:
        raise _wrong(f"a definition of {len(data)} bytes", f"it has {SIZE_LIMIT} at most")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise _wrong("a definition that is not UTF-8", "convert it: iconv -t UTF-8") from error
    if b"<!DOCTYPE" in data:
        raise _wrong("a definition with a document type", "leave <!DOCTYPE ...> away")
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        found = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _wrong(f"a definition that is no XML: {str(error)[:200]}", "correct it") from error
    if found.tag != root:
        raise _wrong(f"a definition whose root is {found.tag[:SHOWN]!r}", f"write <{root}>")
    return found


def place(element: Element) -> str:
    """Where an element is, as in ``devices/disk/source``."""
    names = [str(element.tag)[:SHOWN]]
    names += [str(above.tag)[:SHOWN] for above in element.iterancestors()]
    return "/".join(reversed(names[:-1])) or names[0]


def refused(element: Element, why: str, remedy: str = "") -> BimetalError:
    """The error for an element that cannot be what it says."""
    where = f"line {element.sourceline}: {place(element)}: {why}"
    return BimetalError(where, remedy or "change the definition", ExitCode.DATA)


def unknown(element: Element, known: Iterable[str]) -> BimetalError:
    """The error for an element that means nothing where it is."""
    name = str(element.tag)[:SHOWN]
    remedy = did_you_mean(name, known) or "leave it away"
    return refused(element, "there is no such element", remedy)


def text_of(element: Element) -> str:
    """The text of an element that has nothing else in it."""
    if len(element):
        raise refused(element[0], "only text is expected here")
    return (element.text or "").strip()


def attribute(element: Element, name: str) -> str:
    """An attribute that has to be there."""
    value = element.get(name)
    if not value:
        raise refused(element, f"the attribute {name!r} is missing")
    return str(value)


def choice(element: Element, name: str, choices: Iterable[str], default: str = "") -> str:
    """An attribute that is one of a few words, or ``default`` if it is not there."""
    value = str(element.get(name, default))
    known = [*choices]
    if value not in known:
        raise refused(
            element, f"{name}={value[:SHOWN]!r} is not there", f"choose from {', '.join(known)}"
        )
    return value


def number(element: Element, text: str) -> int:
    """A number, from 0 on."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise refused(element, f"{text[:SHOWN]!r} is no number")
    return int(text)


def _wrong(what: str, remedy: str) -> BimetalError:
    return BimetalError(f"this is {what}", remedy, ExitCode.DATA)
