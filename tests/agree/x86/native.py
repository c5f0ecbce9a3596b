"""The host's own processor as an oracle: x86 instructions, executed as they are.

A case becomes a block: general registers, RFLAGS, an XSAVE image (x87, XMM, YMM, MXCSR) and memory.
A stub of machine code loads a block, jumps to the instruction, and stores the block again, for as
many blocks as there are; so an execution takes less than a microsecond. It runs in a child process
(`native_child`), in which a handler of signals turns faults into verdicts.

Code of 32 bits is executed in the compatibility segment that Linux gives to every process, code of
16 bits in segments that begin at `CODE` and `DATA`: registers hold offsets, also RIP.
"""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType

from tests.accel.kvm.assembler import assemble

from ..state import CODE, DATA, Case, State
from .native_child import PAGE, REQUEST, SET_UP

__all__ = ["FLAGS", "GENERAL", "INIT_FCW", "INIT_MXCSR", "MEMORY", "Native"]

GENERAL = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)),
)  # fmt: skip
FLAGS = 0xCD7
"""What is looked at of RFLAGS: the flags of arithmetic, DF, and bit 1, which is always set."""
INIT_MXCSR, INIT_FCW = 0x1F80, 0x37F
MEMORY = 256
"""Bytes at `DATA` that belong to a case, if its state has no more."""

STUB = 0x8020_0000
CELLS = STUB + PAGE
AREA = 16 * PAGE
"""Bytes that are mapped around `DATA`, half of them below it."""
PATIENCE = 60
"""Seconds for a request: an instruction that jumps to itself never ends."""

# A block.
RFLAGS, RIP, TRAP, ERROR, CR2, XSAVE, WINDOW = 128, 136, 144, 152, 160, 192, 1024
HEAD = struct.Struct("<16Q2Qq2Q24x")
assert HEAD.size == XSAVE
LEGACY = struct.Struct("<HHBxH2QII")
ST, XMM, XSTATE_BV, YMM = XSAVE + 32, XSAVE + 160, XSAVE + 512, XSAVE + 576
COMPONENTS = 0b111
"""x87, SSE and AVX, in XCR0's numbers."""
X87 = (("fcw", INIT_FCW), ("fsw", 0), ("ftw", 0))
"""Registers of x87 and what they are where a state does not say it; FTW is a bit for each register
that is in use."""
TRAPS = (1, 3, 4)
"""Exceptions that are raised behind the instruction: #DB, #BP, #OF."""

# A signal's context: `ucontext_t` of Linux, whose registers are 64 bits each from 40 on.
CONTEXT = {"rip": 40 + 16 * 8, "rflags": 40 + 17 * 8, "cs": 40 + 18 * 8, "error": 40 + 19 * 8,
           "vector": 40 + 20 * 8, "cr2": 40 + 22 * 8}  # fmt: skip
CODE_64, CODE_32, DATA_32 = 0x33, 0x23, 0x2B
CODE_16, DATA_16 = 0x07, 0x0F
"""Linux's segments; and the two that the child describes, in the local table."""
SEGMENTS = {64: (CODE, CODE_64, DATA_32), 32: (CODE, CODE_32, DATA_32), 16: (0, CODE_16, DATA_16)}
"""Where the instruction stands, by offset and segment, and segments of its data, by its width."""
SAVED = ("rbx", "rbp", "r12", "r13", "r14", "r15")


def _moves(registers: Sequence[str], load: bool) -> list[str]:
    """Load registers from the block at rsp, or store them."""
    places = {name: f"[rsp + {8 * GENERAL.index(name)}]" for name in registers}
    if load:
        return [f"mov {name}, {place}" for name, place in places.items()]
    return [f"mov {place}, {name}" for name, place in places.items()]


def _copy(to_memory: bool) -> list[str]:
    """Copy memory from the block at rbx, or back."""
    source, sink = ("rsi", "rdi") if to_memory else ("rdi", "rsi")
    return [
        f"lea {source}, [rbx + {WINDOW}]",
        f"mov {sink}, {DATA}",
        "mov rcx, [rip + words]",
        "rep movsq",
    ]


