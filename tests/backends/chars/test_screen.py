"""What the guest did to the screen is undone, and no more than that."""

from __future__ import annotations

import pytest

from bimetal.backends.chars.screen import Screen

EDITOR = b"\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[?25l\x1b[1;24r\x1b[31m"


def after(*output: bytes) -> Screen:
    screen = Screen()
    for data in output:
        screen.feed(data)
    return screen


CHANGES = [
    (b"\x1b[?7l", b"\x1b[?7h"),  # no wrapping
    (b"\x1b[?25l", b"\x1b[?25h"),  # no cursor
    (b"\x1b[?1049h", b"\x1b[?1049l"),  # the alternate screen, and its two older forms
    (b"\x1b[?47h", b"\x1b[?47l"),
    (b"\x1b[?1047h", b"\x1b[?1047l"),
    (b"\x1b[?2004h", b"\x1b[?2004l"),  # marks around what is pasted
    (b"\x1b[?1000;1006h", b"\x1b[?1006l\x1b[?1000l"),  # the mouse, and how it is told of
    (b"\x1b[?1002h\x1b[?1003h", b"\x1b[?1003l\x1b[?1002l"),
    (b"\x1b[?1004h", b"\x1b[?1004l"),  # the focus is told of
    (b"\x1b[?1h", b"\x1b[?1l"),  # cursor keys of applications
    (b"\x1b[?6h", b"\x1b[?6l"),  # addresses count from the margins
    (b"\x1b[?5h", b"\x1b[?5l"),  # black on white
    (b"\x1b[?2026h", b"\x1b[?2026l"),  # nothing is drawn until the end of an update
    (b"\x1b[4h", b"\x1b[4l"),  # insertion
    (b"\x1b[20h", b"\x1b[20l"),  # line feeds are new lines
    (b"\x1b=", b"\x1b>"),  # keypad of applications
    (b"\x1b(0", b"\x1b(B"),  # line drawing
    (b"\x0e", b"\x0f"),
    (b"\x1b[3;10r", b"\x1b7\x1b[r\x1b8"),  # a scrolling region
    (b"\x1b[1;31m", b"\x1b[m"),  # colours
    (b"\x1b[38:2::255:0:0m", b"\x1b[m"),
    (b"\x1b[4 q", b"\x1b[0 q"),  # the cursor's shape
    (b"\x1b]11;#ffffff\x07", b"\x1b]111\x07"),  # the background of the whole screen
    (b"\x1b]4;1;red\x1b\\", b"\x1b]104\x07"),  # the palette
    (b"\x1b[>4;2m", b"\x1b[>4m"),  # what keys send with modifiers
    (b"\x1b[>1u", b"\x1b[<u"),
]


@pytest.mark.parametrize(("done", "undone"), CHANGES)
def test_what_was_changed_is_changed_back(done: bytes, undone: bytes) -> None:
    assert after(b"some ", done, b" text").undo() == undone


@pytest.mark.parametrize(("done", "undone"), CHANGES)
def test_what_was_changed_back_already_stays(done: bytes, undone: bytes) -> None:
    assert after(done, undone).undo() == b""


@pytest.mark.parametrize(("done", "undone"), CHANGES)
def test_output_may_come_byte_by_byte(done: bytes, undone: bytes) -> None:
    assert after(*(bytes([byte]) for byte in done)).undo() == undone


@pytest.mark.parametrize(("done", "undone"), CHANGES)
def test_what_was_undone_is_done_again(done: bytes, undone: bytes) -> None:
    screen = after(done)
    assert after(screen.redo()).undo() == screen.undo()


@pytest.mark.parametrize(
    "harmless",
    [
        b"plain text, \xc3\xa4\xe2\x82\xac, \r\n\t\x08\x07",
        b"\x1b[2J\x1b[H\x1b[10;20H\x1b[K\x1b[3A\x1b[5@\x1b[2P",  # drawing
        b"\x1b[6n\x1b[c\x1b[>c\x1b[?25$p\x1b]11;?\x07",  # questions
        b"\x1b7\x1b8\x1b[s\x1b[u\x1bD\x1bM\x1bE\x1bH",
        b"\x1b[?25h\x1b[?7h\x1b[?8h\x1b[0m\x1b[m\x1b[r\x1b(B\x1b>\x0f",  # what is so anyway
        b"\x1b[?3h\x1b[?1048h",  # 132 columns would clear the screen; a saved cursor
        b"\x1b[?h\x1b[;m\x1b[h",  # nothing at all
        b"\x1bP+q544e\x1b\\\x1b_G?25l\x1b\\\x1b^[?25l\x1b\\",  # strings that look like modes
        b"\x1b[?25\x18l\x1b[?25\x1al",  # given up in the middle
    ],
)
def test_what_changes_nothing_is_not_undone(harmless: bytes) -> None:
    assert after(harmless).undo() == b""
    assert after(*(bytes([byte]) for byte in harmless)).undo() == b""


def test_the_last_change_is_undone_first() -> None:
    undone = after(EDITOR).undo()
    assert undone.index(b"\x1b[?25h") < undone.index(b"\x1b[?1049l")
    for expected in (b"\x1b[?1l", b"\x1b>", b"\x1b[?2004l", b"\x1b[r", b"\x1b[m"):
        assert expected in undone


@pytest.mark.parametrize("reset", [b"\x1bc"])
def test_a_reset_leaves_nothing_to_undo(reset: bytes) -> None:
    assert after(EDITOR, reset).undo() == b""


def test_a_soft_reset_leaves_screen_and_reports() -> None:
    assert after(EDITOR, b"\x1b[!p").undo() == b"\x1b[?2004l\x1b[?1049l"


def test_colours_add_up_until_they_are_reset() -> None:
    assert after(b"\x1b[1m\x1b[31m").redo() == b"\x1b[1m\x1b[31m"
    assert after(b"\x1b[1m\x1b[0;32m").redo() == b"\x1b[0;32m"
    assert len(after(*[b"\x1b[31m\x1b[42m"] * 10_000).redo()) < 1000


def test_sequences_without_an_end_are_not_kept() -> None:
    screen = after(b"\x1b[" + b"1;" * 100_000)
    assert len(screen._partial) < 1000
    screen.feed(b"\x18\x1b]" + b"x" * 100_000)
    assert len(screen._partial) < 1000
    screen.feed(b"\x07\x1b[?25l")
    assert screen.undo() == b"\x1b[?25h"


@pytest.mark.parametrize(
    ("output", "in_line"),
    [
        ([], False),
        ([b"login: "], True),
        ([b"login: ", b""], True),
        ([b"login: ", b"\r\n"], False),
    ],
)
def test_whether_the_cursor_is_in_a_line(output: list[bytes], in_line: bool) -> None:
    assert after(*output).in_line is in_line
