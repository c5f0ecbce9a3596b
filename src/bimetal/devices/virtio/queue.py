"""The split virtqueue (virtio 1.2, section 2.7), the device's side of it.

Three rings lie in guest memory: the *descriptor table*, the *available ring* that the driver
fills and the *used ring* that the device fills. All of it is written by a guest that may be
hostile and may be writing while we read: every word is read once, checked, and then trusted only
as the number that it was. What the driver gets wrong raises `QueueError`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from struct import Struct

from bimetal.base.errors import GuestError
from bimetal.base.state import Stateful
from bimetal.memory.barrier import barrier, order_loads_and_stores
from bimetal.memory.space import AddressSpace, BadAddress

__all__ = ["CHAIN_LIMIT", "Chain", "QueueError", "Virtqueue"]

NEXT, WRITE, INDIRECT = 1, 2, 4
"""Flags of a descriptor (2.7.5)."""

NO_INTERRUPT = 1
"""Flag of the available ring (2.7.6)."""

DESCRIPTOR_SIZE = 16

CHAIN_LIMIT = 1024
"""Buffers in one chain. The standard says no more than the queue's size (2.7.5.2), but drivers
with indirect tables go beyond."""

BYTES_LIMIT = 1 << 32
"""Bytes in one chain (2.7.5.2)."""

_DESCRIPTOR = Struct("<QIHH")
_descriptor, _descriptors = _DESCRIPTOR.unpack_from, _DESCRIPTOR.iter_unpack
_used_element = Struct("<II").pack_into

if sys.byteorder != "little":
    raise ImportError("virtqueues need a little-endian host: ring indexes are read in place")


class QueueError(GuestError):
    """The driver broke a rule of the queue; the device stops until it is reset.

    ``detail`` holds the values, which vary without end and are logged but not counted.
    """

    def __init__(self, message: str, detail: str = ""):
        super().__init__(message)
        self.detail = detail


class Chain:
    """One request: the buffers that the device reads, then those that it writes.

    ``head`` names the request to the driver; ``count`` is that of its descriptors. Buffers are
    guest memory itself, none is empty.
    """

    __slots__ = ("count", "head", "readable", "writable")

    def __init__(
        self, head: int, count: int, readable: list[memoryview], writable: list[memoryview]
    ):
        self.head, self.count = head, count
        self.readable, self.writable = readable, writable


class Virtqueue(Stateful):
    """One queue. The transport sets ``size``, the three addresses and then `enable`; the device
    takes requests with `pop` or `pop_many` and gives them back, in the same order, with `push` or
    `push_many`.

    ``limit`` is the greatest size that the device offers. Indirect descriptors and event indexes
    are used as far as the driver accepted them (``indirect``, ``event_index``).
    """

    saved = ("size", "ready", "descriptors", "driver", "device", "_used", "_signalled")
    fixed = ("_space", "limit")
    derived = (
        "indirect", "event_index", "_seen", "_generation", "_table", "_available", "_used_ring",
        "_used_words", "_memory", "_memory_at",
    )  # fmt: skip

    def __init__(self, space: AddressSpace, limit: int):
        self._space, self.limit = space, limit
        self.reset()

    def reset(self) -> None:
        """Go to the state after a reset of the device."""
        self.size = self.limit
        self.ready = False
        self.descriptors = self.driver = self.device = 0
        self.indirect = self.event_index = False
        self._seen = 0  # how many heads were taken from the available ring, modulo 2**16
        self._used = 0  # how many were put into the used ring
        self._signalled = 0  # the value of `_used` when the driver was last told, or not told
        self._release()

    def restored(self) -> None:
        """What was taken and not given back is taken again."""
        self._seen = self._used
        self._release()

    def lay_out(self, address: int, alignment: int) -> None:
        """Have all three parts lie in a row from ``address`` on, the used ring aligned, as they do
        for legacy drivers (2.7.2)."""
        available = address + DESCRIPTOR_SIZE * self.size
        self.descriptors, self.driver = address, available
        self.device = -(-(available + 6 + 2 * self.size) // alignment) * alignment

    def enable(self) -> None:
        """Begin to use the rings. Raises `QueueError` if they cannot be where they are said to."""
        if not 0 < self.size <= self.limit or self.size & (self.size - 1):
            raise QueueError(f"queue size {self.size} is not a power of two up to {self.limit}")
        self._map()
        self._seen = self._used = self._signalled = 0
        self.ready = True

    def disable(self) -> None:
        """Stop using the rings."""
        self.ready = False
        self._release()

    def pop(self) -> Chain | None:
        """The next request of the driver, or None. Raises `QueueError`."""
        chains = self.pop_many(1)
        return chains[0] if chains else None

    def pop_many(self, limit: int, room: int | None = None) -> list[Chain]:
        """The next requests of the driver, ``limit`` at most, and none behind one with which they
        have ``room`` buffers: it is these that take the time. Raises `QueueError` if the first of
        them is wrong; a later one that is has to wait for the next call."""
        if self._generation != self._space.generation:
            self._map()
        waiting = self._available[1] - self._seen & 0xFFFF
        if not waiting:
            return []
        if waiting > self.size:
            raise QueueError("the available index runs ahead of the queue", f"by {waiting}")
        order_loads_and_stores()
        chains: list[Chain] = []
        for _ in range(min(waiting, limit)):
            head = self._available[2 + (self._seen & self.size - 1)]
            try:
                chain = self._walk(head)
            except QueueError:
                if chains:
                    break
                raise
            chains.append(chain)
            self._seen = self._seen + 1 & 0xFFFF
            if room is not None:
                room -= chain.count
                if room <= 0:
                    break
        return chains

    def put_back(self, count: int) -> None:
        """The last ``count`` requests that were taken, and not given back, are the next again."""
        self._seen = self._seen - count & 0xFFFF

    def push(self, chain: Chain, written: int) -> None:
        """Give ``chain`` back with ``written`` bytes from the start of its writable buffers.

        Raises `QueueError` if the memory of the rings went away meanwhile.
        """
        self.push_many([(chain, written)])

    def push_many(self, finished: Iterable[tuple[Chain, int]]) -> None:
        """Give several chains back at once, as `push` does one."""
        if self._generation != self._space.generation:
            self._map()
        ring, mask, used = self._used_ring, self.size - 1, self._used
        for chain, written in finished:
            _used_element(ring, 4 + 8 * (used & mask), chain.head, written)
            used += 1
        self._used = used & 0xFFFF
        order_loads_and_stores()
        self._used_words[1] = self._used

    def should_interrupt(self) -> bool:
        """Whether the driver wants to hear of what was pushed since this was last asked (2.7.7)."""
        new, old = self._used, self._signalled
        if new == old or self._generation < 0:
            return False
        self._signalled = new
        barrier()  # the new used index must be out before the driver's wish is read
        if self.event_index:
            event = self._available[2 + self.size]
            return (new - event - 1) & 0xFFFF < (new - old) & 0xFFFF
        return not self._available[0] & NO_INTERRUPT

    def rearm(self) -> bool:
        """Ask to be notified of the next request (2.7.10); whether one is there already.

        Between the end of the rings and here the driver may have added a request and seen no wish
        for a notification: so ask first and then look again.
        """
        if self.event_index:
            self._used_words[2 + 4 * self.size] = self._seen
            barrier()
        return self._available[1] != self._seen

    def _walk(self, head: int) -> Chain:
        """Collect the buffers of the chain that begins at descriptor ``head``."""
        table, entries, index = self._table, self.size, head
        readable: list[memoryview] = []
        writable: list[memoryview] = []
        memory, start = self._memory, self._memory_at
        end, length_left, steps, most = len(memory), BYTES_LIMIT, 0, entries
        in_indirect = False
        while True:
            if index >= entries:
                raise QueueError("a descriptor index lies outside its table", f"{index}")
            address, length, flags, following = _descriptor(table, DESCRIPTOR_SIZE * index)
            if flags & INDIRECT:
                if in_indirect or flags & NEXT or not self.indirect:
                    raise QueueError("an indirect descriptor stands where none may be")
                table, entries, index = self._indirect_table(address, length)
                if not steps and (chain := self._in_order(head, table)) is not None:
                    return chain
                in_indirect, most = True, steps + entries
                continue
            steps += 1
            length_left -= length
            if steps > most or length_left < 0:
                raise QueueError("a chain of descriptors is a loop or too long")
            if length:
                at = address - start
                if at >= 0 and at + length <= end:
                    buffer = memory[at : at + length]
                else:
                    buffer = self._elsewhere(address, length, flags & WRITE)
                if flags & WRITE:
                    writable.append(buffer)
                elif writable:
                    raise QueueError("a buffer to read comes after one to write")
                else:
                    readable.append(buffer)
            if not flags & NEXT:
                return Chain(head, steps, readable, writable)
            index = following

    def _in_order(self, head: int, table: memoryview) -> Chain | None:
        """The chain that `_walk` finds in an indirect table, if its descriptors follow each other
        there and all is plain, as it usually is; or None."""
        readable: list[memoryview] = []
        writable: list[memoryview] = []
        memory, start, length_left = self._memory, self._memory_at, BYTES_LIMIT
        end = len(memory)
        for count, (address, length, flags, following) in enumerate(_descriptors(table), 1):
            at, length_left = address - start, length_left - length
            if at < 0 or at + length > end or flags > NEXT | WRITE or not length:
                return None
            if flags & WRITE:
                writable.append(memory[at : at + length])
            elif writable:
                return None
            else:
                readable.append(memory[at : at + length])
            if not flags & NEXT:
                return Chain(head, count, readable, writable) if length_left >= 0 else None
            if following != count:
                return None
        return None

    def _elsewhere(self, address: int, length: int, written: int) -> memoryview:
        """A buffer that is not where the rings are."""
        try:
            return self._space.view(address, length, writable=bool(written))
        except BadAddress as error:
            raise QueueError("a buffer is not in memory", str(error)) from error

    def _indirect_table(self, address: int, length: int) -> tuple[memoryview, int, int]:
        """The table of an indirect descriptor, its number of entries, and the first one."""
        entries, rest = divmod(length, DESCRIPTOR_SIZE)
        if rest or not 0 < entries <= CHAIN_LIMIT:
            raise QueueError("an indirect table has a wrong length", f"{length} bytes")
        at = address - self._memory_at
        if at >= 0 and at + length <= len(self._memory):
            return self._memory[at : at + length], entries, 0
        try:
            return self._space.view(address, length), entries, 0
        except BadAddress as error:
            raise QueueError("an indirect table is not in memory", str(error)) from error

    def _map(self) -> None:
        """Find the rings in memory (sizes and alignments of 2.7). Raises `QueueError`."""
        size = self.size
        if self.descriptors % 16 or self.driver % 2 or self.device % 4:
            raise QueueError("a ring is not aligned")
        # The words for event indexes stand at the end of both rings whether they are used or not.
        try:
            self._table = self._space.view(self.descriptors, DESCRIPTOR_SIZE * size)
            available = self._space.view(self.driver, 6 + 2 * size)
            self._used_ring = self._space.view(self.device, 6 + 8 * size, writable=True)
            self._memory_at, self._memory = self._space.around(self.device)
        except BadAddress as error:
            self._release()
            raise QueueError("a ring is not in memory", str(error)) from error
        self._available = available.cast("H")
        self._used_words = self._used_ring.cast("H")
        self._generation = self._space.generation

    def _release(self) -> None:
        """Let go of the memory of the rings."""
        nothing = memoryview(bytearray(0))
        self._generation = -1
        self._table = self._used_ring = self._memory = nothing
        self._memory_at = 0
        self._available = self._used_words = nothing.cast("H")
