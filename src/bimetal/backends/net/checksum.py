"""The Internet checksum (RFC 1071), by one long division.

65536 leaves the remainder 1 when divided by 65535, so the sum of 16-bit words with the carry
brought around is the remainder of the whole text, taken as one number.
"""

from __future__ import annotations

__all__ = ["Bytes", "filled_in", "header_checksum", "words_sum"]

Bytes = bytes | bytearray | memoryview


def words_sum(data: Bytes) -> int:
    """The sum of the big-endian words of ``data``, modulo 65535; an odd byte at the end is the high
    half of a word. Sums of several texts may be added, if all but the last have even lengths."""
    number = int.from_bytes(data, "big")
    return (number << 8 if len(data) % 2 else number) % 0xFFFF


def header_checksum(header: Bytes) -> int:
    """The checksum of an IPv4 header or an ICMP message whose own checksum is 0."""
    return (0xFFFF - words_sum(header)) % 0xFFFF


def filled_in(total: int) -> int:
    """The checksum of a TCP segment or a UDP datagram from the sum of its words and those of its
    pseudo header. Never 0, which to UDP means that there is none (RFC 768)."""
    return 0xFFFF - total % 0xFFFF
