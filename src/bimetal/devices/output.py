"""Named outputs: interrupt lines and messages that a device sends and a board wires.

    class Uart(Device):
        irq = Out()                  # a level, low at first
        power = Out(Shutdown)        # messages of a type

A device says ``self.irq(True)`` and knows nothing of who listens. An output that nobody listens to
is an unconnected pin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Self, TypeVar, overload

if TYPE_CHECKING:
    from bimetal.devices.device import Device

__all__ = ["Level", "Line", "Out", "Output", "Outs"]

T = TypeVar("T")

Line = Callable[[bool], None]
"""An input that a level drives: an interrupt pin, a CPU's interrupt line."""


class Output(Generic[T]):
    """One output of one device: calls every input that it is connected to."""

    __slots__ = ("name", "targets")

    def __init__(self, name: str):
        self.name = name
        self.targets: list[Callable[[T], object]] = []

    def __repr__(self) -> str:
        return f"<output {self.name}>"

    def connect(self, target: Callable[[T], object]) -> None:
        """Let ``target`` hear what the device says from now on."""
        self.targets.append(target)

    def __call__(self, signal: T) -> None:
        for target in self.targets:
            target(signal)


class Level(Output[bool]):
    """An output with a level, ``high``, which the inputs hear of when it changes.

    An input that has a method ``renew`` hears by it that the output was driven high while it was
    high: the device is at work, and still wants attention.
    """

    __slots__ = ("_renewed", "high")

    def __init__(self, name: str):
        super().__init__(name)
        self.high = False
        self._renewed: list[Callable[[], None]] = []

    def connect(self, target: Callable[[bool], object]) -> None:
        super().connect(target)
        renew: Callable[[], None] | None = getattr(target, "renew", None)
        if renew is not None:
            self._renewed.append(renew)

    def __repr__(self) -> str:
        return f"<output {self.name}, {'high' if self.high else 'low'}>"

    def tell(self) -> None:
        """Tell the inputs the level, which was set without a word: after a snapshot was loaded."""
        for target in self.targets:
            target(self.high)

    def __call__(self, signal: bool) -> None:
        if signal != self.high:
            self.high = signal
            for target in self.targets:
                target(signal)
        elif signal:
            for renew in self._renewed:
                renew()


class Out(Generic[T]):
    """The declaration of an output whose signals are of type ``kind``; by default a level."""

    name = ""

    @overload
    def __init__(self: Out[bool], kind: type[bool] = bool, doc: str = "") -> None: ...
    @overload
    def __init__(self, kind: type[T], doc: str = "") -> None: ...
    def __init__(self, kind: type[object] = bool, doc: str = "") -> None:
        self.kind, self.doc = kind, doc

    def __set_name__(self, owner: type[Device], name: str) -> None:
        self.name = name

    def make(self, device: Device) -> object:
        """What ``device`` holds under the name of this declaration."""
        return Level(self.name) if self.kind is bool else Output[T](self.name)

    # A device's own dictionary hides this descriptor, so that a signal costs no look-up.
    @overload
    def __get__(self, device: None, owner: type[Device]) -> Self: ...
    @overload
    def __get__(self: Out[bool], device: Device, owner: type[Device]) -> Level: ...
    @overload
    def __get__(self, device: Device, owner: type[Device]) -> Output[T]: ...
    def __get__(self, device: Device | None, owner: type[Device]) -> object:
        if device is None:
            return self
        raise AttributeError(f"Device.__init__ has not made the output {self.name} yet")


class Outs:
    """The declaration of a row of levels; ``count`` is a number or the name of an attribute of the
    device that is set before ``Device.__init__`` runs."""

    name = ""

    def __init__(self, count: int | str, doc: str = ""):
        self.count, self.doc = count, doc

    def __set_name__(self, owner: type[Device], name: str) -> None:
        self.name = name

    def make(self, device: Device) -> object:
        """What ``device`` holds under the name of this declaration."""
        count = self.count if isinstance(self.count, int) else getattr(device, self.count)
        return [Level(f"{self.name}[{index}]") for index in range(count)]

    @overload
    def __get__(self, device: None, owner: type[Device]) -> Self: ...
    @overload
    def __get__(self, device: Device, owner: type[Device]) -> list[Level]: ...
    def __get__(self, device: Device | None, owner: type[Device]) -> Self | list[Level]:
        if device is None:
            return self
        raise AttributeError(f"Device.__init__ has not made the outputs {self.name} yet")