def _stub() -> list[str]:
    """What a request runs. It is called as a function of no arguments."""
    others = [name for name in GENERAL if name != "rsp"]
    return [
        "begin:",
        *(f"push {name}" for name in SAVED),
        "mov [rip + outside], rsp",
        "mov eax, [rip + data]", "mov ds, eax", "mov es, eax",
        "again:",
        "mov rbx, [rip + current]",
        *_copy(to_memory=True),
        f"mov eax, {COMPONENTS}", "xor edx, edx", f"xrstor [rbx + {XSAVE}]",
        f"lea rsp, [rbx + {RFLAGS}]", "popfq", f"lea rsp, [rsp - {RFLAGS + 8}]",
        "mov ss, [rip + data]", *_moves(others, load=True), *_moves(["rsp"], load=True),
        "jmp fword ptr [rip + entry]",
        "after:",
        "mov [rip + stack], rsp", "mov rsp, [rip + current]",
        f"lea rsp, [rsp + {RFLAGS + 8}]", "pushfq", f"lea rsp, [rsp - {RFLAGS}]", "cld",
        *_moves(others, load=False),
        "mov rax, [rip + stack]", f"mov [rsp + {8 * GENERAL.index('rsp')}], rax",
        "mov rbx, rsp", "mov rsp, [rip + outside]",
        f"mov eax, {COMPONENTS}", "xor edx, edx", f"xsave [rbx + {XSAVE}]",
        *_copy(to_memory=False),
        "add rbx, [rip + size]", "mov [rip + current], rbx",
        "cmp rbx, [rip + end]", "jne again",
        f"mov eax, {DATA_32}", "mov ss, eax", "mov ds, eax", "mov es, eax",
        "fninit", "ldmxcsr [rip + plain]", "vzeroupper",
        *(f"pop {name}" for name in reversed(SAVED)),
        "ret",
    ]  # fmt: skip


def _handler() -> list[str]:
    """What a fault leads to: a handler of signals, as the kernel calls it."""
    noted = (("vector", TRAP), ("error", ERROR), ("cr2", CR2), ("rip", RIP))
    return [
        "handler:",
        "mov r8, [rip + current]",
        *(
            line
            for name, to in noted
            for line in (f"mov rax, [rdx + {CONTEXT[name]}]", f"mov [r8 + {to}], rax")
        ),
        "lea rax, [rip + after]", f"mov [rdx + {CONTEXT['rip']}], rax",
        f"mov word ptr [rdx + {CONTEXT['cs']}], {CODE_64}",
        "ret",
    ]  # fmt: skip


CELL_LINES = (
    f".balign {PAGE}",
    *("current: .quad 0", "end: .quad 0", "size: .quad 0", "words: .quad 0"),
    *("data: .long 0", "entry: .long 0", "segment: .long 0", "outside: .quad 0", "stack: .quad 0"),
    f"plain: .long {INIT_MXCSR}",
    *(".long handler - begin", ".long after - begin"),
)
"""Cells stand in a page of their own, so that a store there is none to a page of code."""


@cache
def _program() -> tuple[bytes, int, int]:
    """The stub, the handler and their cells; the offsets of the handler and of where an instruction
    goes on."""
    image = assemble("\n".join((*_stub(), *_handler(), *CELL_LINES)))
    handler, after = struct.unpack("<2I", image[-8:])
    return image, handler, after


