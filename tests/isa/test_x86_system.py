"""Modes, privilege levels, exceptions and paging of x86, by short programs that set all of it up
themselves from real mode on, under each engine."""

from __future__ import annotations

import struct
from typing import cast

import pytest

from bimetal.isa.x86.exceptions import ACKNOWLEDGE, INTR_LINE, NMI_LINE
from bimetal.seam import Exit, Halt, Mmio, RegisterAccess

from .x86_long import (
    CODE_64,
    GDT,
    IST_1,
    LOG,
    LOW_PD,
    PDPT,
    STACK_0,
    TASK,
    TO_USER,
    USER,
    USER_CODE,
    begin_long,
    log,
    system_calls,
)
from .x86_machine import DATA, END, X86Machine, machines

machine = machines("reference", "interp", "everything")

TAKEN = 1 << 8
HIGH = 5 << 30


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
        {system_calls(mask=0x200)}
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


def test_far_calls_with_short_operands_use_a_stack_that_is_high(machine: X86Machine) -> None:
    """In 64-bit mode the stack pointer has 64 bits whatever the items are (volume 1, 6.2.5)."""
    text = f"""
        mov rsp, {HIGH | STACK_0:#x}
        lea rax, [rip + there]
        mov dword ptr [{LOG}], eax
        mov word ptr [{LOG + 4}], {CODE_64}
        call fword ptr [{LOG}]
        mov dword ptr [{END}], eax
    there:
        mov rax, [rsp]
        retf
    """
    begin_long(machine, text)
    machine.put(PDPT + 8 * 5, struct.pack("<Q", 0x83))
    machine.finish()
    assert machine["rax"] >> 32 == CODE_64
    assert machine["rsp"] == HIGH | STACK_0


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


def test_an_nmi_that_has_to_wait_ends_no_halt(machine: X86Machine) -> None:
    """Another one is being handled (volume 3, 6.7.1)."""
    begin_long(machine, "hlt\nud2")
    state = machine.cpu.save()
    registers = cast("dict[str, list[int]]", state["registers"])
    machine.cpu.load({**state, "registers": {**registers, "nmi_blocked": [1]}})
    machine.cpu.set_line(NMI_LINE, True)
    assert isinstance(machine.run(), Halt)


def test_triple_faults_stop_the_processor(machine: X86Machine) -> None:
    begin_long(machine, f"lidt [{DATA + 0x180}]\nud2")
    assert isinstance(machine.run(), Halt)


UNMASKED = f"""
    mov eax, {{cr4}}
    mov cr4, rax
    mov dword ptr [{DATA + 0x80}], 0x1d80
    ldmxcsr [{DATA + 0x80}]
    mov eax, 1
    cvtsi2ss xmm0, eax
    xorps xmm1, xmm1
    divss xmm0, xmm1
"""


@pytest.mark.parametrize(("cr4", "vector"), [(0x620, 19), (0x220, 6)])
def test_unmasked_exceptions_of_sse_need_a_kernel_that_knows(
    machine: X86Machine, cr4: int, vector: int
) -> None:
    """Without CR4.OSXMMEXCPT they are #UD (volume 3, 2.5)."""
    begin_long(machine, UNMASKED.format(cr4=cr4))
    assert machine.finish() == vector


@pytest.mark.parametrize("bit", [0, 1, 13, 15, 22, 23])
def test_bits_of_cr4_that_cpuid_does_not_tell_of(machine: X86Machine, bit: int) -> None:
    """VME, PVI, VMXE, one that nothing has, PKE, CET."""
    begin_long(machine, f"mov eax, {0x20 | 1 << bit:#x}\nmov cr4, rax")
    assert machine.finish() == 13


def test_the_x87_remembers_its_last_instruction_that_is_no_control(machine: X86Machine) -> None:
    """Its address (volume 1, 8.1.8)."""
    begin_long(machine, f"lea rbx, [rip]\nfninit\nfld1\nfnclex\nfwait\nfnstenv [{DATA + 0x80}]")
    machine.finish()
    assert machine.word(DATA + 0x8C, 4) == machine["rbx"] + 2
