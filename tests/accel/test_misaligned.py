"""Misaligned accesses at the border of two pages that follow each other for the guest alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bimetal.accel.interp import InterpCpu
from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, Halt, Kicked, MemorySlot
from tests.agree.engines import STRESS, engine

RAM, SIZE, PAGE = 0x8000_0000, 0x2_0000, 0x1000
ROOT, MIDDLE, LEAVES, FIRST, SECOND, SEEN = (RAM + n * PAGE for n in (1, 2, 3, 9, 6, 12))
"""Page tables, the places of the first and second page in memory, and where results go."""
VIRTUAL = 0x10_0000
OFFSETS = range(PAGE - 17, PAGE + 2)
V, R, W, X, A, D = (1 << n for n in (0, 1, 2, 3, 6, 7))
LOAD_FAULT, STORE_FAULT = 13, 15
WIDTHS = {"b": 1, "h": 2, "w": 4, "d": 8}
START, HANDLER = RAM, RAM + 0x800
CONTENT = bytes(n * 7 % 251 for n in range(2 * PAGE))


@dataclass
class Paged:
    """A hart in S-mode with two pages at `VIRTUAL`, and RAM where it is."""

    cpu: Cpu
    ram: Ram

    def put(self, address: int, data: bytes) -> None:
        self.ram.bytes[address - RAM : address - RAM + len(data)] = data

    def get(self, address: int, size: int) -> bytes:
        return bytes(self.ram.bytes[address - RAM : address - RAM + size])

    @property
    def data(self) -> bytes:
        """Both pages as the guest sees them."""
        return self.get(FIRST, PAGE) + self.get(SECOND, PAGE)

    def map(self, second: int) -> None:
        """Map both pages, the second one with these flags."""
        number = VIRTUAL // PAGE
        all_flags = V | R | W | A | D
        for table, index, target, flags in (
            (ROOT, 2, RAM, all_flags | X), (ROOT, 0, MIDDLE, V), (MIDDLE, 0, LEAVES, V),
            (LEAVES, number, FIRST, all_flags), (LEAVES, number + 1, SECOND, second),
        ):  # fmt: skip
            self.put(table + 8 * index, (target >> 12 << 10 | flags).to_bytes(8, "little"))
        self.put(FIRST, CONTENT[:PAGE])
        self.put(SECOND, CONTENT[PAGE:])

    def run(self, *lines: str, **registers: int) -> int:
        """Run a program until it waits, or traps; the cause of its trap or 0."""
        code = b"".join(rv64.assemble(line, START + 4 * n) for n, line in enumerate(lines))
        assert len(code) < HANDLER - START
        self.put(START, code + rv64.assemble("wfi"))
        self.put(HANDLER, rv64.assemble("wfi"))
        state = {
            "pc": START, "mtvec": HANDLER, "priv": 1, "satp": 8 << 60 | ROOT >> 12,
            "pmpaddr0": (1 << 54) - 1, "pmp0cfg": 0x1F, "mcause": 0,
        }  # fmt: skip
        for name, value in (state | registers).items():
            self.cpu.write_register(name, value)
        exit_ = self.cpu.run()
        while isinstance(exit_, Kicked):
            exit_ = self.cpu.run()
        assert isinstance(exit_, Halt), exit_
        return self.cpu.read_register("mcause")


@pytest.fixture(params=("reference", "interp", *STRESS))
def paged(request: pytest.FixtureRequest) -> Iterator[Paged]:
    ram = Ram("ram", SIZE)
    with engine(request.param, firmware_calls=False) as accelerator:
        yield _paged(accelerator, ram)
    ram.close()


def _paged(accelerator: Accelerator, ram: Ram) -> Paged:
    accelerator.set_memory([MemorySlot(RAM, SIZE, ram.host)])
    return Paged(accelerator.add_cpu(0), ram)


def _loop(*lines: str) -> list[str]:
    """The lines for each of `OFFSETS`: its address is in t0, and a0 goes through `SEEN`."""
    body = [*lines, "addi t0, t0, 1"]
    return [*body, f"bne t0, t1, {START:#x}"]


RANGE = {"t0": VIRTUAL + OFFSETS.start, "t1": VIRTUAL + OFFSETS.stop, "a0": SEEN}


def test_loads_at_each_place(paged: Paged) -> None:
    paged.map(V | R | A)
    lines = [
        line
        for n, (letter, size) in enumerate(WIDTHS.items())
        for line in (f"l{letter}{'u' if size < 8 else ''} a1, 0(t0)", f"sd a1, {8 * n}(a0)")
    ]
    assert paged.run(*_loop(*lines, "addi a0, a0, 32"), **RANGE) == 0
    seen = paged.get(SEEN, 32 * len(OFFSETS))
    for n, offset in enumerate(OFFSETS):
        for k, size in enumerate(WIDTHS.values()):
            word = seen[32 * n + 8 * k :][:8]
            assert word == CONTENT[offset : offset + size].ljust(8, b"\0"), f"{size} at {offset:x}"


def _stored(offsets: range, size: int) -> bytes:
    """Both pages after a store of its address at each of some offsets."""
    pages = bytearray(CONTENT)
    for offset in offsets:
        pages[offset : offset + size] = (VIRTUAL + offset).to_bytes(8, "little")[:size]
    return bytes(pages)


def test_stores_at_each_place(paged: Paged) -> None:
    for letter, size in WIDTHS.items():
        paged.map(V | R | W | A | D)
        assert paged.run(*_loop(f"s{letter} t0, 0(t0)"), **RANGE) == 0
        assert paged.data == _stored(OFFSETS, size)


def test_what_reaches_into_a_page_that_may_not_be_stored_to_stores_nothing(paged: Paged) -> None:
    for letter, size in WIDTHS.items():
        paged.map(V | R | A)
        offsets = range(PAGE - 2 * size, PAGE - size + 1)
        state = RANGE | {"t0": VIRTUAL + offsets.start}
        assert paged.run(*_loop(f"s{letter} t0, 0(t0)"), **state) == STORE_FAULT
        assert paged.cpu.read_register("t0") == VIRTUAL + offsets.stop
        assert paged.data == _stored(offsets, size)


def test_what_reaches_into_a_page_that_is_not_there_faults(paged: Paged) -> None:
    for letter, size in WIDTHS.items():
        paged.map(0)
        assert paged.run(*_loop(f"l{letter} a1, 0(t0)"), **RANGE) == LOAD_FAULT
        assert paged.cpu.read_register("t0") == VIRTUAL + PAGE - size + 1


def test_the_first_byte_of_the_page_that_faults_is_told(paged: Paged) -> None:
    for letter in "hwd":
        for instruction, cause in (("l", LOAD_FAULT), ("s", STORE_FAULT)):
            paged.map(0)
            assert paged.run(f"{instruction}{letter} a1, 0(t0)", t0=VIRTUAL + PAGE - 1) == cause
            assert paged.cpu.read_register("mtval") == VIRTUAL + PAGE


@pytest.mark.parametrize("instruction", ["lr.w a1, (t0)", "amoadd.d a1, a2, (t0)"])
def test_atomics_are_aligned_in_a_page_too(paged: Paged, instruction: str) -> None:
    paged.map(V | R | W | A | D)
    warm = ["ld a1, 0(t0)", "sd a1, 0(t0)", "addi t0, t0, 2", "lw a1, 0(t0)", "sw a1, 0(t0)"]
    cause = paged.run(*warm, instruction, t0=VIRTUAL + 64)
    assert cause == (4 if instruction.startswith("lr") else 6)
    assert paged.data == CONTENT


@pytest.mark.parametrize("name", ["interp", "everything", "optimise"])
def test_those_in_a_page_are_no_misses(name: str) -> None:
    ram = Ram("ram", SIZE)
    with engine(name, firmware_calls=False) as accelerator:
        paged = _paged(accelerator, ram)
        assert isinstance(paged.cpu, InterpCpu)
        paged.map(V | R | W | A | D)
        lines = [*(f"l{w} a1, 0(t0)" for w in WIDTHS), *(f"s{w} a1, 0(t0)" for w in WIDTHS)]
        assert paged.run(*_loop(*lines), t0=VIRTUAL + 8, t1=VIRTUAL + PAGE - 7) == 0
        assert paged.cpu.counters["data TLB misses"] == 2
    ram.close()
