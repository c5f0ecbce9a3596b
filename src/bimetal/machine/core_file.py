"""A machine's memory and registers as an ELF core file, for gdb and crash (core(5); Linux's struct
elf_prstatus)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import TYPE_CHECKING

from elftools.elf.enums import ENUM_E_MACHINE

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.processors import PROCESSORS, Processor
from bimetal.machine.board import find_board

if TYPE_CHECKING:
    from bimetal.machine.machine import Machine

__all__ = ["core_size", "write_core"]

PIECE = 1 << 20
PAGE = 4096
ET_CORE, PT_LOAD, PT_NOTE, NT_PRSTATUS = 4, 1, 4, 1
READABLE, ALL = 4, 7

_HEADER = Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = Struct("<IIQQQQQQ")
_NOTE = Struct("<III8s")
_PID = Struct("<I")
STATUS, PID_AT = 112, 32
"""Bytes of a status before its registers, and where the number of the process is."""


def core_size(machine: Machine) -> int:
    """How many bytes of memory a core file of the machine has."""
    return sum(length for _, length in machine.memory.ranges())


def write_core(
    machine: Machine, write: Callable[[bytes], None], moved: Callable[[int], None]
) -> None:
    """Write a core file of a machine, which should be paused. ``moved`` is told how many bytes of
    memory have been written since. Raises what ``write`` raises, and `BimetalError` if there is no
    such file for its processor."""
    processor = _processor(machine)
    ranges = machine.memory.ranges()
    notes = b"".join(_notes(machine, processor))
    start = _aligned(_HEADER.size + (1 + len(ranges)) * _SEGMENT.size + len(notes))
    notes_at = _HEADER.size + (1 + len(ranges)) * _SEGMENT.size
    segments = [_SEGMENT.pack(PT_NOTE, READABLE, notes_at, 0, 0, len(notes), len(notes), 4)]
    at = start
    for base, length in ranges:
        segments.append(_SEGMENT.pack(PT_LOAD, ALL, at, base, base, length, length, PAGE))
        at += length
    head = _header(processor, len(segments)) + b"".join(segments) + notes
    write(head.ljust(start, b"\0"))
    for base, length in ranges:
        for offset in range(0, length, PIECE):
            piece = machine.memory.read(base + offset, min(PIECE, length - offset))
            write(piece)
            moved(len(piece))


def _header(processor: Processor, segments: int) -> bytes:
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    kind = ENUM_E_MACHINE[processor.machine.kinds[0][0]]
    sizes = _HEADER.size, _SEGMENT.size, segments, 0, 0, 0
    return _HEADER.pack(ident, ET_CORE, kind, 1, 0, _HEADER.size, 0, 0, *sizes)


def _notes(machine: Machine, processor: Processor) -> Iterator[bytes]:
    for cpu in machine.cpus:
        values = [cpu[name] if name else 0 for name in processor.core_registers]
        status = bytearray(STATUS)
        _PID.pack_into(status, PID_AT, cpu.index + 1)
        content = bytes(status) + _words(values) + bytes(8)
        yield _NOTE.pack(5, len(content), NT_PRSTATUS, b"CORE") + content


def _words(values: Sequence[int]) -> bytes:
    return b"".join((value & ~(~0 << 64)).to_bytes(8, "little") for value in values)


def _aligned(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _processor(machine: Machine) -> Processor:
    isa = find_board(machine.board)[0].isa
    for processor in PROCESSORS:
        if processor.isa == isa and processor.core_registers:
            return processor
    raise BimetalError(
        f"there is no core file of {machine.board}'s processor",
        "save the machine instead",
        ExitCode.UNAVAILABLE,
    )
