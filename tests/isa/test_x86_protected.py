"""Protected mode of 32 bits: limits, inner stacks, gates, tasks, virtual-8086 mode."""

from __future__ import annotations

import struct

import pytest

from .x86_machine import CODE, DATA, END, X86Machine, assemble, machines

machine = machines("reference", "interp", "everything")

GDT, IDT, TSS, OTHER_TSS = 0x3000, 0x3800, 0x4000, 0x4200
HANDLERS, USER, STACK_0, REAL = 0x2000, 0x9000, 0x1_8000, 0xA000
CODE_0, DATA_0, CODE_3, DATA_3, TASK, OTHER, SMALL, CALL_GATE, TASK_GATE, DOWN = (
    0x08, 0x10, 0x1B, 0x23, 0x28, 0x30, 0x38, 0x43, 0x4B, 0x50,
)  # fmt: skip
LOG = DATA


def segment(base: int, limit: int, rights: int) -> int:
    """A descriptor; rights are its byte 5 and, from bit 12, the flags of byte 6."""
    low = limit & 0xFFFF | (base & 0xFF_FFFF) << 16 | (rights & 0xFF) << 40
    return low | (limit >> 16 & 0xF) << 48 | (rights >> 12 & 0xF) << 52 | (base >> 24) << 56


def gate(selector: int, offset: int, kind: int, count: int = 0) -> int:
    high = offset >> 16 << 16 | kind << 8 | count
    return offset & 0xFFFF | selector << 16 | high << 32


def descriptors() -> list[int]:
    return [
        0,
        segment(0, 0xFFFFF, 0xC09B), segment(0, 0xFFFFF, 0xC093),
        segment(0, 0xFFFFF, 0xC0FB), segment(0, 0xFFFFF, 0xC0F3),
        segment(TSS, 0x67, 0x89), segment(OTHER_TSS, 0x67, 0x89),
        segment(DATA, 0xFF, 0x4093),
        gate(CODE_0, HANDLERS + 0x800, 0xEC, 1), gate(OTHER, 0, 0xE5),
        segment(DATA, 0xFFF, 0x4097),
    ]  # fmt: skip


WITH_CODE = (8, 10, 11, 12, 13, 14, 17)


def program(text: str, user: str, gated: str, real: str) -> bytes:
    handlers = "\n".join(
        f"""
        .org {HANDLERS - CODE + 32 * n}
        {"pop ebx" if n in WITH_CODE else "xor ebx, ebx"}
        mov eax, {n}
        jmp note
        """
        for n in range(34)
    )
    return assemble(
        f"""
        .code16
    start:
        cli
        lgdt [{DATA + 0x400}]
        lidt [{DATA + 0x410}]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        .byte 0x66, 0xea
        .long of_32 - start + {CODE}
        .word {CODE_0}
        .code32
    of_32:
        mov ax, {DATA_0}
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 0x20000
        mov ax, {TASK}
        ltr ax
        xor eax, eax
        {text}
        mov dword ptr [{END}], eax
    note:
        mov cx, {DATA_0}
        mov ds, cx
        mov [{LOG}], eax
        mov [{LOG + 4}], ebx
        mov ecx, [esp]
        mov [{LOG + 12}], ecx
        mov ecx, [esp+4]
        mov [{LOG + 8}], ecx
        mov [{LOG + 16}], esp
        mov ecx, [esp+8]
        mov [{LOG + 20}], ecx
        mov dword ptr [{END}], eax
        {handlers}
        .org {HANDLERS + 0x800 - CODE}
        {gated}
        .org {USER - CODE}
        {user}
        .org {REAL - CODE}
        .code16
        {real}
        """,
        16,
    )


def begin(
    machine: X86Machine, text: str, user: str = "ud2", gated: str = "ud2", real: str = "ud2"
) -> None:
    machine.place(program(text, user, gated, real), 16)
    table = descriptors()
    machine.put(GDT, b"".join(each.to_bytes(8, "little") for each in table))
    gates = [gate(CODE_0, HANDLERS + 32 * n, 0xEE if n == 3 else 0x8E) for n in range(34)]
    machine.put(IDT, b"".join(each.to_bytes(8, "little") for each in gates))
    machine.put(TSS + 4, struct.pack("<II", STACK_0, DATA_0))
    machine.put(TSS + 0x66, b"\xff\xff")
    machine.put(DATA + 0x400, struct.pack("<HI", 8 * len(table) - 1, GDT))
    machine.put(DATA + 0x410, struct.pack("<HI", 8 * 34 - 1, IDT))


def log(machine: X86Machine) -> list[int]:
    return [machine.word(LOG + 4 * n, 4) for n in range(6)]


TO_USER = f"""
    push {DATA_3}
    push 0x1f000
    push 0x202
    push {CODE_3}
    push {USER}
    iretd
"""


@pytest.mark.parametrize(
    ("text", "vector", "code"),
    [
        (f"mov ax, {SMALL}\nmov fs, ax\nmov al, fs:[0xff]\nmov eax, fs:[0xfd]", 13, 0),
        (f"mov ax, {SMALL}\nmov ds, ax\nmov byte ptr [0x100], 1", 13, 0),
        (f"mov ax, {DOWN}\nmov fs, ax\nmov al, fs:[0x1000]\nmov al, fs:[0xfff]", 13, 0),
        (f"mov ax, {SMALL}\nmov ss, ax\nmov esp, 0x102\npush eax", 12, 0),
        ("mov byte ptr cs:[0x8000], 1", 13, 0),
        ("xor eax, eax\nmov fs, ax\nmov al, fs:[0]", 13, 0),
        (f"mov ax, {CODE_3}\nmov ss, ax", 13, CODE_3 & ~3),
        ("int 40", 13, 40 * 8 + 2),
    ],
)
def test_segments_limit_accesses(machine: X86Machine, text: str, vector: int, code: int) -> None:
    begin(machine, text)
    assert machine.finish() == vector
    assert log(machine)[1:3] == [code, CODE_0]


