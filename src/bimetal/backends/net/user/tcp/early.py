"""Segments that came before their turn."""

from __future__ import annotations

__all__ = ["Early"]

HALF = 1 << 31
MASK = 0xFFFF_FFFF

PIECES_LIMIT = 64
"""Pieces that are kept. The cable to a guest loses little and reorders less: whoever sends more of
them sends them again."""


class Early:
    """Keeps pieces of a stream until what is missing before them has come.

    Positions are sequence numbers; pieces may overlap and repeat each other.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self.size = 0
        """Bytes that are kept."""

    def add(self, sequence: int, data: bytes) -> None:
        """Keep ``data``, which begins at ``sequence``."""
        known = self._pieces.get(sequence)
        if known is not None and len(known) >= len(data):
            return
        if known is None and len(self._pieces) >= PIECES_LIMIT:
            return
        self._pieces[sequence] = data
        self.size += len(data) - len(known or b"")

    def take(self, position: int) -> bytes:
        """What follows at ``position`` without a gap; pieces before it are forgotten."""
        result = bytearray()
        for sequence in sorted(self._pieces, key=lambda at: at - position + HALF & MASK):
            end = position + len(result)
            before = end - sequence + HALF & MASK
            if before < HALF:
                break  # a gap
            data = self._pieces.pop(sequence)
            self.size -= len(data)
            result += data[before - HALF :]
        return bytes(result)
