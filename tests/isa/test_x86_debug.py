"""Single steps, breakpoints and alignment checks of x86: programs at level 3 stop where they do on
the host's own processor, under ptrace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.agree.x86.makers import AMD, STOPS
from tests.agree.x86.traced import CODE, COMPILER, DATA, Debugged, Stop, traced
from tests.host import programs

from .x86_debugged import Record, records, stops
from .x86_long import CODE_64, USER, begin_long, system_calls
from .x86_machine import END, X86Machine, assemble, machines

pytestmark = programs(COMPILER)
machine = machines("reference", "interp", "everything")

STEP = "pushfq\nor dword ptr [rsp], 0x100\npopfq\n"
ON = "pushfq\nand dword ptr [rsp], 0xfffffeff\npopfq\n"
"""Begin and end to step."""
COPY = "mov ecx, {count}\nmov edi, {to}\nmov esi, {source}\n"


def copy(count: int) -> str:
    return COPY.format(count=count, to=DATA + 0x100, source=DATA + 0x200)


STEPPED: Mapping[str, str] = {
    "straight": f"{STEP}nop\nnop\n{ON}nop\nnop",
    "jumps": f"{STEP}jmp 1f\nnop\n1: call 2f\n{ON}ud2\n2: ret",
    "load of SS": f"mov eax, ss\n{STEP}nop\nmov ss, eax\nnop\nnop\n{ON}nop",
    "loads of SS": f"mov eax, ss\n{STEP}mov ss, eax\nmov ss, eax\nnop\n{ON}nop",
    "POPF behind a load of SS": (
        f"mov eax, ss\npushfq\nor dword ptr [rsp], 0x100\nmov ss, eax\npopfq\nnop\n{ON}nop"
    ),
    "the last POPF behind a load of SS": (
        f"mov eax, ss\n{STEP}pushfq\nand dword ptr [rsp], 0xfffffeff\nmov ss, eax\npopfq\nnop\nnop"
    ),
    "repeated": f"{copy(5)}{STEP}rep movsb\n{ON}nop",
    "repeated in words": f"{copy(5)}{STEP}rep stosq\n{ON}nop",
    "not repeated once": f"{copy(0)}{STEP}rep movsb\nnop\n{ON}nop",
    "repeated up to a difference": f"{copy(5)}mov byte ptr [rsi+2], 1\n{STEP}repe cmpsb\n{ON}nop",
    "INT3": f"{STEP}int3\nnop\n{ON}nop",
    "INT1": f"{STEP}.byte 0xf1\nnop\n{ON}nop",
    "CPUID": f"{STEP}xor eax, eax\ncpuid\n{ON}nop",
    "PUSHF": f"{STEP}pushfq\npop rax\n{ON}nop",
    "fault": f"{STEP}nop\nud2",
    "in two pages": f"{STEP}jmp 1f\n.fill 0xfee, 1, 0x90\n1: mov eax, 0x12345678\n{ON}nop",
}


def compare(machine: X86Machine, program: Debugged, folder: Path) -> list[Stop]:
    """Compare the stops with the host's; there are some besides the last one."""
    found, wanted = stops(machine, program), traced(program, folder)
    assert found == wanted
    return found


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traced")


def code(text: str) -> bytes:
    return assemble(f"{text}\nud2\n", 64, CODE)


def need_intels(name: str) -> None:
    """Skip what the host's processor does otherwise than Intel's."""
    if AMD and name in STOPS:
        pytest.skip(f"on AMD's processors {STOPS[name]}")


@pytest.mark.parametrize("name", STEPPED)
def test_steps(machine: X86Machine, name: str, folder: Path) -> None:
    need_intels(name)
    assert len(compare(machine, Debugged(code(STEPPED[name])), folder)) > 1


EXECUTE, WRITE, ACCESS = 0, 1, 3
ONE, TWO, EIGHT, FOUR = range(4)


