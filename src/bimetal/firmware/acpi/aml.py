"""ACPI Machine Language: the few terms that describe devices of a board, and their resources.

Source: ACPI Specification 6.5, chapter 20 (AML) and section 6.4 (resource data types).
"""

from __future__ import annotations

import struct
from uuid import UUID

__all__ = [
    "device",
    "eisa_id",
    "extended_interrupt",
    "gpio_interrupt",
    "integer",
    "io_ports",
    "irq",
    "memory32",
    "method",
    "name",
    "notify",
    "package",
    "resources",
    "scope",
    "string",
    "uuid",
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
END_TAG = b"\x79\x00"


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


def method(path: str, *terms: bytes) -> bytes:
    """``Method (path) { terms }``, without arguments."""
    return METHOD_OP + sized(name_string(path) + b"\0" + b"".join(terms))


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


def extended_interrupt(number: int) -> bytes:
    """``Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive)`` (6.4.3.6)."""
    body = b"\x01\x01" + number.to_bytes(4, "little")
    return b"\x89" + len(body).to_bytes(2, "little") + body


def gpio_interrupt(controller: str, line: int) -> bytes:
    """``GpioInt (Edge, ActiveHigh, Exclusive, PullDown, 0, controller) { line }`` (6.4.3.8.1)."""
    source = controller.encode("ascii") + b"\0"
    header, pins = 23, 2
    body = bytes((1, 0)) + struct.pack("<HHBHH", 1, 1, 2, 0, 0)
    body += struct.pack("<HBHHH", header, 0, header + pins, header + pins + len(source), 0)
    body += struct.pack("<H", line) + source
    return b"\x8c" + len(body).to_bytes(2, "little") + body
