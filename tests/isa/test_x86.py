"""Short programs of x86's three sizes of code, under each engine."""

from __future__ import annotations

from .x86_machine import DATA, X86Machine, machines

machine = machines()


def test_loops_and_flags(machine: X86Machine) -> None:
    """Sum of the odd numbers below 100, by compare and jump, in 64-bit and 32-bit code."""
    lines = """
        xor eax, eax
        mov ecx, 1
    again:
        add eax, ecx
        add ecx, 2
        cmp ecx, 100
        jb again
    """
    for bits in (64, 32):
        assert machine.do(lines, bits) == 2500, bits


def test_calls_and_stack(machine: X86Machine) -> None:
    """Fibonacci by recursion."""
    lines = """
        mov edi, 12
        call fib
        jmp over
    fib:
        cmp edi, 2
        jae deeper
        mov eax, edi
        ret
    deeper:
        push {b}
        push {d}
        lea edi, [{d}-1]
        call fib
        mov ebx, eax
        pop {d}
        sub edi, 2
        call fib
        add eax, ebx
        pop {b}
        ret
    over:
    """
    assert machine.do(lines.format(b="rbx", d="rdi"), 64) == 144
    assert machine.do(lines.format(b="ebx", d="edi"), 32) == 144


def test_segments_have_bases(machine: X86Machine) -> None:
    lines = f"mov dword ptr [{DATA + 0x18}], 77\nmov eax, gs:[0x10]\nadd eax, fs:[8]"
    for bits in (64, 32):
        found = machine.do(lines, bits, **{"gs.base": DATA + 8, "fs.base": DATA + 16})
        assert found == 154, bits


def test_bytes_without_rex_are_high(machine: X86Machine) -> None:
    found = machine.do("mov eax, 0x1234\nmov ah, al\nxchg al, ch\nadd ch, ah", rcx=0xAB00)
    assert (found, machine["rcx"]) == (0x34AB, 0x6800)


def test_addresses_of_32_bits_wrap(machine: X86Machine) -> None:
    found = machine.do(f"mov dword ptr [{DATA}], 5\nmov eax, [ebx+ecx*4+8]", 32,
                       rbx=DATA + 24, rcx=0xFFFF_FFF8)  # fmt: skip
    assert found == 5
