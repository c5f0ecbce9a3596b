"""Bare programs of x86 that set up long mode themselves, from real mode on: tables, pages, handlers
of exceptions."""

from __future__ import annotations

import struct
from collections.abc import Callable

from .x86_machine import CODE, DATA, END, X86Machine, assemble

__all__ = [
    "CODE_16", "CODE_32", "CODE_64", "DATA_SEG", "DESCRIPTORS", "GDT", "HANDLERS", "IDT", "IST_1",
    "LOG", "LOW_PD", "PDPT", "PML4", "STACK_0", "TASK", "TO_LONG_MODE", "TO_USER", "TSS", "USER",
    "USER_CODE", "USER_DATA", "VECTORS_WITH_CODE", "begin_long", "log", "long_program",
    "system_calls",
]  # fmt: skip

GDT, IDT, TSS, PML4, PDPT, LOW_PD = 0x3000, 0x3800, 0x4000, 0x5000, 0x6000, 0x7000
CODE_32, DATA_SEG, CODE_64, USER_DATA, USER_CODE, TASK, CODE_16 = (
    0x08, 0x10, 0x18, 0x23, 0x2B, 0x30, 0x40,
)  # fmt: skip
DESCRIPTORS = (
    0, 0x00CF9B00_0000FFFF, 0x00CF9300_0000FFFF, 0x00AF9B00_0000FFFF, 0x00CFF300_0000FFFF,
    0x00AFFB00_0000FFFF, 0x00008900_00000067 | TSS << 16, 0, 0x00009B00_0000FFFF,
)  # fmt: skip
HANDLERS, USER, STACK_0, IST_1 = 0x2000, 0x9000, 0x1_8000, 0x1_A000
VECTORS_WITH_CODE = (8, 10, 11, 12, 13, 14, 17)
LOG = DATA
"""Where handlers note what they got: vector, error code, CS, RIP, CR2, RSP, 8 bytes each."""

TO_LONG_MODE = f"""
start:
    cli
    lgdt [{DATA + 0x100}]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea
    .long of_32 - start + {CODE}
    .word {CODE_32}
    .code32
of_32:
    mov ax, {DATA_SEG}
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x20000
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov eax, {PML4}
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x901
    wrmsr
    mov eax, cr0
    or eax, 0x80010000
    mov cr0, eax
    .byte 0xea
    .long of_64 - start + {CODE}
    .word {CODE_64}
    .code64
of_64:
    lidt [{DATA + 0x110}]
    mov ax, {TASK}
    ltr ax
    xor eax, eax
"""


def system_calls(mask: int) -> str:
    """Supervisor's code after which SYSCALL leads to ``entry``, with the flags in ``mask`` cleared,
    and SYSRET back to user code."""
    return f"""
    mov ecx, 0xc0000081
    xor eax, eax
    mov edx, {0x18 << 16 | CODE_64}
    wrmsr
    mov ecx, 0xc0000082
    lea rax, [rip + entry]
    xor edx, edx
    wrmsr
    mov ecx, 0xc0000084
    mov eax, {mask}
    wrmsr
    """


def handler(vector: int) -> str:
    """A handler that notes the exception and ends the program."""
    code = "pop rbx" if vector in VECTORS_WITH_CODE else "xor ebx, ebx"
    return f"{code}\nmov eax, {vector}\njmp note"


NOTE = f"""
    note:
        mov [{LOG}], rax
        mov [{LOG + 8}], rbx
        mov rcx, [rsp]
        mov [{LOG + 24}], rcx
        mov rcx, [rsp+8]
        mov [{LOG + 16}], rcx
        mov rcx, cr2
        mov [{LOG + 32}], rcx
        mov [{LOG + 40}], rsp
        mov dword ptr [{END}], eax
"""


def long_program(text: str, user: str, handle: Callable[[int], str], note: str) -> bytes:
    """From real mode on: ``text`` at level 0 in 64-bit mode, ``user`` at `USER`, handlers, and what
    these jump to."""
    handlers = "".join(
        f".org {HANDLERS - CODE + 64 * vector}\n{handle(vector)}\n" for vector in range(34)
    )
    body = f"{TO_LONG_MODE}\n{text}\nmov dword ptr [{END}], eax\n{note}\n{handlers}"
    body += f"\n.org {USER - CODE}\n{user}\n"
    return assemble(f".code16\n{body}", 16, 0)


def gate(vector: int, kind: int = 0x8E, ist: int = 0) -> bytes:
    at = HANDLERS + 64 * vector
    return struct.pack("<HHBBHII", at & 0xFFFF, CODE_64, ist, kind, at >> 16, 0, 0)


def begin_long(
    machine: X86Machine,
    text: str,
    user: str = "ud2",
    handle: Callable[[int], str] = handler,
    note: str = NOTE,
) -> None:
    """Put a program into memory, and all that it needs."""
    machine.place(long_program(text, user, handle, note), 16)
    machine.put(GDT, b"".join(each.to_bytes(8, "little") for each in DESCRIPTORS))
    idt = b"".join(gate(n, 0xEE if n == 3 else 0x8E, int(n == 8)) for n in range(34))
    machine.put(IDT, idt)
    machine.put(TSS + 4, struct.pack("<Q", STACK_0))
    machine.put(TSS + 0x24, struct.pack("<Q", IST_1))
    machine.put(TSS + 0x66, b"\xff\xff")  # no map of ports
    machine.put(DATA + 0x100, struct.pack("<HI", 0x47, GDT))
    machine.put(DATA + 0x110, struct.pack("<HQ", len(idt) - 1, IDT))
    machine.put(PML4, struct.pack("<Q", PDPT | 7))
    machine.put(PDPT, struct.pack("<2Q", LOW_PD | 7, 0x4000_0087))
    machine.put(LOW_PD, struct.pack("<2Q", 0x87, 0))


def log(machine: X86Machine) -> list[int]:
    return [machine.word(LOG + 8 * n) for n in range(6)]


TO_USER = f"""
    push {USER_DATA}
    push 0x1f000
    push 0x202
    push {USER_CODE}
    push {USER}
    iretq
"""
