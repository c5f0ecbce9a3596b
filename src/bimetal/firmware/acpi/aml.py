"""ACPI Machine Language: the few terms that describe devices of a board, and their resources.

Source: ACPI Specification 6.5, chapter 20 (AML) and section 6.4 (resource data types).
"""

from __future__ import annotations

import struct
from uuid import UUID

__all__ = [
    "BUS",
    "IO",
    "MEMORY",
    "address_space",
    "argument",
    "bitwise_and",
    "bitwise_or",
    "device",
    "different",
    "dword_field",
    "eisa_id",
    "equal",
    "extended_interrupt",
    "give",
    "gpio_interrupt",
    "integer",
    "io_ports",
    "irq",
    "local",
    "memory32",
    "method",
    "name",
    "notify",
    "otherwise",
    "package",
    "reference",
    "resources",
    "scope",
    "store",
    "string",
    "uuid",
    "when",
]

ZERO_OP, ONE_OP = b"\x00", b"\x01"
BYTE, WORD, DWORD, QWORD, STRING = b"\x0a", b"\x0b", b"\x0c", b"\x0e", b"\x0d"
NAME_OP, SCOPE_OP, BUFFER_OP, PACKAGE_OP, DEVICE_OP = (
    b"\x08",
    b"\x10",
    b"\x11",
    b"\x12",
    b"\x5b\x82",
)
METHOD_OP, NOTIFY_OP = b"\x14", b"\x86"
DUAL_NAME, MULTI_NAME = b"\x2e", b"\x2f"
SERIALIZED = 1 << 3
NO_TARGET = b"\0"
END_TAG = b"\x79\x00"

MEMORY, IO, BUS = 0, 1, 2
"""Kinds of address spaces (6.4.3.5)."""


def integer(value: int) -> bytes:
    """An integer constant in its shortest form."""
    if value in (0, 1):
        return ONE_OP if value else ZERO_OP
    for prefix, size in ((BYTE, 1), (WORD, 2), (DWORD, 4)):
        if not value >> 8 * size:
            return prefix + value.to_bytes(size, "little")
    return QWORD + value.to_bytes(8, "little")


def string(text: str) -> bytes:
    """A string constant."""
    return STRING + text.encode("ascii") + b"\0"


def name_string(path: str) -> bytes:
    """A path of names like ``\\_SB.COM1``; each is filled up to four characters."""
    root = b"\\" if path.startswith("\\") else b""
    segments = [part.ljust(4, "_").encode("ascii") for part in path.lstrip("\\").split(".")]
    if any(len(segment) != 4 for segment in segments):
        raise ValueError(f"{path!r} has a name of more than four characters")
    match len(segments):
        case 1:
            return root + segments[0]
        case 2:
            return root + DUAL_NAME + b"".join(segments)
        case count:
            return root + MULTI_NAME + bytes((count,)) + b"".join(segments)


def sized(content: bytes) -> bytes:
    """``content`` behind a PkgLength, which counts itself too (20.2.4)."""
    for extra in range(4):
        length = len(content) + 1 + extra
        if extra == 0 and length < 1 << 6:
            return bytes((length,)) + content
        if extra and length < 1 << 4 + 8 * extra:
            first = extra << 6 | length & 0xF
            return bytes((first,)) + (length >> 4).to_bytes(extra, "little") + content
    raise ValueError(f"{len(content)} bytes are too many for one package")


def name(path: str, value: bytes) -> bytes:
    """``Name (path, value)``."""
    return NAME_OP + name_string(path) + value


def scope(path: str, *terms: bytes) -> bytes:
    """``Scope (path) { terms }``."""
    return SCOPE_OP + sized(name_string(path) + b"".join(terms))


def device(path: str, *terms: bytes) -> bytes:
    """``Device (path) { terms }``."""
    return DEVICE_OP + sized(name_string(path) + b"".join(terms))


def method(path: str, *terms: bytes, arguments: int = 0) -> bytes:
    """``Method (path, arguments) { terms }``; one with arguments is serialized, so that it can
    give names to parts of these."""
    flags = arguments | (SERIALIZED if arguments else 0)
    return METHOD_OP + sized(name_string(path) + bytes((flags,)) + b"".join(terms))


def notify(path: str, value: int) -> bytes:
    """``Notify (path, value)``."""
    return NOTIFY_OP + name_string(path) + integer(value)


def package(*elements: bytes) -> bytes:
    """``Package () { elements }``."""
    return PACKAGE_OP + sized(bytes((len(elements),)) + b"".join(elements))


def buffer(data: bytes) -> bytes:
    """``Buffer () { data }``."""
    return BUFFER_OP + sized(integer(len(data)) + data)


