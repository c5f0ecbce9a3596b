"""Addresses that are not canonical: #SS if they are of the stack, #GP if not, as on the host's
processor, for whose #SS Linux sends SIGBUS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agree.x86.traced import CODE, COMPILER, DATA, Debugged, traced
from tests.host import need

from .x86_debugged import stops
from .x86_long import begin_long, log
from .x86_machine import X86Machine, assemble, machines

machine = machines("reference", "interp", "everything")

SIGBUS, SIGSEGV = 7, 11
BEYOND = "movabs {0}, 0x800000001000"

FAR = f"mov ecx, {DATA}; mov word ptr [rcx + 4], cs; mov [rcx], ebx"
"""A far pointer to the code, at RCX."""

OF_STACK = (
    *("mov eax, [rsp]", "mov [rsp + 8], rax", "mov eax, [rbp]", "mov [rbp - 0x40], al"),
    *("mov eax, [rsp + rbx]", "mov eax, [rbp + 2*rbx + 0x100000]", "add dword ptr [rbp], 5"),
    *("push rax", "pop rcx", "push 5", "push 0x12345", "pushfq", "popfq", "push fs", "pop gs"),
    *("call 1f; 1: nop", "ret", "ret 8", "leave", "enter 16, 0", "enter 16, 3", "call rbx"),
    *("push [rbx]", "pop [rbx]", "call [rbx]", "push [rbp]", "push [rsp]"),
    *("retf", "retf 8", "iretd", "iretq", f"{FAR}; call fword ptr [rcx]"),
    *("movups xmm0, [rbp]", "movq xmm3, [rsp]", "lock xadd [rbp], rax", "imul eax, [rbp], 5"),
    *("cmpxchg16b [rbp]", "fld qword ptr [rsp]", "pshufb xmm0, [rbp]", "pextrb [rbp], xmm0, 1"),
    *("andn eax, ebx, [rbp]", "bextr r8d, [rsp], ebx"),
    *("rep; mov eax, [rbp]", ".byte 0x3e; mov eax, [rbp]", ".byte 0x2e; mov eax, [rsp]"),
)  # fmt: skip
"""With RSP and RBP beyond, and RBX good."""

OF_OTHERS = (
    *("mov eax, [rax]", "mov [rcx], eax", "mov eax, [r12]", "mov eax, [r13]", "mov [r13 + 8], al"),
    *("mov eax, [rbx + rbp]", "mov eax, [2*rbp]", "mov eax, fs:[rbp]", "mov eax, gs:[rbp]"),
    *("movsb", "stosd", "lodsq", "cmpsb", "scasb", "movabs al, [0x800000000000]", "push [rax]"),
    *(".byte 0x36; mov eax, [rax]", "call [rax]", "jmp [rax]", "movups [rax], xmm0"),
    *("andn eax, ebx, [r13]", "bextr eax, [r12], ebx", "bextr eax, fs:[rbp], ebx"),
    *("lock inc dword ptr [rax]", "xlatb", "pshufb xmm0, [r13]", "movnti [r12], eax"),
)  # fmt: skip
"""With RAX, RCX, RSI, RDI, RBP, R12 and R13 beyond, and RBX good."""

AVX_ON = """
    mov rax, cr4
    or eax, 0x40600
    mov cr4, rax
    xor ecx, ecx
    xor edx, edx
    mov eax, 7
    xsetbv
"""
AVX = (
    ("vmovups xmm0, [rbp]", 12), ("vmovups xmm0, [r13]", 13), ("vmovups xmm8, [rbp]", 12),
    ("vpshufb xmm0, xmm1, [rbp]", 12), ("vpshufb xmm0, xmm1, [r13]", 13),
    ("vpblendw xmm0, xmm1, [rbp + rbx], 3", 12), ("vmovups xmm0, fs:[rbp]", 13),
)  # fmt: skip
"""With the exceptions: what the manual says, since AVX is not on in programs that are compared."""


def program(text: str, *beyond: str) -> Debugged:
    lines = ["lea rbx, [rip]", *(BEYOND.format(name) for name in beyond), text.replace("; ", "\n")]
    return Debugged(assemble("\n".join(lines), 64, CODE))


def check(machine: X86Machine, program: Debugged, signal: int, folder: Path) -> None:
    need(COMPILER)
    (host,) = traced(program, folder)
    assert host.signal == signal
    (ours,) = stops(machine, program)
    assert (ours.signal, ours.at) == (signal, host.at)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tracer is built once."""
    return tmp_path_factory.mktemp("traced")


@pytest.mark.parametrize("text", OF_STACK)
def test_of_the_stack_it_is_a_stack_fault(machine: X86Machine, text: str, folder: Path) -> None:
    check(machine, program(text, "rbp", "rsp"), SIGBUS, folder)


@pytest.mark.parametrize("text", OF_OTHERS)
def test_elsewhere_it_is_a_protection_fault(machine: X86Machine, text: str, folder: Path) -> None:
    beyond = ("rax", "rcx", "rsi", "rdi", "rbp", "r12", "r13")
    check(machine, program(text, *beyond), SIGSEGV, folder)


@pytest.mark.parametrize(("text", "vector"), AVX)
def test_so_it_is_behind_vex(machine: X86Machine, text: str, vector: int) -> None:
    lines = [AVX_ON, "xor ebx, ebx", *(BEYOND.format(name) for name in ("rbp", "r13")), text]
    begin_long(machine, "\n".join(lines))
    assert machine.finish() == vector
    assert log(machine)[1] == 0
