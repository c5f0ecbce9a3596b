"""A guest gives its disk hours of work: whoever sits at the terminal is heard all the same."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from bimetal.base.clock import RealClock
from tests.boot.bare import BASE, write_program
from tests.boot.conftest import Terminal

PAGE = 0x2000
UART, SLOT = 0x1000_0000, 0x1000_1000
TABLE, AVAILABLE, USED, INDIRECT, HEADER, WRITES = (BASE + PAGE * n for n in range(1, 7))
DATA, SEGMENT, SEGMENTS, REQUESTS = BASE + 0x100_0000, 14 << 20, 256, 256
GENEROUS = 20
"""Seconds; the work, hundreds of gigabytes, takes minutes at least."""

PROGRAM = (
    f"lui t0, {WRITES >> 12:#x}",
    "slli t0, t0, 32",
    "srli t0, t0, 32",
    "lw t1, 0(t0)",  # 12: the list of registers, and of what to write there
    "lw t2, 4(t0)",
    f"beq t1, zero, {BASE + 36:#x}",
    "sw t2, 0(t1)",
    "addi t0, t0, 8",
    f"jal zero, {BASE + 12:#x}",
    f"lui t1, {SLOT >> 12:#x}",
    "sw zero, 80(t1)",  # 40: the doorbell, for ever
    f"jal zero, {BASE + 40:#x}",
)

SET_UP = (
    (SLOT + 0x70, 3),
    (SLOT + 0x20, 1 << 28),  # indirect descriptors
    (SLOT + 0x24, 1),
    (SLOT + 0x20, 1),  # version 1
    (SLOT + 0x70, 11),
    (SLOT + 0x38, REQUESTS),
    (SLOT + 0x80, TABLE),
    (SLOT + 0x90, AVAILABLE),
    (SLOT + 0xA0, USED),
    (SLOT + 0x44, 1),
    (UART, ord("G")),
    (UART, ord("o")),
    (SLOT + 0x70, 15),
    (0, 0),
)


def memory() -> bytes:
    """The program, rings full of requests that each read 3.5 GiB to one place, and `SET_UP`."""
    buffers = [(HEADER, 16, 1), *[(DATA, SEGMENT, 3)] * SEGMENTS, (HEADER + 64, 1, 2)]
    table = [struct.pack("<QIHH", *buffer, n + 1) for n, buffer in enumerate(buffers)]
    pages = [
        struct.pack("<QIHH", INDIRECT, 16 * len(table), 4, 0) * REQUESTS,
        struct.pack(f"<HH{REQUESTS}H", 0, REQUESTS, *range(REQUESTS)),
        b"",
        b"".join(table),
        bytes(16),
        b"".join(struct.pack("<II", *write) for write in SET_UP),
    ]
    return b"".join(page.ljust(PAGE, b"\0") for page in pages)


def test_the_escape_key_is_heard(tmp_path: Path, terminal: Callable[..., Terminal]) -> None:
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(8 << 30)
    padding = bytes(PAGE - 4 * len(PROGRAM))
    program = write_program(tmp_path / "p.elf", *PROGRAM, padding, memory())
    words = ("--bios", "none", "--kernel", str(program), "--disk", str(disk))
    guest = terminal(*words, "--memory", "64M")
    guest.expect("Go")
    clock = RealClock()
    guest.send("\x01x")
    guest.end()
    assert clock.now_ns() < GENEROUS * 10**9
