"""Datagrams that arrive in pieces (RFC 791, section 3.2; RFC 8200, section 4.5)."""

from __future__ import annotations

from bimetal.backends.net.user.internet import Packet

__all__ = ["Reassembly"]

DATAGRAMS_LIMIT = 16
"""Datagrams that are incomplete at a time; the oldest makes room for the next."""

PIECES_LIMIT = 128
"""Pieces of one datagram."""

LIFETIME = 30_000_000_000
"""Nanoseconds for which a datagram waits for its last piece."""

DATAGRAM_LIMIT = 0xFFFF


class _Partial:
    """The pieces of one datagram that are there."""

    def __init__(self, now: int):
        self.since = now
        self.pieces: dict[int, bytes] = {}
        self.end: int | None = None
        self.first: Packet | None = None

    def whole(self) -> bytes | None:
        """The payload, if it is complete and no piece overlaps another."""
        if self.end is None or self.first is None:
            return None
        position = 0
        for offset in sorted(self.pieces):
            if offset != position:
                return None
            position += len(self.pieces[offset])
        return (
            b"".join(self.pieces[at] for at in sorted(self.pieces))
            if position == self.end
            else None
        )


class Reassembly:
    """Collects pieces of datagrams. Pieces that overlap spoil theirs (RFC 5722)."""

    def __init__(self) -> None:
        self._partial: dict[tuple[bytes, bytes, int, int], _Partial] = {}

    def add(self, packet: Packet, now: int) -> Packet | None:
        """The whole packet, once ``packet``, a fragment, is the last missing piece of it."""
        fragment = packet.fragment
        assert fragment is not None
        length = len(packet.payload)
        end = fragment.offset + length
        if not length or end > DATAGRAM_LIMIT or (fragment.more and length % 8):
            return None
        key = (packet.source, packet.destination, packet.protocol, fragment.identification)
        partial = self._partial.get(key)
        if partial is None or now - partial.since > LIFETIME:
            self._partial.pop(key, None)
            if len(self._partial) >= DATAGRAMS_LIMIT:
                del self._partial[next(iter(self._partial))]
            partial = self._partial[key] = _Partial(now)
        if self._spoils(partial, packet, end):
            del self._partial[key]
            return None
        partial.pieces[fragment.offset] = packet.payload
        if not fragment.more:
            partial.end = end
        if not fragment.offset:
            partial.first = packet
        payload = partial.whole()
        if payload is None or partial.first is None:
            return None
        del self._partial[key]
        # What was cut has a checksum that was made before, whoever made it.
        return partial.first._replace(payload=payload, fragment=None, trusted=False)

    @staticmethod
    def _spoils(partial: _Partial, packet: Packet, end: int) -> bool:
        """Whether a piece cannot belong to the datagram that the others make up."""
        fragment = packet.fragment
        assert fragment is not None
        known = partial.pieces.get(fragment.offset)
        if known is not None:
            return known != packet.payload
        if partial.end is not None and (end > partial.end or not fragment.more):
            return True
        return len(partial.pieces) >= PIECES_LIMIT or any(
            at < end and fragment.offset < at + len(piece) for at, piece in partial.pieces.items()
        )
