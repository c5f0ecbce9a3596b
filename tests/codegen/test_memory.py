"""Accesses of native code: the soft TLBs, and what lies beside them."""

from __future__ import annotations

import pytest

from bimetal.accel.interp import InterpAccelerator
from bimetal.base.clock import RealClock
from bimetal.codegen.layout import DATA_ENTRIES, PAGE, ROW_FACTOR, ROW_SHIFT
from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import MemorySlot, Mmio

CODE, SIZE = 0x8000_0000, 1 << 16


def row(address: int) -> int:
    return (address & 0xFFFFF000) * ROW_FACTOR % (1 << 32) >> ROW_SHIFT


def test_pages_in_a_row_have_rows_of_their_own() -> None:
    rows = {row(CODE + n * PAGE) for n in range(DATA_ENTRIES // 2)}
    assert len(rows) > DATA_ENTRIES // 2 * 0.95


@pytest.mark.parametrize("distance", [1 << n for n in range(20, 32)])
def test_arrays_a_power_of_two_apart_have_rows_of_their_own(distance: int) -> None:
    assert len({row(CODE + n * distance) for n in range(4)}) == len(
        {(CODE + n * distance) & 0xFFFFF000 for n in range(4)}
    )


@pytest.mark.parametrize("second", [0x9000_0000, 0xA000_0000, 0xC000_0000])
def test_an_access_over_the_start_of_ram_does_not_reach_what_the_host_has_before_it(
    second: int,
) -> None:
    """The page behind is in the TLB, the one before is no memory: its part is a device's."""
    program = b"".join(
        (
            rv64.assemble("ld a2, 0(a1)"),  # the second slot's page is in the TLB now
            rv64.assemble("ld a3, -4(a1)"),
        )
    )
    low, high = Ram("low", SIZE), Ram("high", SIZE)
    low.bytes[: len(program)] = program
    accelerator = InterpAccelerator("riscv64", clock=RealClock())
    accelerator.set_memory([MemorySlot(CODE, SIZE, low.host), MemorySlot(second, SIZE, high.host)])
    cpu = accelerator.add_cpu(0)
    cpu.write_register("pc", CODE)
    cpu.write_register("a1", second)
    exit_ = cpu.run()
    assert isinstance(exit_, Mmio)
    assert (exit_.address, exit_.size, exit_.write) == (second - 4, 1, False)
    accelerator.close()


def test_a_hart_too_many_is_refused() -> None:
    accelerator = InterpAccelerator("riscv64", clock=RealClock())
    accelerator.add_cpu(0)
    with pytest.raises(ValueError, match="made for 1"):
        accelerator.add_cpu(1)
    accelerator.close()
