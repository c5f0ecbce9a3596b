"""Guests in every mode of the processor, and the ways from one into another."""

from __future__ import annotations

import struct

import pytest

from bimetal.seam import Halt, Kicked, Mmio, Pio
from tests.accel.kvm.assembler import assemble
from tests.accel.kvm.guest import (
    CODE,
    DEVICE,
    GDT,
    STUB_PORT,
    GuestMachine,
    guest_machine,
    mmio,
    ports,
)
from tests.accel.kvm.quirks import needs

# Real mode


def test_real_mode_speaks_through_ports(guest: GuestMachine) -> None:
    cpu = guest.real("mov al, 0x41; out 0x10, al; in al, 0x11; out 0x12, al; hlt")
    assert ports(cpu.run()) == (0x10, 1, 0x41)
    exit = cpu.run()
    assert isinstance(exit, Pio)
    exit.value = 0x55
    assert ports(cpu.run()) == (0x12, 1, 0x55)
    assert isinstance(cpu.run(), Halt)


def test_a_repeated_input_asks_once_for_each_element(guest: GuestMachine) -> None:
    cpu = guest.real("mov dx, 0x1f0; mov di, 0x2000; mov cx, 4; rep insw; out 0x10, al")
    for number in range(4):
        exit = cpu.run()
        assert isinstance(exit, Pio)
        assert (exit.port, exit.size, exit.write) == (0x1F0, 2, False)
        exit.value = 0x1100 + number
    assert ports(cpu.run())[0] == 0x10
    assert struct.unpack("<4H", guest.read(0x2000, 8)) == (0x1100, 0x1101, 0x1102, 0x1103)


def test_a_repeated_output_tells_each_element(guest: GuestMachine) -> None:
    guest.write(0x2000, b"bimetal")
    cpu = guest.real("mov dx, 0x3f8; mov si, 0x2000; mov cx, 7; rep outsb; hlt")
    assert bytes(ports(cpu.run())[2] for _ in range(7)) == b"bimetal"
    assert isinstance(cpu.run(), Halt)


def test_a_kick_within_a_repeated_input_loses_nothing(guest: GuestMachine) -> None:
    cpu = guest.real("mov dx, 0x1f0; mov di, 0x2000; mov cx, 2; rep insb; out 0x10, al")
    for number in (7, 8):
        exit = cpu.run()
        assert isinstance(exit, Pio)
        exit.value = number
        cpu.kick()
    assert isinstance(cpu.run(), Kicked)
    assert ports(cpu.run())[0] == 0x10
    assert guest.read(0x2000, 2) == b"\7\10"


def test_an_interrupt_goes_through_the_vector_table(guest: GuestMachine) -> None:
    guest.write(4 * 0x21, struct.pack("<HH", 0x9000, 0))
    guest.write(0x9000, assemble("mov al, 0x99; out 0x10, al; iret", 16))
    cpu = guest.real("sti; 1: out 0x12, al; jmp 1b")
    assert ports(cpu.run())[0] == 0x12
    cpu.set_line(0x21, True)
    seen = [ports(cpu.run()) for _ in range(3)]
    assert (0x10, 1, 0x99) in seen
    assert seen[-1][0] == 0x12


def test_an_nmi_comes_even_with_interrupts_off(guest: GuestMachine) -> None:
    guest.write(4 * 2, struct.pack("<HH", 0x9000, 0))
    guest.write(0x9000, assemble("mov al, 2; out 0x10, al; iret", 16))
    cpu = guest.real("cli; 1: out 0x12, al; jmp 1b")
    assert ports(cpu.run())[0] == 0x12
    cpu.set_line(2, True)
    assert (0x10, 1, 2) in [ports(cpu.run()) for _ in range(2)]


# Ways into other modes


def test_a_guest_enters_protected_mode_itself(guest: GuestMachine) -> None:
    guest.write(0x7B00, struct.pack("<HI", 0x4F, GDT))
    guest.write(0x9000, assemble("mov ax, 0x10; mov ds, ax; mov al, 0x33; out 0x10, al", 32))
    far_jump = ".byte 0x66, 0xea; .long 0x9000; .word 8"
    cpu = guest.real(f"cli; lgdt [0x7b00]; mov eax, cr0; or eax, 1; mov cr0, eax; {far_jump}")
    assert ports(cpu.run()) == (0x10, 1, 0x33)
    assert cpu.read_register("cs") == 8


def test_a_guest_enters_long_mode_itself(guest: GuestMachine) -> None:
    guest.write(0x9000, assemble("movabs rax, 0x1122334455667788; out 0x10, al", 64))
    cpu = guest.protected(
        """
        mov eax, cr4; or eax, 0x20; mov cr4, eax
        mov eax, 0x1000; mov cr3, eax
        mov ecx, 0xc0000080; rdmsr; or eax, 0x100; wrmsr
        mov eax, cr0; or eax, 0x80000000; mov cr0, eax
        .byte 0xea; .long 0x9000; .word 0x18
        """
    )
    assert ports(cpu.run()) == (0x10, 1, 0x88)
    assert cpu.read_register("rax") == 0x1122_3344_5566_7788
    assert cpu.read_register("efer") == 0x500


