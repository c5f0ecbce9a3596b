"""Modes, privilege levels, exceptions and paging of x86, by short programs that set all of it up
themselves from real mode on, under each engine."""

from __future__ import annotations

import struct

import pytest

from bimetal.isa.x86.exceptions import ACKNOWLEDGE, INTR_LINE
from bimetal.seam import Exit, Halt, Mmio, RegisterAccess

from .x86_machine import CODE, DATA, END, X86Machine, assemble, machines

machine = machines("reference", "interp", "everything")

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
TAKEN = 1 << 8
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


def handler(vector: int) -> str:
    """A handler that notes the exception and ends the program."""
    code = "pop rbx" if vector in VECTORS_WITH_CODE else "xor ebx, ebx"
    return f"""
        .org {HANDLERS - CODE + 64 * vector}
        {code}
        mov eax, {vector}
        jmp note
    """


def long_program(text: str, user: str = "ud2") -> bytes:
    handlers = "\n".join(handler(vector) for vector in range(34))
    note = f"""
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
    body = f"{TO_LONG_MODE}\n{text}\nmov dword ptr [{END}], eax\n{note}\n{handlers}"
    body += f"\n.org {USER - CODE}\n{user}\n"
    return assemble(f".code16\n{body}", 16, 0)


def gate(vector: int, kind: int = 0x8E, ist: int = 0) -> bytes:
    at = HANDLERS + 64 * vector
    return struct.pack("<HHBBHII", at & 0xFFFF, CODE_64, ist, kind, at >> 16, 0, 0)


def begin_long(machine: X86Machine, text: str, user: str = "ud2") -> None:
    code = long_program(text, user)
    machine.place(code, 16)
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


def test_from_real_mode_to_long_mode(machine: X86Machine) -> None:
    begin_long(machine, "mov rax, 0x123456789\nshr rax, 32\nadd eax, 41")
    assert machine.finish() == 42
    assert machine["efer"] == 0xD01
    assert machine["cs"] == CODE_64
    assert machine.word(GDT + TASK) >> 40 & 0xF == 0xB  # the task is busy
    assert machine.word(LOW_PD) & 0x60 == 0x60  # accessed and dirty


@pytest.mark.parametrize(
    ("text", "vector", "code", "cr2"),
    [
        ("ud2", 6, 0, 0),
        ("xor ecx, ecx\ndiv ecx", 0, 0, 0),
        ("int3", 3, 0, 0),
        ("int 33", 33, 0, 0),
        ("mov rax, 0x300000\nmov rax, [rax]", 14, 0, 0x300000),
        ("mov rax, 0x300000\nmov [rax], rax", 14, 2, 0x300000),
        ("mov rax, 0x300000\njmp rax", 14, 0x10, 0x300000),
        ("mov rax, 0x800000000000\nmov rax, [rax]", 13, 0, 0),
        ("mov ax, 0x77\nmov ds, ax", 13, 0x74, 0),
        ("mov ecx, 0x12345\nrdmsr", 13, 0, 0),
        ("mov eax, 1\nmov cr0, rax", 13, 0, 0),
        ("int 60", 13, 60 * 8 + 2, 0),
    ],
)
def test_exceptions_of_the_kernel(
    machine: X86Machine, text: str, vector: int, code: int, cr2: int
) -> None:
    begin_long(machine, text)
    assert machine.finish() == vector
    found = log(machine)
    assert (found[0], found[1], found[2], found[4]) == (vector, code, CODE_64, cr2)


TO_USER = f"""
    push {USER_DATA}
    push 0x1f000
    push 0x202
    push {USER_CODE}
    push {USER}
    iretq
