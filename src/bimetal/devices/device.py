"""A device: declared registers, named outputs, and hooks for what happens on an access.

    class SifiveTest(Device):
        '''SiFive test finisher.'''
        kind = "test"
        FINISHER = Reg(0x0, STATUS=(15, 0), CODE=(31, 16))
        power = Out(Shutdown)

        def w_FINISHER(self, written: Value) -> None:
            if written.STATUS == 0x5555:
                self.power(Shutdown())

A device knows neither its address, nor the time (but for a clock that the board hands in), nor a
thread: its methods are called under the machine's lock. A device that decodes addresses its own
way overrides `read` and `write`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from bimetal.base.errors import GuestError
from bimetal.base.log import EventLog
from bimetal.devices.output import Out, Outs
from bimetal.devices.port import ArrayPort, Port, RegPort, make_port
from bimetal.devices.register import Declaration, Reg, RegArray, Value

__all__ = ["Device", "Property"]

Property = int | str | tuple[int, ...] | None
"""A property of a device tree node: cells, a string, or None for one that is merely there."""


class Device:
    """The base of all devices.

    ``kind`` names the device in its address (``uart`` in ``uart@10000000``) and ``node_name``, if
    different, in a device tree; ``mmio_size`` is the number of bytes that it answers for;
    ``compatible`` and `properties` are what a device tree says of it. ``saved`` names attributes
    that belong to the state of the device besides its registers: plain values, lists and dicts.
    """

    kind: ClassVar[str] = "device"
    node_name: ClassVar[str] = ""
    compatible: ClassVar[tuple[str, ...]] = ()
    mmio_size: int = 0x1000
    saved: ClassVar[tuple[str, ...]] = ()

    _declared: ClassVar[dict[str, Declaration]] = {}
    _outputs: ClassVar[dict[str, Out[Any] | Outs]] = {}
    _registers: ClassVar[dict[int, RegPort]] = {}
    _arrays: ClassVar[tuple[ArrayPort, ...]] = ()
    _ports: ClassVar[tuple[tuple[Declaration, Port], ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._declared = {**cls._declared, **_members(cls, Declaration)}
        cls._outputs = {**cls._outputs, **_members(cls, Out), **_members(cls, Outs)}
        ports = [(declared, make_port(cls, declared)) for declared in cls._declared.values()]
        cls._ports = tuple(ports)
        cls._registers = {d.offset: port for d, port in ports if isinstance(port, RegPort)}
        cls._arrays = tuple(port for _, port in ports if isinstance(port, ArrayPort))

    def __init__(self) -> None:
        self.name = self.kind
        self.events = EventLog(self.name)
        self.values: dict[str, Value] = {}
        self.arrays: dict[str, list[int]] = {}
        for name, output in self._outputs.items():
            self.__dict__[name] = output.make(self)
        self._rows = [
            (port.array.offset, port.array.length(self), port.array.stride, port)
            for port in self._arrays
        ]
        Device.reset(self)

    def rename(self, name: str) -> None:
        """Take the name that the board gives, as in ``uart@10000000``."""
        self.name = self.events.source = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def parts(self) -> Iterable[object]:
        """Devices that this one carries, as a slot does."""
        return ()

    def properties(self) -> Mapping[str, Property]:
        """What a device tree says of this device besides address, interrupt and ``compatible``."""
        return {}

    def doorbells(self) -> Iterable[tuple[int, int, int]]:
        """Writes that ask for nothing but attention, as offset, size and value: an accelerator
        that can lets the CPU run on and has them carried out by another thread."""
        return ()

    def reset(self) -> None:
        """Go to the state after power-on. Overriding methods call this one first."""
        for name, declared in self._declared.items():
            if isinstance(declared, Reg):
                self.values[name] = declared.value(declared.reset)
            elif isinstance(declared, RegArray):
                self.arrays[name] = [declared.reset] * declared.length(self)

    def close(self) -> None:
        """Give back what the host lent; the machine is going away. Idempotent."""

    # Accesses

    def read(self, offset: int, size: int) -> int:
        """Answer a guest's read of ``size`` bytes at ``offset``: little-endian, unsigned."""
        try:
            port = self._registers.get(offset)
            if port is not None and port.size == size:
                return port.get(self)
            for start, count, stride, row in self._rows:
                index, inside = divmod(offset - start, stride)
                if inside == 0 and 0 <= index < count and row.size == size:
                    return row.get(self, index)
            return self._gather(offset, size)
        except GuestError as error:
            self.guest_error(str(error))
            return 0

    def write(self, offset: int, size: int, value: int) -> None:
        """Carry out a guest's write of ``size`` bytes, little-endian, at ``offset``."""
        try:
            port = self._registers.get(offset)
            if port is not None and port.size == size:
                port.put(self, 0, value)
                return
            for start, count, stride, row in self._rows:
                index, inside = divmod(offset - start, stride)
                if inside == 0 and 0 <= index < count and row.size == size:
                    row.put(self, index, value)
                    return
            self._scatter(offset, size, value)
        except GuestError as error:
            self.guest_error(str(error))

    def guest_error(self, message: str, detail: str = "") -> None:
        """Count and log what the guest did wrong; execution goes on."""
        self.events.guest_error(message, detail)

    def _gather(self, offset: int, size: int) -> int:
        """A read of a part of a register, or of several."""
        value = 0
        for port, index, inside, done, take in self._pieces(offset, size):
            piece = port.get(self, index) >> 8 * inside & (1 << 8 * take) - 1
            value |= piece << 8 * done
        return value

    def _scatter(self, offset: int, size: int, value: int) -> None:
        """A write to a part of a register, whose other bytes keep what is stored, or to several."""
        for port, index, inside, done, take in self._pieces(offset, size):
            ones = (1 << 8 * take) - 1
            whole = value >> 8 * done & ones
            if take < port.size:
                kept = port.stored(self, index) & ~(ones << 8 * inside)
                whole = kept | whole << 8 * inside
            port.put(self, index, whole)

    def _pieces(self, offset: int, size: int) -> Iterator[tuple[Port, int, int, int, int]]:
        """The registers that an access covers: port, index, first byte inside the register, first
        byte inside the access, number of bytes."""
        done = 0
        while done < size:
            port, index, inside = self._at(offset + done)
            take = min(port.size - inside, size - done)
            yield port, index, inside, done, take
            done += take

    def _at(self, offset: int) -> tuple[Port, int, int]:
        """The port at ``offset``, the index in its row, and the byte inside the register.

        Raises `GuestError` where there is nothing.
        """
        for start, count, stride, row in self._rows:
            index, inside = divmod(offset - start, stride)
            if 0 <= index < count and inside < row.size:
                return row, index, inside
        for declared, port in self._ports:
            inside = offset - declared.offset
            if 0 <= inside < declared.size and not isinstance(port, ArrayPort):
                return port, 0, inside
        raise GuestError(f"access to {offset:#x}, where there is no register")

    # State and documentation

    def save(self) -> dict[str, object]:
        """The state as plain values, for a snapshot."""
        state: dict[str, object] = {name: int(value) for name, value in self.values.items()}
        state.update({name: list(values) for name, values in self.arrays.items()})
        state.update({name: copy.deepcopy(getattr(self, name)) for name in self.saved})
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned. Overriding methods call this one, then drive outputs."""
        for name, declared in self._declared.items():
            if isinstance(declared, Reg):
                self.values[name] = declared.value(state[name])
            elif isinstance(declared, RegArray):
                self.arrays[name] = list(state[name])
        for name in self.saved:
            setattr(self, name, copy.deepcopy(state[name]))

    @classmethod
    def outputs(cls) -> tuple[str, ...]:
        """The names of the outputs that a board can wire."""
        return tuple(cls._outputs)

    @classmethod
    def describe(cls) -> str:
        """The registers and outputs as text, a line each: what the documentation shows."""
        declared = sorted(cls._declared.values(), key=lambda each: each.offset)
        outputs = (f"output   {name:<14} {each.doc}" for name, each in cls._outputs.items())
        return "\n".join(line.rstrip() for line in [*map(_describe, declared), *outputs])


def _members(cls: type, kind: type) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if isinstance(member, kind)}


def _describe(declared: Declaration) -> str:
    text = f"{declared.offset:#08x} {declared.name:<14} {8 * declared.size:>3} {declared.access:<4}"
    if isinstance(declared, RegArray):
        text += f" [{declared.count}] every {declared.stride:#x}"
    if isinstance(declared, Reg | RegArray):
        for name, (high, low) in declared.fields.items():
            text += f" {name}[{high}:{low}]" if high > low else f" {name}[{low}]"
    return f"{text} {declared.doc}"
