"""Keys by name, by what X calls them, and by the codes that keyboards send."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.screen.keys import KEYS, from_keysym, from_scan_code, keys_named
from tests.host import lacking

HEADER = Path("/usr/include/linux/input-event-codes.h")


def test_numbers_are_those_of_linux() -> None:
    if not HEADER.exists():
        lacking(f"{HEADER} is not there (Debian: linux-libc-dev)")
    found = re.findall(r"#define\s+KEY_(\w+)\s+(\d+)\b", HEADER.read_text())
    numbers = {name.lower(): int(number) for name, number in found}
    assert KEYS.items() <= numbers.items()


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a", ["a"]),
        ("ctrl-alt-delete", ["leftctrl", "leftalt", "delete"]),
        ("KEY_LEFTCTRL-KEY_LEFTALT-KEY_F1", ["leftctrl", "leftalt", "f1"]),
        ("meta_l-ret", ["leftmeta", "enter"]),
        ("102nd-spc", ["102nd", "space"]),
    ],
)
def test_combinations(text: str, keys: list[str]) -> None:
    assert keys_named(text) == [KEYS[key] for key in keys]


@pytest.mark.parametrize("text", ["", "ctrl-", "ctrl-alt-delet", "a b", "x" * 1000])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(BimetalError, match="there is no key"):
        keys_named(text)


def test_a_sign_is_on_a_key_of_an_american_keyboard() -> None:
    pairs = {
        "!": "1",
        "A": "a",
        "a": "a",
        "_": "minus",
        '"': "apostrophe",
        "~": "grave",
        " ": "space",
    }
    assert {sign: from_keysym(ord(sign)) for sign in pairs} == {
        sign: KEYS[key] for sign, key in pairs.items()
    }
    assert all(from_keysym(code) is not None for code in range(0x20, 0x7F))


@pytest.mark.parametrize(
    ("keysym", "key"),
    [
        (0xFF0D, "enter"),
        (0xFF8D, "kpenter"),
        (0xFFC9, "f12"),
        (0xFFB5, "kp5"),
        (0xFFEA, "rightalt"),
    ],
)
def test_other_keysyms(keysym: int, key: str) -> None:
    assert from_keysym(keysym) == KEYS[key]


@pytest.mark.parametrize("keysym", [0, 0x1F, 0x7F, 0xE4, 0x100_20AC, 0xFFFF_FFFF])
def test_keysyms_without_a_key(keysym: int) -> None:
    assert from_keysym(keysym) is None


@pytest.mark.parametrize(
    ("code", "key"),
    [(0x01, "esc"), (0x1E, "a"), (0x53, "kpdot"), (0x56, "102nd"), (0x57, "f11"),
     (0x9D, "rightctrl"), (0xC8, "up"), (0xDB, "leftmeta"), (0xC6, "pause"),
     (0x54, "sysrq"), (0xB7, "sysrq")],
)  # fmt: skip
def test_scan_codes(code: int, key: str) -> None:
    assert from_scan_code(code) == KEYS[key]


@pytest.mark.parametrize("code", [0, 0x55, 0x80, 0xFF, 0x100, 0xFFFF_FFFF])
def test_scan_codes_without_a_key(code: int) -> None:
    assert from_scan_code(code) is None
