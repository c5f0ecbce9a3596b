"""Memory for guests: from the host, and back to it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bimetal.memory.ram import Ram

SIZE = 64 << 20


def resident() -> int:
    """Bytes of memory that this process has of the host."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_closed_memory_goes_back_although_somebody_holds_a_view() -> None:
    ram = Ram("ram", SIZE)
    view = ram.bytes[4096:8192]
    ram.bytes[:] = b"x" * SIZE
    full = resident()
    ram.close()
    assert full - resident() > SIZE * 3 // 4
    assert bytes(view) == bytes(4096)
    ram.close()
    view.release()


def test_whole_pages_go_back_and_are_zero() -> None:
    ram = Ram("ram", SIZE)
    ram.bytes[:] = b"x" * SIZE
    full = resident()
    ram.give_back(SIZE // 2 + 100, SIZE // 4)
    assert full - resident() > SIZE // 8
    first, last = SIZE // 2 + 4096, SIZE // 2 + SIZE // 4
    assert bytes(ram.bytes[first:last]) == bytes(last - first)
    assert bytes(ram.bytes[first - 4096 : first]) == b"x" * 4096
    assert bytes(ram.bytes[last : last + 4096]) == b"x" * 4096
    ram.give_back(10, 4000)
    assert bytes(ram.bytes[:8192]) == b"x" * 8192
    ram.close()


def test_what_goes_back_of_a_snapshot_is_zero_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"y" * (1 << 20))
    ram = Ram("ram", SIZE)
    with (tmp_path / "file").open("rb") as file:
        ram.adopt(file.fileno(), [(0, 1 << 20, 0)])
    ram.give_back(8192, 4096)
    assert bytes(ram.bytes[4096:16384]) == b"y" * 4096 + bytes(4096) + b"y" * 4096
    ram.close()


def test_what_a_file_holds_counts_though_nobody_touched_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"z" * (1 << 20))
    ram = Ram("ram", SIZE)
    with (tmp_path / "file").open("rb") as file:
        ram.adopt(file.fileno(), [(8192, 1 << 20, 0)])
    ram.bytes[SIZE - 1] = 1
    held = dict(ram.contents())
    assert sorted(held) == [*range(2, 258), SIZE // 4096 - 1]
    assert set(held.values()) == {b"z" * 4096, bytes(4095) + b"\1"}
    ram.clear()
    assert list(ram.contents()) == []
    ram.close()


def test_what_a_file_has_once_may_be_there_often(tmp_path: Path) -> None:
    content = b"".join(bytes([n]) * 4096 for n in range(1, 61))
    (tmp_path / "file").write_bytes(content)
    ram = Ram("ram", SIZE)
    long = [(0, 40 * 4096, 0)]
    again = [((40 + n) * 4096, 4096, 50 * 4096) for n in range(150)]
    pairs = [((200 + 2 * n) * 4096, 8192, 41 * 4096) for n in range(3)]
    single = [(210 * 4096, 4096, 43 * 4096), (212 * 4096, 4096, 43 * 4096)]
    with (tmp_path / "file").open("rb") as file:
        ram.adopt(file.fileno(), long + again + pairs + single)
    pages = [*range(1, 41), *[51] * 150, *[0] * 10, *[42, 43] * 3, *[0] * 4, 44, 0, 44]
    assert bytes(ram.bytes[::4096]) == bytes(pages).ljust(SIZE // 4096, b"\0")
    assert bytes(ram.bytes[4095::4096]) == bytes(pages).ljust(SIZE // 4096, b"\0")
    ram.close()


def flags(ram: Ram) -> list[set[str]]:
    """What the host has noted of each mapping in it (proc(5), smaps, VmFlags)."""
    found = list[set[str]]()
    for entry in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        place = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", entry)
        noted = re.search(r"VmFlags: (.*)", entry)
        if place and noted and ram.host <= int(place[1], 16) < ram.host + ram.size:
            found.append(set(noted[1].split()))
    return found


@pytest.mark.parametrize("kept", [False, True])
def test_memory_that_is_no_files_any_more_is_what_it_was(kept: bool) -> None:
    ram = Ram("ram", SIZE)
    ram.prefer_huge_pages()
    before = flags(ram)
    ram.bytes[0] = 1
    if kept:
        ram.freeze()
    fd = os.memfd_create("file")
    os.truncate(fd, SIZE)
    ram.map_from(fd, 0, SIZE)
    assert (ram.anonymous, [*ram.used(0, SIZE)]) == (False, [(0, SIZE)])
    ram.map_from(-1, SIZE // 4, SIZE)
    assert (ram.anonymous, [*ram.used(0, SIZE)]) == (False, [(0, SIZE // 4)])
    ram.map_from(-1, 0, SIZE // 4)
    os.close(fd)
    assert (ram.anonymous, [*ram.used(0, SIZE)]) == (True, [])
    assert [each & {"hg"} for each in flags(ram)] == [each & {"hg"} for each in before]
    ram.bytes[:8192] = b"x" * 8192
    ram.give_back(0, 4096)
    assert bytes(ram.bytes[:8192]) == bytes(4096) + b"x" * 4096
    ram.close()