class Native:
    """A child process that executes instructions, in code of 64, 32 or 16 bits."""

    def __init__(self, bits: int = 64):
        self.name, self.bits = f"native {bits}", bits
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Native:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            image, handler, _ = _program()
            command = [sys.executable, str(Path(__file__).with_name("native_child.py"))]
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
            low = DATA - AREA // 2
            head = SET_UP.pack(STUB, CELLS, CODE, low, AREA, handler, len(image), 1 << 17)
            self._send(self._child, head + image)
        return self._child

    def _send(self, child: subprocess.Popen[bytes], content: bytes) -> None:
        assert child.stdin is not None
        view = memoryview(content)
        while view:
            view = view[child.stdin.write(view) :]

    def run(self, code: bytes, blocks: bytes, window: int = MEMORY) -> bytes:
        """Execute one instruction on each of the blocks, whose memory has ``window`` bytes.

        RuntimeError if the child is lost, which the instruction must have harmed.
        """
        child, (_, _, after) = self._started(), _program()
        if self.bits == 64:
            there = CODE + len(code) + 5
            onwards = b"\xe9" + struct.pack("<i", STUB + after - there)
        else:
            far = struct.pack("<BIH", 0xEA, STUB + after, CODE_64)
            onwards = far if self.bits == 32 else b"\x66" + far
        block, whole = WINDOW + window, code + onwards
        head = REQUEST.pack(len(whole), block, len(blocks) // block, window, *SEGMENTS[self.bits])
        alarm = threading.Timer(PATIENCE, child.kill)
        alarm.start()
        try:
            assert child.stdout is not None
            self._send(child, head + whole + blocks)
            answer = bytearray()
            while len(answer) < len(blocks):
                piece = child.stdout.read(len(blocks) - len(answer))
                if not piece:
                    raise BrokenPipeError
                answer += piece
        except BrokenPipeError:
            self.close()
            raise RuntimeError(f"the process that executed {code.hex(' ')} is gone") from None
        finally:
            alarm.cancel()
        return bytes(answer)

    def execute(self, cases: Sequence[Case]) -> list[State]:
        """The state after each case; see `Executor`."""
        states: list[State] = []
        for (word, size, window), group in itertools.groupby(
            cases, key=lambda case: (case.word, case.size, len(case.before.memory))
        ):
            tried, code = list(group), word.to_bytes(size, "little")
            blocks = b"".join(_block(case.before, size) for case in tried)
            done, block = memoryview(self.run(code, blocks, window)), WINDOW + window
            states += [
                _after(done[n * block : (n + 1) * block], case.before, size)
                for n, case in enumerate(tried)
            ]
        return states


def _block(state: State, size: int) -> bytearray:
    """A state as the stub loads it."""
    registers = state.registers
    block = bytearray(WINDOW) + state.memory
    HEAD.pack_into(
        block, 0, *(registers[name] for name in GENERAL), registers["rflags"] & FLAGS,
        registers["rip"] + size, -1, 0, 0,
    )  # fmt: skip
    fcw, fsw, ftw = (registers.get(name, usual) for name, usual in X87)
    LEGACY.pack_into(block, XSAVE, fcw, fsw, ftw, 0, 0, 0, registers.get("mxcsr", INIT_MXCSR), 0)
    for n in range(8):
        if f"st{n}" in registers:
            at = ST + 16 * n
            block[at : at + 10] = registers[f"st{n}"].to_bytes(10, "little")
    for n in range(16):
        whole = registers.get(f"ymm{n}", registers.get(f"xmm{n}", 0)).to_bytes(32, "little")
        block[XMM + 16 * n : XMM + 16 * n + 16] = whole[:16]
        block[YMM + 16 * n : YMM + 16 * n + 16] = whole[16:]
    block[XSTATE_BV] = COMPONENTS
    return block


def _after(block: memoryview, before: State, size: int) -> State:
    """The state that the stub stored, as far as the state before had these registers."""
    *general, rflags, rip, vector, _, _ = HEAD.unpack_from(block)
    fcw, fsw, ftw, _, _, _, mxcsr, _ = LEGACY.unpack_from(block, XSAVE)
    found = dict(zip(GENERAL, general, strict=True))
    found |= {"rflags": rflags & FLAGS, "rip": rip, "mxcsr": mxcsr}
    found |= {"fcw": fcw, "fsw": fsw, "ftw": ftw}
    for name in before.registers.keys() - found.keys():
        n = int(name.lstrip("stxym"))
        at, length = (ST, 10) if name[0] == "s" else (XMM, 16)
        found[name] = int.from_bytes(block[at + 16 * n : at + 16 * n + length], "little")
        if name[0] == "y":
            high = block[YMM + 16 * n : YMM + 16 * n + 16]
            found[name] |= int.from_bytes(high, "little") << 128
    raised = vector in TRAPS or (vector >= 0 and rip == before.registers["rip"])
    wanted = {name: found[name] for name in before.registers}
    return State(wanted, bytes(block[WINDOW:]), vector if raised else None)
