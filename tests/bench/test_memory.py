"""Resident memory: how it is counted, and when it counts as grown."""

from __future__ import annotations

import subprocess
import sys

from bench.memory import MIB, Sample, verdict
from bench.resident import Mapping, Resident, parse, resident

SMAPS = """\
55d0c0000000-55d0c0002000 r--p 00000000 fe:00 1234                       /usr/bin/python3
Size:                  8 kB
Rss:                   8 kB
Pss:                   5 kB
Pss_Dirty:             0 kB
Shared_Dirty:          1 kB
Private_Dirty:         2 kB
VmFlags: rd mr mw me
7f0000000000-7f0020000000 rw-p 00000000 00:00 0
Size:             524288 kB
Rss:              110592 kB
Pss:              110592 kB
VmFlags: rd wr mr mw me ac sd
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
Size:                  4 kB
"""


def test_mappings_are_read_with_their_size_and_share() -> None:
    assert list(parse(SMAPS)) == [
        Mapping(0x2000, 5 << 10, 3 << 10),
        Mapping(512 << 20, 108 << 20, 0),
        Mapping(0x1000, 0, 0),
    ]


def test_a_process_s_memory_is_told_apart() -> None:
    size, touched = 96 * MIB, 8 * MIB
    code = (
        "import mmap, subprocess, sys\n"
        f"ram = mmap.mmap(-1, {size}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "ram.madvise(mmap.MADV_NOHUGEPAGE)\n"  # or it could be one mapping with a neighbour
        f"ram[:{touched}] = bytes([1]) * {touched}\n"
        "wait = 'print(flush=True); input()'\n"
        "subprocess.run([sys.executable, '-c', wait])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = resident(process.pid, size)
        process.communicate(b"\n")
    assert seen.guest == touched
    assert MIB < seen.own < size
    assert MIB < seen.helpers < size
    assert seen.total == touched + seen.own + seen.helpers
    assert MIB < seen.written < seen.own + seen.helpers


def samples(written: list[int]) -> list[Sample]:
    """A sample each minute; what is shared with others falls meanwhile."""
    return [
        Sample(60.0 * minute, 1000 * minute, Resident(0, 300 * MIB - minute, 0, size * MIB))
        for minute, size in enumerate(written)
    ]


def test_memory_that_settles_has_not_grown() -> None:
    said = verdict(samples([10, 90, *[140, 141, 139] * 5, 160, 140]))
    assert said.startswith("18000 processes in 1080 s;")
    assert said.endswith("+0.0: it did not grow")


def test_memory_that_goes_on_growing_has() -> None:
    assert verdict(samples(list(range(100, 120)))).endswith("+12.0: it grew")


def test_a_process_that_has_just_ended_has_no_mappings() -> None:
    assert list(parse("")) == []
