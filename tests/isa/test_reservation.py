"""Exclusive accesses of every instruction set, on two vCPUs of one memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import pytest

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference
from bimetal.base.clock import VirtualClock
from bimetal.codegen.policy import stressed
from bimetal.isa.arm import a64
from bimetal.isa.describe import Isa
from bimetal.isa.names import INSTRUCTION_SETS
from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, Kicked, MemorySlot, Mmio
from tests.sketches.ppc.state import ppc
from tests.sketches.sketched import SKETCHES

SIZE, END = 0x1_0000, 0x4000_0000
VECTOR, ARM_VECTORS, CALL_VECTOR, CODE, DATA = 0x600, 0x800, 0xC00, 0x1000, 0x8000
"""Where traps lead, the programs, and what is reserved."""
EL1H = 0x3C5
NEW, THEIRS = 0x1122_3344_5566_7788, 0x99AA_BBCC_DDEE_FF01


@dataclass(frozen=True, slots=True)
class Words:
    """How an instruction set says it: by the width in bits, an exclusive load from the address
    register, a conditional and a plain store of the value register there."""

    isa: Isa
    load: dict[int, str]
    conditional: dict[int, str]
    plain: str
    end: str
    address: str
    value: str
    stored: Callable[[Cpu], bool]
    setup: dict[str, int]


RISCV = Words(
    rv64,
    load={32: "lr.w a0, (a1)", 64: "lr.d a0, (a1)"},
    conditional={32: "sc.w a3, a2, (a1)", 64: "sc.d a3, a2, (a1)"},
    plain="sd a2, 0(a1)",
    end="sd zero, 0(a7)",
    address="a1",
    value="a2",
    stored=lambda cpu: cpu.read_register("a3") == 0,
    setup={"a7": END, "a3": 2, "mtvec": VECTOR},
)
ARM = Words(
    a64,
    load={
        8: "ldxrb w0, [x1]",
        16: "ldaxrh w0, [x1]",
        32: "ldxr w0, [x1]",
        64: "ldaxr x0, [x1]",
        128: "ldaxp x0, x4, [x1]",
    },
    conditional={
        8: "stxrb w3, w2, [x1]",
        16: "stlxrh w3, w2, [x1]",
        32: "stlxr w3, w2, [x1]",
        64: "stxr w3, x2, [x1]",
        128: "stlxp w3, x2, x2, [x1]",
    },
    plain="str x2, [x1, 0]",
    end="str xzr, [x7, 0]",
    address="x1",
    value="x2",
    stored=lambda cpu: cpu.read_register("x3") == 0,
    setup={"x7": END, "x3": 2, "vbar_el1": ARM_VECTORS},
)
PPC = Words(
    ppc,
    load={32: "lwarx r3, 0, r4, 0", 64: "ldarx r3, 0, r4, 0"},
    conditional={32: "stwcx. r5, 0, r4", 64: "stdcx. r5, 0, r4"},
    plain="std r5, 0(r4)",
    end="std r0, 0(r2)",
    address="r4",
    value="r5",
    stored=lambda cpu: bool(cpu.read_register("cr") >> 29 & 1),
    setup={"r2": END},
)


class Pair:
    """Two vCPUs that work on one memory, and do what they are told in turn."""

    def __init__(self, words: Words, accelerator: Accelerator, ram: Ram):
        self.words, self._ram, self._next = words, ram, CODE
        accelerator.set_memory([MemorySlot(0, SIZE, ram.host)])
        self.one, self.other = accelerator.add_cpu(0), accelerator.add_cpu(1)
        for vector in (VECTOR, ARM_VECTORS + 0x200, CALL_VECTOR):
            self._put(vector, words.end)
        for cpu in (self.one, self.other):
            for name, value in words.setup.items():
                cpu.write_register(name, value)

    def _put(self, at: int, *lines: str) -> int:
        for line in lines:
            code = self.words.isa.assemble(line, at)
            self._ram.bytes[at : at + len(code)] = code
            at += len(code)
        return at

    def do(self, cpu: Cpu, *lines: str, at: int = DATA, value: int = NEW) -> bool:
        """Execute lines; whether they came to their end without a trap."""
        start, self._next = self._next, self._put(self._next, *lines, self.words.end)
        cpu.write_register("pc", start)
        cpu.write_register(self.words.address, at)
        cpu.write_register(self.words.value, value)
        exit_ = cpu.run()
        while isinstance(exit_, Kicked):
            exit_ = cpu.run()
        assert isinstance(exit_, Mmio)
        assert (exit_.address, exit_.write) == (END, True)
        return not VECTOR <= cpu.read_register("pc") < CODE

    def load(self, cpu: Cpu, width: int = 64, at: int = DATA) -> None:
        assert self.do(cpu, self.words.load[width], at=at)

    def conditional(self, cpu: Cpu, width: int = 64, at: int = DATA, value: int = NEW) -> bool:
        """Whether a conditional store stores; if not, memory is as it was."""
        before = bytes(self._ram.bytes[DATA:])
        assert self.do(cpu, self.words.conditional[width], at=at, value=value)
        stored = self.words.stored(cpu)
        assert stored or bytes(self._ram.bytes[DATA:]) == before
        return stored

    def plain(self, cpu: Cpu, at: int = DATA, value: int = NEW) -> None:
        assert self.do(cpu, self.words.plain, at=at, value=value)

    def memory(self, at: int = DATA, size: int = 8) -> bytes:
        return bytes(self._ram.bytes[at : at + size])

    def seen(self, value: int, width: int = 64) -> bytes:
        """A value as memory has it."""
        data = (value & ((1 << min(width, 64)) - 1)).to_bytes(min(width, 64) // 8, "big")
        return (data if self.words is PPC else data[::-1]) * max(1, width // 64)


def accelerator_of(isa: str, engine: str) -> Accelerator:
    clock = VirtualClock()
    if engine == "reference":
        return Reference(isa, clock=clock, cpus=2)
    if engine == "interp":
        return InterpAccelerator(isa, clock=clock, cpus=2)
    return JitAccelerator(isa, clock=clock, cpus=2, policy=stressed(engine))


@contextmanager
def two(words: Words, engine: str) -> Iterator[Pair]:
    with patch.dict(INSTRUCTION_SETS, SKETCHES):
        accelerator, ram = accelerator_of(words.isa.name, engine), Ram("ram", SIZE)
        try:
            yield Pair(words, accelerator, ram)
        finally:
            accelerator.close()
            ram.close()


SLOW = pytest.mark.slow  # two vCPUs of AArch64 have an interpreter of their own, to be compiled


@pytest.fixture(
    params=[
        *((RISCV, engine) for engine in ("reference", "interp", "everything")),
        *((PPC, engine) for engine in ("reference", "interp", "everything")),
        (ARM, "reference"),
        pytest.param((ARM, "interp"), marks=SLOW),
        pytest.param((ARM, "everything"), marks=SLOW),
    ],
    ids=lambda param: f"{param[0].isa.name}-{param[1]}",
)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    words, engine = request.param
    with two(words, engine) as made:
        yield made


def test_it_succeeds_once_for_each_width(pair: Pair) -> None:
    for n, width in enumerate(pair.words.load):
        at, value = DATA + 32 * n, NEW + n
        pair.load(pair.one, width, at)
        assert pair.conditional(pair.one, width, at, value)
        assert pair.memory(at, width // 8) == pair.seen(value, width)
        assert not pair.conditional(pair.one, width, at, THEIRS)


def test_it_wants_the_size_that_was_loaded(pair: Pair) -> None:
    widths = list(pair.words.load)
    for loaded, stored in zip(widths, widths[1:] + widths[:1], strict=True):
        pair.load(pair.one, loaded)
        assert not pair.conditional(pair.one, stored)


def test_it_wants_the_address_that_was_loaded_and_ends_anyway(pair: Pair) -> None:
    """What is there has not changed, yet the manuals let no second store succeed."""
    pair.load(pair.one)
    assert not pair.conditional(pair.one, at=DATA + 64)
    assert not pair.conditional(pair.one)


def test_a_later_load_takes_its_place(pair: Pair) -> None:
    pair.load(pair.one)
    pair.load(pair.one, at=DATA + 64)
    assert not pair.conditional(pair.one)
    pair.load(pair.one)
    pair.load(pair.one, at=DATA + 64)
    assert pair.conditional(pair.one, at=DATA + 64)


def test_a_store_by_another_vcpu_ends_it(pair: Pair) -> None:
    for width in pair.words.load:
        if width < 64:
            continue
        pair.load(pair.one, width)
        pair.plain(pair.other, DATA + width // 8 - 8, THEIRS + width)
        assert not pair.conditional(pair.one, width)
        assert pair.memory(DATA + width // 8 - 8) == pair.seen(THEIRS + width)


def test_a_store_beside_it_does_not_matter(pair: Pair) -> None:
    """Manuals leave that open: nothing but what was loaded is reserved."""
    pair.load(pair.one)
    pair.plain(pair.other, DATA + 8, THEIRS)
    pair.plain(pair.other, DATA - 8, THEIRS)
    assert pair.conditional(pair.one)
    assert pair.memory(DATA - 8, 24) == pair.seen(THEIRS) + pair.seen(NEW) + pair.seen(THEIRS)


def test_of_two_the_first_one_stores(pair: Pair) -> None:
    pair.load(pair.one)
    pair.load(pair.other)
    assert pair.conditional(pair.other, value=THEIRS)
    assert not pair.conditional(pair.one)
    pair.load(pair.one)
    assert pair.conditional(pair.one)
    assert pair.memory() == pair.seen(NEW)


def test_each_has_its_own(pair: Pair) -> None:
    pair.load(pair.one)
    assert not pair.conditional(pair.other)
    assert pair.conditional(pair.one)


def test_at_the_end_of_a_page(pair: Pair) -> None:
    for width in pair.words.load:
        at = DATA + 0x1000 - width // 8
        pair.load(pair.one, width, at)
        assert pair.conditional(pair.one, width, at)
        assert pair.memory(at, width // 8) == pair.seen(NEW, width)
        assert pair.memory(DATA + 0x1000, 16) == bytes(16)


@pytest.mark.parametrize("distance", [1, 0xFFF])
def test_misaligned_ones_trap_with_and_without_a_reservation(pair: Pair, distance: int) -> None:
    for width in pair.words.load:
        if width == 8:
            continue
        assert not pair.do(pair.one, pair.words.load[width], at=DATA + distance)
        for reserved in (False, True):
            if reserved:
                pair.load(pair.one, width)
            at = DATA + distance
            assert not pair.do(pair.one, pair.words.conditional[width], at=at)


def test_the_state_of_a_vcpu_holds_it(pair: Pair) -> None:
    pair.load(pair.one)
    pair.other.load(pair.one.save())
    assert pair.conditional(pair.other)


# -- what else ends it, by instruction set


@pytest.mark.parametrize("ends", ["clrex 15", "svc 0", "eret"])
def test_what_ends_it_on_aarch64(ends: str) -> None:
    """CLREX (C6.2.47), an exception and the return from one (D1.3.4, B2.9.2): so a process that is
    interrupted between the two does not take another one's stores for its own."""
    with two(ARM, "reference") as pair:
        pair.load(pair.one)
        pair.one.write_register("elr_el1", VECTOR)
        pair.one.write_register("spsr_el1", EL1H)
        assert pair.do(pair.one, ends) == ends.startswith("clrex")
        assert not pair.conditional(pair.one)
        pair.load(pair.one)
        assert pair.conditional(pair.one)


@pytest.mark.parametrize(("words", "call"), [(RISCV, "ecall"), (PPC, "sc 0")])
def test_traps_leave_it_to_software_elsewhere(words: Words, call: str) -> None:
    """Handlers end it by a conditional store of their own (RISC-V I 14.2; Power ISA II 1.7.4)."""
    with two(words, "reference") as pair:
        pair.load(pair.one)
        assert not pair.do(pair.one, call)
        assert not pair.conditional(pair.one, at=DATA + 64)
        assert not pair.conditional(pair.one)
