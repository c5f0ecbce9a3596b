"""Keys by number and name. Numbers are those of Linux (include/uapi/linux/input-event-codes.h),
which virtio's input devices have too; for the older part of a keyboard they are the scan codes of
set 1 that an IBM PC's keyboard sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from

__all__ = ["KEYS", "from_keysym", "from_scan_code", "keys_named"]


def _rows() -> Iterator[tuple[str, int]]:
    """The names of Linux without ``KEY_``."""
    rows = {
        1: "esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace",
        15: "tab q w e r t y u i o p leftbrace rightbrace enter",
        29: "leftctrl a s d f g h j k l semicolon apostrophe grave",
        42: "leftshift backslash z x c v b n m comma dot slash rightshift",
        55: "kpasterisk leftalt space capslock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 numlock scrolllock",
        71: "kp7 kp8 kp9 kpminus kp4 kp5 kp6 kpplus kp1 kp2 kp3 kp0 kpdot",
        85: "zenkakuhankaku 102nd f11 f12 ro katakana hiragana henkan katakanahiragana muhenkan",
        95: "kpjpcomma kpenter rightctrl kpslash sysrq rightalt linefeed",
        102: "home up pageup left right end down pagedown insert delete",
        113: "mute volumedown volumeup power kpequal",
        119: "pause",
        121: "kpcomma hangeul hanja yen leftmeta rightmeta compose stop again props undo front",
        133: "copy open paste find cut help menu calc",
        142: "sleep wakeup",
        183: "f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24",
    }
    for first, names in rows.items():
        for number, name in enumerate(names.split(), first):
            yield name, number


KEYS: Mapping[str, int] = dict(_rows())
"""The keys of a keyboard, by name."""

_ALIASES = {
    "alt": "leftalt", "alt_r": "rightalt", "altgr": "rightalt", "ctrl": "leftctrl",
    "ctrl_r": "rightctrl", "shift": "leftshift", "shift_r": "rightshift", "meta": "leftmeta",
    "meta_l": "leftmeta", "meta_r": "rightmeta", "ret": "enter", "return": "enter",
    "spc": "space", "pgup": "pageup", "pgdn": "pagedown", "del": "delete", "ins": "insert",
    "escape": "esc", "caps_lock": "capslock", "num_lock": "numlock", "scroll_lock": "scrolllock",
    "bracket_left": "leftbrace", "bracket_right": "rightbrace", "grave_accent": "grave",
    "print": "sysrq", "less": "102nd", "kp_enter": "kpenter",
}  # fmt: skip
"""Other names that people know from QEMU and from keyboards."""


def keys_named(text: str) -> list[int]:
    """The keys of a combination like ``ctrl-alt-delete``, in this order. Names are those of `KEYS`,
    QEMU's, or Linux's with ``KEY_``, in any case. Raises `BimetalError`."""
    numbers = []
    for word in text.lower().split("-"):
        name = word.removeprefix("key_")
        name = _ALIASES.get(name, name)
        if name not in KEYS:
            raise BimetalError(
                f"there is no key {word!r}",
                f"{choose_from(name, sorted({*KEYS, *_ALIASES}))}; join keys as in ctrl-alt-delete",
                ExitCode.USAGE,
            )
        numbers.append(KEYS[name])
    return numbers


_EXTENDED = {
    0x1C: "kpenter", 0x1D: "rightctrl", 0x20: "mute", 0x2E: "volumedown", 0x30: "volumeup",
    0x35: "kpslash", 0x37: "sysrq", 0x38: "rightalt", 0x46: "pause", 0x47: "home", 0x48: "up",
    0x49: "pageup", 0x4B: "left", 0x4D: "right", 0x4F: "end", 0x50: "down", 0x51: "pagedown",
    0x52: "insert", 0x53: "delete", 0x5B: "leftmeta", 0x5C: "rightmeta", 0x5D: "compose",
    0x5E: "power", 0x5F: "sleep", 0x63: "wakeup",
}  # fmt: skip
_PLAIN = {
    0x54: "sysrq", 0x56: "102nd", 0x57: "f11", 0x58: "f12", 0x59: "kpequal",
    0x70: "katakanahiragana", 0x73: "ro", 0x79: "henkan", 0x7B: "muhenkan", 0x7D: "yen",
    0x7E: "kpcomma",
}  # fmt: skip
_LAST_OF_OLD = 0x53


def from_scan_code(code: int) -> int | None:
    """The key with a scan code of set 1, whose bit 7 stands for the prefix E0; None if none has
    it."""
    if code & 0x80:
        name = _EXTENDED.get(code & 0x7F)
    elif 0 < code <= _LAST_OF_OLD:
        return code
    else:
        name = _PLAIN.get(code)
    return None if name is None else KEYS[name]


_SIGNS = {
    **{letter: letter for letter in "abcdefghijklmnopqrstuvwxyz0123456789"},
    **dict(zip("!@#$%^&*()", "1234567890", strict=True)),
    **dict.fromkeys("-_", "minus"), **dict.fromkeys("=+", "equal"),
    **dict.fromkeys("[{", "leftbrace"), **dict.fromkeys("]}", "rightbrace"),
    **dict.fromkeys(";:", "semicolon"), **dict.fromkeys("'\"", "apostrophe"),
    **dict.fromkeys("`~", "grave"), **dict.fromkeys("\\|", "backslash"),
    **dict.fromkeys(",<", "comma"), **dict.fromkeys(".>", "dot"), **dict.fromkeys("/?", "slash"),
    " ": "space",
}  # fmt: skip
"""The key of an American keyboard that has a sign on it."""

_FUNCTIONS = {
    0xFF08: "backspace", 0xFF09: "tab", 0xFF0A: "linefeed", 0xFF0D: "enter", 0xFF13: "pause",
    0xFF14: "scrolllock", 0xFF15: "sysrq", 0xFF1B: "esc", 0xFF50: "home", 0xFF51: "left",
    0xFF52: "up", 0xFF53: "right", 0xFF54: "down", 0xFF55: "pageup", 0xFF56: "pagedown",
    0xFF57: "end", 0xFF61: "sysrq", 0xFF63: "insert", 0xFF67: "compose", 0xFF7F: "numlock",
    0xFF8D: "kpenter", 0xFF95: "kp7", 0xFF96: "kp4", 0xFF97: "kp8", 0xFF98: "kp6", 0xFF99: "kp2",
    0xFF9A: "kp9", 0xFF9B: "kp3", 0xFF9C: "kp1", 0xFF9D: "kp5", 0xFF9E: "kp0", 0xFF9F: "kpdot",
    0xFFAA: "kpasterisk", 0xFFAB: "kpplus", 0xFFAC: "kpcomma", 0xFFAD: "kpminus",
    0xFFAE: "kpdot", 0xFFAF: "kpslash", **{0xFFB0 + n: f"kp{n}" for n in range(10)},
    0xFFBD: "kpequal", **{0xFFBE + n: f"f{n + 1}" for n in range(24)},
    0xFFE1: "leftshift", 0xFFE2: "rightshift", 0xFFE3: "leftctrl", 0xFFE4: "rightctrl",
    0xFFE5: "capslock", 0xFFE7: "leftmeta", 0xFFE8: "rightmeta", 0xFFE9: "leftalt",
    0xFFEA: "rightalt", 0xFFEB: "leftmeta", 0xFFEC: "rightmeta", 0xFE03: "rightalt",
    0xFE20: "tab", 0xFFFF: "delete",
}  # fmt: skip


def from_keysym(keysym: int) -> int | None:
    """The key of an American keyboard for a keysym of the X Window System (X11's keysymdef.h), as
    clients of RFC 6143 send them; None if it has no such. Whether Shift is down is another key's
    matter."""
    if 0x20 <= keysym <= 0x7E:
        return KEYS[_SIGNS[chr(keysym).lower()]]
    name = _FUNCTIONS.get(keysym)
    return None if name is None else KEYS[name]