"""


@pytest.mark.parametrize(
    ("text", "vector", "code"),
    [
        ("hlt", 13, 0),
        ("cli", 13, 0),
        ("mov rax, cr0", 13, 0),
        ("in al, 0x60", 13, 0),
        ("int3", 3, 0),
        ("int 32", 13, 32 * 8 + 2),
        ("mov eax, [0x300000]", 14, 4),
        ("mov [0x300000], eax", 14, 6),
        ("ud2", 6, 0),
    ],
)
def test_exceptions_of_a_user(machine: X86Machine, text: str, vector: int, code: int) -> None:
    """On the stack of the task for the kernel."""
    begin_long(machine, TO_USER, text)
    assert machine.finish() == vector
    found = log(machine)
    assert (found[0], found[1], found[2]) == (vector, code, USER_CODE)
    assert found[5] == STACK_0 - 40
    assert machine["cs"] & 3 == 0


def test_users_cannot_see_the_kernels_pages(machine: X86Machine) -> None:
    begin_long(machine, TO_USER, "mov eax, [0x40000000]")
    machine.put(PDPT + 8, struct.pack("<Q", 0x4000_0083))
    assert machine.finish() == 14
    assert log(machine)[1] == 5


def test_system_calls(machine: X86Machine) -> None:
    """SYSCALL and SYSRET, and the flags that are masked."""
    kernel = f"""
        mov ecx, 0xc0000081
        xor eax, eax
        mov edx, {0x18 << 16 | CODE_64}
        wrmsr
        mov ecx, 0xc0000082
        lea rax, [rip + entry]
        xor edx, edx
        wrmsr
        mov ecx, 0xc0000084
        mov eax, 0x200
        wrmsr
        {TO_USER}
    entry:
        inc r8
        cmp r8, 3
        jne back
        mov r9, rcx
        pushfq
        pop rax
        mov dword ptr [{END}], eax
    back:
        sysretq
    """
    begin_long(machine, kernel, "xor r8, r8\nmore: syscall\njmp more")
    assert machine.finish() & 0x200 == 0
    assert machine["r9"] == USER + 5
    assert machine["r11"] & 0x200
    assert (machine["cs"], machine["ss"]) == (CODE_64, CODE_64 + 8)


def test_double_faults_have_a_stack_of_their_own(machine: X86Machine) -> None:
    begin_long(machine, "mov rsp, 0x300000\nud2")
    assert machine.finish() == 8
    assert log(machine)[5] == IST_1 - 40


def test_pages_without_execution(machine: X86Machine) -> None:
    begin_long(machine, "mov eax, 0x40000000\njmp rax")
    machine.put(PDPT + 8, struct.pack("<Q", 1 << 63 | 0x4000_0087))
    assert machine.finish() == 14
    assert log(machine)[1] == 0x11


def answered(machine: X86Machine, vector: int) -> Exit:
    """Run, and say which interrupt it is whenever the vCPU asks."""
    exit_ = machine.run()
    while isinstance(exit_, RegisterAccess):
        assert (exit_.number, exit_.read, exit_.write) == (ACKNOWLEDGE, True, False)
        machine.cpu.set_line(INTR_LINE, False)
        exit_.value = TAKEN | vector
        exit_ = machine.run()
    return exit_


def test_interrupts_ask_for_their_vector(machine: X86Machine) -> None:
    begin_long(machine, "xor edi, edi\nsti\nmore: inc edi\njmp more")
    machine.cpu.set_line(INTR_LINE, True)
    exit_ = answered(machine, 32)
    assert isinstance(exit_, Mmio)
    assert exit_.value == 32
    assert machine["rdi"] >= 1
    assert machine["rflags"] & 0x200 == 0


def test_interrupts_wait_for_the_flag_and_end_halts(machine: X86Machine) -> None:
    """One that has come before STI; HLT stands in its shadow: then nobody is told of a halt, who
    would wait for what is there already."""
    begin_long(machine, "sti\nhlt\nud2")
    machine.cpu.set_line(INTR_LINE, True)
    exit_ = answered(machine, 33)
    assert isinstance(exit_, Mmio)
    assert exit_.value == 33
    assert machine.get(machine.word(LOG + 24) - 1, 1) == b"\xf4"  # it returns behind HLT


def test_triple_faults_stop_the_processor(machine: X86Machine) -> None:
    begin_long(machine, f"lidt [{DATA + 0x180}]\nud2")
    assert isinstance(machine.run(), Halt)
