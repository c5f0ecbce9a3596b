"""Ports: declared registers with their hooks looked up, ready for an access.

Made once a class from the declarations, so that an access by the guest is a look-up and a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bimetal.base.errors import GuestError
from bimetal.devices.register import Declaration, Reg, RegArray, Todo

if TYPE_CHECKING:
    from bimetal.devices.device import Device

__all__ = ["ArrayPort", "Port", "RegPort", "TodoPort", "make_port"]


class Port:
    """How a declaration is read and written; ``size`` is that of one access in bytes."""

    __slots__ = ("name", "size")

    def __init__(self, declared: Declaration):
        self.name, self.size = declared.name, declared.size

    def get(self, device: Device, index: int) -> int:
        """What a read by the guest answers."""
        raise NotImplementedError

    def put(self, device: Device, index: int, value: int) -> None:
        """Do what a write of the whole register does."""
        raise NotImplementedError

    def stored(self, device: Device, index: int) -> int:
        """The value without side effects, for a write to a part of the register."""
        raise NotImplementedError


class RegPort(Port):
    """A `Reg` with its hooks."""

    __slots__ = ("k_hook", "r_hook", "reg", "w_hook")

    def __init__(self, cls: type[Device], reg: Reg):
        super().__init__(reg)
        self.reg: Any = reg  # Any, because a class attribute of this type would be a descriptor
        self.r_hook = getattr(cls, f"r_{reg.name}", None)
        self.w_hook = getattr(cls, f"w_{reg.name}", None)
        self.k_hook = getattr(cls, f"k_{reg.name}", None)

    def get(self, device: Device, index: int = 0) -> int:
        value: int = device.values[self.name] if self.r_hook is None else self.r_hook(device)
        return value

    def put(self, device: Device, index: int, value: int) -> None:
        reg = self.reg
        if reg.readonly:
            raise GuestError(f"write to the read-only register {self.name}")
        written = reg.value(value)
        if reg.writable == reg.mask:
            device.values[self.name] = written
        elif reg.writable:
            kept = device.values[self.name] & ~reg.writable
            device.values[self.name] = reg.value(kept | value & reg.writable)
        if self.w_hook is not None:
            self.w_hook(device, written)

    def stored(self, device: Device, index: int) -> int:
        kept: int = device.values[self.name] if self.k_hook is None else self.k_hook(device)
        return kept


class ArrayPort(Port):
    """A `RegArray` with its hooks."""

    __slots__ = ("array", "k_hook", "r_hook", "w_hook")

    def __init__(self, cls: type[Device], array: RegArray):
        super().__init__(array)
        self.array: Any = array
        self.r_hook = getattr(cls, f"r_{array.name}", None)
        self.w_hook = getattr(cls, f"w_{array.name}", None)
        self.k_hook = getattr(cls, f"k_{array.name}", None)

    def get(self, device: Device, index: int) -> int:
        if self.r_hook is None:
            return device.arrays[self.name][index]
        value: int = self.r_hook(device, index)
        return value

    def put(self, device: Device, index: int, value: int) -> None:
        array = self.array
        if array.readonly:
            raise GuestError(f"write to the read-only register {self.name}[{index}]")
        values = device.arrays[self.name]
        values[index] = values[index] & ~array.writable | value & array.writable
        if self.w_hook is not None:
            self.w_hook(device, index, array.value(value))

    def stored(self, device: Device, index: int) -> int:
        if self.k_hook is None:
            return device.arrays[self.name][index]
        kept: int = self.k_hook(device, index)
        return kept


class TodoPort(Port):
    """A `Todo`: every use of it is an event."""

    __slots__ = ("todo",)

    def __init__(self, todo: Todo):
        super().__init__(todo)
        self.todo = todo

    def get(self, device: Device, index: int) -> int:
        device.events.unimplemented(f"{self.name} {self.todo.doc}".rstrip(), "read")
        return self.todo.reset

    def put(self, device: Device, index: int, value: int) -> None:
        device.events.unimplemented(f"{self.name} {self.todo.doc}".rstrip(), f"write {value:#x}")

    def stored(self, device: Device, index: int) -> int:
        return self.todo.reset


def make_port(cls: type[Device], declared: Declaration) -> Port:
    """The port of a declaration as it is in ``cls``."""
    if isinstance(declared, Reg):
        return RegPort(cls, declared)
    if isinstance(declared, RegArray):
        return ArrayPort(cls, declared)
    if isinstance(declared, Todo):
        return TodoPort(declared)
    raise TypeError(f"{cls.__name__}.{declared.name} is a {type(declared).__name__}, no register")
