"""A virtio device, whatever carries it (virtio 1.2, chapters 2 and 3).

The transport (MMIO now) hands on what the driver reads and writes: status, features, queues,
configuration. The device answers requests, and tells the transport when to interrupt.

A request is answered inside the notification that brought it. `VirtioDevice.work_on` may instead
return None and call `done` later, from whatever the machine lets work in the background.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from bimetal.base.log import EventLog
from bimetal.devices.virtio.queue import Chain, QueueError, Virtqueue
from bimetal.memory.space import AddressSpace

__all__ = ["Status", "Transport", "VirtioDevice"]


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

BATCH = 2
"""A notification is worked on for this many times the queue's size before others get a turn."""


class Transport(Protocol):
    """What a device needs of the transport that carries it."""

    def queue_interrupt(self) -> None:
        """A queue has used buffers that the driver wants to hear of."""

    def config_interrupt(self) -> None:
        """The configuration, or the status, has changed."""


class VirtioDevice:
    """The base of all virtio devices.

    ``device_id`` is the standard's number (chapter 5), ``queue_limits`` the greatest size of each
    queue, ``offered`` the features of the device's own. ``config`` is the configuration space.
    """

    device_id: ClassVar[int] = 0
    queue_limits: ClassVar[tuple[int, ...]] = ()
    offered: int = 0

    def __init__(self) -> None:
        self.events = EventLog("virtio")
        self.queues: list[Virtqueue] = []
        self.config = bytearray()
        self.status = 0
        self.features = 0
        self.config_generation = 0
        self._transport: Transport | None = None
        self._defer: Callable[[Callable[[], None]], None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {self.events.source}>"

    def plug(
        self,
        transport: Transport,
        space: AddressSpace,
        defer: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Meet the transport and the memory. ``defer`` has a function called soon: with it, a
        guest that adds requests without end cannot keep the machine's lock for ever."""
        self._transport, self._defer = transport, defer
        self.queues = [Virtqueue(space, limit) for limit in self.queue_limits]

    # What a kind of device overrides

    def work_on(self, index: int, chain: Chain) -> int | None:
        """Carry out a request of queue ``index``: the number of bytes written from the start of
        its writable buffers, or None if `done` will tell later. Raises `QueueError`."""
        raise NotImplementedError

    def notified(self, index: int) -> None:
        """The driver has added buffers to queue ``index``; by default, requests to carry out."""
        self.work(index)

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
        for queue in self.queues:
            queue.reset()

    def close(self) -> None:
        """Give back what the host lent. Overriding methods call this one. Idempotent."""
        for queue in self.queues:
            queue.disable()

    def save(self) -> dict[str, object]:
        """The state as plain values, for a snapshot; taken while no request is under way."""
        return {
            "status": self.status,
            "features": self.features,
            "config": bytes(self.config),
            "config_generation": self.config_generation,
            "queues": [queue.save() for queue in self.queues],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""
        self.status, self.features = state["status"], state["features"]
        self.config[:] = state["config"]
        self.config_generation = state["config_generation"]
        for queue, saved in zip(self.queues, state["queues"], strict=True):
            queue.load(saved)
        self._tell_queues()

    # What the driver does through the transport

    @property
    def all_offered(self) -> int:
        """The features of this device and those of every device."""
        return self.offered | INDIRECT_DESC | EVENT_IDX | VERSION_1 if self.queues else 0

    @property
    def running(self) -> bool:
        """Whether the driver is ready and the device is not waiting for a reset."""
        return self.status & (Status.DRIVER_OK | Status.NEEDS_RESET) == Status.DRIVER_OK

    def accept_features(self, features: int) -> None:
        """The driver chooses features, before it says FEATURES_OK (3.1.1)."""
        if self.status & Status.FEATURES_OK:
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
        if new & Status.DRIVER_OK:
            if not self.status & Status.FEATURES_OK:
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

    def notify(self, index: int) -> None:
        """The driver says that it has added buffers to queue ``index``."""
        if not self.running or not self.queues[index].ready:
            if not self.running:
                self.events.guest_error("notification of a device that is not running")
            return
        try:
            self.notified(index)
        except QueueError as error:
            self.fail(error)

    # What a kind of device uses

    def work(self, index: int) -> None:
        """Carry out the requests that wait in queue ``index``. Raises `QueueError`."""
        queue = self.queues[index]
        left = BATCH * queue.size
        try:
            while True:
                while left and (chain := queue.pop()) is not None:
                    left -= 1
                    written = self.work_on(index, chain)
                    if written is not None:
                        queue.push(chain, written)
                if not left and self._defer is not None:
                    self._defer(lambda: self._work_again(index))
                    return
                left = BATCH * queue.size
                if not queue.rearm():
                    return
        finally:
            self.tell(index)

    def done(self, index: int, chain: Chain, written: int) -> None:
        """A request for which `work_on` returned None is finished."""
        try:
            self.queues[index].push(chain, written)
            self.tell(index)
        except QueueError as error:
            self.fail(error)

    def tell(self, index: int) -> None:
        """Interrupt the driver if it wants to hear of what queue ``index`` has used."""
        if self._transport is not None and self.queues[index].should_interrupt():
            self._transport.queue_interrupt()

    def config_changed(self) -> None:
        """The device has changed its configuration (2.5)."""
        self.config_generation = self.config_generation + 1 & 0xFFFF_FFFF
        if self._transport is not None and self.status & Status.DRIVER_OK:
            self._transport.config_interrupt()

    def fail(self, error: QueueError) -> None:
        """The driver broke the rules: stop, and ask for a reset (2.1.2)."""
        self.events.guest_error(str(error), error.detail)
        self.status |= Status.NEEDS_RESET
        if self._transport is not None and self.status & Status.DRIVER_OK:
            self._transport.config_interrupt()

    def has(self, feature: int) -> bool:
        """Whether the driver accepted ``feature``."""
        return bool(self.features & feature)

    def _work_again(self, index: int) -> None:
        if self.running and self.queues[index].ready:
            self.notify(index)

    def _settle_features(self) -> bool:
        if self.features & ~self.all_offered:
            self.events.guest_error("features accepted that were not offered")
            return False
        if not self.has(VERSION_1):
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
