"""Transfers: what the rings of endpoints ask for (xHCI 1.1, sections 3.2.8 to 3.2.11, 4.10 and
6.4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bimetal.base.buffers import scatter, total
from bimetal.devices.usb.device import Stall, UsbDevice
from bimetal.devices.usb.xhci.ring import RingError
from bimetal.devices.usb.xhci.slot import CONTROL, Endpoint, EndpointState
from bimetal.devices.usb.xhci.trb import Code, Kind, Trb

if TYPE_CHECKING:
    from bimetal.devices.usb.xhci.controller import Controller

__all__ = ["Transfers"]

TRANSFER_COST, BLOCK_COST = 64 << 10, 2 << 10
"""What a transfer and each of its blocks count for in a turn, besides the bytes that are moved."""
SETUP_SIZE, IMMEDIATE_MOST = 8, 8
DATA_MOST = 0xFFFF
"""Bytes of a control transfer."""
INWARDS = 16
"""The bit of a data stage that says that data go to the host."""
EVENT_DATA = 1 << 2
MOVED = 0xFF_FFFF
WITH_DATA = (Kind.NORMAL, Kind.DATA)
STAGES = (Kind.SETUP, Kind.DATA, Kind.STATUS)


class Transfers:
    """Carries out the transfers of a ``controller``."""

    def __init__(self, controller: Controller):
        self._controller = controller

    def step(self, slot: int, number: int) -> int | None:
        """Carry out the next transfer of an endpoint, or the next stage of one for control; what it
        counts for, None if there is none or the device is not ready. Raises `BadAddress`."""
        known = self._controller.slots[slot]
        endpoint = known.endpoints.get(number)
        if endpoint is None or endpoint.state != EndpointState.RUNNING:
            return None
        device = self._controller.hub.speaks(known.port, known.route)
        trbs: Sequence[Trb] = ()
        code, moved = Code.SUCCESS, 0
        try:
            found = endpoint.ring.next_transfer(self._controller.space)
            if found is None:
                return None
            trbs, after = found
            if device is None:
                code = Code.TRANSACTION_ERROR
            else:
                done = self._carry_out(device, endpoint, trbs)
                if done is None:
                    return None
                moved = done
        except Stall:
            code = Code.STALL
        except RingError as error:
            self._controller.guest_error(str(error))
            code = Code.TRB_ERROR
        if code == Code.SUCCESS:
            endpoint.ring = after
            self._report(slot, endpoint, trbs, moved)
        else:
            self._halt(slot, endpoint, trbs, code)
        return TRANSFER_COST + BLOCK_COST * len(trbs) + moved

    def _carry_out(self, device: UsbDevice, endpoint: Endpoint, trbs: Sequence[Trb]) -> int | None:
        """The bytes moved, or None if the device is not ready. Raises `Stall`, `RingError` and
        `BadAddress`."""
        if all(trb.kind in (Kind.NO_OP, Kind.EVENT_DATA) for trb in trbs):
            return 0
        if endpoint.number == CONTROL:
            return self._stage(device, trbs)
        if any(trb.kind not in (Kind.NORMAL, Kind.EVENT_DATA) for trb in trbs):
            raise RingError("a block of another type in a ring for transfers")
        buffers = self._buffers(trbs, inwards=endpoint.inwards)
        return device.transfer(endpoint.address, buffers)

    def _stage(self, device: UsbDevice, trbs: Sequence[Trb]) -> int:
        """One stage of a control transfer."""
        first = trbs[0]
        if first.kind == Kind.SETUP:
            if first.length != SETUP_SIZE or not first.immediate or len(trbs) > 1:
                raise RingError("a setup stage that is none")
            device.begin(first.parameter.to_bytes(SETUP_SIZE, "little"))
            return 0
        if first.kind == Kind.STATUS:
            device.finish()
            return 0
        if first.kind != Kind.DATA or any(trb.kind in STAGES for trb in trbs[1:]):
            raise RingError("a control transfer without stages")
        inwards = first.flag(INWARDS)
        buffers = self._buffers(trbs, inwards=inwards)
        if inwards:
            return scatter(device.give(total(buffers)), buffers)
        if total(buffers) > DATA_MOST:
            raise RingError("a control transfer of too many bytes")
        device.take(b"".join(buffers))
        return total(buffers)

    def _buffers(self, trbs: Sequence[Trb], *, inwards: bool) -> list[memoryview]:
        """The guest's memory that a transfer is from or to."""
        buffers = []
        for trb in trbs:
            if trb.kind not in WITH_DATA or not trb.length:
                continue
            if trb.immediate:
                if inwards or trb.length > IMMEDIATE_MOST:
                    raise RingError("a transfer of immediate data that cannot be")
                data = trb.parameter.to_bytes(IMMEDIATE_MOST, "little")
                buffers.append(memoryview(data[: trb.length]))
            else:
                view = self._controller.space.view
                buffers.append(view(trb.parameter, trb.length, writable=inwards))
        return buffers

    # What software hears

    def _report(self, slot: int, endpoint: Endpoint, trbs: Sequence[Trb], moved: int) -> None:
        """A transfer has succeeded, with so many bytes: tell of the blocks that want it, up to the
        first that software hears of as not full (4.10.1.1)."""
        left, so_far, short = moved, 0, False
        for trb in trbs:
            if trb.kind == Kind.EVENT_DATA:
                if trb.tells:
                    code = Code.SHORT_PACKET if short else Code.SUCCESS
                    self._tell(slot, endpoint, trb, code, so_far & MOVED, EVENT_DATA)
                    if short:
                        return
                so_far = 0
                continue
            room = trb.length if trb.kind in WITH_DATA else 0
            got = min(left, room)
            left, so_far = left - got, so_far + got
            newly_short = got < room and not short
            short = short or got < room
            if trb.tells or (newly_short and trb.tells_short):
                code = Code.SHORT_PACKET if short else Code.SUCCESS
                self._tell(slot, endpoint, trb, code, room - got)
                if short:
                    return

    def _halt(self, slot: int, endpoint: Endpoint, trbs: Sequence[Trb], code: Code) -> None:
        """A transfer has failed: software hears of it, and has to let the endpoint go on."""
        state = EndpointState.ERROR if code == Code.TRB_ERROR else EndpointState.HALTED
        self._controller.commands.become(slot, endpoint, state)
        data = [trb for trb in trbs if trb.kind != Kind.EVENT_DATA]
        if data:
            self._tell(slot, endpoint, data[0], code, data[0].length)
        else:
            at = endpoint.ring.pointer
            self._tell(slot, endpoint, Trb(at, 0, 0, 0), code, 0)

    def stopped(self, slot: int, endpoint: Endpoint) -> None:
        """An endpoint was stopped: tell of the transfer that it was waiting with, if any (4.6.9).
        Raises `BadAddress`."""
        try:
            found = endpoint.ring.next_transfer(self._controller.space)
        except RingError:
            return
        if found is not None and found[0][0].kind in WITH_DATA:
            first = found[0][0]
            self._tell(slot, endpoint, first, Code.STOPPED, first.length)

    def _tell(
        self, slot: int, endpoint: Endpoint, trb: Trb, code: Code, length: int, flags: int = 0
    ) -> None:
        where = trb.parameter if flags & EVENT_DATA else trb.at
        self._controller.post(
            trb.interrupter,
            Kind.TRANSFER_EVENT,
            where,
            length | code << 24,
            flags | endpoint.number << 16 | slot << 24,
            quietly=trb.quietly,
        )