def test_32_bit_paging(guest: GuestMachine) -> None:
    needs("32-bit paging")
    entries = (page << 22 | 0x87 for page in range(1024))
    guest.write(0x2_0000, struct.pack("<1024I", *entries))
    cpu = guest.protected("mov al, 0x44; out 0x10, al")
    for name, value in {"cr3": 0x2_0000, "cr4": 0x10, "cr0": 0x8000_0033}.items():
        cpu.write_register(name, value)
    assert ports(cpu.run()) == (0x10, 1, 0x44)


# Long mode


def test_user_code_uses_ports_and_devices(guest: GuestMachine) -> None:
    cpu = guest.long(
        f"mov ebx, {DEVICE}; mov eax, [rbx]; mov [rbx+4], eax; out 0x10, al", user=True
    )
    exit = cpu.run()
    assert isinstance(exit, Mmio)
    exit.value = 0x4433_2211
    assert mmio(cpu.run()) == (DEVICE + 4, 4, 0x4433_2211)
    assert ports(cpu.run()) == (0x10, 1, 0x11)
    assert cpu.read_register("cs") & 3 == 3


@pytest.mark.parametrize("offset", range(1, 8))
def test_a_store_across_pages_comes_out_in_aligned_pieces(guest: GuestMachine, offset: int) -> None:
    address = DEVICE + 0x1000 - offset
    cpu = guest.long(f"mov ebx, {address}; movabs rax, 0x0807060504030201; mov [rbx], rax; hlt")
    pieces = []
    while isinstance(exit := cpu.run(), Mmio):
        assert exit.address % exit.size == 0
        pieces.append((exit.address, exit.value.to_bytes(exit.size, "little")))
    assert isinstance(exit, Halt)
    assert b"".join(data for _, data in pieces) == bytes(range(1, 9))
    assert pieces[0][0] == address
    starts = [place for place, _ in pieces]
    assert starts[1:] == [place + len(data) for place, data in pieces[:-1]]


@pytest.mark.parametrize("offset", range(1, 8))
def test_a_load_across_pages_puts_the_pieces_together(guest: GuestMachine, offset: int) -> None:
    address = DEVICE + 0x1000 - offset
    cpu = guest.long(f"mov ebx, {address}; mov rax, [rbx]; out 0x10, al")
    while isinstance(exit := cpu.run(), Mmio):
        start = exit.address - address + 1
        exit.value = int.from_bytes(bytes(range(start, start + exit.size)), "little")
    assert ports(exit)[0] == 0x10
    assert cpu.read_register("rax") == 0x0807_0605_0403_0201


@pytest.mark.parametrize(
    ("text", "vector"),
    [
        ("xor ecx, ecx; div ecx", 0),
        ("ud2", 6),
        ("movabs rbx, 0x8000000000000000; mov al, [rbx]", 13),
        ("movabs rbx, 0x7fff00000000; mov al, [rbx]", 14),
        ("hlt", 13),
    ],
    ids=["divide", "undefined", "canonical", "page", "privilege"],
)
def test_exceptions_of_user_code(guest: GuestMachine, text: str, vector: int) -> None:
    cpu = guest.long(text, user=True)
    assert ports(cpu.run()) == (STUB_PORT, 1, vector)
    if vector == 14:
        assert cpu.read_register("cr2") == 0x7FFF_0000_0000


def test_int3(guest: GuestMachine) -> None:
    needs("int3")
    assert ports(guest.long("int3").run()) == (STUB_PORT, 1, 3)


def test_syscall_enters_the_kernel(guest: GuestMachine) -> None:
    needs("syscall")
    guest.write(0x2_0000, assemble("mov rbx, cr0; out 0x10, al", 64))
    cpu = guest.long("syscall", user=True)
    for name, value in {"star": 0x20_0018_0000_0000, "lstar": 0x2_0000, "sfmask": 0x300}.items():
        cpu.write_register(name, value)
    assert ports(cpu.run())[0] == 0x10
    assert cpu.read_register("cs") & 3 == 0
    assert cpu.read_register("rcx") == CODE + 2


def test_code_that_changes_itself(guest: GuestMachine) -> None:
    needs("self-modifying code")
    cpu = guest.long("mov byte ptr [rip+1], 0x77; mov al, 0; out 0x10, al", user=True)
    assert ports(cpu.run()) == (0x10, 1, 0x77)


def test_code_that_the_host_changes(guest: GuestMachine) -> None:
    cpu = guest.long("1: mov al, 1; out 0x10, al; jmp 1b", user=True)
    assert ports(cpu.run())[2] == 1
    guest.write(CODE + 1, b"\2")
    cpu.flush()
    assert ports(cpu.run())[2] == 2


def test_cpuid_says_what_the_model_has(kvm: None) -> None:
    needs("masked cpuid")
    with guest_machine(model="x86-64-v1,-sse2") as guest:
        cpu = guest.long("mov eax, 1; cpuid; out 0x10, al")
        cpu.run()
        assert not cpu.read_register("rdx") >> 26 & 1
        assert not cpu.read_register("rcx") & 1
