"""Litmus tests of x86's memory model, which is TSO (volume 3, 9.2.2): stores are seen in order, and
so are loads; only a load may pass earlier stores to other places.

x is at RSI and y at RDI; EBX and EBP hold 1 and 2. What a CPU reads it leaves in EAX and EDX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.isa.x86_machine import assemble, mode

from ..litmus import READ_SIZE, STRIDE, Dialect, Litmus
from ..litmus_shapes import SHAPES, Access, Order, Orders, tests

__all__ = ["DIALECT", "TESTS"]

FRAME = """
meet:
    add r15d, {cpus}
    lock add [r9], ebx
again:
    mov rcx, r11
look:
    cmp [r9], r15d
    jge met
    dec rcx
    jnz look
    mov ecx, [r10]
    jmp again
met:
    mov rsp, r13
round:
    mov rcx, r14
    shl rcx, 13
    xor r14, rcx
    mov rcx, r14
    shr rcx, 7
    xor r14, rcx
    mov rcx, r14
    shl rcx, 17
    xor r14, rcx
    mov ecx, r14d
    and ecx, 15
    inc ecx
delay:
    dec ecx
    jnz delay
    xor eax, eax
    xor edx, edx
    {test}
end:
    mov [r8], eax
    mov [r8 + 4], edx
    add rsi, {stride}
    add rdi, {stride}
    add r8, {stride}
    dec rsp
    jnz round
    dec r12
    jnz meet
    mov [r10], eax
"""
"""Some turns of an empty loop are before each round, so that CPUs meet in different places."""


@dataclass(frozen=True)
class _Dialect(Dialect):
    """Instructions of any length, which LLVM's assembler puts together: it knows all labels."""

    def program(self, test: Litmus, cpu: int, base: int) -> bytes:
        lines = "\n".join(test.lines[cpu])
        text = self.frame.format(cpus=len(test.lines), stride=STRIDE, test=lines)
        return self.assemble(text, base)

    def state(self, cpu: int, rounds: int, together: int) -> dict[str, int]:
        return {**mode(64), "cr4": OSFXSR, **Dialect.state(self, cpu, rounds, together)}


DIALECT = _Dialect(
    isa="x86_64",
    assemble=lambda text, _: assemble(text),
    frame=FRAME,
    registers={
        "x": "rsi", "y": "rdi", "read": "r8", "barrier": "r9", "leave": "r10", "patience": "r11",
        "meetings": "r12", "together": "r13", "seed": "r14", "one": "rbx", "two": "rbp",
    },
)  # fmt: skip

OSFXSR = 0x200
"""In CR4: there are vectors (volume 3, 2.5)."""
PLACE = {"x": "[rsi]", "y": "[rdi]"}
VALUE = {1: "ebx", 2: "ebp"}
assert READ_SIZE >= 8


def _plain(access: Access, result: str = "eax") -> str:
    place = PLACE[access.word]
    return f"mov {result}, {place}" if access.kind == "R" else f"mov {place}, {VALUE[access.value]}"


def _second(first: Access) -> str:
    return "edx" if first.kind == "R" else "eax"


def _alone(access: Access, _: Access) -> tuple[str, ...]:
    return (_plain(access),)


def _between(*lines: str) -> Order:
    return lambda a, b: (_plain(a), *lines, _plain(b, _second(a)))


def _exchanges(a: Access, b: Access) -> tuple[str, ...]:
    """An exchange is locked, and so orders all."""
    return (f"mov ecx, {VALUE[a.value]}", f"xchg {PLACE[a.word]}, ecx", _plain(b))


def _adds(a: Access, b: Access) -> tuple[str, ...]:
    """What is read is read by a locked instruction."""
    return (_plain(a), f"lock xadd {PLACE[b.word]}, eax")


def _compares(a: Access, b: Access) -> tuple[str, ...]:
    """It need not write to be locked: EAX is 0, and so is ECX."""
    return (_plain(a), "xor ecx, ecx", f"lock cmpxchg {PLACE[b.word]}, ecx")


def _by_vector(a: Access, b: Access) -> tuple[str, ...]:
    """Vectors keep the order as well."""
    moved = []
    for access, result in ((a, "eax"), (b, _second(a))):
        place = PLACE[access.word]
        if access.kind == "R":
            moved += [f"movd xmm0, {place}", f"movd {result}, xmm0"]
        else:
            moved += [f"movd xmm1, {VALUE[access.value]}", f"movd {place}, xmm1"]
    return tuple(moved)


ORDERS: Orders = {
    "WW": {"plain": _between(), "sfence": _between("sfence"), "vector": _by_vector},
    "RR": {"plain": _between(), "lfence": _between("lfence"), "vector": _by_vector},
    "RW": {"plain": _between(), "vector": _by_vector},
    "WR": {
        "mfence": _between("mfence"), "or": _between("lock or dword ptr [r8], 0"),
        "xchg": _exchanges, "xadd": _adds, "cmpxchg": _compares,
    },
}  # fmt: skip

# 0, after a while, in RCX: nobody can know that EBX is 1, and EBP 2.
_DELAY = ("mov ecx, ebp", "sub ecx, ebx", "dec ecx", *("imul rcx, rcx",) * 8)
_EARLY = Litmus(
    "MP+early",
    (
        ("mov [rsi], ebx", "mov [rdi], ebx"),
        ("mov edx, [rsi]", *_DELAY, "mov eax, [rdi + rcx]", "mov edx, [rsi]"),
    ),
    SHAPES["MP"].forbidden,
    close=True,
)
"""Message passing to a CPU that has read x before, which invites a compiler to take the value that
it has already, and that comes to y a while later."""

_SWAPS = (
    "mov eax, [rsi]", "lea ecx, [rax + 1]", "lock cmpxchg [rsi], ecx", "setne dl",
)  # fmt: skip
Forbidden = Callable[[tuple[int, ...]], bool]


def _of(name: str, forbidden: Forbidden, *lines: tuple[str, ...]) -> Litmus:
    return Litmus(name, lines, forbidden)


TESTS = (
    *(test for shape in SHAPES.values() for test in tests(shape, ORDERS, _alone)),
    _EARLY,
    _of(
        "CoRR", lambda o: o[2:4] == (1, 0),
        ("mov [rsi], ebx",), ("mov eax, [rsi]", "mov edx, [rsi]"),
    ),
    _of(
        "CoRW+WR", lambda o: o[0] == 0 or (o[0] == 2 and o[4] == 1),
        ("mov [rsi], ebx", "mov eax, [rsi]"), ("mov [rsi], ebp",),
    ),
    _of("CMPXCHG x 2", lambda o: o[4] != (o[1] == 0) + (o[3] == 0), *(_SWAPS,) * 2),
    _of("CMPXCHG x 4", lambda o: o[8] != sum(failed == 0 for failed in o[1:8:2]), *(_SWAPS,) * 4),
    _of(
        "XADD x 4", lambda o: sorted(o[:8]) != list(range(8)) or o[8] != 8,
        *(("mov eax, 1", "lock xadd [rsi], eax", "mov edx, 1", "lock xadd [rsi], edx"),) * 4,
    ),
    _of(
        "INC x 2", lambda o: o[4] != 4,
        *(("lock inc dword ptr [rsi]", "lock add dword ptr [rsi], 1"),) * 2,
    ),
)  # fmt: skip
