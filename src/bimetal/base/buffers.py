"""Vectors of buffers: what a transfer moves when its bytes do not lie together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

__all__ = ["pieces", "pour", "scatter", "split", "total"]


def total(buffers: Sequence[memoryview]) -> int:
    """The bytes of all ``buffers`` together, each of which has items of one byte."""
    return sum(map(len, buffers))


def split(buffers: Sequence[memoryview], length: int) -> tuple[list[memoryview], list[memoryview]]:
    """The first ``length`` bytes of ``buffers`` (or all there are) and the rest, uncopied."""
    first: list[memoryview] = []
    for at, buffer in enumerate(buffers):
        if length < len(buffer):
            rest = list(buffers[at:])
            if length:
                first.append(buffer[:length])
                rest[0] = buffer[length:]
            return first, rest
        first.append(buffer)
        length -= len(buffer)
    return first, []


def scatter(data: bytes | memoryview, buffers: Sequence[memoryview]) -> int:
    """Copy ``data`` to the start of ``buffers``, as far as there is room; how many bytes went."""
    at = 0
    for buffer in buffers:
        if at == len(data):
            break
        count = min(len(buffer), len(data) - at)
        buffer[:count] = data[at : at + count]
        at += count
    return at


def pour(waiting: bytearray, buffers: Sequence[memoryview]) -> int:
    """Move what waits to the start of ``buffers``, as far as there is room; how many bytes went."""
    moved = scatter(memoryview(bytes(waiting[: total(buffers)])), buffers)
    del waiting[:moved]
    return moved


def pieces(buffers: Sequence[memoryview], length: int) -> Iterable[Sequence[memoryview]]:
    """``buffers``, uncopied, as vectors of ``length`` bytes each; the last may be shorter."""
    if total(buffers) <= length:  # as good as always
        return (buffers,)
    return _cut(buffers, length)


def _cut(buffers: Sequence[memoryview], length: int) -> Iterator[Sequence[memoryview]]:
    rest, left = buffers, total(buffers)
    while left > length:
        first, rest = split(rest, length)
        yield first
        left -= length
    yield rest
