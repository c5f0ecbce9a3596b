"""What x86 asks of an engine: coherent code, frames in virtual memory, modes, restarted moves."""

from __future__ import annotations

import struct

import pytest

from bimetal.seam import Halt, Mmio

from .sketched import END, Sketched, machines
from .x86.system import DOUBLE_FAULT, EXTERNAL, PAGE_FAULT, PAGING, UNDEFINED

CODE, IDT, GDT, HANDLERS = 0x1_0000, 0x1_4000, 0x1_5000, 0x1_6000
STACK, DATA, TABLES = 0x1_8000, 0x1_A000, 0x2_0000
STORE_EAX = b"\x89\x04\x25" + END.to_bytes(4, "little")  # mov [END], eax
KERNEL, OLD = 8, 16
"""Selectors of code segments: of 64 bits, and of 32."""
ALIAS = 0x1F_E000
machine = machines("x86-sketch")
PRESENT, WRITABLE, PAGE_SIZE = 1, 2, 1 << 7
FETCH = 16
"""The bit of a page fault's error code."""


def begin(machine: Sketched, code: str, at: int = CODE, **registers: int) -> None:
    """A program, and an IDT whose handlers store their vectors to the end and return."""
    machine.begin(bytes.fromhex(code) + STORE_EAX, at, **{"rsp": STACK + 4, **registers})
    for name, value in {"idtr": IDT, "gdtr": GDT, "cs": KERNEL, "ss": 0x18}.items():
        machine[name] = value
    machine.put(GDT + KERNEL, (1 << 53).to_bytes(8, "little") + bytes(8))
    for vector in range(EXTERNAL + 1):
        handler = HANDLERS + 16 * vector
        machine.put(IDT + 16 * vector, gate(handler))
        machine.put(handler, b"\xb8" + vector.to_bytes(4, "little") + STORE_EAX + b"\x48\xcf")


def gate(handler: int) -> bytes:
    """An interrupt gate (volume 3, figure 6-8)."""
    low = handler & 0xFFFF | KERNEL << 16 | 0x8E << 40 | (handler >> 16 & 0xFFFF) << 48
    return struct.pack("<QQ", low, handler >> 32)


def frame(machine: Sketched, count: int) -> list[int]:
    """The topmost words on the stack."""
    return [machine.word(machine["rsp"] + 8 * n) for n in range(count)]


def map_pages(machine: Sketched, absent: tuple[int, ...] = (), alias: int = CODE) -> None:
    """Four levels of tables: all memory where it is, a page at `ALIAS` too, the program's once more
    below 4 GiB, and what ends programs."""
    tables = [TABLES + 0x1000 * n for n in range(6)]
    top, pointers, directory, pages, far, last = tables

    def entry(table: int, index: int, to: int) -> None:
        machine.put(table + 8 * index, (to | PRESENT | WRITABLE).to_bytes(8, "little"))

    entry(top, 0, pointers)
    entry(pointers, 0, directory)
    entry(directory, 0, pages)
    for page in range(0, 0x4_0000, 0x1000):
        if page not in absent:
            entry(pages, page >> 12, page)
    entry(pointers, END >> 30, far)
    entry(far, 0, END | PAGE_SIZE)
    entry(pages, ALIAS >> 12, alias)
    entry(pointers, 3, last)
    entry(last, 511, pages)
    entry(pages, 511, CODE)
    machine["cr3"], machine["cr0"] = top, PAGING


# -- stores to code


def test_a_store_into_the_next_instruction_takes_effect(machine: Sketched) -> None:
    code = (
        "b908000000"  # mov ecx, 8
        "80050200000001"  # again: add byte ptr [rip + 2], 1
        "81c000000000"  # add eax, 0: no, what was stored
        "83c1ff 75ee"  # add ecx, -1; jne again
    )
    begin(machine, code)
    assert machine.finish() == sum(range(1, 9))
    assert machine.word(CODE + 14, 4) == 8


def test_a_store_into_another_page_takes_effect_when_it_is_called(machine: Sketched) -> None:
    """By a locked exchange, and through other addresses than it is executed at."""
    place = CODE + 0x1000
    code = (
        "be08000000"  # mov esi, 8
        "e8f60f0000"  # again: call place
        "01c7"  # add edi, eax
        "89c1 83c103"  # mov ecx, eax; add ecx, 3
        "f00fb10c2504e01f00"  # lock cmpxchg [ALIAS + 4], ecx
        "83c6ff 75e6"  # add esi, -1; jne again
        "89f8"  # mov eax, edi
    )
    begin(machine, code)
    machine.put(place, bytes.fromhex("909090 b807000000 c3"))  # mov eax, 7; ret
    map_pages(machine, alias=place)
    assert machine.finish() == sum(7 + 3 * n for n in range(8))


# -- traps


def test_undefined_is_delivered_through_the_idt(machine: Sketched) -> None:
    """Again and again: the handler returns to the instruction, which traps anew."""
    begin(machine, "83c0ff 0f0b")  # add eax, -1; ud2
    map_pages(machine)
    for _ in range(3):
        assert machine.finish() == UNDEFINED
        # SF and PF of the result -1, and the bit that is always 1.
        assert frame(machine, 5) == [CODE + 3, KERNEL, 0x86, STACK + 4, 0x18]
        assert machine["rsp"] == STACK - 40
        machine["rax"] = 0


