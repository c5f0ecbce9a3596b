"""Memory for guests: from the host, and back to it."""

from __future__ import annotations

from pathlib import Path

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
