"""Random programs of the PowerPC sketch, as a kernel and QEMU's user emulation run them.

A program leaves its registers in `RESULTS` and asks for ``write`` of them and for ``exit``, as
Linux numbers its calls; on the sketch the first of them ends it.
"""

from __future__ import annotations

import random
import struct

from .atomics import FETCH
from .state import R_NAMES, ppc

__all__ = ["CODE", "DATA", "RESULTS", "RESULTS_SIZE", "elf", "in_order", "random_program"]

CODE, DATA, RESULTS = 0x1_0F00, 0x2_0000, 0x2_1000
# r1 to r27, CR, XER, CTR and LR; and the data before them.
RESULTS_SIZE = 8 * 31
BASE, SCRATCH = "r31", R_NAMES[3:20]
PRESET = R_NAMES[1:28]


class _Writer:
    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.code = bytearray()

    @property
    def pc(self) -> int:
        return CODE + len(self.code)

    def put(self, *lines: str) -> None:
        for line in lines:
            self.code += ppc.assemble(line, self.pc)

    def constant(self, register: str, number: int) -> None:
        """A number of 32 bits, sign-extended."""
        high = number >> 16 & 0xFFFF
        self.put(f"addis {register}, 0, {high - (high >> 15 << 16)}")
        self.put(f"ori {register}, {register}, {number & 0xFFFF}")

    def any(self) -> str:
        return self.random.choice(SCRATCH)

    def one(self) -> None:
        """An instruction that goes on to the next; what is reserved is stored to, or is not."""
        pick = self.random
        match pick.randrange(10):
            case 0:
                form = pick.choice(("add", "add.", "addo", "addo."))
                self.put(f"{form} {self.any()}, {self.any()}, {self.any()}")
            case 1:
                self.put(f"addi {self.any()}, {self.any()}, {pick.randrange(-32768, 32768)}")
            case 2:
                turn, clear = pick.randrange(64), pick.randrange(64)
                dot = pick.choice(("", "."))
                self.put(f"rldicl{dot} {self.any()}, {self.any()}, {turn}, {clear}")
            case 3:
                width, field = pick.choice("wd"), pick.randrange(8)
                number = pick.randrange(-99, 99)
                self.put(f"cmp{width}i cr{field}, {self.any()}, {number}")
            case 4 | 5:
                name = pick.choice(("lbz", "lwz", "ld"))
                self.put(f"{name} {self.any()}, {4 * pick.randrange(64)}({BASE})")
            case 6 | 7:
                name = pick.choice(("stb", "stw", "std"))
                self.put(f"{name} {self.any()}, {4 * pick.randrange(64)}({BASE})")
            case 8:
                letter, number = pick.choice("wd"), pick.randrange(len(FETCH))
                if letter == "w" and FETCH[number] in ("max", "min"):
                    letter = "d"  # QEMU 7.2 compares words without their signs
                self.put(f"l{letter}at {self.any()}, {BASE}, {number}", f"sync {number % 2}")
            case _:
                letter, place = pick.choice("wd"), pick.choice(("r28", "r29"))
                self.put(f"l{letter}arx {self.any()}, {BASE}, r28, 0")
                self.put(f"st{letter}cx. {self.any()}, {BASE}, {place}")

    def block(self, length: int) -> None:
        """Instructions, one of them skipped over by a branch now and then."""
        for _ in range(length):
            if self.random.random() < 0.2:
                how, bit = self.random.choice((4, 12)), self.random.randrange(32)
                self.put(f"bc {how}, {bit}, {self.pc + 12:#x}")
                self.put(f"addi {self.any()}, {self.any()}, 1", f"addi {self.any()}, 0, 7")
            self.one()


def random_program(seed: int) -> bytes:
    """A program in the manual's byte order."""
    w = _Writer(seed)
    for register in PRESET:
        w.constant(register, w.random.getrandbits(32))
    w.constant(BASE, DATA)
    w.put("addi r28, 0, 16", "addi r29, 0, 24", "mtxer r28")
    w.put("addi r30, 0, 9", "mtctr r30", f"b {w.pc + 24:#x}")
    function = w.pc  # over a function that returns
    w.put("add r20, r20, r3", "rldicl r20, r20, 7, 0", "bclr 20, 0, 0")
    loop = w.pc
    w.block(w.random.randrange(8, 16))
    w.put(f"bl {function:#x}", f"bc 16, 0, {loop:#x}")
    w.constant("r30", RESULTS)
    for n, register in enumerate(PRESET):
        w.put(f"std {register}, {8 * n}(r30)")
    for n, line in enumerate(("mfcr r4", "mfxer r4", "mfctr r4", "mflr r4"), start=len(PRESET)):
        w.put(line, f"std r4, {8 * n}(r30)")
    w.constant("r4", DATA)
    w.put("addi r0, 0, 4", "addi r3, 0, 1", f"addi r5, 0, {RESULTS + RESULTS_SIZE - DATA}", "sc 0")
    w.put("addi r0, 0, 1", "addi r3, 0, 0", "sc 0")
    return bytes(w.code)


def in_order(code: bytes, little: bool) -> bytes:
    """Code in a byte order."""
    words = struct.unpack(f">{len(code) // 4}I", code)
    return struct.pack(f"{'<' if little else '>'}{len(words)}I", *words)


def elf(code: bytes, little: bool, table: bytes = b"") -> bytes:
    """A static program for Linux: the code, a table behind it, and two pages of data (ELF-64 Object
    File Format)."""
    order, first = "<" if little else ">", 64 + 2 * 56
    kind = bytes([2, 1 if little else 2, 1]).ljust(12, b"\0")
    start = CODE & -4096
    padding = -(first) % 4096 + CODE - start
    head = (
        b"\x7fELF"
        + kind
        + struct.pack(f"{order}HHIQQQIHHHHHH", 2, 21, 1, CODE, 64, 0, 2, 64, 56, 2, 64, 0, 0)
    )
    size = CODE - start + len(code) + len(table)
    parts = ((5, 4096, start, size, size), (6, 0, DATA, 0, 2 * 4096))
    for flags, offset, address, there, whole in parts:
        head += struct.pack(
            f"{order}IIQQQQQQ", 1, flags, offset, address, address, there, whole, 4096
        )
    return head + bytes(padding) + in_order(code, little) + table