def control(*breakpoints: tuple[int, int]) -> int:
    """DR7 with breakpoints for what and of which length, enabled one as local and one as global."""
    return sum(
        (1 << 2 * n + n % 2) | (kind | length << 2) << 16 + 4 * n
        for n, (kind, length) in enumerate(breakpoints)
    )


ACCESSES = """
    mov edi, {data}
    mov [rdi], eax
    mov eax, [rdi]
    mov [rdi + 4], eax
    mov [rdi - 1], ax
    mov al, [rdi + 3]
    mov ax, [rdi + 4]
    add [rdi], eax
    lock inc byte ptr [rdi + 1]
    xchg [rdi - 4], rax
    cmpxchg [rdi], rcx
    push qword ptr [rdi]
    movups xmm0, [rdi - 12]
    movups [rdi - 13], xmm0
    movups [rdi - 12], xmm0
    nop
"""
BROKEN: Mapping[str, tuple[str, tuple[int, ...], int]] = {
    "instruction": ("nop\nnop\nnop\nnop", (CODE + 2,), control((EXECUTE, ONE))),
    "loop": (
        "mov ecx, 3\n1: dec ecx\njnz 1b\nnop", (CODE + 5, CODE + 7),
        control((EXECUTE, ONE), (EXECUTE, ONE)),
    ),
    "repeated": (f"{copy(3)}rep movsb\nnop", (CODE + 15,), control((EXECUTE, ONE))),
    "data of a repeated one": (
        f"{copy(40)}rep movsb\nnop", (DATA + 0x105,), control((WRITE, ONE)),
    ),
    "data of a repeated one in words": (
        f"{copy(40)}rep stosq\nnop", (DATA + 0x130,), control((WRITE, ONE)),
    ),
    "jumped to itself": ("mov ecx, 3\n1: loop 1b\nnop", (CODE + 5,), control((EXECUTE, ONE))),
    "behind a load of SS": (
        f"mov eax, ss\nmov [{DATA}], eax\nmov ss, [{DATA}]\nnop\nnop", (DATA,),
        control((ACCESS, FOUR)),
    ),
    "data and a step": (f"{STEP}mov [{DATA}], eax\nnop", (DATA,), control((WRITE, FOUR))),
    "instruction and a step": (f"{STEP}nop\nnop\nnop", (CODE + 11,), control((EXECUTE, ONE))),
    "two of data": (
        f"mov [{DATA}], rax\nnop", (DATA, DATA + 4), control((WRITE, FOUR), (WRITE, FOUR)),
    ),
    "stores": (ACCESSES.format(data=DATA + 0x40), (DATA + 0x40,), control((WRITE, FOUR))),
    "accesses": (ACCESSES.format(data=DATA + 0x40), (DATA + 0x40,), control((ACCESS, FOUR))),
    "accesses of a byte": (
        ACCESSES.format(data=DATA + 0x40), (DATA + 0x43,), control((ACCESS, ONE)),
    ),
    "accesses of eight bytes": (
        ACCESSES.format(data=DATA + 0x40), (DATA + 0x40,), control((ACCESS, EIGHT)),
    ),
    "accesses of two pages": (
        ACCESSES.format(data=DATA + 0x1000), (DATA + 0x1000,), control((ACCESS, TWO)),
    ),
    "in two pages": (
        "jmp 1f\n.fill 0xff9, 1, 0x90\n1: mov eax, 0x12345678\nnop\nnop",
        (CODE + 0xFFE, CODE + 0x1003), control((EXECUTE, ONE), (EXECUTE, ONE)),
    ),
    "none enabled": (ACCESSES.format(data=DATA + 0x40), (DATA + 0x40,), 3 << 16),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_breakpoints(machine: X86Machine, name: str, folder: Path) -> None:
    text, addresses, dr7 = BROKEN[name]
    found = compare(machine, Debugged(code(text), addresses, dr7), folder)
    assert (len(found) > 1) == (name != "none enabled")


CHECK = "pushfq\nor dword ptr [rsp], 0x40000\npopfq\n"
ALIGNED = (
    "mov al, [rdi+1]", "mov ax, [rdi+1]", "mov eax, [rdi+2]", "mov rax, [rdi+4]",
    "mov [rdi+4], rax", "mov [rdi+8], rax", "movups xmm0, [rdi+1]", "movups [rdi+8], xmm0",
    "movdqu xmm0, [rdi+4]", "movq xmm0, [rdi+4]", "movss xmm0, [rdi+2]", "addsd xmm0, [rdi+4]",
    "movaps xmm0, [rdi+8]", "fld tbyte ptr [rdi+8]", "fld tbyte ptr [rdi+4]",
    "fld qword ptr [rdi+4]", "fnstenv [rdi+2]", "fnstenv [rdi+4]", "fxsave [rdi+8]",
    "cmpxchg8b [rdi+4]", "cmpxchg16b [rdi+8]", "lock add dword ptr [rdi+2], eax",
    "xchg [rdi+4], rax", "bt [rdi+2], eax",
    "lea rsp, [rdi+68]\npush rax", "lea rsp, [rdi+64]\npush rax", "mov eax, [rdi+0xffe]",
    "mov rax, [rdi+0xffc]", "stmxcsr [rdi+2]", "pextrw [rdi+1], xmm0, 0", "movnti [rdi+2], eax",
    "movbe eax, [rdi+2]", "crc32 rax, qword ptr [rdi+4]", "pmovzxbw xmm0, [rdi+4]",
    "mov ecx, 33\nlea rsi, [rdi+0x101]\ninc rdi\nrep movsb",
    "mov ecx, 33\nlea rsi, [rdi+0x104]\nrep movsq", "mov ecx, 33\nrep stosq",
    "mov ecx, 33\nadd rdi, 2\nrep stosd", "lea rsi, [rdi+1]\nlodsw", "xlatb",
    "mov eax, [rdi+2]\nmov eax, [rdi]",
)  # fmt: skip


@pytest.mark.parametrize("text", ALIGNED)
def test_alignment_is_checked_as_the_host_does(
    machine: X86Machine, text: str, folder: Path
) -> None:
    need_intels(text.split()[0])
    body = f"lea rbx, [rsp-8]\nmov edi, {DATA}\n{CHECK}{text}"
    compare(machine, Debugged(code(body)), folder)


# -- at level 0, as the manual says

SET = "pushfq\nor dword ptr [rsp], {bits:#x}\npopfq\n"
TF, IF = 0x100, 0x200
GD, DE, LIMITED = 0x2000, 8, 0xE00F


def set_register(name: str, value: int) -> str:
    return f"mov rax, {value:#x}\nmov {name}, rax\n"


def told(found: list[Record]) -> list[tuple[int, int]]:
    """Vectors, and what DR6 said."""
    return [(each.vector, each.dr6 & LIMITED) for each in found]


def test_accesses_to_debug_registers_are_detected(machine: X86Machine) -> None:
    """By a fault, whose handler may access them (18.2.4), and which is not met again."""
    text = f"{set_register('dr7', GD)}mov rbx, dr0\nmov rcx, dr7\nud2"
    first, last = records(machine, text)
    assert told([first, last]) == [(1, 0x2000), (6, 0)]
    assert machine.get(first.rip, 3) == bytes.fromhex("0f 21 c3")
    assert first.rflags >> 16 & 1
    assert machine["rcx"] == 0x400


def test_reserved_bits_of_debug_registers(machine: X86Machine) -> None:
    text = f"{set_register('dr7', 0xFFFF_D3FF)}mov rcx, dr7\n"
    text += f"{set_register('dr6', 0)}mov rbx, dr6\nmov rdx, dr4\nmov rsi, dr5\n"
    text += f"{set_register('cr4', 0x20 | DE)}mov rdi, dr4"
    assert told(records(machine, text)) == [(6, 0)]
    assert machine["rcx"] == machine["rsi"] == 0xFFFF_07FF
    assert machine["rdx"] == 0xFFFF_0FF0


@pytest.mark.parametrize(("number", "length", "debugging", "met"), [
    (0x80, ONE, DE, True), (0x80, ONE, 0, False), (0x82, TWO, DE, True), (0x81, ONE, DE, True),
    (0x84, FOUR, DE, False), (0x7F, ONE, DE, False),
])  # fmt: skip
def test_breakpoints_of_ports(
    machine: X86Machine, number: int, length: int, debugging: int, met: bool
) -> None:
    """An access of four bytes to 80h; they are there with CR4.DE."""
    text = f"{set_register('cr4', 0x20 | debugging)}{set_register('dr1', number)}"
    text += f"{set_register('dr7', 1 << 3 | (2 | length << 2) << 20)}out 0x80, eax\nud2"
    found = records(machine, text)
    assert told(found) == [(1, 2)] * met + [(6, 0)]
    assert machine.get(found[0].rip, 2) == b"\x0f\x0b"


def test_steps_do_not_follow_into_handlers(machine: X86Machine) -> None:
    """INT n clears TF, and the step is not due (18.3.1.4)."""
    found = records(machine, f"{SET.format(bits=TF)}nop\nint 3\nud2")
    assert [each.vector for each in found] == [1, 3, 6]
    assert not found[1].rflags & 1 << 16


def test_what_a_load_of_ss_has_met_comes_behind_the_interrupt(machine: X86Machine) -> None:
    """At the first instruction of the handler, which runs without TF."""
    text = f"mov eax, {0x10}\nmov [0x30000], ax\n{set_register('dr2', 0x3_0000)}"
    text += f"{set_register('dr7', 1 << 4 | 3 << 24)}mov ss, [0x30000]\n.byte 0xcd, 6\nnop"
    found = records(machine, text)
    assert told(found) == [(1, 4), (6, 0)]
    assert found[0].cs == CODE_64


def test_interrupts_wait_behind_sti_but_steps_do_not(machine: X86Machine) -> None:
    found = records(machine, f"{SET.format(bits=TF)}sti\nnop\nud2")
    assert told(found) == [(1, 0x4000)] * 2 + [(6, 0)]


def test_a_step_ends_a_halt(machine: X86Machine) -> None:
    found = records(machine, f"{SET.format(bits=TF)}hlt\nud2")
    assert told(found) == [(1, 0x4000), (6, 0)]


CALLS = """
    {prepared}
    mov rcx, {user}
    mov r11, {flags}
    sysretq
entry:
    nop
    ud2
"""


@pytest.mark.parametrize(("mask", "last"), [(TF, 6), (0, 1)])
def test_system_calls_look_at_tf_behind_themselves(
    machine: X86Machine, mask: int, last: int
) -> None:
    """SYSRET that sets TF is stepped itself; SYSCALL that masks it is not."""
    text = CALLS.format(prepared=system_calls(mask), user=USER, flags=TF | 2)
    found = records(machine, text, "nop\nsyscall")
    assert [each.vector for each in found[:3]] == [1, 1, last]
    assert [each.rip for each in found[:2]] == [USER, USER + 1]
    assert found[2].cs == CODE_64


def test_system_calls_without_steps(machine: X86Machine) -> None:
    text = CALLS.format(prepared=system_calls(mask=0), user=USER, flags=2)
    assert told(records(machine, text, "nop\nsyscall")) == [(6, 0)]


NOTE_DR6 = f"note: mov rax, dr6\nmov rbx, [rsp]\nmov dword ptr [{END}], eax\n"


def test_an_access_to_debug_registers_that_is_detected_is_no_step(machine: X86Machine) -> None:
    """With TF and DR7.GD set it is a fault, before the instruction is complete (Intel's manual,
    volume 3, 18.3.1.3): DR6 has BD and not BS, as KVM's emulator says too."""
    text = f"mov rax, 0x2400\nmov dr7, rax\n{STEP}mov rax, dr0\nud2"
    begin_long(machine, text, note=NOTE_DR6)
    assert machine.finish() & 0xE00F == 0x2000
