"""Random programs of the x86 sketch, as bytes: loops around instructions of all lengths."""

from __future__ import annotations

import random

from ..sketched import END

__all__ = ["CODE", "DATA", "random_program"]

CODE = 0x1_1000 - 100
"""Where programs stand: over the end of a page."""
DATA = 0x1_8000
"""The data that rbx and r12 point into, a page; misaligned and over its end at times."""

RBX, RSP, R12, R14, R15 = 3, 4, 12, 14, 15
FREE = (0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 13)
"""Registers that hold no pointer and count no loop."""
ALU = (*range(4), *range(0x30, 0x34), *range(0x38, 0x3C), 0x88, 0x89, 0x8A, 0x8B)
IMMEDIATE = {0x80: 1, 0x81: 4, 0x83: 1, 0xC6: 1, 0xC7: 4}


class _Writer:
    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.code = bytearray()

    def modrm(self, middle: int, rex: int) -> tuple[int, bytes]:
        """The bits of REX and the bytes of an operand that is a free register or in the data."""
        pick = self.random
        if pick.random() < 0.6:
            rm = pick.choice(FREE)
            return rm >> 3, bytes([0xC0 | middle << 3 | rm & 7])
        base = pick.choice((RBX, R12))
        tail = b"\x24" if base == R12 else b""
        if pick.random() < 0.5:
            disp = pick.randrange(128).to_bytes(1, "little")
            return base >> 3, bytes([0x40 | middle << 3 | base & 7]) + tail + disp
        disp = pick.randrange(0xFC0, 0x1000).to_bytes(4, "little")
        return base >> 3, bytes([0x80 | middle << 3 | base & 7]) + tail + disp

    def one(self) -> bytes:
        """An instruction that goes on to the next."""
        pick = self.random
        if pick.random() < 0.1:
            wide, rm = pick.getrandbits(1), pick.choice(FREE)
            number = pick.randbytes(8 if wide else 4)
            return bytes([0x40 | wide << 3 | rm >> 3, 0xB8 | rm & 7]) + number
        narrow, wide = pick.random() < 0.2, pick.getrandbits(1)
        if pick.random() < 0.3:
            opcode = pick.choice(list(IMMEDIATE))
            reg = 0 if opcode >= 0xC0 else pick.choice((0, 6, 7))
        else:
            opcode, reg = pick.choice(ALU), pick.choice(FREE)
        rex, operand = self.modrm(reg & 7, wide)
        size = IMMEDIATE.get(opcode, 0)
        size = 2 if size == 4 and narrow and not wide else size
        prefix = bytes([0x40 | wide << 3 | reg >> 3 << 2 | rex])
        return b"\x66" * narrow + prefix + bytes([opcode]) + operand + pick.randbytes(size)

    def block(self, length: int) -> None:
        """Instructions, one of them skipped over by a branch now and then."""
        for _ in range(length):
            one = self.one()
            if self.random.random() < 0.25:
                self.code += bytes([0x70 | self.random.getrandbits(4), len(one)])
            self.code += one

    def loop(self, counter: int, laps: int, body: int) -> None:
        """A loop that is counted in r14 or r15."""
        low = counter & 7
        self.code += bytes([0x41, 0xB8 | low]) + laps.to_bytes(4, "little")
        start = len(self.code)
        self.block(body)
        self.code += bytes([0x41, 0x83, 0xC0 | low, 0xFF])  # add r, -1
        self.code += b"\x0f\x85" + (start - len(self.code) - 6).to_bytes(4, "little", signed=True)


def random_program(seed: int) -> tuple[bytes, int]:
    """A program, and how many of its bytes come before the store that ends it."""
    w = _Writer(seed)
    for register, number in ((RBX, DATA), (R12, DATA + 8)):
        w.code += bytes([0x48 | register >> 3, 0xB8 | register & 7]) + number.to_bytes(8, "little")
    w.block(6)
    w.loop(R14, w.random.randrange(8, 20), w.random.randrange(6, 10))
    w.loop(R15, w.random.randrange(8, 20), w.random.randrange(6, 10))
    size = len(w.code)
    w.code += b"\x89\x04\x25" + END.to_bytes(4, "little")  # mov [END], eax
    return bytes(w.code), size
