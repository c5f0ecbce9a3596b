"""Lines whose output is held in memory, beside QEMU's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bimetal.control import Monitor
from bimetal.control.failures import CommandFailed
from tests.control.emulator.ordered import ordered
from tests.control.talker import Talker
from tests.control.test_visits import theirs
from tests.host import programs

RING = "-chardev ringbuf,id=r,size=16"
BASE64 = "base64"
TALK: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ringbuf-read", {"device": "r", "size": 100}),
    ("ringbuf-write", {"device": "r", "data": "hello, world"}),
    ("ringbuf-read", {"device": "r", "size": 5}),
    ("ringbuf-write", {"device": "r", "data": "YWJjZGVmZ2hpamts", "format": BASE64}),
    ("ringbuf-read", {"device": "r", "size": 7, "format": BASE64}),
    ("ringbuf-read", {"device": "r", "size": 100}),
    ("ringbuf-write", {"device": "r", "data": "0123456789abcdefghijkl"}),
    ("ringbuf-read", {"device": "r", "size": 100}),
    ("ringbuf-write", {"device": "r", "data": "gr\u00fc\u00df"}),
    ("ringbuf-read", {"device": "r", "size": 100}),
    ("ringbuf-read", {"device": "r", "size": 0}),
    ("ringbuf-read", {"device": "frob", "size": 1}),
    ("ringbuf-write", {"device": "r", "data": "=!", "format": BASE64}),
)


def said(talker: Talker) -> list[Any]:
    """What each command returns, or the class of its error."""
    answers = [talker.ask(command, **words) for command, words in TALK]
    return [each["error"]["class"] if "error" in each else each["return"] for each in answers]


@programs("qemu-system-riscv64")
def test_what_is_held_is_what_qemu_holds(tmp_path: Path) -> None:
    with ordered(f"{RING} -qmp unix:{tmp_path}/qmp,server,nowait") as monitor:
        monitor.start()
        with Talker(tmp_path / "qmp") as talker:
            ours = said(talker)
    with theirs("none", tmp_path / "theirs", *RING.split()) as talker:
        assert said(talker) == ours


def test_what_the_guest_prints_is_held() -> None:
    line = "-chardev ringbuf,id=r,size=4k -serial chardev:r"
    with ordered(line) as monitor:
        labels = {each["label"]: each["filename"] for each in monitor.execute("query-chardev")}
        assert labels == {"r": "ringbuf"}
        prints(monitor, b"booting\n" * 1000)
        assert monitor.execute("ringbuf-read", device="r", size=8) == "booting\n"
        rest = monitor.execute("ringbuf-read", device="r", size=1 << 20)
        assert rest == "booting\n" * (4096 // 8 - 1)
        assert monitor.vm.machine.console.log == "booting\n" * 1000


def prints(monitor: Monitor, data: bytes) -> None:
    """Have the serial port print."""
    console = monitor.vm.machine.console
    with console.lock:
        console.line.write(data)


def test_a_line_that_is_held_beside_the_console() -> None:
    with ordered(RING) as monitor:
        listed = {each["label"]: each["frontend-open"] for each in monitor.execute("query-chardev")}
        assert listed["r"] is False
        with pytest.raises(CommandFailed, match="no ring buffer 'serial0'"):
            monitor.execute("ringbuf-write", device="serial0", data="x")
