"""Random programs for one page of code: loops, calls, branches, memory, floating point."""

from __future__ import annotations

import random

from bimetal.isa.riscv import rv64

__all__ = ["CODE", "DATA", "END", "random_program"]

CODE, DATA = 0x8000_0000, 0x8000_4000
# The program ends by a store that no memory slot covers.
END = 0x10_0000

_REGISTER = ("add", "sub", "xor", "or", "and", "sll", "srl", "sra", "slt", "sltu", "mul", "mulhu")
_WORD = ("addw", "subw", "sllw", "sraw", "mulw", "divw", "remuw", "div", "rem", "divu")
_FLOAT = ("fadd.d", "fsub.d", "fmul.d", "fdiv.d", "fsgnjx.d", "fmin.d")
_LOADS = {"lb": 1, "lhu": 2, "lw": 4, "lwu": 4, "ld": 8}
_STORES = {"sb": 1, "sh": 2, "sw": 4, "sd": 8}
_BRANCHES = ("beq", "bne", "blt", "bge", "bltu", "bgeu")
# s0 holds the data's address, s1 and s2 count loops, ra and t6 hold return addresses.
_SCRATCH = ("t0", "t1", "t2", "a0", "a1", "a2", "a3", "a4", "a5", "s3", "s4")


class _Writer:
    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.code = bytearray()

    @property
    def pc(self) -> int:
        return CODE + len(self.code)

    def put(self, text: str) -> None:
        self.code += rv64.assemble(text, self.pc)

    def any(self) -> str:
        return self.random.choice(_SCRATCH)

    def simple(self) -> None:
        """One instruction that goes on to the next."""
        pick, name = self.random.random(), self.random.choice
        if pick < 0.45:
            self.put(f"{name(_REGISTER + _WORD)} {self.any()}, {self.any()}, {self.any()}")
        elif pick < 0.6:
            self.put(f"addi {self.any()}, {self.any()}, {self.random.randrange(-2048, 2048)}")
        elif pick < 0.72:
            load = name(sorted(_LOADS))
            self.put(f"{load} {self.any()}, {self.offset(_LOADS[load])}(s0)")
        elif pick < 0.84:
            store = name(sorted(_STORES))
            self.put(f"{store} {self.any()}, {self.offset(_STORES[store])}(s0)")
        elif pick < 0.92:
            self.put(f"{name(_FLOAT)} fa{name('012')}, fa{name('0123')}, fa{name('0123')}")
        else:
            self.put(f"auipc {self.any()}, {self.random.randrange(1 << 20):#x}")

    def offset(self, size: int) -> int:
        """Somewhere in the data, misaligned at times."""
        return self.random.randrange(0, 256 - size)

    def block(self, length: int) -> None:
        """Instructions, one of them skipped over by a branch now and then."""
        for _ in range(length):
            if self.random.random() < 0.15:
                branch = self.random.choice(_BRANCHES)
                skipped = len(self.code)
                self.put(f"{branch} {self.any()}, {self.any()}, {self.pc + 8:#x}")
                self.simple()
                assert len(self.code) == skipped + 8
            else:
                self.simple()


def random_program(seed: int) -> bytes:
    """A program that ends: nested loops around blocks, and a function that is called."""
    w = _Writer(seed)
    w.put(f"lui s0, {DATA >> 12:#x}")
    w.put("slli s0, s0, 32")
    w.put("srli s0, s0, 32")
    for register in _SCRATCH:
        w.put(f"addi {register}, zero, {w.random.randrange(-2048, 2048)}")
    for n in range(4):
        w.put(f"fcvt.d.l fa{n}, {w.any()}, rne")
    over = w.random.randrange(6, 12)
    w.put(f"jal t6, {w.pc + 4 * (over + 2):#x}")  # over a function that returns through ra
    for _ in range(over):
        w.put(f"add {w.any()}, {w.any()}, {w.any()}")
    w.put("jalr zero, 0(ra)")
    function = w.pc - 4 * (over + 1)
    w.put(f"addi s1, zero, {w.random.randrange(3, 9)}")
    outer = w.pc
    w.block(w.random.randrange(4, 12))
    w.put(f"addi s2, zero, {w.random.randrange(20, 60)}")
    inner = w.pc
    w.block(w.random.randrange(4, 16))
    w.put(f"jal ra, {function:#x}")
    w.put("addi s2, s2, -1")
    w.put(f"bne s2, zero, {inner:#x}")
    w.block(w.random.randrange(2, 8))
    w.put("addi s1, s1, -1")
    w.put(f"bne s1, zero, {outer:#x}")
    w.put("csrrs a6, 1, zero")  # the floating-point flags
    w.put(f"lui a7, {END >> 12:#x}")
    w.put("sd a6, 0(a7)")
    return bytes(w.code)
