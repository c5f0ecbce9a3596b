"""Stores to code that is about to run take effect at once, also in instructions that straddle
pages (SDM volume 3, 9.1.3): programs whose memory holds code, on the host's processor and ours.

pytest -m slow tests/agree/x86/test_patching.py
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.accel.kvm.assembler import assemble

from ..state import CODE, DATA, Case, State, differences
from .executors import CpuExecutor, RunExecutor, StressedExecutor
from .native import GENERAL, INIT_FCW, Native

pytestmark = pytest.mark.slow

PAGE = 4096
MEMORY = 3 * PAGE
"""Bytes for code, and for a stack in the last page."""
LAPS = 80
LOOP = f"""
    xor r12d, r12d
    mov ecx, {LAPS}
again:
    {{lap}}
    lea r12, [r12 * 2 + r12]
    add r12, rax
    dec ecx
    jnz again
    nop
    nop
    nop
    nop
"""
"""A sum in which the order of what a lap returns in rax counts. What stands behind it is an
executor's own, which a vector is not to hold."""

STORES = {
    "a byte": "mov [rdi], cl",
    "two bytes": "mov [rdi + 1], cx",
    "four bytes": "mov [rdi], ecx",
    "a byte's exchange": "mov dl, cl\nxchg [rdi], dl",
    "a byte's locked sum": "lock add [rdi], cl",
    "a byte's comparison and exchange": "mov al, [rdi]\nlock cmpxchg [rdi], cl",
    "a string": "mov r8, rcx\nmov eax, ecx\nmov ecx, 4\nrep stosb\nmov rcx, r8",
    "a vector": "movdqu xmm0, [rdi]\nmovd xmm1, ecx\npaddb xmm0, xmm1\nmovdqu [rdi], xmm0",
    "the x87": "mov [rsp - 8], ecx\nfild dword ptr [rsp - 8]\nfistp dword ptr [rdi]",
    "a push": "mov r8, rsp\nmov rdx, [rdi]\nmov dl, cl\nlea rsp, [rdi + 8]\npush rdx\nmov rsp, r8",
}
"""Into the immediate at rdi, by rcx. The vector's other bytes stay what they are. Locked accesses
are of bytes: hosts make those that straddle a line take milliseconds, or refuse them."""


def program(text: str, code: bytes = b"", at: int = 0) -> Case:
    """A program, with other code somewhere in its memory."""
    registers = {name: 0x0101_0101 * n for n, name in enumerate(GENERAL)}
    registers |= {"rsp": DATA + MEMORY - 256, "rip": CODE, "rflags": 2}
    registers |= {f"ymm{n}": 0 for n in range(2)}
    registers |= {f"st{n}": 0 for n in range(8)} | {"fcw": INIT_FCW, "fsw": 0, "ftw": 0}
    memory = bytes(at) + code
    main = assemble(text)
    before = State(registers, memory.ljust(MEMORY, b"\0"))
    return Case(int.from_bytes(main, "little"), text, before, len(main))


RETURNS = "mov eax, 0x11223344\nret" + "\nnop" * 8
OPCODE = b"\xb8"
"""Of the instruction that is changed; its immediate stands behind it."""


def programs() -> Iterator[Case]:
    for store in STORES.values():
        changing = f"lea rdi, [rip + changed + 1]\n{store}\nchanged: "
        # The next instruction, in the same page as the loop.
        yield program(LOOP.format(lap=f"{changing} mov eax, 0x11223344"))
        code = assemble(RETURNS)
        for at in (0x100, *range(PAGE - 6, PAGE + 1)):
            # In another page, or two.
            call = f"mov ebx, {DATA + at:#x}\nlea rdi, [rbx + 1]\n{store}\ncall rbx"
            yield program(LOOP.format(lap=call), code, at)
        own = assemble(changing + RETURNS)
        before = own.index(OPCODE + (0x11223344).to_bytes(4, "little"))
        for at in range(PAGE - 6, PAGE + 1):
            # By what stands before it, in the same page or the one before.
            call = f"mov ebx, {DATA + at - before:#x}\ncall rbx"
            yield program(LOOP.format(lap=call), own, at - before)


EXECUTORS = (
    CpuExecutor(), RunExecutor(), StressedExecutor("everything"), StressedExecutor("optimise"),
)  # fmt: skip


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: executor.name)
def test_stores_to_code_take_effect_at_once(executor: CpuExecutor) -> None:
    tried = list(programs())
    with Native() as native:
        # One by one: what a program has made of itself is not for the next one.
        want = [state for case in tried for state in native.execute([case])]
    wrong = differences(tried, executor.execute(tried), want)
    assert not wrong, "\n".join([f"{len(wrong)} of {len(tried)} differ", *wrong[:10]])
