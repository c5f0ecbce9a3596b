"""Address spaces take turns on one hart, and each sees its own pages (RISC-V II 10.1.11, 10.2.1).

A program in S-mode goes through a list of orders: change the address space, load, store, call,
change page tables, fence. What it loads is compared with what a few lines of Python expect.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Counted, Cpu, FirmwareCall, Kicked, MemorySlot
from tests.agree.engines import engine

RAM, SIZE = 0x8000_0000, 0x20_0000
ORDERS, FOUND, TABLES, FRAMES = (RAM + n for n in (0x1_0000, 0x4_0000, 0x8_0000, 0x10_0000))
FRAME_COUNT = 40
V, R, W, X, U, G, A, D = (1 << n for n in range(8))
LEAF = V | R | W | X | A | D
SUM = 1 << 18
PAGES, GLOBAL_PAGES = range(6), range(6, 8)
ENGINES = ("reference", "interp", "everything,forget")

NEXT = (
    "ld t0, 0(s0)", "ld a0, 8(s0)", "ld a1, 16(s0)", "addi s0, s0, 32", "jalr zero, 0(t0)",
)  # fmt: skip
NOTE = ("sd a2, 0(s1)", "addi s1, s1, 8")
VERBS = {
    "enter": ("csrrw zero, satp, a0",),
    "load": ("ld a2, 0(a0)", *NOTE),
    "load of user": ("csrrs zero, sstatus, s2", "ld a2, 0(a0)", "csrrc zero, sstatus, s2", *NOTE),
    "store": ("sd a1, 0(a0)",),
    "store of user": ("csrrs zero, sstatus, s2", "sd a1, 0(a0)", "csrrc zero, sstatus, s2"),
    "call": ("jalr ra, 0(a0)", *NOTE),
    "fence page of space": ("sfence.vma a0, a1",),
    "fence space": ("sfence.vma zero, a1",),
    "fence page": ("sfence.vma a0, zero",),
    "fence": ("sfence.vma zero, zero",),
    "end": ("ecall",),
}


@dataclass
class Spaces:
    """Page tables for ``count`` address spaces: six pages of their own, every other one for user
    mode, two that are global, and RAM, global or not."""

    ram: Ram
    count: int
    kernel: int = G
    orders: list[tuple[str, int, int]] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.values = [1000 + frame for frame in range(FRAME_COUNT)]
        for frame, value in enumerate(self.values):
            self.put(FRAMES + frame * 4096, value)
            self.code(FRAMES + frame * 4096 + 8, f"addi a2, zero, {frame}", "jalr zero, 0(ra)")
        self.frames = [dict.fromkeys((*PAGES, *GLOBAL_PAGES), 0) for _ in range(self.count)]
        self.now = 0
        shared = TABLES + self.count * 0x3000
        for space in range(self.count):
            root = TABLES + space * 0x3000
            self.put(root, self.pointer(root + 0x1000))
            self.put(root + 16, RAM >> 12 << 10 | LEAF | self.kernel)
            self.put(root + 0x1000, self.pointer(root + 0x2000))
            self.put(root + 0x1008, self.pointer(shared))
            for page in PAGES:
                frame = (space * len(PAGES) + page) % FRAME_COUNT
                self.frames[space][page] = frame
                self.put(self.slot(space, page), self.leaf(page, frame))
        for page in GLOBAL_PAGES:
            self.put(self.slot(0, page), self.leaf(page, page))
            for frames in self.frames:
                frames[page] = page

    # -- memory
    def put(self, address: int, word: int) -> None:
        self.ram.bytes[address - RAM : address - RAM + 8] = word.to_bytes(8, "little")

    def code(self, address: int, *lines: str) -> int:
        """Put instructions somewhere; where they end."""
        for line in lines:
            insn = rv64.assemble(line, address)
            self.ram.bytes[address - RAM : address - RAM + len(insn)] = insn
            address += len(insn)
        return address

    @staticmethod
    def pointer(table: int) -> int:
        return table >> 12 << 10 | V

    def slot(self, space: int, page: int) -> int:
        """Where the entry of a page lies."""
        if page in GLOBAL_PAGES:
            return TABLES + self.count * 0x3000 + (page - GLOBAL_PAGES[0]) * 8
        return TABLES + space * 0x3000 + 0x2000 + page * 8

    def leaf(self, page: int, frame: int) -> int:
        kind = G if page in GLOBAL_PAGES else U if page % 2 else 0
        return (FRAMES + frame * 4096) >> 12 << 10 | LEAF | kind

    @staticmethod
    def address(page: int) -> int:
        return page << 12 if page in PAGES else (page - GLOBAL_PAGES[0] << 12) + 0x20_0000

    # -- orders
    def order(self, verb: str, a: int = 0, b: int = 0) -> None:
        self.orders.append((verb, a, b))

    def enter(self, space: int) -> None:
        self.now = space
        self.order("enter", 8 << 60 | space << 44 | (TABLES + space * 0x3000) >> 12)

    def load(self, page: int) -> None:
        self.order("load of user" if page in PAGES and page % 2 else "load", self.address(page))
        self.wanted.append(self.values[self.frames[self.now][page]])

    def store(self, page: int, value: int) -> None:
        of_user = page in PAGES and page % 2
        self.order("store of user" if of_user else "store", self.address(page), value)
        self.values[self.frames[self.now][page]] = value

    def call(self, page: int) -> None:
        self.order("call", self.address(page) + 8)
        self.wanted.append(self.frames[self.now][page])

    def remap(self, space: int, page: int, frame: int, fence: str) -> None:
        """Change an entry, and fence as this is done, in one of the ways that are enough."""
        self.order("store", self.slot(space, page), self.leaf(page, frame))
        self.order(fence, self.address(page), space)
        for frames in self.frames if page in GLOBAL_PAGES else [self.frames[space]]:
            frames[page] = frame

    # -- all of it
    def run(self, cpu: Cpu) -> list[int]:
        """What the program found."""
        places, at = {}, self.code(RAM, *NEXT)
        for verb, lines in VERBS.items():
            places[verb] = at
            at = self.code(self.code(at, *lines), f"jal zero, {RAM}")
        for n, (verb, a, b) in enumerate([*self.orders, ("end", 0, 0)]):
            for place, word in enumerate((places[verb], a, b)):
                self.put(ORDERS + 32 * n + 8 * place, word)
        start = {"pc": RAM, "priv": 1, "s0": ORDERS, "s1": FOUND, "s2": SUM, "stvec": places["end"]}
        for name, value in start.items():
            cpu.write_register(name, value)
        while isinstance(exit_ := cpu.run(), Kicked):
            pass
        assert isinstance(exit_, FirmwareCall), exit_
        assert cpu.read_register("scause") == 0, hex(cpu.read_register("stval"))
        count = (cpu.read_register("s1") - FOUND) // 8
        words = self.ram.bytes[FOUND - RAM : FOUND - RAM + 8 * count]
        return [int.from_bytes(words[n : n + 8], "little") for n in range(0, 8 * count, 8)]


@contextmanager
def spaces(name: str, count: int, kernel: int = G) -> Iterator[tuple[Spaces, Cpu]]:
    with engine(name) as accelerator:
        ram = Ram("ram", SIZE)
        accelerator.set_memory([MemorySlot(RAM, SIZE, ram.host)])
        made = Spaces(ram, count, kernel)
        made.enter(0)
        yield made, accelerator.add_cpu(0)
        accelerator.set_memory([])
        ram.close()


def at_random(program: Spaces, seed: int, count: int) -> None:
    """Give orders, each valid by itself: what the manual leaves open is not asked for."""
    chance = random.Random(seed)
    for _ in range(count):
        page = chance.choice((*PAGES, *GLOBAL_PAGES))
        match chance.choice("eelllllsscm"):
            case "e":
                program.enter(chance.randrange(program.count))
            case "l":
                program.load(page)
            case "s":
                program.store(page, chance.getrandbits(63))
            case "c":
                program.call(chance.choice((0, 2, 4, *GLOBAL_PAGES)))
            case "m":
                fences = ["fence", "fence page"]
                if page in PAGES:
                    fences += ["fence space", "fence page of space"]
                space, frame = chance.randrange(program.count), chance.randrange(FRAME_COUNT)
                program.remap(space, page, frame, chance.choice(fences))


@pytest.mark.parametrize("kernel", [G, 0], ids=["global kernel", "kernel of each"])
@pytest.mark.parametrize("name", ENGINES)
def test_orders_at_random(name: str, kernel: int) -> None:
    count = 60 if name == "reference" else 800
    for seed, number in ((1, 3), (2, 40)):
        with spaces(name, number, kernel) as (program, cpu):
            at_random(program, seed, count)
            assert program.run(cpu) == program.wanted


def misses(cpu: Cpu) -> dict[str, int]:
    assert isinstance(cpu, Counted)
    return dict(cpu.counters)


@pytest.mark.parametrize("kernel", [G, 0], ids=["global kernel", "kernel of each"])
def test_eight_processes_keep_their_translations(kernel: int) -> None:
    """However often they take turns, nothing is looked up twice."""
    counted = []
    for rounds in (1, 40):
        with spaces("interp", 8, kernel) as (program, cpu):
            for _ in range(rounds):
                for space in range(8):
                    program.enter(space)
                    for page in (0, 1, 3, 6):
                        program.load(page)
                        program.store(page, space)
                    program.call(2)
            assert program.run(cpu) == program.wanted
            counted.append(misses(cpu))
    for before, after in pairwise(counted):
        for name in ("TLB flushes", "TLBs emptied", "fetch TLB misses"):
            assert after[name] <= before[name] + 8, name
        # The list of orders is longer, and so is what was found.
        assert after["data TLB misses"] <= before["data TLB misses"] + 8 * 50


def test_a_fence_for_one_space_leaves_the_others_alone() -> None:
    with spaces("interp", 4) as (program, cpu):
        for _ in range(100):
            for space in range(4):
                program.enter(space)
                program.load(0)
            program.remap(3, 0, 5, "fence space")
        assert program.run(cpu) == program.wanted
        assert misses(cpu)["TLBs emptied"] < 4 + 100 + 10
