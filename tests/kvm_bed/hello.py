"""The smallest kernel that PVH starts: its first instruction writes a letter to the serial port."""

from __future__ import annotations

import struct

from tests.accel.kvm.assembler import assemble

__all__ = ["LETTER", "LOAD_AT", "hello_kernel", "kernel_of"]

LETTER = "B"
LOAD_AT = 0x10_0000
PROGRAM, NOTE = 1, 4
ENTRY_NOTE = 18
CODE = f"""
mov dx, 0x3f8
mov al, {ord(LETTER)}
out dx, al
mov dx, 0x600
mov al, 0x34
out dx, al
1: hlt
jmp 1b
"""
"""The letter, then off, for boards that have bimetal's power register."""


def hello_kernel() -> bytes:
    """An ELF file with that code and the note that says where it begins."""
    return kernel_of(assemble(CODE, 32))


def kernel_of(code: bytes) -> bytes:
    """An ELF file with code for `LOAD_AT`, and the note that says that it begins there."""
    note = struct.pack("<III4sI", 4, 4, ENTRY_NOTE, b"Xen\0", LOAD_AT)
    code_at = 64 + 2 * 56
    note_at = code_at + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\2\1\1",
        2,
        62,
        1,
        LOAD_AT,
        64,
        0,
        0,
        64,
        56,
        2,
        0,
        0,
        0,
    )
    program = struct.pack(
        "<IIQQQQQQ", PROGRAM, 5, code_at, LOAD_AT, LOAD_AT, len(code), len(code), 1
    )
    notes = struct.pack("<IIQQQQQQ", NOTE, 4, note_at, 0, 0, len(note), len(note), 4)
    return header + program + notes + code + note
