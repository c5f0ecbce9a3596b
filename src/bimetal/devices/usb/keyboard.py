"""A USB keyboard (HID 1.11, appendix B.1; HID Usage Tables 1.12, chapter 10).

Its reports are those that firmware knows: a byte for the keys that change others, and the numbers
of up to six more that are down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bimetal.devices.usb.descriptors import Speed
from bimetal.devices.usb.hid import HidDevice, identity
from bimetal.devices.usb.report import (
    APPLICATION,
    ARRAY,
    COLLECTION,
    CONSTANT,
    GENERIC,
    INPUT,
    LOGICAL_MAXIMUM,
    LOGICAL_MINIMUM,
    OUTPUT,
    REPORT_COUNT,
    REPORT_SIZE,
    USAGE,
    USAGE_MAXIMUM,
    USAGE_MINIMUM,
    USAGE_PAGE,
    VARIABLE,
    items,
)
from bimetal.screen.keys import KEYS

__all__ = ["USAGES", "UsbKeyboard"]

KEYBOARD, KEYPAD, LIGHTS = 0x06, 0x07, 0x08
"""A usage of a desktop, and pages of usages."""

FIRST_MODIFIER, LAST_MODIFIER, LAST_USAGE = 0xE0, 0xE7, 0xDF
MOST_KEYS, TOO_MANY = 6, 1
"""Keys of a report, and what stands for each of them if more are down."""


def _usages() -> Iterator[tuple[int, int]]:
    rows = {
        0x04: "a b c d e f g h i j k l m n o p q r s t u v w x y z",
        0x1E: "1 2 3 4 5 6 7 8 9 0 enter esc backspace tab space minus equal leftbrace rightbrace",
        0x31: "backslash",
        0x33: "semicolon apostrophe grave comma dot slash capslock",
        0x3A: "f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 sysrq scrolllock pause insert home pageup",
        0x4C: "delete end pagedown right left down up numlock kpslash kpasterisk kpminus kpplus",
        0x58: "kpenter kp1 kp2 kp3 kp4 kp5 kp6 kp7 kp8 kp9 kp0 kpdot 102nd compose power kpequal",
        0x68: "f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24 open help props front stop again",
        0x7A: "undo cut copy paste find mute volumeup volumedown",
        0x85: "kpcomma",
        0x87: "ro katakanahiragana yen henkan muhenkan kpjpcomma",
        0x90: "hangeul hanja katakana hiragana zenkakuhankaku",
        0xE0: "leftctrl leftshift leftalt leftmeta rightctrl rightshift rightalt rightmeta",
    }
    for first, names in rows.items():
        for usage, name in enumerate(names.split(), first):
            yield KEYS[name], usage


USAGES: Mapping[int, int] = dict(_usages())
"""What a keyboard's page of usages calls the keys of Linux's numbers."""


class UsbKeyboard(HidDevice):
    """The keyboard; ``lights`` are those that the driver has switched on."""

    identity = identity("Bimetal USB keyboard")
    boot = 1
    report = items(
        (USAGE_PAGE, GENERIC), (USAGE, KEYBOARD), (COLLECTION, APPLICATION),
        (USAGE_PAGE, KEYPAD), (USAGE_MINIMUM, FIRST_MODIFIER), (USAGE_MAXIMUM, LAST_MODIFIER),
        (LOGICAL_MINIMUM, 0), (LOGICAL_MAXIMUM, 1),
        (REPORT_SIZE, 1), (REPORT_COUNT, 8), (INPUT, VARIABLE),
        (REPORT_SIZE, 8), (REPORT_COUNT, 1), (INPUT, CONSTANT),
        (USAGE_PAGE, LIGHTS), (USAGE_MINIMUM, 1), (USAGE_MAXIMUM, 5),
        (REPORT_SIZE, 1), (REPORT_COUNT, 5), (OUTPUT, VARIABLE),
        (REPORT_SIZE, 3), (REPORT_COUNT, 1), (OUTPUT, CONSTANT),
        (USAGE_PAGE, KEYPAD), (USAGE_MINIMUM, 0), (USAGE_MAXIMUM, LAST_USAGE),
        (LOGICAL_MINIMUM, 0), (LOGICAL_MAXIMUM, LAST_USAGE),
        (REPORT_SIZE, 8), (REPORT_COUNT, MOST_KEYS), (INPUT, ARRAY),
    )  # fmt: skip
    saved = ("lights",)

    def __init__(self, speed: Speed = Speed.HIGH) -> None:
        super().__init__(speed)
        self.lights = 0

    def has(self, code: int) -> bool:
        return code in USAGES

    def state(self) -> bytes:
        modifiers, keys = 0, []
        for usage in map(USAGES.__getitem__, self.down):
            if usage >= FIRST_MODIFIER:
                modifiers |= 1 << usage - FIRST_MODIFIER
            else:
                keys.append(usage)
        if len(keys) > MOST_KEYS:
            keys = [TOO_MANY] * MOST_KEYS
        return bytes((modifiers, 0, *keys)).ljust(2 + MOST_KEYS, b"\0")

    def told(self, data: bytes) -> None:
        self.lights = data[0] & 31 if data else 0

    def reset(self) -> None:
        super().reset()
        self.lights = 0
