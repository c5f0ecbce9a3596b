"""Executables in ELF, loaded by their program headers at their physical addresses."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.program import Program, Segment

__all__ = ["is_elf", "load_elf"]

SIZE_LIMIT = 1 << 40


def is_elf(data: bytes) -> bool:
    """Whether ``data`` begins like an ELF file."""
    return data.startswith(b"\x7fELF")


def load_elf(data: bytes, name: str, machine: str, what: str = "kernel") -> Program:
    """The executable ``data`` for ``machine`` (``EM_RISCV``), 64 bits and little-endian.

    The entry point is given as a physical address even where the program is linked to run at
    virtual ones. Raises `BimetalError` that calls it ``what`` and ``name``.
    """
    try:
        elf = ELFFile(io.BytesIO(data))
        found = (elf.elfclass, elf.little_endian, elf.header["e_machine"])
        if found != (64, True, machine):
            raise _refused(what, name, f"is not a 64-bit little-endian {machine} program")
        headers = list(_loaded(elf))
        entry = _physical(elf.header["e_entry"], headers)
        segments = tuple(_segment(data, header, what, name) for header in headers)
    except (ELFError, ConstructError, ValueError, OverflowError, UnicodeError) as error:
        raise _refused(what, name, f"is a damaged ELF file: {error}") from error
    if not segments:
        raise _refused(what, name, "is an ELF file with nothing to load")
    return Program(name, segments, entry)


def _loaded(elf: Any) -> Iterator[Any]:
    for segment in elf.iter_segments():
        header = segment.header
        if header["p_type"] == "PT_LOAD" and header["p_memsz"]:
            yield header


def _segment(data: bytes, header: Any, what: str, name: str) -> Segment:
    start, length = header["p_offset"], header["p_filesz"]
    address, size = header["p_paddr"], header["p_memsz"]
    if start + length > len(data):
        raise _refused(what, name, f"is truncated: {len(data)} bytes of {start + length}")
    if length > size or address + size > SIZE_LIMIT:
        raise _refused(what, name, f"has a segment of {size:#x} bytes at {address:#x}")
    return Segment(address, memoryview(data)[start : start + length], size)


def _physical(entry: int, headers: list[Any]) -> int:
    for header in headers:
        inside = entry - header["p_vaddr"]
        if 0 <= inside < header["p_memsz"]:
            return int(header["p_paddr"] + inside)
    return entry


def _refused(what: str, name: str, how: str) -> BimetalError:
    return BimetalError(f"the {what} {name} {how}", "build or get the file anew", ExitCode.DATA)
