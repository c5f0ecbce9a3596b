"""A kernel that checks itself as it counts: in registers and memory, under two page tables and in
two modes, with floating-point registers that keep what they have, and a timer that goes on.

It writes a dot for each `TICKS` of the timer, and BAD once anything is not what it was. When it is
sent a letter it ends with the code `DONE`.
"""

from __future__ import annotations

import random
import struct

from tests.accel.kvm.assembler import assemble
from tests.kvm_bed.hello import LOAD_AT, kernel_of

__all__ = ["BAD", "DONE", "counting_kernel"]

BAD, DONE, TICKS = "X", 42, 2
MAIN, AFTER, HANDLER, GDT, IDT, DATA, FX, COMPAT, TABLES = (
    LOAD_AT + at
    for at in (0x1000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000, 0x8000, 0x9000, 0x1_0000)
)
COUNT, PRODUCT, TIMER, TIME, LANES = (DATA + at for at in (0, 8, 16, 24, 0x100))
WINDOW = 1 << 39
"""What each of the page tables maps somewhere else."""
FIRST, SECOND = 0x40_0000, 0x60_0000
CODE_32, DATA_SEGMENT, CODE_64 = 8, 16, 24
FACTOR = 6_364_136_223_846_793_005

ENTRY = f"""
    cli
    lgdt [{GDT + 0x100}]
    mov eax, cr4
    or eax, {{cr4}}
    mov cr4, eax
    mov eax, {TABLES}
    mov cr3, eax
    mov ecx, 0xC0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, 0x80000033
    mov cr0, eax
    .byte 0xEA
    .long {MAIN}
    .word {CODE_64}
"""
START = f"""
    mov eax, {DATA_SEGMENT}
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, 0x190000
    lidt [{GDT + 0x110}]
    mov al, 0xff
    out 0x21, al
    out 0xa1, al
    mov edi, 0xFEE00000
    mov dword ptr [rdi + 0xF0], 0x1FF
    mov dword ptr [rdi + 0x3E0], 0xB
    mov dword ptr [rdi + 0x320], 0x20040
    mov dword ptr [rdi + 0x380], {{period}}
    xor ebx, ebx
    xor ebp, ebp
    xor r8d, r8d
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    movabs r9, {FACTOR}
    movabs r10, {WINDOW}
    {{prepare}}
    sti
again:
    inc rbx
    imul r8, r9
    add r8, rbx
    inc qword ptr [{COUNT}]
    mov rax, [{PRODUCT}]
    imul rax, r9
    add rax, [{COUNT}]
    mov [{PRODUCT}], rax
    cmp rax, r8
    jne bad
    rdtsc
    shl rdx, 32
    or rax, rdx
    cmp rax, [{TIME}]
    jb bad
    mov [{TIME}], rax
    mov eax, {TABLES}
    test bl, 1
    jz first
    mov eax, {TABLES + 0x1000}
    mov cr3, rax
    inc r13
    inc qword ptr [r10]
    cmp [r10], r13
    jne bad
    jmp mode
first:
    mov cr3, rax
    inc r12
    inc qword ptr [r10]
    cmp [r10], r12
    jne bad
mode:
    lea r15, [rip + back]
    push {CODE_32}
    push {COMPAT}
    .byte 0x48, 0xcb
back:
    cmp ebp, ebx
    jne bad
    {{check}}
    mov rax, [{TIMER}]
    sub rax, r14
    cmp rax, {TICKS}
    jb asked
    add r14, {TICKS}
    mov dx, 0x3f8
    mov al, 0x2e
    out dx, al
asked:
    mov dx, 0x3fd
    in al, dx
    test al, 1
    jz again
    mov edi, 0xD0100000
    mov eax, {DONE << 16 | 0x3333}
    mov [rdi], eax
    hlt
bad:
    mov dx, 0x3f8
    mov al, {ord(BAD)}
    out dx, al
    cli
    hlt
"""
COMPATIBLE = f"""
    inc ebp
    .byte 0xEA
    .long {AFTER}
    .word {CODE_64}
"""
ON_TIMER = f"""
    push rax
    inc qword ptr [{TIMER}]
    mov eax, 0xFEE000B0
    mov dword ptr [rax], 0
    pop rax
    iretq
"""
PREPARE = f"fxrstor [{FX}]"
CHECK = f"""
    fxsave [{FX + 0x400}]
    mov esi, {FX + 32}
    mov edi, {FX + 0x400 + 32}
    mov ecx, 48
    repe cmpsq
    jne bad
    mov eax, [{FX}]
    cmp eax, [{FX + 0x400}]
    jne bad
    mov eax, [{FX + 24}]
    cmp eax, [{FX + 0x400 + 24}]
    jne bad
"""
"""What was loaded first is there still: control words, the x87's registers, and those of SSE."""
PREPARE_WIDE = f"""
    xor ecx, ecx
    xgetbv
    or eax, 7
    xsetbv
    fninit
    fldz
    pxor xmm15, xmm15
    vmovdqu ymm1, [{LANES}]
    vmovdqu ymm2, [{LANES + 32}]
    vpaddd ymm3, ymm1, ymm2
    vmovdqu [{LANES + 64}], ymm3
"""
CHECK_WIDE = f"""
    fld1
    faddp
    fld st(0)
    fistp qword ptr [{LANES + 0x200}]
    cmp [{LANES + 0x200}], rbx
    jne bad
    mov eax, 1
    cvtsi2sd xmm14, eax
    addsd xmm15, xmm14
    cvttsd2si rax, xmm15
    cmp rax, rbx
    jne bad
    vpaddd ymm4, ymm1, ymm2
    vpxor ymm5, ymm4, [{LANES + 64}]
    vpxor ymm6, ymm3, ymm4
    vpor ymm5, ymm5, ymm6
    vptest ymm5, ymm5
    jne bad
"""
"""The x87 and SSE count along, and AVX's registers keep what they had."""


