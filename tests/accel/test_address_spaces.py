"""Address spaces take turns on a hart, and each sees its own pages (RISC-V II 10.1.11, 10.2.1)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Counted, Cpu, FirmwareCall, Kicked, MemorySlot
from tests.agree.engines import engine

from .spaces import GLOBAL_PAGES, PAGES, SIZE, Spaces

V, R, W, X, U, G, A, D = (1 << n for n in range(8))
LEAF = V | R | W | X | A | D
SUM = 1 << 18

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


class RiscvSpaces(Spaces):
    """With Sv39, in S-mode."""

    base = 0x8000_0000

    def __init__(self, cpu: Cpu, ram: Ram, count: int, kernel_global: bool):
        super().__init__(ram, count, kernel_global)
        self.cpu = cpu

    def pointer(self, table: int) -> int:
        return table >> 12 << 10 | V

    def kernel(self) -> int:
        return self.base >> 12 << 10 | LEAF | (G if self.kernel_global else 0)

    def leaf(self, page: int, frame: int) -> int:
        kind = G if page in GLOBAL_PAGES else U if self.of_user(page) else 0
        return (self.frames_at + frame * 4096) >> 12 << 10 | LEAF | kind

    def function(self, frame: int) -> bytes:
        return rv64.assemble(f"addi a2, zero, {frame}") + rv64.assemble("jalr zero, 0(ra)")

    def enter(self, space: int) -> None:
        super().enter(space)
        self.order("enter", 8 << 60 | space << 44 | self.root(space) >> 12)

    def remap(self, space: int, page: int, frame: int, chance: random.Random) -> None:
        super().remap(space, page, frame, chance)
        fences = ["fence", "fence page"]
        if page in PAGES:
            fences += ["fence space", "fence page of space"]
        self.order("store", self.slot(space, page), self.leaf(page, frame))
        self.order(chance.choice(fences), self.address(page), space)

    def run(self) -> list[int]:
        places, at = {}, self._put_code(self.code, *NEXT)
        for verb, lines in VERBS.items():
            places[verb] = at
            at = self._put_code(self._put_code(at, *lines), f"jal zero, {self.code}")
        self.put_orders(places)
        for name, value in (
            ("pc", self.code),
            ("priv", 1),
            ("stvec", places["end"]),
            ("s0", self.orders_at),
            ("s1", self.found_at),
            ("s2", SUM),
        ):
            self.cpu.write_register(name, value)
        while isinstance(exit_ := self.cpu.run(), Kicked):
            pass
        assert isinstance(exit_, FirmwareCall), exit_
        assert self.cpu.read_register("scause") == 0, hex(self.cpu.read_register("stval"))
        return self.words(self.found_at, (self.cpu.read_register("s1") - self.found_at) // 8)

    def _put_code(self, address: int, *lines: str) -> int:
        for line in lines:
            insn = rv64.assemble(line, address)
            self.put_bytes(address, insn)
            address += len(insn)
        return address


Make = Callable[..., RiscvSpaces]


@contextmanager
def maker(name: str) -> Iterator[Make]:
    with engine(name, cpus=1) as accelerator:
        rams = []

        def make(count: int, kernel_global: bool = True) -> RiscvSpaces:
            rams.append(Ram("ram", SIZE))
            accelerator.set_memory([MemorySlot(RiscvSpaces.base, SIZE, rams[-1].host)])
            cpu.reset()
            return RiscvSpaces(cpu, rams[-1], count, kernel_global)

        cpu = accelerator.add_cpu(0)
        yield make
        accelerator.set_memory([])
        for ram in rams:
            ram.close()


@pytest.mark.parametrize("name", ["reference", "interp", "everything,forget"])
def test_orders_at_random(name: str) -> None:
    with maker(name) as make:
        for seed, count, kernel_global in ((1, 3, True), (2, 40, True), (3, 30, False)):
            program = make(count, kernel_global)
            program.at_random(seed, 50 if name == "reference" else 800)
            assert program.run() == program.wanted, seed


def counters(cpu: Cpu) -> dict[str, int]:
    assert isinstance(cpu, Counted)
    return dict(cpu.counters)


@pytest.mark.parametrize("kernel_global", [True, False], ids=["global kernel", "kernel of each"])
def test_eight_processes_keep_their_translations(kernel_global: bool) -> None:
    """However often they take turns, nothing is looked up twice."""
    counted = []
    with maker("interp") as make:
        for rounds in (1, 41):
            program = make(8, kernel_global)
            before = counters(program.cpu)
            for _ in range(rounds):
                for space in range(8):
                    program.enter(space)
                    for page in (0, 1, 3, 6):
                        program.load(page)
                        program.store(page, space)
                    program.call(2)
            assert program.run() == program.wanted
            counted.append({k: n - before[k] for k, n in counters(program.cpu).items()})
    once, often = counted
    for name in ("TLB flushes", "TLBs emptied", "fetch TLB misses"):
        assert often[name] <= once[name] + 8, name
    # The list of orders is longer, and so is what was found: 30 pages, which each process sees.
    assert often["data TLB misses"] <= once["data TLB misses"] + 400


def test_a_fence_for_one_space_leaves_the_others_alone() -> None:
    with maker("interp") as make:
        program = make(4)
        for _ in range(100):
            for space in range(4):
                program.enter(space)
                program.load(0)
            program.order("fence space", 0, 3)
        assert program.run() == program.wanted
        assert counters(program.cpu)["TLBs emptied"] < 4 + 100 + 10