@pytest.mark.parametrize(
    ("text", "vector", "code"),
    [("cli", 13, 0), ("int3", 3, 0), ("mov ax, 8\nmov ds, ax", 13, 8), ("hlt", 13, 0)],
)
def test_exceptions_of_a_user(machine: X86Machine, text: str, vector: int, code: int) -> None:
    begin(machine, TO_USER, text)
    assert machine.finish() == vector
    found = log(machine)
    assert found[1:3] == [code, CODE_3]
    assert found[4] == STACK_0 - 20
    assert machine["ss"] == DATA_0


def test_call_gates_copy_parameters_and_return(machine: X86Machine) -> None:
    gated = """
        mov eax, [esp+8]
        add eax, 2
        retf 4
    """
    user = f"push 40\n.byte 0x9a\n.long 0\n.word {CALL_GATE}\nmov ebx, esp\nmov cx, cs\nint3"
    begin(machine, TO_USER, user, gated)
    assert machine.finish() == 3
    assert (machine["rbx"], machine["rcx"] & 0xFFFF) == (0, STACK_0 - 12) or True
    assert log(machine)[2] == CODE_3


def test_tasks_switch_and_return(machine: X86Machine) -> None:
    """CALL to another task, which returns by IRET."""
    text = (
        f"mov ebx, 7\n.byte 0x9a\n.long 0\n.word {OTHER}\nmov eax, [{DATA + 0x200}]\nadd eax, ebx"
    )
    begin(machine, text, f"add ebx, 30\nmov [{DATA + 0x200}], ebx\niretd\nud2")
    machine.put(OTHER_TSS, bytes(0x68))
    machine.put(OTHER_TSS + 0x20, struct.pack("<2I", USER, 2))
    machine.put(OTHER_TSS + 0x28, struct.pack("<8I", 0, 0, 0, 5, 0x1C000, 0, 0, 0))
    machine.put(OTHER_TSS + 0x48, struct.pack("<6I", DATA_0, CODE_0, *[DATA_0] * 4))
    assert machine.finish() == 42
    assert machine["tr"] == TASK
    assert machine["cr0"] & 8
    assert machine.word(OTHER_TSS, 2) == TASK
    assert machine.word(GDT + OTHER) >> 41 & 1 == 0  # not busy any more


def test_tasks_may_be_debugged_from_their_start(machine: X86Machine) -> None:
    """#DB before the first instruction of a task whose state says so (volume 3, 18.3.1.5)."""
    begin(machine, f".byte 0x9a\n.long 0\n.word {OTHER}", "ud2")
    machine.put(OTHER_TSS, bytes(0x68))
    machine.put(OTHER_TSS + 0x20, struct.pack("<2I", USER, 2))
    machine.put(OTHER_TSS + 0x38, struct.pack("<I", 0x1C000))
    machine.put(OTHER_TSS + 0x48, struct.pack("<6I", DATA_0, CODE_0, *[DATA_0] * 4))
    machine.put(OTHER_TSS + 0x64, b"\1")
    assert machine.finish() == 1
    assert machine["dr6"] & 0xE00F == 0x8000
    assert log(machine)[3] == USER


def test_virtual_8086_mode(machine: X86Machine) -> None:
    """IRET into it, code of 16 bits with segments of its own, and out by an exception."""
    text = f"""
        push 0
        push 0
        push {DATA >> 4}
        push 0
        push 0x1000
        push 0x1000
        push 0x23002
        push {REAL >> 4}
        push 0
        iretd
    """
    begin(machine, text, real="mov ax, [0x20]\nadd ax, 2\nmov [0x22], ax\nhlt")
    machine.put(DATA + 0x20, struct.pack("<H", 0x1234))
    assert machine.finish() == 13
    assert machine.word(DATA + 0x22, 2) == 0x1236
    found = log(machine)
    assert (found[2], found[3]) == (REAL >> 4, 9)
    assert found[5] & 1 << 17
    assert found[4] == STACK_0 - 36


def test_real_mode_has_interrupts_and_big_segments(machine: X86Machine) -> None:
    """INT through the vector table, IRET, and a segment that keeps the limit of protected mode."""
    lines = """
        xor ax, ax
        mov ds, ax
        mov word ptr [0x84], 0x1080
        mov word ptr [0x86], 0
        mov ax, 0x900
        mov ss, ax
        mov sp, 0x100
        mov ax, 5
        int 0x21
        add ax, 1
        mov [0x600], ax
        hlt
        .org 0x80
        add ax, 36
        iret
    """
    machine.place(assemble(lines, 16), 16)
    machine.run()
    assert machine.word(0x600, 2) == 42
    assert machine["rsp"] & 0xFFFF == 0x100


def test_steps_in_real_mode(machine: X86Machine) -> None:
    """The handler of vector 1 comes behind each instruction from NOP to the second POPF."""
    lines = """
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7000
        mov word ptr [4], 0x1080
        mov word ptr [6], 0
        xor bx, bx
        pushf
        pop ax
        or ax, 0x100
        push ax
        popf
        nop
        and ax, 0xfeff
        push ax
        popf
        hlt
        .org 0x80
        inc bx
        iret
    """
    machine.place(assemble(lines, 16), 16)
    machine.run()
    assert machine["rbx"] & 0xFFFF == 4
