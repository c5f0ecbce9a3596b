"""Numbers and structures of the protocol (proto.md, "Values" and "Request message"), big-endian."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct

__all__ = [
    "BITMAP_CONTEXT",
    "CHUNK",
    "CHUNK_MAGIC",
    "CLIENT_MAGIC",
    "COMMON",
    "CONTEXT",
    "DEFAULT_PORT",
    "DIRTY",
    "EXPORT_INFO",
    "GREETING",
    "NAME_LIMIT",
    "OLD_MAGIC",
    "OPTION",
    "OPTION_REPLY",
    "PAYLOAD",
    "REPLY_MAGIC",
    "REQUEST",
    "REQUEST_MAGIC",
    "SERVER_MAGIC",
    "SIMPLE_MAGIC",
    "SIMPLE_REPLY",
    "Chunk",
    "ClientFlag",
    "Command",
    "CommandFlag",
    "Error",
    "HandshakeFlag",
    "Info",
    "Option",
    "Reply",
    "Status",
    "TransmissionFlag",
]  # fmt: skip

DEFAULT_PORT = 10809

PAYLOAD = 32 << 20
"""Bytes of data in a request or reply that every program takes ("Block size constraints")."""

NAME_LIMIT = 4096
"""Bytes of a name, and of any other text ("Values", string)."""

SERVER_MAGIC = b"NBDMAGIC"
CLIENT_MAGIC = b"IHAVEOPT"
OLD_MAGIC = b"\x00\x00\x42\x02\x81\x86\x12\x53"
"""What follows the first magic number: of the newstyle, and of the oldstyle negotiation."""

REPLY_MAGIC = 0x3E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_MAGIC = 0x67446698
CHUNK_MAGIC = 0x668E33EF

GREETING = Struct(">8s8sH")
OPTION = Struct(">8sII")
"""Magic number, option, bytes of data."""

OPTION_REPLY = Struct(">QIII")
"""Magic number, option, kind of reply, bytes of data."""

EXPORT_INFO = Struct(">QH")
"""Bytes of the disk, transmission flags."""

REQUEST = Struct(">IHHQQI")
"""Magic number, flags, command, cookie, offset, length."""

COMMON = Struct(">I")
SIMPLE_REPLY = Struct(">IIQ")
"""Magic number, error, cookie."""

CHUNK = Struct(">IHHQI")
"""Magic number, flags, kind, cookie, bytes that follow."""

CONTEXT = "base:allocation"
"""The metadata that tells what is allocated, and what is zero."""

BITMAP_CONTEXT = "qemu:dirty-bitmap:"
"""What the metadata begins with that tells what a dirty bitmap marks (QEMU's docs/interop/nbd.txt,
"qemu" namespace); its name follows."""

DIRTY = 1
"""What is told of a part that it marks."""


class HandshakeFlag(IntFlag):
    """What the server can in the negotiation."""

    FIXED_NEWSTYLE = 1
    NO_ZEROES = 2


class ClientFlag(IntFlag):
    """What the client can in the negotiation."""

    FIXED_NEWSTYLE = 1
    NO_ZEROES = 2


class Option(IntEnum):
    """What the client asks for in the negotiation."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class Reply(IntEnum):
    """Kinds of reply to an option."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    UNSUPPORTED = 0x8000_0001
    POLICY = 0x8000_0002
    INVALID = 0x8000_0003
    PLATFORM = 0x8000_0004
    TLS_REQUIRED = 0x8000_0005
    UNKNOWN = 0x8000_0006
    SHUTDOWN = 0x8000_0007
    BLOCK_SIZE_REQUIRED = 0x8000_0008
    TOO_BIG = 0x8000_0009


class Info(IntEnum):
    """Kinds of information on an export."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class TransmissionFlag(IntFlag):
    """What an export is and can."""

    HAS_FLAGS = 1
    READ_ONLY = 2
    FLUSH = 4
    FUA = 8
    TRIM = 32
    WRITE_ZEROES = 64
    DONT_FRAGMENT = 128
    MULTI_CONNECTION = 256


class Command(IntEnum):
    """Requests."""

    READ = 0
    WRITE = 1
    DISCONNECT = 2
    FLUSH = 3
    TRIM = 4
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    """How a request is to be done."""

    FUA = 1
    NO_HOLE = 2
    DONT_FRAGMENT = 4
    ONE_EXTENT = 8


class Chunk(IntEnum):
    """Kinds of chunks of a structured reply; ``DONE`` is the flag of the last one."""

    NONE = 0
    DATA = 1
    HOLE = 2
    BLOCK_STATUS = 5
    ERROR = 0x8001
    ERROR_OFFSET = 0x8002

    DONE = 1


class Status(IntFlag):
    """What is told of a part of the disk in the context `CONTEXT`."""

    HOLE = 1
    ZERO = 2


class Error(IntEnum):
    """Errors of requests."""

    NOT_PERMITTED = 1
    IO = 5
    NO_MEMORY = 12
    INVALID = 22
    NO_SPACE = 28
    OVERFLOW = 75
    NOT_SUPPORTED = 95
    SHUTDOWN = 108
