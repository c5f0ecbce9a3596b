"""Commands: how software sets up slots and endpoints (xHCI 1.1, sections 4.6 and 6.4.3).

What a context says is checked, and then trusted only as what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import TYPE_CHECKING

from bimetal.base.state import Stateful
from bimetal.devices.usb.xhci.ring import Ring, RingError
from bimetal.devices.usb.xhci.slot import (
    CONTEXT_SIZE,
    CONTROL,
    ENDPOINTS,
    Endpoint,
    EndpointState,
    Slot,
    SlotState,
)
from bimetal.devices.usb.xhci.trb import Code, Kind, Trb

if TYPE_CHECKING:
    from bimetal.devices.usb.xhci.controller import Controller

__all__ = ["CommandRing"]

COMMAND_COST = 64 << 10
ALIGNED = ~15
BLOCK_ADDRESS = DECONFIGURE = KEEP = 9
"""Flags of commands: do not give the device its address; take all its endpoints away; the endpoint
goes on where it was."""
ADDRESS_MASK, STATE_SHIFT = 0xFF, 27
ENDPOINT_STATE, TYPE_AT = 7, 3
SLOT_FLAG = 1
LATENCY, TARGET = 0xFFFF, 0x3FF << 22
PACKET = 0xFFFF << 16
ROUTE = 0xF_FFFF
HUB_FIELDS = {0: 31 << 27 | 3 << 25, 1: 0xFF << 24, 2: 3 << 16}
"""What Configure Endpoint says of the slot: how many contexts there are, and whether the device is
a hub, with how many ports and translators (4.6.6)."""

_CONTEXT = Struct("<8I")
Words = list[int]
"""A context."""


class Refused(Exception):
    """A command fails with ``code``."""

    def __init__(self, code: Code):
        super().__init__(code.name)
        self.code = code


class CommandRing(Stateful):
    """The ring of commands of a ``controller``, and what each of them does."""

    saved = ("ring", "running")
    fixed = ("_controller", "_known")

    def __init__(self, controller: Controller):
        self._controller = controller
        self._known: Mapping[int, Callable[[Trb], int]] = {
            Kind.ENABLE_SLOT: self._enable_slot,
            Kind.DISABLE_SLOT: self._disable_slot,
            Kind.ADDRESS_DEVICE: self._address_device,
            Kind.CONFIGURE_ENDPOINT: self._configure,
            Kind.EVALUATE_CONTEXT: self._evaluate,
            Kind.RESET_ENDPOINT: self._reset_endpoint,
            Kind.STOP_ENDPOINT: self._stop_endpoint,
            Kind.SET_DEQUEUE: self._set_dequeue,
            Kind.RESET_DEVICE: self._reset_device,
            Kind.NO_OP_COMMAND: lambda trb: trb.slot,
        }
        self.ring, self.running = Ring(), False

    def reset(self) -> None:
        """Go to the state after power-on."""
        self.ring_at(0)
        self.running = False

    def ring_at(self, word: int) -> None:
        """The ring is at that address from now on, whose lowest bit is the cycle."""
        self.ring.pointer, self.ring.cycle = word & ~63, bool(word & 1)

    def stop(self) -> None:
        """Software wants no more commands carried out (4.6.1.2)."""
        self.running = False
        self._tell(self.ring.pointer, Code.RING_STOPPED, 0)

    def step(self) -> int | None:
        """Carry out the next command; what it counts for, None if there is none. Raises
        `BadAddress`."""
        if not self.running:
            return None
        try:
            trb = self.ring.take(self._controller.space)
        except RingError as error:
            self._controller.guest_error(str(error))
            self.stop()
            return None
        if trb is None:
            return None
        code, slot = Code.SUCCESS, trb.slot
        try:
            command = self._known.get(trb.kind)
            if command is None:
                raise Refused(Code.TRB_ERROR)
            slot = command(trb)
        except Refused as refused:
            code = refused.code
        self._tell(trb.at, code, slot)
        return COMMAND_COST

    def _tell(self, where: int, code: Code, slot: int) -> None:
        self._controller.post(0, Kind.COMMAND_COMPLETION, where, code << 24, slot << 24)

    # Slots

    def _enable_slot(self, trb: Trb) -> int:
        slots = self._controller.slots
        for number in range(1, min(self._controller.CONFIG, len(slots) - 1) + 1):
            if not slots[number].enabled:
                slots[number].enabled = True
                return number
        raise Refused(Code.NO_SLOTS)

    def _disable_slot(self, trb: Trb) -> int:
        self._slot(trb).release()
        return trb.slot

    def _address_device(self, trb: Trb) -> int:
        slot, block = self._slot(trb), trb.flag(BLOCK_ADDRESS)
        if slot.state > (SlotState.ENABLED if block else SlotState.DEFAULT):
            raise Refused(Code.CONTEXT_STATE)
        dropped, added = self._input(trb, 0)[:2]
        if dropped or added & 3 != 3:
            raise Refused(Code.PARAMETER_ERROR)
        told, control = self._input(trb, 1), self._input(trb, 1 + CONTROL)
        port, route = told[1] >> 16 & 0xFF, told[0] & ROUTE
        if self._controller.hub.speaks(port, route) is None:
            raise Refused(Code.TRANSACTION_ERROR)
        where = self._controller.DCBAAP + 8 * trb.slot
        pointer = int.from_bytes(self._controller.space.view(where, 8), "little") & ~63
        slot.port, slot.route, slot.context = port, route, pointer
        slot.state = SlotState.DEFAULT if block else SlotState.ADDRESSED
        told[3] = (0 if block else trb.slot) | slot.state << STATE_SHIFT
        self._put(slot, 0, told)
        slot.endpoints.clear()
        self._set_up(slot, CONTROL, control)
        return trb.slot

    def _reset_device(self, trb: Trb) -> int:
        slot = self._slot(trb)
        if slot.state not in (SlotState.ADDRESSED, SlotState.CONFIGURED):
            raise Refused(Code.CONTEXT_STATE)
        for number in [each for each in slot.endpoints if each != CONTROL]:
            self._take_away(slot, number)
        slot.state = SlotState.DEFAULT
        words = self._get(slot, 0)
        words[0] = words[0] & ~(31 << 27) | 1 << 27
        words[3] = slot.state << STATE_SHIFT
        self._put(slot, 0, words)
        device = self._controller.hub.speaks(slot.port, slot.route)
        if device is not None:
            device.reset()
        return trb.slot

    # Endpoints

    def _configure(self, trb: Trb) -> int:
        slot = self._slot(trb)
        if slot.state not in (SlotState.ADDRESSED, SlotState.CONFIGURED):
            raise Refused(Code.CONTEXT_STATE)
        if trb.flag(DECONFIGURE):
            dropped, added = sum(1 << n for n in ENDPOINTS[1:]), SLOT_FLAG
            given = self._get(slot, 0)
            given[0] = given[0] & ~(31 << 27) | 1 << 27
        else:
            dropped, added = self._input(trb, 0)[:2]
            given = self._input(trb, 1) if added & SLOT_FLAG else []
            if dropped & 3 or added & 2:
                raise Refused(Code.PARAMETER_ERROR)
        chosen = [number for number in ENDPOINTS if added >> number & 1]
        asked = {number: self._input(trb, 1 + number) for number in chosen}
        if not all(words[1] >> TYPE_AT & 7 for words in asked.values()):
            raise Refused(Code.PARAMETER_ERROR)
        for number in ENDPOINTS[1:]:
            if dropped >> number & 1:
                self._take_away(slot, number)
        for number, words in asked.items():
            self._set_up(slot, number, words)
        used = len(slot.endpoints) > 1
        slot.state = SlotState.CONFIGURED if used else SlotState.ADDRESSED
        told = self._get(slot, 0)
        if added & SLOT_FLAG:
            for at, taken in HUB_FIELDS.items():
                told[at] = told[at] & ~taken | given[at] & taken
        told[3] = told[3] & ADDRESS_MASK | slot.state << STATE_SHIFT
        self._put(slot, 0, told)
        return trb.slot

    def _evaluate(self, trb: Trb) -> int:
        slot = self._slot(trb)
        if slot.state == SlotState.ENABLED:
            raise Refused(Code.CONTEXT_STATE)
        _, added = self._input(trb, 0)[:2]
        if added & SLOT_FLAG:
            given, told = self._input(trb, 1), self._get(slot, 0)
            told[1] = told[1] & ~LATENCY | given[1] & LATENCY
            told[2] = told[2] & ~TARGET | given[2] & TARGET
            self._put(slot, 0, told)
        if added & 1 << CONTROL:
            given, told = self._input(trb, 1 + CONTROL), self._get(slot, CONTROL)
            told[1] = told[1] & ~PACKET | given[1] & PACKET
            self._put(slot, CONTROL, told)
        return trb.slot

    def _reset_endpoint(self, trb: Trb) -> int:
        _, endpoint = self._endpoint(trb, EndpointState.HALTED)
        self.become(trb.slot, endpoint, EndpointState.STOPPED)
        return trb.slot

    def _stop_endpoint(self, trb: Trb) -> int:
        _, endpoint = self._endpoint(trb, EndpointState.RUNNING)
        self._controller.stopped(trb.slot, endpoint)
        self.become(trb.slot, endpoint, EndpointState.STOPPED)
        return trb.slot

    def _set_dequeue(self, trb: Trb) -> int:
        _, endpoint = self._endpoint(trb, EndpointState.STOPPED, EndpointState.ERROR)
        endpoint.ring = Ring.from_word(trb.parameter)
        self.become(trb.slot, endpoint, EndpointState.STOPPED)
        return trb.slot

    def become(self, slot: int, endpoint: Endpoint, state: EndpointState) -> None:
        """An endpoint is in that ``state`` from now on, of which its context tells. Raises
        `BadAddress`."""
        endpoint.state = state
        known = self._controller.slots[slot]
        words = self._get(known, endpoint.number)
        words[0] = words[0] & ~ENDPOINT_STATE | state
        _set_ring(words, endpoint.ring)
        self._put(known, endpoint.number, words)

    def _set_up(self, slot: Slot, number: int, words: Words) -> None:
        """There is an endpoint, as software says in the context ``words``."""
        ring = Ring.from_word(words[2] | words[3] << 32)
        slot.endpoints[number] = Endpoint(number, ring)
        words[0] = words[0] & ~ENDPOINT_STATE | EndpointState.RUNNING
        self._put(slot, number, words)

    def _take_away(self, slot: Slot, number: int) -> None:
        if slot.endpoints.pop(number, None) is not None:
            words = self._get(slot, number)
            words[0] &= ~ENDPOINT_STATE
            self._put(slot, number, words)

    # What software says, and what it is told

    def _slot(self, trb: Trb) -> Slot:
        """The slot that a command is for, which is in use."""
        slots = self._controller.slots
        if not 0 < trb.slot < len(slots) or not slots[trb.slot].enabled:
            raise Refused(Code.SLOT_NOT_ENABLED)
        return slots[trb.slot]

    def _endpoint(self, trb: Trb, *states: EndpointState) -> tuple[Slot, Endpoint]:
        """The endpoint that a command is for, which is in one of these ``states``."""
        slot = self._slot(trb)
        endpoint = slot.endpoints.get(trb.endpoint)
        if endpoint is None or endpoint.state not in states:
            raise Refused(Code.CONTEXT_STATE)
        return slot, endpoint

    def _input(self, trb: Trb, index: int) -> Words:
        """Context ``index`` of the input context of a command."""
        return self._read((trb.parameter & ALIGNED) + CONTEXT_SIZE * index)

    def _get(self, slot: Slot, index: int) -> Words:
        return self._read(slot.context + CONTEXT_SIZE * index)

    def _put(self, slot: Slot, index: int, words: Words) -> None:
        at = slot.context + CONTEXT_SIZE * index
        view = self._controller.space.view(at, CONTEXT_SIZE, writable=True)
        view[:] = _CONTEXT.pack(*words)

    def _read(self, at: int) -> Words:
        return list(_CONTEXT.unpack(self._controller.space.view(at, CONTEXT_SIZE)))


def _set_ring(words: Words, ring: Ring) -> None:
    """Tell in a context how far the controller has come."""
    words[2], words[3] = ring.word & 0xFFFF_FFFF, ring.word >> 32 & 0xFFFF_FFFF
