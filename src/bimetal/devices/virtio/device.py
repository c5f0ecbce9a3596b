"""A virtio device, whatever carries it (virtio 1.2, chapters 2 and 3).

The transport (MMIO now) hands on what the driver reads and writes: status, features, queues,
configuration. The device answers requests, and tells the transport when to interrupt.

Requests are answered in order, and a small one inside the notification that brought it. But a
guest decides how many requests there are and how large each is, so work is done in *turns*: what
is left when a turn is over goes on in another, once everybody else who waits for the machine's
lock has had it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from bimetal.base.log import EventLog
from bimetal.base.state import BadState
from bimetal.devices.part import Part
from bimetal.devices.turns import Turns
from bimetal.devices.virtio.queue import Chain, QueueError, Virtqueue
from bimetal.devices.virtio.transport import Transport
from bimetal.memory.space import AddressSpace

__all__ = ["BUFFER_COST", "PIECE", "REQUEST_COST", "TURN", "Status", "VirtioDevice", "Work"]


class Status:
    """Bits of the device status (2.1)."""

    ACKNOWLEDGE = 1
    DRIVER = 2
    DRIVER_OK = 4
    FEATURES_OK = 8
    NEEDS_RESET = 64
    FAILED = 128


INDIRECT_DESC = 1 << 28
EVENT_IDX = 1 << 29
VERSION_1 = 1 << 32
"""Features of every device (chapter 6)."""

WORD, WORDS = 0xFFFF_FFFF, 2
"""Transports show features in words, of which there are so many."""

TURN = 8 << 20
"""Bytes that are moved for a queue before others get a turn; some milliseconds."""

SETTLING_TURNS = 32
"""Turns that a queue gets to finish what is under way before a snapshot is made."""

PIECE = 4 << 20
"""Bytes of a request that are moved at once."""

REQUEST_COST, BUFFER_COST = 64 << 10, 2 << 10
"""What a request and each of its buffers count for in a turn, besides the bytes that are moved."""

Work = Generator[int, None, int]
"""A request being carried out. It yields after each piece how many bytes that counts for, and
returns how many were written from the start of the writable buffers."""


class VirtioDevice(Part):
    """The base of all virtio devices.

    ``device_id`` is the standard's number (chapter 5), ``queue_limits`` the greatest size of each
    queue, ``offered`` the features of the device's own. ``config`` is the configuration space.
    """

    device_id: ClassVar[int] = 0
    queue_limits: tuple[int, ...] = ()
    offered: int = 0
    saved: ClassVar[tuple[str, ...]] = (
        "status",
        "features",
        "config",
        "config_generation",
        "queues",
        "legacy",
    )
    fixed: ClassVar[tuple[str, ...]] = ("events", "offered", "_transport", "_defer")
    derived: ClassVar[tuple[str, ...]] = ("_under_way", "_finished", "_waiting")

    def __init__(self) -> None:
        self.events = EventLog("virtio")
        self.queues: list[Virtqueue] = []
        self.config = bytearray()
        self.status = 0
        self.features = 0
        self.config_generation = 0
        self.legacy = False
        """Whether the transport speaks to a driver from before virtio 1: one that has no
        FEATURES_OK, and may use the device before it says DRIVER_OK (3.1.2)."""
        self._under_way: list[tuple[Chain, Work] | None] = []
        """For each queue the request that is being carried out."""
        self._finished: list[list[tuple[Chain, int]]] = []
        """For each queue the requests that are finished and not answered yet."""
        self._waiting: set[int] = set()
        """The queues for which the machine was asked for another turn."""
        self._transport: Transport | None = None
        self._defer: Turns | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {self.events.source}>"

    def plug(self, transport: Transport, space: AddressSpace, defer: Turns | None = None) -> None:
        """Meet the transport and the memory. Without ``defer`` all turns are taken at once."""
        self._transport, self._defer = transport, defer
        self.queues = [Virtqueue(space, limit) for limit in self.queue_limits]
        self._under_way = [None] * len(self.queues)
        self._finished = [[] for _ in self.queues]

    # What a kind of device overrides

    def work_on(self, index: int, chain: Chain) -> Work:
        """Carry out a request of queue ``index``, at most `PIECE` bytes at once. Raises
        `QueueError`. A reset of the device or of the queue may end it between two pieces."""
        raise NotImplementedError

    def carry_on(self, index: int) -> bool:
        """Carry out requests of queue ``index`` until there are none or the turn is over, which is
        returned. Raises `QueueError`. Overridden where many requests together are less work."""
        left = TURN
        while left > 0:
            if (cost := self._step(index)) is None:
                return False
            left -= cost
        return True

    def _step(self, index: int) -> int | None:
        """Begin a request of queue ``index``, or go on with the one that is under way; what that
        counts for, None if there is nothing to do. Raises `QueueError`."""
        cost = 0
        if (request := self._under_way[index]) is None:
            if not self.has_use_for(index) or (chain := self.queues[index].pop()) is None:
                return None
            cost = REQUEST_COST + BUFFER_COST * chain.count
            request = self._under_way[index] = chain, self.work_on(index, chain)
        try:
            return cost + next(request[1])
        except StopIteration as end:
            self._under_way[index] = None
            self._finished[index].append((request[0], end.value))
            return cost

    def has_use_for(self, index: int) -> bool:
        """Whether requests of queue ``index`` can be carried out now: not those for input, say,
        while there is none. Whoever changes that calls `look`."""
        return True

    def have_a_turn(self, turns: Turns, turn: Callable[[], None]) -> None:
        """Ask for another turn."""
        turns(turn)

    def may_wait(self) -> bool:
        """Whether the requests that are finished had better be answered after the next turn: what
        they still need costs the same for more of them."""
        return False

    def before_answers(self) -> None:
        """The driver is about to hear of the requests that are finished."""

    def notified(self, index: int) -> None:
        """The driver has added buffers to queue ``index``."""

    def config_written(self, offset: int, data: bytes) -> None:
        """The driver writes ``data`` into the configuration; by default nothing is writable."""
        self.events.guest_error("write to the read-only configuration")

    def settled(self) -> None:
        """The driver has chosen its features."""

    def started(self) -> None:
        """The driver is ready, with the queues that it chose."""

    def reset(self) -> None:
        """Go to the state after power-on. Overriding methods call this one first."""
        self.status = self.features = 0
        for index, queue in enumerate(self.queues):
            queue.reset()
            self._forget(index)

    def close(self) -> None:
        """Give back what the host lent. Overriding methods call this one. Idempotent."""
        for index in range(len(self.queues)):
            self.disable_queue(index)

    def settle(self) -> None:
        """See `Part.settle`. A request that takes longer is carried out anew after `load`."""
        for index, queue in enumerate(self.queues):
            for _ in range(SETTLING_TURNS):
                if not (queue.ready and (self._under_way[index] or self._finished[index])):
                    break
                self._waiting.discard(index)
                self.look(index)
        self.before_answers()

    def load(self, state: Mapping[str, Any]) -> None:
        if len(state.get("config", b"")) != len(self.config):
            raise BadState(f"{type(self).__name__} has {len(self.config)} bytes of configuration")
        super().load(state)

    def restored(self) -> None:
        self._tell_queues()
        for index in range(len(self.queues)):
            self._forget(index)
            if self._defer is not None and self.queues[index].ready:
                self._ask_for_a_turn(index)

    # What the driver does through the transport

    @property
    def all_offered(self) -> int:
        """The features of this device and those of every device."""
        return self.offered | INDIRECT_DESC | EVENT_IDX | VERSION_1 if self.queues else 0

    @property
    def running(self) -> bool:
        """Whether the driver is ready and the device is not waiting for a reset."""
        needed = Status.DRIVER if self.legacy else Status.DRIVER_OK
        return self.status & (needed | Status.NEEDS_RESET) == needed

    def offered_word(self, select: int) -> int:
        """32 of the offered features, beginning with number 32 * ``select``."""
        return self.all_offered >> 32 * select & WORD if select < WORDS else 0

    def accepted_word(self, select: int) -> int:
        """The same of what the driver has accepted."""
        return self.features >> 32 * select & WORD if select < WORDS else 0

    def accept_word(self, select: int, word: int) -> None:
        """The driver accepts these 32 features, beginning with number 32 * ``select``."""
        if select < WORDS:
            self.accept_features(self.features & ~(WORD << 32 * select) | word << 32 * select)
        elif word:
            self.events.guest_error("features accepted beyond the first 64")

    def accept_features(self, features: int) -> None:
        """The driver chooses features, before it says FEATURES_OK (3.1.1)."""
        if self.legacy:
            self.features = features & self.all_offered & WORD
            self._use_features()
        elif self.status & Status.FEATURES_OK:
            self.events.guest_error("features chosen after FEATURES_OK")
        else:
            self.features = features

    def set_status(self, value: int) -> None:
        """The driver writes the status; 0 resets the device (2.1, 3.1.1)."""
        if value == 0:
            self.reset()
            return
        if self.status & ~value & ~Status.NEEDS_RESET:
            self.events.guest_error("status bits cleared without a reset")
        new = value & ~self.status & 0xFF & ~Status.NEEDS_RESET
        if new & Status.FEATURES_OK and not self._settle_features():
            new &= ~(Status.FEATURES_OK | Status.DRIVER_OK)
        self.status |= new
        if new & Status.DRIVER and self.legacy:
            self._use_features()  # none, for a driver that never speaks of them
        if new & Status.DRIVER_OK:
            if not (self.status & Status.FEATURES_OK or self.legacy):
                self.events.guest_error("DRIVER_OK without FEATURES_OK")
                self.features &= self.all_offered
                self._use_features()
            self.started()
            # Buffers may have been added before, and a notification then means nothing.
            for index in range(len(self.queues)):
                self.notify(index)

    def enable_queue(self, index: int) -> None:
        """The driver has set up queue ``index`` and wants it used."""
        try:
            self.queues[index].enable()
        except QueueError as error:
            self.fail(error)

    def disable_queue(self, index: int) -> None:
        """The driver does not want queue ``index`` used any more."""
        self.queues[index].disable()
        self._forget(index)

    def notify(self, index: int) -> None:
        """The driver says that it has added buffers to queue ``index``."""
        if not self.running:
            self.events.guest_error("notification of a device that is not running")
        elif self.queues[index].ready:
            self.look(index)
            self.notified(index)

    # What a kind of device uses

    def look(self, index: int) -> None:
        """Carry out the requests that wait in queue ``index``, for one turn."""
        if index in self._waiting or not self.running or not self.queues[index].ready:
            return
        try:
            self._take_turns(index)
        except QueueError as error:
            self.fail(error)
        finally:
            self._tell(index)

    def config_changed(self) -> None:
        """The device has changed its configuration (2.5)."""
        self.config_generation = self.config_generation + 1 & 0xFFFF_FFFF
        if self._transport is not None and self.status & Status.DRIVER_OK:
            self._transport.config_interrupt()

    def fail(self, error: QueueError) -> None:
        """The driver broke the rules: stop, and ask for a reset (2.1.2)."""
        self.events.guest_error(str(error), error.detail)
        self.status |= Status.NEEDS_RESET
        for index in range(len(self.queues)):
            self._forget(index)
        if self._transport is not None and self.status & Status.DRIVER_OK:
            self._transport.config_interrupt()

    def has(self, feature: int) -> bool:
        """Whether the driver accepted ``feature``."""
        return bool(self.features & feature)

    def finish(self, index: int, done: Iterable[tuple[Chain, int]]) -> None:
        """These requests of queue ``index`` are finished, each with so many bytes written, and are
        answered once `carry_on` returns."""
        self._finished[index] += done

    # Turns

    def _take_turns(self, index: int) -> None:
        """Work on queue ``index`` until nothing is left to do or the machine is asked for another
        turn. Raises `QueueError`."""
        queue = self.queues[index]
        while True:
            if self._take_turn(index):
                if self._defer is not None:
                    self._ask_for_a_turn(index)
                    return
            elif not self.has_use_for(index) or not queue.rearm():
                return

    def _take_turn(self, index: int) -> bool:
        """Work on queue ``index`` for one turn; whether that was too short. Raises `QueueError`."""
        try:
            more = self.carry_on(index)
        except QueueError:
            self._answer(index)
            raise
        if self._defer is not None and self.may_wait():
            return True
        self._answer(index)
        return more

    def _answer(self, index: int) -> None:
        """Give back what is finished of queue ``index``. Raises `QueueError`."""
        self.before_answers()
        if self._finished[index]:
            self.queues[index].push_many(self._finished[index])
            self._finished[index].clear()

    def _ask_for_a_turn(self, index: int) -> None:
        self._waiting.add(index)
        if self._defer is not None:
            self.have_a_turn(self._defer, partial(self._next_turn, index))

    def _next_turn(self, index: int) -> None:
        self._waiting.discard(index)
        self.look(index)

    def _forget(self, index: int) -> None:
        """Give up the request that is under way, and with it the memory that it works on; those
        that are finished are not answered."""
        self._under_way[index] = None
        self._finished[index].clear()

    def _tell(self, index: int) -> None:
        """Interrupt the driver if it wants to hear of what queue ``index`` has used."""
        if self._transport is not None and self.queues[index].should_interrupt():
            self._transport.queue_interrupt(index)

    def _settle_features(self) -> bool:
        if self.features & ~self.all_offered:
            self.events.guest_error("features accepted that were not offered")
            return False
        if not (self.has(VERSION_1) or self.legacy):
            # Allowed to refuse (6.1); but teaching systems forget it and work all the same.
            self.events.guest_error("VIRTIO_F_VERSION_1 not accepted, going on as if it were")
        self._use_features()
        return True

    def _use_features(self) -> None:
        self._tell_queues()
        self.settled()

    def _tell_queues(self) -> None:
        for queue in self.queues:
            queue.indirect, queue.event_index = self.has(INDIRECT_DESC), self.has(EVENT_IDX)
