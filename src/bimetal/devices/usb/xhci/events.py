"""Event rings: what the controller tells software, and when it interrupts it (xHCI 1.1, sections
4.9.4 and 4.17).

Events for which there is no room wait, and as long as some do, nothing is done that would make
more. What software does to ports and by stopping commands makes some nevertheless: those that it
lets wait for too long are lost. Interrupts are not moderated: each is sent as soon as software has
finished with the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from bimetal.base.state import Stateful
from bimetal.devices.usb.xhci.trb import TRB_SIZE, Kind, event
from bimetal.memory.space import AddressSpace

__all__ = ["SEGMENTS_LIMIT", "WAITING_LIMIT", "Interrupter"]

SEGMENTS_LIMIT = 16
"""Segments of a ring."""
SEGMENT_LEAST, SEGMENT_MOST = 16, 4096
"""Blocks of a segment (6.5)."""
WAITING_LIMIT = 2 * SEGMENT_MOST
"""Events that may wait: more than the blocks of one transfer can make."""
_SEGMENT = Struct("<QI4x")

Event = tuple[int, int, int]
"""Parameter, status and control, but for the cycle."""


class Interrupter(Stateful):
    """One ring with its interrupt. ``table`` has ``segments`` entries, ``dequeue`` is how far
    software has come; ``busy`` says that it has not finished with the last interrupt. ``pending``
    and ``enabled`` are those of the interrupt, of which ``changed`` hears."""

    saved = (
        *("table", "segments", "dequeue", "busy", "pending", "enabled"),
        *("cycle", "segment", "place", "due", "waiting"),
    )
    fixed = ("_memory", "_changed")

    def __init__(self, memory: AddressSpace, changed: Callable[[], None]):
        self._memory, self._changed = memory, changed
        self.reset()

    def reset(self) -> None:
        """Go to the state after power-on."""
        self.table = self.segments = self.dequeue = 0
        self.busy = self.pending = self.enabled = False
        self.begin()

    def begin(self) -> None:
        """Software has laid out a ring: use it from its start on."""
        self.cycle, self.segment, self.place = True, 0, 0
        """The cycle, and where the next event goes."""
        self.due = False
        """Whether there is something of which software has not been told by an interrupt."""
        self.waiting: list[Event] = []
        """Events for which there is no room yet."""

    def post(self, kind: Kind, parameter: int, status: int, control: int, quietly: bool) -> bool:
        """Tell software something, and interrupt it if not ``quietly``; whether there is room for
        that, even to wait. Raises `BadAddress`."""
        if not self._laid_out:
            return True
        if len(self.waiting) >= WAITING_LIMIT:
            return False
        self.waiting.append((parameter, status, control | kind << 10))
        self.due |= not quietly
        self.flush()
        return True

    def flush(self) -> None:
        """Write what waits, as far as there is room. Raises `BadAddress`."""
        while self.waiting:
            base, size = self._segment(self.segment)
            following = self.place + 1, self.segment
            if self.place + 1 >= size:
                following = 0, (self.segment + 1) % self.segments
            start = base if following[1] == self.segment else self._segment(following[1])[0]
            if start + TRB_SIZE * following[0] == self.dequeue:
                break
            data = event(*self.waiting[0], cycle=self.cycle)
            at = base + TRB_SIZE * self.place
            self._memory.view(at, TRB_SIZE, writable=True)[:] = data
            del self.waiting[0]
            self.cycle ^= following == (0, 0)
            self.place, self.segment = following
        self._raise()

    def advance(self, dequeue: int, *, finished: bool) -> None:
        """Software has come as far as ``dequeue``, and has perhaps ``finished`` with the interrupt.
        Raises `BadAddress`."""
        self.dequeue = dequeue
        if self._laid_out:
            self.due |= bool(self.waiting)
            self.flush()
        if finished:
            self.busy = False
            self.due = self.due or self._is_behind()
            self._raise()

    @property
    def _laid_out(self) -> bool:
        """Whether software has said where the ring is."""
        return bool(self.segments and self.table)

    def _is_behind(self) -> bool:
        """Whether there are events that software has not taken."""
        if not self._laid_out:
            return False
        return self._segment(self.segment)[0] + TRB_SIZE * self.place != self.dequeue

    def _raise(self) -> None:
        if self.due and not self.busy:
            self.due, self.busy, self.pending = False, True, True
            self._changed()

    def _segment(self, number: int) -> tuple[int, int]:
        """Address and number of blocks of a segment."""
        entry = self._memory.view(self.table + _SEGMENT.size * number, _SEGMENT.size)
        base, size = _SEGMENT.unpack(entry)
        return base & ~63, min(max(size & 0xFFFF, SEGMENT_LEAST), SEGMENT_MOST)
