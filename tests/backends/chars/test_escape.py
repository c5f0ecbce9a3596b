"""The escape key: Ctrl-A."""

from __future__ import annotations

import pytest

from bimetal.backends.chars.escape import HELP, EscapeAction, EscapeKey

QUIT, SHOW_HELP = EscapeAction.QUIT, EscapeAction.HELP


@pytest.mark.parametrize(
    ("typed", "meaning"),
    [
        ([b"ls\r"], [b"ls\r"]),
        ([b"\x03\x1a\x1c"], [b"\x03\x1a\x1c"]),
        ([b"\x01x"], [QUIT]),
        ([b"\x01h"], [SHOW_HELP]),
        ([b"\x01c"], []),
        ([b"\x01\x01"], [b"\x01"]),
        ([b"\x01\x01x"], [b"\x01x"]),
        ([b"\x01", b"x"], [QUIT]),
        ([b"a\x01", b"\x01b"], [b"a", b"\x01b"]),
        ([b"a\x01xb"], [b"a", QUIT, b"b"]),
        ([b"\x01?b"], [b"b"]),
        ([b""], []),
        ([b"\x01h\x01x"], [SHOW_HELP, QUIT]),
    ],
)
def test_what_typing_means(typed: list[bytes], meaning: list[bytes | EscapeAction]) -> None:
    key = EscapeKey()
    assert [part for data in typed for part in key.feed(data)] == meaning


def test_the_help_names_every_action() -> None:
    for action in EscapeAction:
        assert f"Ctrl-A {action.value}" in HELP


def test_the_help_offers_nothing_that_does_nothing() -> None:
    offered = {line.split()[1] for line in HELP.splitlines() if line}
    assert offered == {"Ctrl-A", *(action.value for action in EscapeAction)}
