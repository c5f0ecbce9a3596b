"""Devices and their addresses on a board."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

from bimetal.base.near import did_you_mean
from bimetal.devices.device import Device
from bimetal.devices.output import Line

__all__ = ["Placement", "Placements", "Wire"]

Part = TypeVar("Part")

Wire = Callable[..., object] | Sequence[Line]
"""Where an output goes: one input for an output, as many as it has for a row."""


class Placement(Struct, frozen=True):
    """A device on the board: its name, its first address, and the wires of its outputs. Its address
    may be a ``port``, or it has ``registers`` of the CPU whose number stands for the address, or it
    is a function ``on_bus``, a PCI one, where its slot stands for it."""

    device: Device
    at: int
    wires: Mapping[str, Wire]
    port: bool = False
    registers: bool = False
    on_bus: bool = False

    @property
    def in_memory(self) -> bool:
        """Whether ``at`` is an address in memory."""
        return not (self.port or self.registers or self.on_bus)


class Placements:
    """All devices of a board, in the order in which they were added."""

    def __init__(self) -> None:
        self._all: list[Placement] = []

    def __iter__(self) -> Iterator[Placement]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, placement: Placement) -> None:
        """Put another device on the board."""
        self._all.append(placement)

    def remove(self, device: Device) -> None:
        """Take ``device`` off the board."""
        self._all = [placement for placement in self._all if placement.device is not device]

    @property
    def names(self) -> list[str]:
        """The names of all, in the order in which they were added."""
        return [placement.device.name for placement in self._all]

    def named(self, name: str) -> Device:
        """The device of that name, as in ``uart@10000000``. KeyError with the names."""
        for placement in self._all:
            if placement.device.name == name:
                return placement.device
        names = self.names
        hint = did_you_mean(name, names)
        known = f"only {', '.join(names)}" + f"; {hint}" * bool(hint)
        raise KeyError(f"the machine has no device {name!r}, {known}")

    def only(self, kind: type[Part], name: str = "") -> Part:
        """The device of the class ``kind``; of several, that called ``name``. What virtio slots
        carry is found too. KeyError if there is not exactly one."""
        found = {
            placement.device.name: part
            for placement in self._all
            for part in (placement.device, *placement.device.parts())
            if isinstance(part, kind) and name in ("", placement.device.name)
        }
        if len(found) == 1:
            return next(iter(found.values()))
        what = kind.__name__ + f" called {name}" * bool(name)
        if found:
            raise KeyError(f"several devices are a {what}: name one of {', '.join(found)}")
        raise KeyError(f"no device is a {what}, of {', '.join(self.names)}")

    def close(self) -> None:
        """Close every device. Idempotent."""
        for placement in self._all:
            placement.device.close()
