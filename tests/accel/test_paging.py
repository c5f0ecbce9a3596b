"""Accessed and dirty bits of pages: who sets them (RISC-V II 10.3.1, Svade, Svadu)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference
from bimetal.base.clock import RealClock
from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, Halt, MemorySlot, Translating

RAM, TABLE, PAGE = 0x8000_0000, 0x8000_1000, 0x8000_2000
HANDLER = RAM + 0x100
V, R, W, X, A, D = (1 << n for n in (0, 1, 2, 3, 6, 7))
LOAD_FAULT, STORE_FAULT = 13, 15
LOAD_ACCESS, STORE_ACCESS = 5, 7
ROM = 0x2000_0000
MENVCFG = 0x30A
MPRV, SUPERVISOR = 1 << 17, 1 << 11


@dataclass
class Paged:
    """A hart as it comes from its reset, and a table of pages of a gigabyte."""

    cpu: Cpu
    ram: Ram
    rom: Ram
    table: int = TABLE
    mode: int = 8
    """Of satp: Sv39, or 9 for Sv48, whose pages in that table are of 512 gigabytes."""

    def map(self, flags: int) -> None:
        """Map the gigabyte of RAM to itself, and to 0 with these flags."""
        self.put(TABLE + 8 * 2, RAM >> 12 << 10 | V | R | W | X | A | D)
        self.put(TABLE, RAM >> 12 << 10 | flags)

    def move_table(self, table: int) -> None:
        """Have the table elsewhere; in read-only memory with its content."""
        self.table = table
        if table == ROM:
            self.rom.bytes[:4096] = self.ram.bytes[TABLE - RAM : TABLE - RAM + 4096]

    def put(self, address: int, word: int) -> None:
        self.ram.bytes[address - RAM : address - RAM + 8] = word.to_bytes(8, "little")

    @property
    def flags(self) -> int:
        return self.ram.bytes[TABLE - RAM]

    def run(self, *lines: str) -> int:
        """Execute the instructions, the last of them in S-mode at 0; the cause of its trap or 0."""
        code = b"".join(rv64.assemble(line) for line in (*lines[:-1], "mret", lines[-1], "wfi"))
        self.ram.bytes[: len(code)] = code
        self.ram.bytes[HANDLER - RAM : HANDLER - RAM + 4] = rv64.assemble("wfi")
        for name, value in (
            ("pc", RAM),
            ("mtvec", HANDLER),
            ("mepc", RAM + 4 * len(lines)),
            ("mstatus", SUPERVISOR),
            ("satp", self.mode << 60 | self.table >> 12),
            ("pmpaddr0", (1 << 54) - 1),
            ("pmp0cfg", 0x1F),
            ("a1", PAGE - RAM),
            ("t0", MPRV),
            ("t1", SUPERVISOR),
        ):
            self.cpu.write_register(name, value)
        assert isinstance(self.cpu.run(), Halt)
        return self.cpu.read_register("mcause")


@pytest.fixture(params=[InterpAccelerator, JitAccelerator, Reference], ids=lambda e: e.name)
def paged(request: pytest.FixtureRequest) -> Iterator[Paged]:
    make: Callable[..., Accelerator] = request.param
    accelerator = make("riscv64", clock=RealClock())
    ram, rom = Ram("ram", 0x4000), Ram("rom", 0x1000, readonly=True)
    slots = [MemorySlot(RAM, ram.size, ram.host), MemorySlot(ROM, rom.size, rom.host, True)]
    accelerator.set_memory(slots)
    yield Paged(accelerator.add_cpu(0), ram, rom)
    accelerator.close()
    ram.close()
    rom.close()


@pytest.mark.parametrize(("access", "sets"), [("ld a0, 0(a1)", A), ("sd a0, 0(a1)", A | D)])
def test_after_a_reset_hardware_sets_the_bits(paged: Paged, access: str, sets: int) -> None:
    """As under QEMU: kernels that start in M-mode and know nothing of Svadu are written so."""
    paged.map(V | R | W)
    assert paged.run(access) == 0
    assert paged.flags == V | R | W | sets


@pytest.mark.parametrize(
    ("access", "flags", "cause"),
    [
        ("ld a0, 0(a1)", V | R | W, LOAD_FAULT),
        ("sd a0, 0(a1)", V | R | W, STORE_FAULT),
        ("sd a0, 0(a1)", V | R | W | A, STORE_FAULT),
        ("ld a0, 0(a1)", V | R | W | A, 0),
        ("sd a0, 0(a1)", V | R | W | A | D, 0),
    ],
)
def test_a_guest_may_ask_for_faults_instead(
    paged: Paged, access: str, flags: int, cause: int
) -> None:
    paged.map(flags)
    assert paged.run(f"csrrw zero, {MENVCFG}, zero", access) == cause
    assert paged.flags == flags


def test_rights_lent_to_machine_mode_change_with_whose_they_are(paged: Paged) -> None:
    """MPRV stays as it is, MPP changes from S to U: what S may load, U may not (II 3.1.6.3)."""
    paged.map(V | R | W | A | D)
    lend, take = "csrrs zero, mstatus, t0", "csrrc zero, mstatus, t1"
    assert paged.run(lend, "ld a0, 0(a1)", take, "ld a0, 0(a1)", "addi a0, a0, 0") == LOAD_FAULT
    assert paged.cpu.read_register("mepc") == RAM + 12


def test_any_address_of_a_page_stands_for_all_of_it(paged: Paged) -> None:
    """A fence of one orders reads of the leaf by which it is translated (II 10.2.1)."""
    paged.mode = 9
    paged.put(TABLE, V | R | W | A | D)
    for name, value in (("a2", PAGE), ("a3", TABLE), ("a4", 0x1000)):
        paged.cpu.write_register(name, value)
    lend, load = "csrrs zero, mstatus, t0", "ld a0, 0(a2)"
    fence = "sfence.vma a4, zero"
    assert paged.run(lend, load, "sd zero, 0(a3)", fence, load, "wfi") == LOAD_FAULT
    assert paged.cpu.read_register("mepc") == RAM + 16


@pytest.mark.parametrize(
    ("access", "flags", "table", "cause"),
    [
        ("ld a0, 0(a1)", V | R | W | A | D, ROM, 0),
        ("sd a0, 0(a1)", V | R | W | A | D, ROM, 0),
        ("ld a0, 0(a1)", V | R | W, ROM, LOAD_ACCESS),
        ("sd a0, 0(a1)", V | R | W | A, ROM, STORE_ACCESS),
        ("ld a0, 0(a1)", V | R | W | A | D, ROM + 0x1000, LOAD_ACCESS),
    ],
)
def test_tables_may_lie_in_read_only_memory(
    paged: Paged, access: str, flags: int, table: int, cause: int
) -> None:
    """Where bits would have to be set there, or nothing is there, the walk has no access."""
    paged.map(flags)
    paged.move_table(table)
    lend = "csrrs zero, mstatus, t0"  # or there would have to be a page to fetch from
    assert paged.run(lend, access, "addi a0, a0, 0") == cause


@pytest.mark.parametrize("paged", [InterpAccelerator, JitAccelerator], indirect=True)
def test_where_loads_have_come_to_is_known_without_a_walk(
    paged: Paged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk in Python takes a millisecond."""
    paged.map(V | R | W)
    assert paged.run("ld a0, 0(a1)") == 0
    cpu, loaded = paged.cpu, PAGE - RAM
    assert isinstance(cpu, Translating)
    assert cpu.translate(loaded + 8, write=True) == PAGE + 8
    assert cpu.translate(loaded + 0x1000) == PAGE + 0x1000
    monkeypatch.setattr("bimetal.accel.interp.translate", lambda *walk: None)
    assert cpu.translate(loaded + 8) == PAGE + 8
    assert cpu.translate(loaded + 8, write=True) is None
    assert cpu.translate(loaded + 0x1000) is None
    cpu.flush()
    assert cpu.translate(loaded + 8) is None