def uuid(text: str) -> bytes:
    """``ToUUID (text)``: the first three groups are little-endian (19.6.142)."""
    return buffer(UUID(text).bytes_le)


def eisa_id(text: str) -> bytes:
    """A compressed EISA identifier like ``PNP0501`` (19.3.4)."""
    letters = [ord(letter) - 0x40 for letter in text[:3]]
    high = letters[0] << 10 | letters[1] << 5 | letters[2]
    return DWORD + (high << 16 | int(text[3:], 16)).to_bytes(4, "big")


# Terms of methods (20.2.5)


def argument(number: int) -> bytes:
    """``ArgN``."""
    return bytes((0x68 + number,))


def local(number: int) -> bytes:
    """``LocalN``."""
    return bytes((0x60 + number,))


def reference(path: str) -> bytes:
    """What is called ``path``."""
    return name_string(path)


def dword_field(source: bytes, at: int, path: str) -> bytes:
    """``CreateDWordField (source, at, path)``."""
    return b"\x8a" + source + integer(at) + name_string(path)


def store(value: bytes, target: bytes) -> bytes:
    """``Store (value, target)``."""
    return b"\x70" + value + target


def bitwise_and(one: bytes, other: bytes) -> bytes:
    """``And (one, other)``."""
    return b"\x7b" + one + other + NO_TARGET


def bitwise_or(one: bytes, other: bytes) -> bytes:
    """``Or (one, other)``."""
    return b"\x7d" + one + other + NO_TARGET


def equal(one: bytes, other: bytes) -> bytes:
    """``LEqual (one, other)``."""
    return b"\x93" + one + other


def different(one: bytes, other: bytes) -> bytes:
    """``LNotEqual (one, other)``."""
    return b"\x92" + equal(one, other)


def when(condition: bytes, *terms: bytes) -> bytes:
    """``If (condition) { terms }``."""
    return b"\xa0" + sized(condition + b"".join(terms))


def otherwise(*terms: bytes) -> bytes:
    """``Else { terms }``, behind `when`."""
    return b"\xa1" + sized(b"".join(terms))


def give(value: bytes) -> bytes:
    """``Return (value)``."""
    return b"\xa4" + value


# Resources


def resources(*descriptors: bytes) -> bytes:
    """A resource template: the value of ``_CRS``."""
    return buffer(b"".join(descriptors) + END_TAG)


def io_ports(first: int, count: int) -> bytes:
    """``IO (Decode16)``: ``count`` ports from ``first`` on (6.4.2.5)."""
    port = first.to_bytes(2, "little")
    return b"\x47\x01" + port + port + bytes((1, count))


def irq(number: int) -> bytes:
    """``IRQNoFlags``: an edge-triggered, active-high ISA interrupt (6.4.2.1)."""
    return b"\x22" + (1 << number).to_bytes(2, "little")


def memory32(base: int, size: int) -> bytes:
    """``Memory32Fixed (ReadWrite)`` (6.4.3.4)."""
    body = b"\x01" + base.to_bytes(4, "little") + size.to_bytes(4, "little")
    return b"\x86" + len(body).to_bytes(2, "little") + body


def address_space(kind: int, first: int, last: int, moved: int, size: int) -> bytes:
    """``WordBusNumber``, ``DWordIO``, ``DWordMemory`` or ``QWordMemory``, with addresses of
    ``size`` bytes: a range that a bridge hands on. CPUs see it ``moved`` bytes further on
    (6.4.3.5)."""
    fixed, whole, writable = 0xC, 3, 1
    flags = {MEMORY: writable, IO: whole, BUS: 0}[kind]
    body = bytes((kind, fixed, flags))
    for number in (0, first, last, moved, last - first + 1):
        body += number.to_bytes(size, "little")
    tag = {2: b"\x88", 4: b"\x87", 8: b"\x8a"}[size]
    return tag + len(body).to_bytes(2, "little") + body


def extended_interrupt(number: int, *, edge: bool = False) -> bytes:
    """``Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive)``, or ``Edge`` (6.4.3.6)."""
    body = bytes((3 if edge else 1, 1)) + number.to_bytes(4, "little")
    return b"\x89" + len(body).to_bytes(2, "little") + body


def gpio_interrupt(controller: str, line: int) -> bytes:
    """``GpioInt (Edge, ActiveHigh, Exclusive, PullDown, 0, controller) { line }`` (6.4.3.8.1)."""
    source = controller.encode("ascii") + b"\0"
    header, pins = 23, 2
    body = bytes((1, 0)) + struct.pack("<HHBHH", 1, 1, 2, 0, 0)
    body += struct.pack("<HBHHH", header, 0, header + pins, header + pins + len(source), 0)
    body += struct.pack("<H", line) + source
    return b"\x8c" + len(body).to_bytes(2, "little") + body
