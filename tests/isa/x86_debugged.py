"""Programs at privilege level 3 of a bare machine, with debug registers, and what #DB tells of
them: the same as `tests.agree.x86.traced` has of the host's processor."""

from __future__ import annotations

import struct
from typing import NamedTuple

from bimetal.seam import Pio
from tests.agree.x86.traced import CODE, DATA, SIGNALS, SIZE, Debugged, Stop

from .x86_long import USER_CODE, USER_DATA, VECTORS_WITH_CODE, begin_long
from .x86_machine import END, X86Machine

__all__ = ["Record", "records", "stops"]

NEXT, EXECUTED, RECORDS = 0x2_2000, 0x2_2008, 0x2_2010
"""Where the next record goes, which bits of DR6 are of instructions, and the records."""
RECORD = struct.Struct("<5Q")

NOTE = f"""
    note:
        push rax
        push rbx
        mov rbx, [{NEXT}]
        mov rax, dr6
        mov [rbx + 8], rax
        and rax, [{EXECUTED}]
        jz recorded
        or dword ptr [rsp + 40], 0x10000
    recorded:
        mov rax, [rsp + 24]
        mov [rbx], rax
        mov rax, [rsp + 40]
        mov [rbx + 16], rax
        mov rax, [rsp + 16]
        mov [rbx + 24], rax
        mov rax, [rsp + 32]
        mov [rbx + 32], rax
        add rbx, {RECORD.size}
        mov [{NEXT}], rbx
        xor eax, eax
        mov dr6, rax
        mov eax, [rsp + 16]
        cmp eax, 1
        je back
        cmp eax, 3
        je back
        mov dword ptr [{END}], eax
    back:
        pop rbx
        pop rax
        add rsp, 8
        iretq
"""
"""Notes an exception; what comes of a debugger goes on, everything else is the end. Breakpoints of
instructions get RF, as Linux does it."""


class Record(NamedTuple):
    """An exception."""

    rip: int
    dr6: int
    rflags: int
    vector: int
    cs: int


def _handler(vector: int) -> str:
    drop = "add rsp, 8\n" if vector in VECTORS_WITH_CODE else ""
    return f"{drop}push {vector}\njmp note"


def _enter(program: Debugged) -> str:
    """The way to a program: alignment is checked if it wants that, SSE is there."""
    registers = [*enumerate(program.dr), (6, 0), (7, program.dr7)]
    loads = "".join(f"mov rax, {value:#x}\nmov dr{n}, rax\n" for n, value in registers)
    return f"""
        mov rax, cr0
        or eax, 0x40000
        mov cr0, rax
        mov rax, cr4
        or eax, 0x600
        mov cr4, rax
        {loads}
        push {USER_DATA}
        push {DATA + SIZE}
        push 0x202
        push {USER_CODE}
        push {CODE}
        iretq
    """


def stops(machine: X86Machine, program: Debugged) -> list[Stop]:
    """Run a program; its stops."""
    executed = sum(1 << n for n in range(4) if not program.dr7 >> 16 + 4 * n & 3)
    found = records(machine, _enter(program), code=program.code, executed=executed)
    return [Stop.of(each.rip, each.dr6, each.rflags, SIGNALS[each.vector]) for each in found]


def records(
    machine: X86Machine, text: str, user: str = "ud2", code: bytes = b"", executed: int = 0
) -> list[Record]:
    """Run a program that begins at level 0; the exceptions that there were. ``executed`` are the
    bits of DR6 of instructions' breakpoints."""
    begin_long(machine, text, user, handle=_handler, note=NOTE)
    machine.put(NEXT, struct.pack("<2Q", RECORDS, executed))
    machine.put(CODE, code)
    while isinstance(machine.run(), Pio):
        pass  # nobody listens
    content = machine.get(RECORDS, machine.word(NEXT) - RECORDS)
    return [Record(*words) for words in RECORD.iter_unpack(content)]
