"""The server's part of the negotiation (proto.md, "Fixed newstyle negotiation")."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from struct import Struct, error

from bimetal.backends.block.nbd.exported import Exports, Terms, Wire
from bimetal.backends.block.nbd.protocol import (
    BITMAP_CONTEXT,
    CLIENT_MAGIC,
    EXPORT_INFO,
    GREETING,
    NAME_LIMIT,
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

__all__ = ["offer"]

OPTION_LIMIT = 64 << 10
"""Bytes of an option: room for a name and for many contexts."""

OPTIONS = 1000
"""Options of one client."""

PREFERRED = 64 << 10
"""Bytes of a request that suit images with clusters."""

_WORD = Struct(">I")
_INFO_EXPORT = Struct(">HQH")
_INFO_SIZES = Struct(">HIII")
_SHORT = Struct(">H")


def offer(
    exports: Exports, terms: Terms, wire: Wire, busy: Callable[[], bool] = lambda: False
) -> Generator[int, bytes, bool]:
    """Come to ``terms`` with a client, who is refused if the server is ``busy``; whether it goes on
    with requests."""
    flags = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES
    wire.put(GREETING.pack(SERVER_MAGIC, CLIENT_MAGIC, flags))
    (chosen,) = _WORD.unpack((yield _WORD.size))
    if chosen & ~(ClientFlag.FIXED_NEWSTYLE | ClientFlag.NO_ZEROES):
        return False
    for _ in range(OPTIONS):
        magic, option, length = OPTION.unpack((yield OPTION.size))
        if magic != CLIENT_MAGIC or length > OPTION_LIMIT:
            return False
        data = (yield length) if length else b""
        if option == Option.EXPORT_NAME:
            export = exports.find(data)
            if busy() or export is None:
                return False  # this option has no other way to say so
            zeroes = b"" if chosen & ClientFlag.NO_ZEROES else bytes(124)
            wire.put(EXPORT_INFO.pack(export.disk.size, terms.flags(export)), zeroes)
            terms.take(export)
            return True
        if option == Option.ABORT:
            _reply(wire, option, Reply.ACK)
            return False
        if _answer(exports, terms, wire, option, data, busy=busy()):
            return True
    return False


def _answer(
    exports: Exports, terms: Terms, wire: Wire, option: int, data: bytes, *, busy: bool
) -> bool:
    """Answer an option; whether the requests begin now."""
    try:
        if option in (Option.GO, Option.INFO):
            return _inform(exports, terms, wire, option, data, busy=busy)
        if option in (Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT):
            _contexts(exports, terms, wire, option, data)
        elif option == Option.LIST and not data:
            for name in [each.encoded for each in exports]:
                _reply(wire, option, Reply.SERVER, _WORD.pack(len(name)) + name)
            _reply(wire, option, Reply.ACK)
        elif option == Option.STRUCTURED_REPLY and not data:
            terms.structured = True
            _reply(wire, option, Reply.ACK)
        elif option in (Option.LIST, Option.STRUCTURED_REPLY):
            _reply(wire, option, Reply.INVALID, b"this option has no data")
        else:
            _reply(wire, option, Reply.UNSUPPORTED)
    except error:
        _reply(wire, option, Reply.INVALID, b"the data of this option makes no sense")
    return False


def _inform(
    exports: Exports, terms: Terms, wire: Wire, option: int, data: bytes, *, busy: bool
) -> bool:
    """Tell of an export; whether the client goes on with it. Raises struct.error."""
    name, rest = _text(data)
    (count,) = _SHORT.unpack_from(rest)
    if len(rest) != _SHORT.size * (count + 1):
        raise error("more or less than it says")
    export = exports.find(name)
    if export is None:
        _reply(wire, option, Reply.UNKNOWN, b"there is no export of that name here")
        return False
    if busy and option == Option.GO:
        _reply(wire, option, Reply.POLICY, b"in use by as many clients as it is shared with")
        return False
    flags = _INFO_EXPORT.pack(Info.EXPORT, export.disk.size, terms.flags(export))
    _reply(wire, option, Reply.INFO, flags)
    _reply(wire, option, Reply.INFO, _INFO_SIZES.pack(Info.BLOCK_SIZE, 1, PREFERRED, PAYLOAD))
    _reply(wire, option, Reply.ACK)
    if option == Option.GO:
        terms.take(export)
    return option == Option.GO


def _contexts(exports: Exports, terms: Terms, wire: Wire, option: int, data: bytes) -> None:
    """Tell which metadata there is, or note which is wanted. Raises struct.error."""
    name, rest = _text(data)
    (count,) = _WORD.unpack_from(rest)
    rest = rest[_WORD.size :]
    queries = []
    for _ in range(min(count, OPTION_LIMIT)):
        query, rest = _text(rest)
        queries.append(os.fsdecode(query))
    if rest:
        raise error("more than it says")
    if not terms.structured:
        _reply(wire, option, Reply.INVALID, b"structured replies come first")
        return
    export = exports.find(name)
    if export is None:
        _reply(wire, option, Reply.UNKNOWN, b"there is no export of that name here")
        return
    listed = option == Option.LIST_META_CONTEXT
    found = tuple(each for each in export.contexts if _is_wanted(each, queries, listed=listed))
    if not listed:
        terms.asked, terms.contexts = export, found
    for number, context in enumerate(found):
        told = 0 if listed else number
        _reply(wire, option, Reply.META_CONTEXT, _WORD.pack(told) + os.fsencode(context))
    _reply(wire, option, Reply.ACK)


def _is_wanted(context: str, queries: Sequence[str], *, listed: bool) -> bool:
    """Whether a client asks for a context; for a list, some that begin so, or all, may be asked
    for."""
    if not listed:
        return context in queries
    groups = "base:", "qemu:", BITMAP_CONTEXT
    begins = (each for each in queries if each in groups)
    return not queries or context in queries or any(map(context.startswith, begins))


def _text(data: bytes) -> tuple[bytes, bytes]:
    """The text with which ``data`` begins, and the rest. Raises struct.error."""
    (length,) = _WORD.unpack_from(data)
    end = _WORD.size + length
    if length > NAME_LIMIT or end > len(data):
        raise error("a text is cut off")
    return data[_WORD.size : end], data[end:]


def _reply(wire: Wire, option: int, kind: Reply, data: bytes = b"") -> None:
    wire.put(OPTION_REPLY.pack(REPLY_MAGIC, option, kind, len(data)), data)