def counting_kernel(wide: bool, period: int = 5_000_000) -> bytes:
    """The kernel as an ELF file. ``wide``, it computes with x87, SSE and AVX, else it only looks at
    what their registers hold. ``period`` are the nanoseconds between two interrupts of its timer:
    more than its handler takes."""
    prepare, check = (PREPARE_WIDE, CHECK_WIDE) if wide else (PREPARE, CHECK)
    image = bytearray(0x1_B000)

    def put(at: int, data: bytes) -> None:
        image[at - LOAD_AT : at - LOAD_AT + len(data)] = data

    put(LOAD_AT, assemble(ENTRY.format(cr4=0x4_0620 if wide else 0x620), 32))
    put(MAIN, assemble(START.format(prepare=prepare, check=check, period=period), 64))
    put(AFTER, assemble("jmp r15", 64))
    put(HANDLER, assemble(ON_TIMER, 64))
    put(COMPAT, assemble(COMPATIBLE, 32))
    segments = (0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00AF_9B00_0000_FFFF)
    put(GDT, struct.pack("<4Q", *segments))
    put(GDT + 0x100, struct.pack("<HQ", 31, GDT))
    put(GDT + 0x110, struct.pack("<HQ", 0x41 * 16 - 1, IDT))
    gate = (HANDLER & 0xFFFF, CODE_64, 0, 0x8E, HANDLER >> 16 & 0xFFFF, 0, 0)
    put(IDT + 0x40 * 16, struct.pack("<HHBBHII", *gate))
    put(FX, _floating())
    put(LANES, random.Random(2).randbytes(64))
    for at, entries in _tables().items():
        put(at, b"".join(each.to_bytes(8, "little") for each in entries))
    return kernel_of(bytes(image))


def _floating() -> bytes:
    chance = random.Random(1)
    area = bytearray(512)
    struct.pack_into("<HHBB", area, 0, 0x37F, 0x3800, 0xFF, 0)
    struct.pack_into("<I", area, 24, 0x1F80)
    for number in range(8):
        area[32 + 16 * number : 42 + 16 * number] = chance.randbytes(10)
    area[160:416] = chance.randbytes(256)
    return bytes(area)


def _tables() -> dict[int, list[int]]:
    """4 GiB one to one in pages of 2 MiB, and the window."""
    page = {n: TABLES + 0x1000 * n for n in range(11)}
    user, large = 3, 0x83
    tables = {
        page[0]: [page[2] | user, page[7] | user],
        page[1]: [page[2] | user, page[9] | user],
        page[2]: [page[3 + n] | user for n in range(4)],
        page[7]: [page[8] | user],
        page[8]: [FIRST | large],
        page[9]: [page[10] | user],
        page[10]: [SECOND | large],
    }
    for n in range(4):
        tables[page[3 + n]] = [n << 30 | at << 21 | large for at in range(512)]
    return tables
