"""A bus: the functions on it by their numbers, and the way up from there to the root complex."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

from bimetal.devices.irq.messages import Message
from bimetal.devices.pci.bar import Decoded, Window
from bimetal.devices.pci.function import Function, MessageWrite

__all__ = ["FUNCTIONS", "PINS", "PciBus", "Upstream"]

PINS = 4
SLOTS, FUNCTIONS = 32, 8


class Upstream(Protocol):
    """What a bus hangs from: the host bridge, or a bridge on another bus."""

    def bus_number(self) -> int:
        """The number that the bus has now."""

    def drive(self, source: Function, pin: int, level: bool) -> None:
        """The interrupt pin of ``source``, 0 to 3 as routed on the bus, has this level."""

    def renew(self, pin: int) -> None:
        """The interrupt pin of a function, which was high, was driven high once more."""

    def pass_message(self, message: Message) -> None:
        """A function of the bus, or behind it, sends a message."""

    def pass_moved(self) -> None:
        """A function of the bus, or behind it, decodes other addresses."""


class _Wire:
    """The interrupt pin of a function on its way to the bus's upstream."""

    __slots__ = ("_pin", "_source", "_upstream")

    def __init__(self, upstream: Upstream, source: Function, pin: int):
        self._upstream, self._source, self._pin = upstream, source, pin

    def __call__(self, level: bool) -> None:
        self._upstream.drive(self._source, self._pin, level)

    def renew(self) -> None:
        """See `Level`: others may keep the shared wire high, so only this tells of what is new."""
        self._upstream.renew(self._pin)


class PciBus:
    """The functions on one bus below ``upstream``."""

    def __init__(self, upstream: Upstream):
        self._upstream = upstream
        self._functions: dict[int, Function] = {}

    def __iter__(self) -> Iterator[Function]:
        return iter(tuple(self._functions.values()))

    @property
    def number(self) -> int:
        """The bus's number."""
        return self._upstream.bus_number()

    def add(self, function: Function, slot: int, number: int = 0) -> None:
        """Put ``function`` into ``slot`` as its function ``number``. ValueError if that is taken,
        or if it is not the first and there is no first."""
        place = slot * FUNCTIONS + number
        if not (0 <= slot < SLOTS and 0 <= number < FUNCTIONS) or place in self._functions:
            raise ValueError(f"{function.name} cannot be function {slot:02x}.{number}")
        if number:
            first = self._functions.get(place - number)
            if first is None:
                raise ValueError(f"{function.name} has no function 0 beside it")
            first.tell_of_others()
        self._functions = dict(sorted({**self._functions, place: function}.items()))
        function.attach(self._upstream, slot)
        function.message.connect(partial(self._message, place))
        function.moved.connect(lambda _: self._upstream.pass_moved())
        if function.pin:
            routed = (slot + function.pin - 1) % PINS
            function.intx.connect(_Wire(self._upstream, function, routed))

    def remove(self, function: Function) -> None:
        """Take ``function`` off the bus."""
        function.intx(False)
        self._functions = {at: each for at, each in self._functions.items() if each is not function}
        for output in (function.message, function.moved, function.intx):
            output.targets.clear()
        self._upstream.pass_moved()

    def at(self, place: int) -> Function | None:
        """The function at ``place``: 8 times its slot, and its number."""
        return self._functions.get(place)

    def find(self, number: int) -> PciBus | None:
        """The bus of that number: this one, or one behind it."""
        if number == self.number:
            return self
        for function in self._functions.values():
            if function.behind is not None and function.leads_to(number):
                return function.behind.find(number)
        return None

    def high(self) -> Iterator[tuple[Function, int]]:
        """The functions, of those behind it too, whose interrupt pins are high, and the pins, 0 to
        3 as routed on this bus."""
        for place, function in self._functions.items():
            slot = place // FUNCTIONS
            if function.pin and function.intx.high:
                yield function, (slot + function.pin - 1) % PINS
            if function.behind is not None:
                for source, pin in function.behind.high():
                    yield source, (slot + pin) % PINS

    def decoded(self, windows: Sequence[Window]) -> Iterator[Decoded]:
        """What its functions, and those behind it, decode of ``windows``."""
        for function in self._functions.values():
            for bar, address in function.decoded():
                for window in windows:
                    if window.holds(bar.kind, address, bar.size):
                        yield Decoded(window.index, address - window.base, bar.size, bar.target)
                        break
            if function.behind is not None:
                yield from function.behind.decoded(function.forwards(windows))

    def _message(self, place: int, write: MessageWrite) -> None:
        self._upstream.pass_message(Message(self.number << 8 | place, write.address, write.data))
