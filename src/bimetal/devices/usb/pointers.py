"""What people point with on USB: a tablet, which says where, and a mouse, which says how far
(HID 1.11, appendix B.2; HID Usage Tables 1.12, chapters 4 and 12)."""

from __future__ import annotations

from struct import pack

from bimetal.devices.usb.descriptors import Speed
from bimetal.devices.usb.hid import HidDevice, identity
from bimetal.devices.usb.report import (
    APPLICATION,
    COLLECTION,
    CONSTANT,
    GENERIC,
    INPUT,
    LOGICAL_MAXIMUM,
    LOGICAL_MINIMUM,
    PHYSICAL,
    RELATIVE,
    REPORT_COUNT,
    REPORT_SIZE,
    USAGE,
    USAGE_MAXIMUM,
    USAGE_MINIMUM,
    USAGE_PAGE,
    VARIABLE,
    items,
)
from bimetal.screen.inputs import BUTTONS, RANGE

__all__ = ["UsbMouse", "UsbTablet"]

MOUSE, POINTER = 0x02, 0x01
X, Y, WHEEL = 0x30, 0x31, 0x38
BUTTON_PAGE = 0x09
FAR = 127
"""How far a mouse, or a wheel, can go in one report."""
PIXEL = (RANGE + 1) // 1024
"""What a mouse that is moved to a place counts for one step: a pixel of a usual screen."""

NUMBERS = tuple(BUTTONS.values())
"""The buttons in the order of their bits."""

_HEAD = (
    (USAGE_PAGE, GENERIC), (USAGE, MOUSE), (COLLECTION, APPLICATION), (USAGE, POINTER),
    (COLLECTION, PHYSICAL),
    (USAGE_PAGE, BUTTON_PAGE), (USAGE_MINIMUM, 1), (USAGE_MAXIMUM, len(NUMBERS)),
    (LOGICAL_MINIMUM, 0), (LOGICAL_MAXIMUM, 1),
    (REPORT_SIZE, 1), (REPORT_COUNT, len(NUMBERS)), (INPUT, VARIABLE),
    (REPORT_SIZE, 8 - len(NUMBERS)), (REPORT_COUNT, 1), (INPUT, CONSTANT),
    (USAGE_PAGE, GENERIC),
)  # fmt: skip
_STEP = ((LOGICAL_MINIMUM, -FAR), (LOGICAL_MAXIMUM, FAR), (REPORT_SIZE, 8))


class _Pointer(HidDevice):
    """What both have: buttons."""

    def has(self, code: int) -> bool:
        return code in NUMBERS

    @property
    def buttons(self) -> int:
        """Those that are down."""
        return sum(1 << NUMBERS.index(code) for code in self.down)


class UsbTablet(_Pointer):
    """A tablet with buttons and a wheel. Moves on the way to where the pointer was are left out if
    nobody asks for them."""

    identity = identity("Bimetal USB tablet")
    report = items(
        *_HEAD, (USAGE, X), (USAGE, Y), (LOGICAL_MINIMUM, 0), (LOGICAL_MAXIMUM, RANGE),
        (REPORT_SIZE, 16), (REPORT_COUNT, 2), (INPUT, VARIABLE),
        (USAGE, WHEEL), *_STEP, (REPORT_COUNT, 1), (INPUT, VARIABLE | RELATIVE),
    )  # fmt: skip
    saved = ("place",)

    def __init__(self, speed: Speed = Speed.HIGH) -> None:
        super().__init__(speed)
        self.place = (0, 0)

    def state(self) -> bytes:
        return self._report(0)

    def _report(self, wheel: int) -> bytes:
        return pack("<BHHb", self.buttons, *self.place, wheel)

    def point(self, x: int, y: int) -> None:
        if not self.configured:
            return
        here = min(max(x, 0), RANGE), min(max(y, 0), RANGE)
        if here == self.place:
            return
        before, self.place = self._report(0), here
        # Two waiting reports with the same buttons: the later one is not of a button.
        waiting = self.reports[-2:]
        if waiting[1:] == [before] and waiting[0][0] == before[0]:
            self.reports[-1] = self.state()
        elif self.listens:
            self.say(self.state())

    def turn(self, steps: int) -> None:
        if self.listens:
            self.say(self._report(min(max(steps, -FAR), FAR)))

    def reset(self) -> None:
        super().reset()
        self.place = (0, 0)


class UsbMouse(_Pointer):
    """A mouse with buttons and a wheel, of which firmware's protocol knows nothing. A place that is
    pointed at is how far it is from the one before."""

    identity = identity("Bimetal USB mouse")
    boot = 2
    report = items(
        *_HEAD, (USAGE, X), (USAGE, Y), (USAGE, WHEEL), *_STEP,
        (REPORT_COUNT, 3), (INPUT, VARIABLE | RELATIVE),
    )  # fmt: skip
    saved = ("place",)

    def __init__(self, speed: Speed = Speed.HIGH) -> None:
        super().__init__(speed)
        self.place: tuple[int, int] | None = None
        """Where it was pointed at last, in steps; None at first."""

    def state(self) -> bytes:
        return self._report(0, 0, 0)

    def _report(self, right: int, down: int, wheel: int) -> bytes:
        whole = pack("<Bbbb", self.buttons, right, down, wheel)
        return whole[:3] if self.simple else whole

    def point(self, x: int, y: int) -> None:
        here = x // PIXEL, y // PIXEL
        before, self.place = self.place or here, here
        self.move(here[0] - before[0], here[1] - before[1])

    def move(self, right: int, down: int) -> None:
        """Move it so many steps, which may take several reports."""
        while (right or down) and self.listens:
            x, y = min(max(right, -FAR), FAR), min(max(down, -FAR), FAR)
            self.say(self._report(x, y, 0))
            right, down = right - x, down - y

    def turn(self, steps: int) -> None:
        if self.listens:
            self.say(self._report(0, 0, min(max(steps, -FAR), FAR)))

    def reset(self) -> None:
        super().reset()
        self.place = None
