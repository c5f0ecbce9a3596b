"""Addresses of a kernel in its code, which are others in each boot: what is translated with one of
them serves all. Where they are, LLVM's assembler says by the relocations that it leaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from elftools.elf.enums import ENUM_RELOC_TYPE_x64
from elftools.elf.relocation import RelocationSection

from bimetal.accel.jit import JitCpu
from bimetal.isa.decoding import Decoding
from bimetal.isa.x86 import x86
from tests.sketches.sketched import sketched

from .x86_machine import CODE, END, X86Machine, assemble, assembled

TEXT, DATA = 0xFFFF_FFFF_8123_4000, 0xFFFF_FFFF_8234_5678
"""Where a kernel of 64 bits has code and data."""
OF_CPU = 0x2_C8A0
"""Where the variable of a CPU is from its base on."""

IN_64 = {
    "mov rdi, offset place": DATA,
    "movabs rdi, offset place": DATA,
    "cmp rdi, offset place": DATA,
    "imul rax, rbx, offset place": DATA,
    "test rbx, offset place": DATA,
    "push offset place": DATA,
    "mov rax, [rcx * 8 + place]": DATA,
    "mov eax, [r13 + place]": DATA,
    "cmp byte ptr [rdx + place], 5": DATA,
    "mov dword ptr [rdx * 4 + place], 0x12345678": DATA,
    "mov qword ptr [rax + place], offset place": DATA,
    "jmp [rax * 8 + place]": DATA,
    "movups xmm9, [rax + place]": DATA,
    "vpaddd ymm1, ymm2, [rax + place]": DATA,
    "shld [rax + place], rdx, 3": DATA,
    "mov rax, gs:[rip + place]": OF_CPU,
    "inc dword ptr gs:[rip + place]": OF_CPU,
    "cmp dword ptr gs:[rip + place], 7": OF_CPU,
    "mov qword ptr gs:[rip + place], 0x12345": OF_CPU,
}
IN_32 = {
    "mov edi, offset place": 0xC123_4567,
    "mov eax, [place]": 0xC123_4567,
    "mov ecx, [place]": 0xC123_4567,
    "cmp byte ptr [edx + place], 5": 0xC123_4567,
    "mov dword ptr [edx * 4 + place], offset place": 0xC123_4567,
}


def referring(text: str, bits: int, place: int, at: int) -> tuple[bytes, set[int]]:
    """The code of an instruction that refers to ``place``, and the offsets in it where it does."""
    elf = assembled(text, bits)
    section = elf.get_section_by_name(".text")
    code, offsets = bytearray(section.data()), set[int]()
    relocations = elf.get_section_by_name(".rela.text")
    assert isinstance(relocations, RelocationSection)
    for each in relocations.iter_relocations():
        offset, kind = each["r_offset"], each["r_info_type"]
        size = 8 if kind == ENUM_RELOC_TYPE_x64["R_X86_64_64"] else 4
        behind = at + offset if kind == ENUM_RELOC_TYPE_x64["R_X86_64_PC32"] else 0
        value = place + each["r_addend"] - behind
        code[offset : offset + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
        offsets.add(offset)
    return bytes(code), offsets


def found(code: bytes, bits: int) -> set[int]:
    """The offsets of the operands that may be others the next time."""
    decoded = x86.read(code, Decoding(0 if bits == 64 else 1))
    assert decoded is not None
    assert decoded.length == len(code)
    return set(x86.relocated(decoded).values())


@pytest.mark.parametrize("text", IN_64)
def test_addresses_in_a_kernel_of_64_bits(text: str) -> None:
    code, offsets = referring(text, 64, IN_64[text], TEXT)
    assert found(code, 64) == offsets


@pytest.mark.parametrize("text", IN_32)
def test_addresses_in_a_kernel_of_32_bits(text: str) -> None:
    code, offsets = referring(text, 32, IN_32[text], 0xC100_0000)
    assert found(code, 32) == offsets


@pytest.mark.parametrize("text", [text for text in IN_64 if "gs:" not in text])
def test_addresses_in_a_program_are_part_of_its_code(text: str) -> None:
    code, _ = referring(text, 64, 0x40_5678, 0x40_1000)
    assert not found(code, 64)


@pytest.mark.parametrize("text", ["call place", "jmp place", "jne place", "lea rax, [rip + place]"])
def test_distances_in_a_kernel_are_part_of_its_code(text: str) -> None:
    code, _ = referring(text, 64, DATA, TEXT)
    assert not found(code, 64)


@pytest.fixture(scope="module", params=["everything", "optimise", "everything,forget"])
def machine(request: pytest.FixtureRequest) -> Iterator[X86Machine]:
    with sketched("x86_64", request.param) as made:
        yield X86Machine(made.engine, made.cpu, made.ram)


@pytest.mark.slow
def test_a_region_serves_all_places_that_a_kernel_can_be_at(machine: X86Machine) -> None:
    assert isinstance(machine.cpu, JitCpu)
    statistics, regions = machine.cpu.tiering.statistics, []
    for place in (DATA, DATA + 0x20_0000, DATA - 0x20_0000, DATA + 0x1234_5678):
        program = b"".join(
            referring(text, 64, place, CODE)[0]
            for text in ("mov rax, offset place", "lea rbx, [rcx + place]")
        )
        # Ten times, since what is executed but once is not translated.
        again = assemble("dec esi") + b"\x75" + (-len(program) - 4).to_bytes(1, signed=True)
        machine.place(program + again + assemble(f"mov [{END}], eax"), rcx=5, rsi=10)
        assert machine.finish() == place & 0xFFFF_FFFF
        assert machine["rbx"] == place + 5
        regions.append(statistics.compiled + statistics.from_store)
    assert regions[0] > 0
    if "forget" not in machine.engine:
        assert set(regions) == {regions[0]}