def test_a_frame_that_cannot_be_pushed_ends_in_shutdown(machine: Sketched) -> None:
    """The fault of the push is delivered instead, then a double fault, and then nothing can be."""
    begin(machine, "0f0b", rsp=STACK + 0x1010)
    map_pages(machine, absent=(STACK,))
    assert isinstance(machine.run(), Halt)
    assert machine.registers()["shutdown"] == [1]
    assert machine["rsp"] == STACK + 0x1010
    # The first words of the frame are in a page that is there.
    assert machine.word(STACK + 0x1008) == 0x18


def test_a_fault_while_a_fault_is_delivered_is_a_double_fault(machine: Sketched) -> None:
    """The page fault's own gate is in a page that is not there; that of the double fault is."""
    begin(machine, "8b042500e00100")  # mov eax, [0x1e000]
    machine["idtr"] = IDT + 0x1000 - 16 * (PAGE_FAULT - 1)
    machine.put(machine["idtr"] + 16 * DOUBLE_FAULT, gate(HANDLERS + 16 * DOUBLE_FAULT))
    map_pages(machine, absent=(0x1_E000, IDT + 0x1000))
    machine["pc"] = CODE
    assert machine.finish() == DOUBLE_FAULT
    assert frame(machine, 2) == [0, CODE]


@pytest.mark.parametrize("inside", [1, 6, 14])
def test_the_second_page_of_an_instruction_may_be_absent(machine: Sketched, inside: int) -> None:
    at = CODE + 0x1000 - inside
    begin(machine, "90", at)
    # add qword ptr [rbx + rcx*8 + 0x12345678], 0x11223344, with prefixes that say nothing
    machine.put(at, bytes.fromhex("f2f2f2 4881 84cb 78563412 44332211")[:inside])
    map_pages(machine, absent=(CODE + 0x1000,))
    machine["pc"] = at
    assert machine.finish() == PAGE_FAULT
    assert frame(machine, 2) == [FETCH, at]
    assert machine["cr2"] == CODE + 0x1000


# -- modes


def test_the_same_bytes_in_two_modes(machine: Sketched) -> None:
    """add rax, rbx in 64-bit mode; dec eax, and add eax, ebx in compatibility mode."""
    finish, laps = CODE + 0x100, 24
    begin(machine, "4801d8 cb", rax=5, rbx=0x1_0000_0003)
    machine.put(finish, STORE_EAX)
    ways = [(CODE, KERNEL if n % 2 else OLD) for n in range(laps)] + [(finish, KERNEL)]
    top = STACK - 8 * len(ways)
    machine.put(top, b"".join(struct.pack("<II", *way) for way in ways))
    machine["rsp"] = top
    machine.finish()
    rax = 5 + 0x1_0000_0003
    for _, selector in ways[:-1]:
        rax = rax + 0x1_0000_0003 if selector == KERNEL else (rax - 1 + 3) & 0xFFFF_FFFF
    assert machine["rax"] == rax


def test_the_program_counter_wraps_at_32_bits(machine: Sketched) -> None:
    """In compatibility mode an instruction lies on both sides of the end, and a jump leads back."""
    finish = CODE + 0x200
    begin(machine, "cb")
    map_pages(machine)
    # At 0xfffffffb: add ecx, -1; add eax, imm32 whose last bytes are at 0.
    machine.put(CODE + 0xFFB, bytes.fromhex("83c1ff 81c0"))
    machine.put(0, bytes.fromhex("05000000 83f900 75f2 cb"))  # cmp ecx, 0; jne; retf
    machine.put(finish, STORE_EAX)
    ways = ((0xFFFF_FFFB, OLD), (finish, KERNEL))
    machine.put(STACK - 16, b"".join(struct.pack("<II", *way) for way in ways))
    for name, value in {"rsp": STACK - 16, "rax": 0, "rcx": 30, "pc": CODE}.items():
        machine[name] = value
    assert machine.finish() == 30 * 5


# -- moves and exchanges


def test_a_move_is_interrupted_and_goes_on(machine: Sketched) -> None:
    begin(machine, "fb f3a4", rcx=8, rsi=DATA, rdi=END + 0x100)  # sti; rep movsb
    machine.put(DATA, b"bimetal!")
    taken = bytearray()
    for n in range(8):
        exit_ = machine.run()
        assert isinstance(exit_, Mmio)
        assert (exit_.address, exit_.size) == (END + 0x100 + n, 1)
        taken.append(exit_.value)
        if n == 3:
            machine.cpu.set_line(0, True)
            assert machine.finish() == EXTERNAL
            assert (machine["rcx"], machine["rsi"], machine["rdi"]) == (
                4,
                DATA + 4,
                END + 0x104,
            )
            assert frame(machine, 1) == [CODE + 1]
            machine.cpu.set_line(0, False)
    assert taken == b"bimetal!"
    machine.finish()
    assert machine["rcx"] == 0


def test_a_locked_exchange_counts(machine: Sketched) -> None:
    address = DATA.to_bytes(4, "little").hex()
    code = (
        "be19000000"  # mov esi, 25
        "b800000000"  # again: mov eax, 0, which is there the first time only
        "89c2 83c201"  # try: mov edx, eax; add edx, 1
        f"f00fb11425{address}"  # lock cmpxchg [DATA], edx
        "75f0"  # jne try
        "83c6ff 75e6"  # add esi, -1; jne again
    )
    begin(machine, code)
    machine.finish()
    assert machine.word(DATA, 4) == 25
