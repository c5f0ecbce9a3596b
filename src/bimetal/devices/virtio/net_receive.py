"""Frames of the network into the buffers of a NIC's driver (virtio 1.2, 5.1.6.3 and 5.1.6.4)."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.base.buffers import total
from bimetal.base.frames import OFFLOAD_HEADER, PLAIN, Frame
from bimetal.base.log import EventLog
from bimetal.devices.virtio.queue import Chain, QueueError, Virtqueue

__all__ = ["Receiver"]

USUAL_BUFFER = 2048
"""A guess how large the driver's buffers are, to take several from the ring at once."""

_ONE, _NONE = (1).to_bytes(2, "little"), OFFLOAD_HEADER.pack(*PLAIN)


class Receiver:
    """Fills buffers as the driver's features want it: each frame begins with a header of
    ``header_size`` bytes (12, or 10 as it once was), and is spread over several buffers if they
    are ``mergeable``. What is dropped is an event of ``events``."""

    def __init__(self, events: EventLog, header_size: int, mergeable: bool):
        self._events, self._header_size, self._mergeable = events, header_size, mergeable

    def fill(self, queue: Virtqueue, frames: Sequence[Frame]) -> int:
        """Put ``frames`` into the buffers that wait in ``queue``; how many are done with, because
        they are in memory or will never fit. Raises `QueueError`."""
        chains = queue.pop_many(len(frames))
        filled: list[tuple[Chain, int]] = []
        used = done = 0
        try:
            for frame in frames:
                length = self._header_size + sum(map(len, frame.pieces))
                count = self._gather(queue, chains, used, length)
                if count:
                    filled += self._store(frame, chains[used : used + count])
                    used += count
                elif not self._never_fits(queue, len(chains) - used):
                    break
                done += 1
        finally:
            queue.put_back(len(chains) - used)
            if filled:
                queue.push_many(filled)
        return done

    def _gather(self, queue: Virtqueue, chains: list[Chain], start: int, length: int) -> int:
        """How many of ``chains`` from ``start`` on, to which as many are added as it takes, hold
        ``length`` bytes; 0 if they do not, and then the driver tells when there are more."""
        at, room = start, 0
        while room < length:
            if at - start == queue.size:
                return 0
            if at == len(chains):
                chains += queue.pop_many(1 + (length - room) // USUAL_BUFFER)
                if at == len(chains) and not queue.rearm():
                    return 0
                continue
            if not chains[at].writable:
                raise QueueError("a buffer to receive into is not writable")
            room += total(chains[at].writable)
            at += 1
            if room < length and not self._mergeable:
                return 0
        return at - start

    def _never_fits(self, queue: Virtqueue, there: int) -> bool:
        """Whether a frame that found no room with ``there`` buffers in hand never will: then it is
        dropped, for the others behind it."""
        if (self._mergeable and there < queue.size) or not there:
            return False
        self._events.guest_error("a frame is longer than the buffers to receive into")
        return True

    def _store(self, frame: Frame, chains: Sequence[Chain]) -> list[tuple[Chain, int]]:
        """Fill ``chains``, which hold the frame, and say how many bytes are in each."""
        header = _NONE if frame.offload is PLAIN else OFFLOAD_HEADER.pack(*frame.offload)
        if self._header_size > len(header):
            header += _ONE if len(chains) == 1 else len(chains).to_bytes(2, "little")
        sources = iter((header, *frame.pieces))
        source, at = next(sources), 0
        filled = []
        for chain in chains:
            written = 0
            for target in chain.writable:
                place = 0
                while place < len(target):
                    if at == len(source):
                        if (following := next(sources, None)) is None:
                            break
                        source, at = following, 0
                    count = min(len(target) - place, len(source) - at)
                    target[place : place + count] = source[at : at + count]
                    place += count
                    at += count
                written += place
            filled.append((chain, written))
        return filled
