"""The windows of a PCI host bridge in the machine's address space, and what answers in them now."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.base.log import EventLog
from bimetal.devices.pci.bar import Decoded
from bimetal.devices.pci.host import EcamHost
from bimetal.memory.access import ANY
from bimetal.memory.space import AddressSpace, Region

__all__ = ["BusWindows"]


class Nobody:
    """Where no function answers: all bits read as ones and writes are lost, without a fault. It is
    an error of the guest all the same, of which ``events`` hears."""

    access = ANY

    def __init__(self, name: str, events: EventLog):
        self.name, self._events = name, events

    def read(self, offset: int, size: int) -> int:
        """See `MmioTarget`."""
        self._events.guest_error(f"read where no function is, in {self.name}", hex(offset))
        return (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """See `MmioTarget`."""
        self._events.guest_error(f"write where no function is, in {self.name}", hex(offset))


class BusWindows:
    """Window n of ``host`` begins at ``places[n]`` in ``space``."""

    def __init__(self, space: AddressSpace, host: EcamHost, places: Sequence[int]):
        self._space, self._places = space, places
        self._regions: dict[Decoded, Region] = {}
        for window, place in zip(host.windows, places, strict=True):
            nobody = Nobody(f"{host.name}.window{window.index}", host.events)
            space.add_window(nobody, place, window.last - window.first + 1)
        host.decoded.connect(self._renew)

    def _renew(self, decoded: tuple[Decoded, ...]) -> None:
        """Exactly ``decoded`` answers from now on."""
        for gone in self._regions.keys() - set(decoded):
            self._space.remove(self._regions.pop(gone))
        for each in decoded:
            if each not in self._regions:
                place = self._places[each.window] + each.offset
                self._regions[each] = self._space.add_device(each.target, place, each.size)
