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

An access is one of one register, or of a part of it. Which widths a device takes follows from its
registers (their own, and halves of those of 8 bytes), unless it declares another `Access`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from bimetal.base.errors import GuestError
from bimetal.base.log import EventLog
from bimetal.base.state import BadState
from bimetal.devices.output import Level, Out, Outs
from bimetal.devices.part import Part
from bimetal.devices.port import ArrayPort, Port, RegPort, make_port
from bimetal.devices.register import Declaration, Reg, RegArray, Value
from bimetal.memory.access import ANY, Access, Refused

__all__ = ["Device", "Property"]

KNOWN_LIMIT = 256
"""Accesses whose port is remembered: few registers are accessed again and again."""

Property = int | str | tuple[int, ...] | None
"""A property of a device tree node: cells, a string, or None for one that is merely there."""


class Device(Part):
    """The base of all devices.

    ``kind`` names the device in its address (``uart`` in ``uart@10000000``) and ``node_name``, if
    different, in a device tree; ``mmio_size`` is the number of bytes that it answers for;
    ``compatible`` and `properties` are what a device tree says of it; ``acpi`` is its identifier in
    ACPI tables and what its names begin with there; ``access`` says which accesses it takes. A
    ``newer`` one is as after a reset where a snapshot of an earlier version has no such device.
    What it has besides registers and outputs it declares as `Stateful` says.
    """

    kind: ClassVar[str] = "device"
    node_name: ClassVar[str] = ""
    compatible: ClassVar[tuple[str, ...]] = ()
    acpi: ClassVar[tuple[str, str]] = ("", "")
    mmio_size: int = 0x1000
    access: Access = ANY
    newer: ClassVar[bool] = False
    fixed: ClassVar[tuple[str, ...]] = ("name", "events", "_rows", "mmio_size", "access")
    derived: ClassVar[tuple[str, ...]] = (
        *("values", "arrays"),  # registers, which are saved by name
        "_known",
    )

    _says_access: ClassVar[bool] = False
    _declared: ClassVar[dict[str, Declaration]] = {}
    _outputs: ClassVar[dict[str, Out[Any] | Outs]] = {}
    _registers: ClassVar[dict[int, RegPort]] = {}
    _arrays: ClassVar[tuple[ArrayPort, ...]] = ()
    _ports: ClassVar[tuple[tuple[Declaration, Port], ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._declared = _members(cls, Declaration)
        cls._outputs = {**_members(cls, Out), **_members(cls, Outs)}
        ports = [(declared, make_port(cls, declared)) for declared in cls._declared.values()]
        cls._ports = tuple(ports)
        cls._registers = {d.offset: port for d, port in ports if isinstance(port, RegPort)}
        cls._arrays = tuple(port for _, port in ports if isinstance(port, ArrayPort))
        if "access" in vars(cls):
            cls._says_access = True
        elif not cls._says_access and cls._declared:
            cls.access = _access_of(cls._declared.values())

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
        self._known: dict[tuple[int, int], tuple[Port, int]] = {}
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
        """Answer a guest's read of ``size`` bytes at ``offset``: little-endian, unsigned. Raises
        `Refused` for more than a register."""
        try:
            exact = self._known.get((offset, size)) or self._exactly(offset, size)
            if exact is not None:
                return exact[0].get(self, exact[1])
            found, index, inside = self._at(offset, size)
            return found.get(self, index) >> 8 * inside & (1 << 8 * size) - 1
        except Refused:
            raise
        except GuestError as error:
            self.guest_error(str(error))
            return 0

    def write(self, offset: int, size: int, value: int) -> None:
        """Carry out a guest's write of ``size`` bytes, little-endian, at ``offset``. The rest of a
        register keeps what is stored. Raises `Refused` for more than a register."""
        try:
            exact = self._known.get((offset, size)) or self._exactly(offset, size)
            if exact is not None:
                exact[0].put(self, exact[1], value)
                return
            found, index, inside = self._at(offset, size)
            kept = found.stored(self, index) & ~((1 << 8 * size) - 1 << 8 * inside)
            found.put(self, index, kept | value << 8 * inside)
        except Refused:
            raise
        except GuestError as error:
            self.guest_error(str(error))

    def guest_error(self, message: str, detail: str = "") -> None:
        """Count and log an error of the guest; execution continues."""
        self.events.guest_error(message, detail)

    def _exactly(self, offset: int, size: int) -> tuple[Port, int] | None:
        """The port, and the index in its row, of the register that an access is one of."""
        found: tuple[Port, int] | None = None
        port = self._registers.get(offset)
        if port is not None and port.size == size:
            found = port, 0
        else:
            for start, count, stride, row in self._rows:
                index, inside = divmod(offset - start, stride)
                if inside == 0 and 0 <= index < count and row.size == size:
                    found = row, index
                    break
        if found is not None:
            if len(self._known) == KNOWN_LIMIT:
                self._known.clear()
            self._known[offset, size] = found
        return found

    def _at(self, offset: int, size: int) -> tuple[Port, int, int]:
        """The port at ``offset``, the index in its row, and the byte inside the register.

        Raises `GuestError` where there is nothing, `Refused` for more than there is.
        """
        port, index, inside = self._find(offset)
        if inside + size > port.size:
            raise Refused(f"access of {size} bytes to {port.name}, which has {port.size}")
        return port, index, inside

    def _find(self, offset: int) -> tuple[Port, int, int]:
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

    def save(self) -> dict[str, Any]:
        registers: dict[str, object] = {name: int(value) for name, value in self.values.items()}
        registers.update({name: list(values) for name, values in self.arrays.items()})
        levels = {
            name: level.high if isinstance(level, Level) else [each.high for each in level]
            for name, level in self._driven()
        }
        return {**super().save(), "registers": registers, "outputs": levels}

    def load(self, state: Mapping[str, Any]) -> None:
        registers, levels = state.get("registers"), state.get("outputs")
        if not isinstance(registers, Mapping) or not isinstance(levels, Mapping):
            raise BadState(f"{type(self).__name__} has no registers or outputs")
        # Most are what they were: a machine is rewound again and again.
        if registers != self.values | self.arrays:
            self._load_registers(registers)
        changed = []
        for name, level in self._driven():
            rows = [level] if isinstance(level, Level) else level
            given = [levels.get(name)] if isinstance(level, Level) else levels.get(name)
            if not isinstance(given, list) or [type(each) for each in given] != [bool] * len(rows):
                raise BadState(f"{type(self).__name__}.{name} has {len(rows)} levels")
            changed += [each for each, high in zip(rows, given, strict=True) if each.high != high]
            for each, high in zip(rows, given, strict=True):
                each.high = high
        super().load(state)
        for each in changed:
            each.tell()

    def _load_registers(self, registers: Mapping[str, Any]) -> None:
        for name, declared in self._declared.items():
            if isinstance(declared, Reg):
                self.values[name] = declared.value(self._word(declared, registers.get(name)))
            elif isinstance(declared, RegArray):
                row, count = registers.get(name), declared.length(self)
                if not isinstance(row, list) or len(row) != count:
                    raise BadState(f"{type(self).__name__}.{name} has {count} registers")
                self.arrays[name] = [self._word(declared, each) for each in row]

    def check_state(self) -> None:
        """Raise TypeError if the class does not say of every attribute whether it is state."""
        if unsaid := list(self.undeclared()):
            raise TypeError(
                f"{', '.join(unsaid)}: a class says of each attribute that it is `saved`, `fixed` "
                "or `derived` (bimetal.base.state)"
            )

    def undeclared(self) -> Iterator[str]:
        outputs = {f"{type(self).__name__}.{name}" for name in self._outputs}
        return (name for name in super().undeclared() if name not in outputs)

    def _driven(self) -> Iterator[tuple[str, Level | list[Level]]]:
        for name in self._outputs:
            output = self.__dict__[name]
            if isinstance(output, Level | list):
                yield name, output

    def _word(self, declared: Reg | RegArray, value: object) -> int:
        if not isinstance(value, int) or not 0 <= value <= declared.mask:
            raise BadState(f"{type(self).__name__}.{declared.name} cannot be {value!r:.40}")
        return int(value)

    @classmethod
    def outputs(cls) -> tuple[str, ...]:
        """The names of the outputs that a board can wire."""
        return tuple(cls._outputs)

    @classmethod
    def describe(cls) -> str:
        """The registers and outputs as text, a line each: what the documentation shows."""
        declared = sorted(cls._declared.values(), key=lambda each: each.offset)
        outputs = (f"output   {name:<14} {each.doc}" for name, each in cls._outputs.items())
        lines = [*map(_describe, declared), f"accesses of {cls.access}", *outputs]
        return "\n".join(line.rstrip() for line in lines)


def _members(cls: type, kind: type) -> dict[str, Any]:
    """What a class and all of its bases declare; several of them may have registers."""
    return {
        name: member
        for each in reversed(cls.__mro__)
        for name, member in vars(each).items()
        if isinstance(member, kind)
    }


def _access_of(declared: Iterable[Declaration]) -> Access:
    """The accesses that registers of these sizes are made for."""
    sizes = {each.size for each in declared if isinstance(each, Reg | RegArray)}
    return Access(tuple(sorted(sizes | ({4} if 8 in sizes else set())))) if sizes else ANY


def _describe(declared: Declaration) -> str:
    text = f"{declared.offset:#08x} {declared.name:<14} {8 * declared.size:>3} {declared.access:<4}"
    if isinstance(declared, RegArray):
        text += f" [{declared.count}] every {declared.stride:#x}"
    if isinstance(declared, Reg | RegArray):
        for name, (high, low) in declared.fields.items():
            text += f" {name}[{high}:{low}]" if high > low else f" {name}[{low}]"
    return f"{text} {declared.doc}"
