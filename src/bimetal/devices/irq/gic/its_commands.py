"""The commands of an ITS (IHI 0069H, 5.3): 32 bytes each, of four words."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

from msgspec.structs import replace

from bimetal.base.errors import GuestError
from bimetal.devices.irq.gic.its_tables import ITT_ADDRESS, VALID, Interrupt, Translations
from bimetal.devices.irq.gic.lpis import FIRST_LPI
from bimetal.devices.irq.gic.v3_redistributor import Gicv3Redistributor

__all__ = ["COMMAND", "DEVICE_BITS", "EVENT_BITS", "Commands"]

COMMAND = 32
DEVICE_BITS = EVENT_BITS = 16


class Op(IntEnum):
    """Commands by number."""

    MOVI, INT, CLEAR, SYNC = 0x01, 0x03, 0x04, 0x05
    MAPD, MAPC, MAPTI, MAPI = 0x08, 0x09, 0x0A, 0x0B
    INV, INVALL, MOVALL, DISCARD = 0x0C, 0x0D, 0x0E, 0x0F


class Commands:
    """What commands do to ``redistributors``, which are known by their numbers."""

    def __init__(self, redistributors: Sequence[Gicv3Redistributor]):
        self._redistributors = redistributors

    def message(self, tables: Translations, device: int, event: int) -> None:
        """A device has sent the message of an event. Raises `GuestError`."""
        interrupt = tables.event(device, event)
        self._of(tables, interrupt.collection).pend(interrupt.lpi)

    def carry_out(self, tables: Translations, command: bytes) -> None:
        """Carry out one command. Raises `GuestError` if it means nothing."""
        words = struct.unpack("<4Q", command)
        device, event = words[0] >> 32, words[1] & 0xFFFF_FFFF
        collection = words[2] & 0xFFFF
        match words[0] & 0xFF:
            case Op.MAPD:
                self._map_device(tables, device, words)
            case Op.MAPC:
                self._map_collection(tables, collection, words)
            case Op.MAPTI:
                self._map_event(tables, device, event, words[1] >> 32, collection)
            case Op.MAPI:
                self._map_event(tables, device, event, event, collection)
            case Op.MOVI:
                self._move(tables, device, event, collection)
            case Op.INT:
                self.message(tables, device, event)
            case Op.CLEAR:
                interrupt = tables.event(device, event)
                self._of(tables, interrupt.collection).clear(interrupt.lpi)
            case Op.INV:
                interrupt = tables.event(device, event)
                self._of(tables, interrupt.collection).renew(interrupt.lpi)
            case Op.DISCARD:
                interrupt = tables.event(device, event)
                tables.forget_event(interrupt.place)
                self._of(tables, interrupt.collection).clear(interrupt.lpi)
            case Op.INVALL:
                self._of(tables, collection).renew()
            case Op.MOVALL:
                source, target = (self._redistributor(_target(word)) for word in words[2:])
                if source is not target:
                    source.move_all(target)
            case Op.SYNC:
                self._redistributor(_target(words[2]))  # all is done already
            case other:
                raise GuestError(f"the command {other:#x}, which means nothing")

    def _map_device(self, tables: Translations, device: int, words: tuple[int, ...]) -> None:
        bits = (words[1] & 0x1F) + 1
        if not words[2] & VALID:
            tables.forget_device(device)
        elif bits > EVENT_BITS:
            raise GuestError(f"a device with events of {bits} bits")
        else:
            tables.set_device(device, words[2] & ITT_ADDRESS, bits)

    def _map_collection(
        self, tables: Translations, collection: int, words: tuple[int, ...]
    ) -> None:
        if words[2] & VALID:
            self._redistributor(_target(words[2]))
            tables.set_collection(collection, _target(words[2]))
        else:
            tables.set_collection(collection, None)

    def _map_event(
        self, tables: Translations, device: int, event: int, lpi: int, collection: int
    ) -> None:
        if not FIRST_LPI <= lpi < 1 << 16:
            raise GuestError(f"an event is mapped to {lpi}, which is no LPI")
        tables.set_event(Interrupt(lpi, collection, tables.event_place(device, event)))

    def _move(self, tables: Translations, device: int, event: int, collection: int) -> None:
        interrupt = tables.event(device, event)
        source, target = self._of(tables, interrupt.collection), self._of(tables, collection)
        tables.set_event(replace(interrupt, collection=collection))
        if source is not target and source.clear(interrupt.lpi):
            target.pend(interrupt.lpi)

    def _of(self, tables: Translations, collection: int) -> Gicv3Redistributor:
        return self._redistributor(tables.collection(collection))

    def _redistributor(self, number: int) -> Gicv3Redistributor:
        if number >= len(self._redistributors):
            raise GuestError(f"redistributor {number} of {len(self._redistributors)}")
        return self._redistributors[number]


def _target(word: int) -> int:
    """The number of a redistributor, as commands have it (GITS_TYPER.PTA is 0)."""
    return word >> 16 & 0xFFFF_FFFF
