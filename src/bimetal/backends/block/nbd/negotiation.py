"""The client's part of the negotiation (proto.md, "Fixed newstyle negotiation")."""

from __future__ import annotations

import os
import socket
from struct import Struct

import msgspec

from bimetal.backends.block.nbd.address import Address
from bimetal.backends.block.nbd.protocol import (
    CLIENT_MAGIC,
    CONTEXT,
    EXPORT_INFO,
    GREETING,
    NAME_LIMIT,
    OLD_MAGIC,
    OPTION,
    OPTION_REPLY,
    PAYLOAD,
    REPLY_MAGIC,
    SERVER_MAGIC,
    ClientFlag,
    HandshakeFlag,
    Info,
    Option,
    Reply,
)
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Export", "NotAServer", "Refused", "negotiate", "receive"]

REPLIES = 1024
"""Replies to one option that are read."""

DATA_LIMIT = 2 * NAME_LIMIT
"""Bytes of data of a reply; none that is of use has more."""

_INFO = Struct(">H")
_SIZES = Struct(">III")
_WORD = Struct(">I")


class NotAServer(ConnectionError):
    """What the other side says is not the protocol."""


class Refused(BimetalError):
    """The server does not serve what was asked for."""


class Export(msgspec.Struct):
    """What a server serves: ``size`` bytes, with the transmission
    flags ``flags``; requests begin and end at multiples of ``minimum`` and
    have at most ``maximum`` bytes. ``structured`` replies may come in chunks; ``context`` is the
    number of what tells which parts are allocated, None if nothing does."""

    size: int = -1
    flags: int = 0
    minimum: int = 1
    maximum: int = PAYLOAD
    structured: bool = False
    context: int | None = None


def receive(connection: socket.socket, length: int) -> bytes:
    """``length`` bytes from the other side. Raises OSError, also if it hangs up."""
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise ConnectionResetError("the server hung up")
        view = view[count:]
    return bytes(data)


def negotiate(connection: socket.socket, address: Address) -> Export:
    """Come to terms with the server. Raises `Refused`, and OSError where the connection fails, of
    which `NotAServer` is one."""
    magic, kind, number = GREETING.unpack(receive(connection, GREETING.size))
    if magic != SERVER_MAGIC or kind not in (CLIENT_MAGIC, OLD_MAGIC):
        raise NotAServer("it is no NBD server")
    if kind == OLD_MAGIC or not number & HandshakeFlag.FIXED_NEWSTYLE:
        raise NotAServer("it knows only the old negotiation of 2011 and before")
    flags = ClientFlag.FIXED_NEWSTYLE
    if number & HandshakeFlag.NO_ZEROES:
        flags |= ClientFlag.NO_ZEROES
    connection.sendall(_WORD.pack(flags))
    export = Export()
    talk = _Talk(connection, address)
    export.structured = talk.ask(Option.STRUCTURED_REPLY, b"") is not None
    name = os.fsencode(address.export)
    named = _WORD.pack(len(name)) + name
    if export.structured:
        context = CONTEXT.encode()
        query = named + _WORD.pack(1) + _WORD.pack(len(context)) + context
        for kind, data in talk.ask(Option.SET_META_CONTEXT, query) or ():
            if kind == Reply.META_CONTEXT and data[4:] == context:
                (export.context,) = _WORD.unpack_from(data)
    answers = talk.ask(Option.GO, named + _INFO.pack(1) + _INFO.pack(Info.BLOCK_SIZE))
    if answers is None:
        zeroes = 0 if flags & ClientFlag.NO_ZEROES else 124
        talk.send(Option.EXPORT_NAME, name)
        try:
            data = receive(connection, EXPORT_INFO.size + zeroes)
        except ConnectionResetError as error:
            raise _unknown(address, "") from error
        answers = [(Reply.INFO, _INFO.pack(Info.EXPORT) + data[: EXPORT_INFO.size])]
    _understand(export, [data for kind, data in answers if kind == Reply.INFO])
    return export


class _Talk:
    """Options and their replies."""

    def __init__(self, connection: socket.socket, address: Address):
        self._connection, self._address = connection, address

    def send(self, option: Option, data: bytes) -> None:
        self._connection.sendall(OPTION.pack(CLIENT_MAGIC, option, len(data)) + data)

    def ask(self, option: Option, data: bytes) -> list[tuple[int, bytes]] | None:
        """The replies up to the acknowledgement; None if the server does not know the option.
        Raises `Refused` for any other error."""
        self.send(option, data)
        replies: list[tuple[int, bytes]] = []
        for _ in range(REPLIES):
            head = receive(self._connection, OPTION_REPLY.size)
            magic, replied, kind, length = OPTION_REPLY.unpack(head)
            if magic != REPLY_MAGIC or replied != option or length > DATA_LIMIT:
                raise NotAServer("it does not keep to the protocol")
            content = receive(self._connection, length)
            if kind == Reply.ACK:
                return replies
            if kind == Reply.UNSUPPORTED or (kind & 1 << 31 and option != Option.GO):
                return None
            if kind & 1 << 31:
                raise self._refusal(kind, content.decode(errors="replace"))
            replies.append((kind, content))
        raise NotAServer("it replies without end")

    def _refusal(self, kind: int, text: str) -> Refused:
        said = f": {text!r}" if text else ""
        if kind == Reply.UNKNOWN:
            return _unknown(self._address, said)
        if kind == Reply.TLS_REQUIRED:
            return Refused(
                f"the server of {str(self._address)!r} wants TLS, which is not supported",
                "have it serve without TLS on a Unix socket or the loopback, and use a tunnel",
                ExitCode.UNAVAILABLE,
            )
        return Refused(
            f"the server of {str(self._address)!r} refuses{said or f', with error {kind:#x}'}",
            "what it says tells why; its log may tell more",
            ExitCode.UNAVAILABLE,
        )


def _unknown(address: Address, said: str) -> Refused:
    return Refused(
        f"the server of {str(address)!r} has no export {address.export!r}{said}",
        "nbdinfo --list shows what it has; behind the address stands the name",
        ExitCode.NO_INPUT,
    )


def _understand(export: Export, infos: list[bytes]) -> None:
    """Note what ``infos`` tell. Raises `NotAServer` for what makes no sense."""
    for info in infos:
        kind = int.from_bytes(info[:2], "big")
        if kind == Info.EXPORT and len(info) == 2 + EXPORT_INFO.size:
            export.size, export.flags = EXPORT_INFO.unpack_from(info, 2)
        elif kind == Info.BLOCK_SIZE and len(info) == 2 + _SIZES.size:
            export.minimum, _, maximum = _SIZES.unpack_from(info, 2)
            export.maximum = min(maximum, PAYLOAD)
    smallest = export.minimum
    if export.size < 0 or export.size >= 1 << 63 or not smallest or smallest & (smallest - 1):
        raise NotAServer("what it tells of the export makes no sense")
    export.maximum -= export.maximum % smallest
    if not smallest <= export.maximum or smallest > 1 << 16:
        raise NotAServer("what it tells of the export makes no sense")
