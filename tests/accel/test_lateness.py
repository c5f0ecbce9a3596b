"""Timers and kicks while a guest does what takes long: a budget counts instructions, not time."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Timer
from typing import Any

import pytest

from bimetal.accel.interp import InterpAccelerator, InterpCpu
from bimetal.accel.jit import JitAccelerator
from bimetal.base.clock import VirtualClock
from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Kicked, MemorySlot, Mmio

RAM, SIZE, DEVICE = 0x8000_0000, 0x10_0000, 0x1000_0000
HANDLER = RAM + 0x800
SATP, MSTATUS, PMPADDR0 = 0x180, 0x300, 0x3B0
MIE, MXR, FS, STIE, STCE = 1 << 3, 1 << 19, 3 << 13, 1 << 5, 1 << 63
MPRV, SUPERVISOR = 1 << 17, 1 << 11
TICK = 100
DEADLINE = 100_000


@pytest.fixture(params=[InterpAccelerator, JitAccelerator], ids=lambda engine: engine.name)
def hart(request: pytest.FixtureRequest) -> Iterator[tuple[InterpCpu, Ram]]:
    """One of two harts, for which a tick passes at every instruction, with a timer."""
    accelerator: InterpAccelerator = request.param("riscv64", clock=VirtualClock(), cpus=2)
    ram = Ram("ram", SIZE)
    accelerator.set_memory([MemorySlot(RAM, SIZE, ram.host)])
    cpu = accelerator.add_cpu(0)
    cpu.state.set("clock_rate", 0, TICK * 1024)
    for name, value in {
        "pc": RAM,
        "mtvec": HANDLER,
        "mstatus": MIE | FS,
        "mie": STIE,
        "menvcfg": STCE,
        "stimecmp": DEADLINE,
        "a1": DEVICE,
        "a2": MXR,
        "a3": RAM + 0x1000,
        "a6": MPRV | SUPERVISOR,
        "pmpaddr0": (1 << 54) - 1,
        "pmp0cfg": 0x1F,
    }.items():
        cpu.write_register(name, value)
    ram.bytes[HANDLER - RAM : HANDLER - RAM + 4] = rv64.assemble("sw zero, 0(a1)")
    yield cpu, ram
    accelerator.close()
    ram.close()


def put(ram: Ram, *lines: str, at: int = RAM) -> None:
    code = b"".join(rv64.assemble(line, at + 4 * n) for n, line in enumerate(lines))
    ram.bytes[at - RAM : at - RAM + len(code)] = code


SLOW = {
    "pause": ("pause",),
    "a TLB flush": ("sfence.vma zero, zero",),
    "another address space": (
        f"csrrs zero, {MSTATUS}, a6", f"csrrw zero, {SATP}, a4", "addi a4, a4, 1", "lw a5, 0(a3)",
    ),
    "other rules": (f"csrrs zero, {MSTATUS}, a2", f"csrrc zero, {MSTATUS}, a2"),
    "other protection": (f"csrrw zero, {PMPADDR0}, a2",),
    "fence.i": ("fence.i",),
    "new code": ("sw a4, 0(a3)", "addi a4, a4, 1", "fence.i", "lw a5, 0(a3)"),
}  # fmt: skip


@pytest.mark.parametrize("what", SLOW)
def test_a_timer_is_looked_at_after_what_takes_long(hart: tuple[InterpCpu, Ram], what: str) -> None:
    cpu, ram = hart
    put(ram, *SLOW[what], f"jal zero, {RAM:#x}")
    exit_ = cpu.run()
    assert isinstance(exit_, Mmio), exit_
    assert DEADLINE <= cpu.instructions <= DEADLINE + 64


def test_a_timer_is_looked_at_on_the_way_through_new_pages(hart: tuple[InterpCpu, Ram]) -> None:
    """Each of them is taken and prepared, which takes as long as thousands of instructions."""
    cpu, ram = hart
    pages = SIZE // 4096
    for page in range(pages - 1):
        put(ram, f"jal zero, {RAM + 4096 * (page + 1):#x}", at=RAM + 4096 * page)
    cpu.write_register("stimecmp", pages // 2)
    exit_ = cpu.run()
    assert isinstance(exit_, Mmio), exit_
    assert pages // 2 <= cpu.instructions <= pages // 2 + 4


def test_a_kick_is_heard_between_instructions_that_python_executes(
    hart: tuple[InterpCpu, Ram], monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu, ram = hart
    put(ram, "fadd.s fa0, fa1, fa2, rmm", f"jal zero, {RAM:#x}")
    cpu.write_register("stimecmp", (1 << 64) - 1)
    executed = 0
    by_reference: Any = cpu._by_reference

    def counted() -> None:
        nonlocal executed
        executed += 1
        by_reference()
        if executed == 3:
            cpu.kick()

    monkeypatch.setattr(cpu, "_by_reference", counted)
    assert isinstance(cpu.run(), Kicked)
    assert executed == 3


def test_a_kick_is_heard_by_a_hart_that_pauses(hart: tuple[InterpCpu, Ram]) -> None:
    cpu, ram = hart
    put(ram, "pause", f"jal zero, {RAM:#x}")
    cpu.write_register("stimecmp", (1 << 64) - 1)
    Timer(0.05, cpu.kick).start()
    assert isinstance(cpu.run(), Kicked)
