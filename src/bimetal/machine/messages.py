"""Message-signalled interrupts on their way from a bus to where their addresses lead."""

from __future__ import annotations

from bimetal.base.errors import GuestError
from bimetal.base.log import EventLog
from bimetal.devices.irq.messages import Message, taker
from bimetal.memory.space import AddressSpace

__all__ = ["MessageWrites"]

WORD = 4


class MessageWrites:
    """Delivers messages into ``space``: to memory, and to devices that take messages. No others:
    a guest might have a device ring its own doorbell for ever. ``events`` hears of what is lost."""

    def __init__(self, space: AddressSpace, events: EventLog):
        self._space, self._events = space, events

    def __call__(self, message: Message) -> None:
        requester, address, word = message
        region = self._space.find(address)
        if region is not None and (device := taker(region.device)) is not None:
            device.take_message(requester, address - region.base, word)
            return
        try:
            self._space.write(address, word.to_bytes(WORD, "little"))
        except GuestError as error:
            self._events.guest_error("an interrupt's message leads nowhere", str(error))
