"""Declared registers: where they lie, how wide they are, what their fields are called.

    class Timer(Device):
        CONTROL = Reg(0x0, ENABLE=0, MODE=(2, 1))
        COUNT = Reg(0x4, readonly=True)
        CHANNEL = RegArray(0x100, count=8)
        DMA = Todo(0x40, size=0x20, doc="transfers without the CPU")

A declaration is a descriptor: ``self.CONTROL`` is the stored value, an `int` that also knows its
fields (``self.CONTROL.MODE``), and assigning stores. Everything else that a device does with its
registers (dispatch, reset, snapshot, documentation) is derived from the declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self, overload

from bimetal.base.bits import extract, mask

if TYPE_CHECKING:
    from bimetal.devices.device import Device

__all__ = ["Declaration", "Reg", "RegArray", "Todo", "Value"]

Field = int | tuple[int, int]


class Value(int):
    """What a register holds. Each field of the register is an attribute, an unsigned int."""

    fields: Mapping[str, tuple[int, int]] = {}

    def __getattr__(self, name: str) -> int:
        raise AttributeError(f"the register has no field {name}, only {', '.join(self.fields)}")

    def __repr__(self) -> str:
        parts = [f"{n}={extract(self, *bits):#x}" for n, bits in self.fields.items()]
        return f"{int(self):#x}" + (f" ({', '.join(parts)})" if parts else "")


def value_class(register: str, fields: Mapping[str, tuple[int, int]]) -> type[Value]:
    """The subclass of `Value` whose attributes are ``fields``."""
    if not fields:
        return Value
    members: dict[str, object] = {"fields": fields, "__slots__": ()}
    members.update({name: _field(high, low) for name, (high, low) in fields.items()})
    return type(register, (Value,), members)


def _field(high: int, low: int) -> property:
    ones = mask(high - low + 1)
    return property(lambda value: value >> low & ones)


class Declaration:
    """What a class says about a stretch of its address range."""

    offset: int
    size: int
    doc: str
    name = ""

    def __set_name__(self, owner: type[Device], name: str) -> None:
        self.name = name

    @property
    def access(self) -> str:
        """``rw``, ``ro`` or ``todo``, for the documentation."""
        raise NotImplementedError


class Todo(Declaration):
    """Hardware that exists and is not modelled: reads as ``reset``, ignores writes, logs both."""

    def __init__(self, offset: int, size: int = 4, reset: int = 0, doc: str = ""):
        self.offset, self.size, self.reset, self.doc = offset, size, reset, doc

    @property
    def access(self) -> str:
        return "todo"


class _Register(Declaration):
    """What `Reg` and `RegArray` have in common."""

    def __init__(
        self,
        offset: int,
        size: int,
        reset: int,
        readonly: bool,
        writable: int | None,
        doc: str,
        fields: Mapping[str, Field],
    ):
        if size not in (1, 2, 4, 8):
            raise ValueError(f"a register at {offset:#x} cannot be {size} bytes wide")
        self.offset, self.size, self.reset, self.readonly = offset, size, reset, readonly
        self.mask = mask(8 * size)
        self.writable = 0 if readonly else self.mask if writable is None else writable
        self.doc = doc
        self.fields = {
            name: (bits, bits) if isinstance(bits, int) else bits for name, bits in fields.items()
        }
        for name, (high, low) in self.fields.items():
            if not 0 <= low <= high < 8 * size:
                raise ValueError(f"field {name}=({high}, {low}) does not fit in {size} bytes")
        self.value = Value

    def __set_name__(self, owner: type[Device], name: str) -> None:
        super().__set_name__(owner, name)
        self.value = value_class(name, self.fields)

    @property
    def access(self) -> str:
        return "ro" if self.readonly else "rw"


class Reg(_Register):
    """One register of ``size`` bytes at ``offset``.

    ``reset`` is its value after reset. A guest's write changes the bits of ``writable`` (all, if
    not given) and then calls the hook ``w_NAME`` with the value as it was written; a guest's read
    answers what the hook ``r_NAME`` returns, or else the stored value. Writes to a ``readonly``
    register are guest errors. Fields are given as ``NAME=(high, low)`` or ``NAME=bit``.
    """

    def __init__(
        self,
        offset: int,
        size: int = 4,
        *,
        reset: int = 0,
        readonly: bool = False,
        writable: int | None = None,
        doc: str = "",
        **fields: Field,
    ):
        super().__init__(offset, size, reset, readonly, writable, doc, fields)

    @overload
    def __get__(self, device: None, owner: type[Device]) -> Self: ...
    @overload
    def __get__(self, device: Device, owner: type[Device]) -> Value: ...
    def __get__(self, device: Device | None, owner: type[Device]) -> Self | Value:
        if device is None:
            return self
        return device.values[self.name]

    def __set__(self, device: Device, value: int) -> None:
        device.values[self.name] = self.value(value & self.mask)


class RegArray(_Register):
    """``count`` registers of one kind, ``stride`` bytes apart (their own size, if not given).

    ``count`` may be the name of an attribute of the device, for what each instance has in its own
    number; it is set before ``Device.__init__`` runs. The hooks take an index:
    ``r_NAME(index)``, ``w_NAME(index, value)``; ``self.NAME`` is the list of the stored values.
    """

    def __init__(
        self,
        offset: int,
        count: int | str,
        stride: int | None = None,
        size: int = 4,
        *,
        reset: int = 0,
        readonly: bool = False,
        writable: int | None = None,
        doc: str = "",
        **fields: Field,
    ):
        super().__init__(offset, size, reset, readonly, writable, doc, fields)
        self.count, self.stride = count, size if stride is None else stride
        if self.stride < size:
            raise ValueError(f"registers of {size} bytes cannot be {self.stride} bytes apart")

    def length(self, device: Device) -> int:
        """How many there are in ``device``."""
        if isinstance(self.count, int):
            return self.count
        count: int = getattr(device, self.count)
        return count

    @overload
    def __get__(self, device: None, owner: type[Device]) -> Self: ...
    @overload
    def __get__(self, device: Device, owner: type[Device]) -> list[int]: ...
    def __get__(self, device: Device | None, owner: type[Device]) -> Self | list[int]:
        if device is None:
            return self
        return device.arrays[self.name]
