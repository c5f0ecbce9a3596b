"""Tables as those find them who read memory, and what Intel's own disassembler sees in them."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.host import need

__all__ = ["Memory", "disassembled", "find_tables", "run_loader"]

Memory = Mapping[int, bytes]
"""Pieces of memory by their addresses."""


def find_tables(memory: Memory, rsdp: int) -> dict[str, bytes]:
    """All tables by signature, as an operating system finds them from their root on."""
    root = read(memory, rsdp, 36)
    assert root[:8] == b"RSD PTR "
    assert sum(root[:20]) & 0xFF == 0
    assert sum(root) & 0xFF == 0
    xsdt = table(memory, struct.unpack_from("<Q", root, 24)[0])
    entries = struct.unpack_from(f"<{(len(xsdt) - 36) // 8}Q", xsdt, 36)
    found = [xsdt, *(table(memory, entry) for entry in entries)]
    fadt = next(each for each in found if each[:4] == b"FACP")
    found.append(table(memory, struct.unpack_from("<Q", fadt, 140)[0]))
    assert all(sum(each) & 0xFF == 0 for each in found)
    return {each[:4].decode(): each for each in found}


def table(memory: Memory, at: int) -> bytes:
    """The table at the address ``at``."""
    return read(memory, at, struct.unpack("<I", read(memory, at + 4, 4))[0])


def read(memory: Memory, at: int, size: int) -> bytes:
    """``size`` bytes at ``at``."""
    for start, piece in memory.items():
        if start <= at < start + len(piece):
            return piece[at - start : at - start + size]
    raise AssertionError(f"{at:#x} is nowhere")


def run_loader(files: Mapping[str, bytes], places: Mapping[str, int]) -> dict[int, bytes]:
    """What firmware makes of the files when it loads them to these places (QEMU's source package,
    hw/acpi/bios-linker-loader.c, says what commands mean)."""
    loaded: dict[str, bytearray] = {}
    script = files["etc/table-loader"]
    assert len(script) % 128 == 0
    for start in range(0, len(script), 128):
        command, file, rest = struct.unpack("<I56s68s", script[start : start + 128])
        name = file.rstrip(b"\0").decode()
        if command == 1:
            alignment, zone = struct.unpack_from("<IB", rest)
            assert places[name] % alignment == 0
            assert zone == (2 if name.endswith("rsdp") else 1)
            loaded[name] = bytearray(files[name])
        elif command == 2:
            source, at, size = struct.unpack_from("<56sIB", rest)
            offset = int.from_bytes(loaded[name][at : at + size], "little")
            target = places[source.rstrip(b"\0").decode()] + offset
            loaded[name][at : at + size] = target.to_bytes(size, "little")
        else:
            assert command == 3
            at, first, size = struct.unpack_from("<III", rest)
            loaded[name][at] = -sum(loaded[name][first : first + size]) & 0xFF
    return {places[name]: bytes(content) for name, content in loaded.items()}


def disassembled(tables: Mapping[str, bytes], folder: Path) -> dict[str, str]:
    """The source of each table, of which Intel's disassembler has nothing to complain."""
    need("iasl")
    sources = {}
    for name, content in tables.items():
        (folder / f"{name}.aml").write_bytes(content)
        done = subprocess.run(
            ["iasl", "-d", f"{name}.aml"], cwd=folder, capture_output=True, text=True, check=True
        )
        said = done.stderr + done.stdout
        assert not any(word in said for word in ("Warning", "Error", "Invalid")), said
        sources[name] = (folder / f"{name}.dsl").read_text()
    return sources
