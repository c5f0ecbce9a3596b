"""Harts that are closed have given their memory back; what they were at can still be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.base.clock import RealClock
from bimetal.memory.ram import Ram
from bimetal.seam import MemorySlot
from tests.codegen.hart import SIZE, Hart
from tests.codegen.programs import CODE, random_program

every_kind = pytest.mark.parametrize("kind", [InterpAccelerator, JitAccelerator])


@contextmanager
def finished(kind: type[InterpAccelerator]) -> Iterator[tuple[InterpAccelerator, Hart]]:
    """An accelerator that takes samples, and its hart, which has come to the end of a program."""
    ram = Ram("ram", SIZE)
    accelerator = kind("riscv64", clock=RealClock())
    accelerator.set_memory([MemorySlot(CODE, SIZE, ram.host)])
    hart = Hart(accelerator.add_cpu(0), ram)
    accelerator.start_sampling()
    hart.begin(random_program(4))
    hart.cpu.state.set("slice", 0, 100)  # instructions between samples
    hart.finish()
    yield accelerator, hart
    accelerator.close()
    ram.close()


@every_kind
def test_a_closed_hart_runs_no_more_and_tells_what_it_was_at(kind: type[InterpAccelerator]) -> None:
    with finished(kind) as (accelerator, hart):
        cpu = hart.cpu
        registers, counters = cpu.save()["registers"], cpu.counters
        for _ in range(2):
            accelerator.close()
            cpu.close()
            assert cpu.save()["registers"] == registers
            assert cpu.counters == counters
    cpu.kick()
    cpu.set_line(5, True)
    cpu.flush()
    cpu.reset()
    cpu.write_register("a0", 5)
    assert cpu.read_register("a0") == 5
    with pytest.raises(ValueError, match="the CPU is closed"):
        cpu.run()


@every_kind
def test_samples_outlast_the_harts(kind: type[InterpAccelerator]) -> None:
    with finished(kind) as (accelerator, hart):
        pass
    samples = accelerator.samples()
    assert sum(samples.counts.values()) + samples.lost == hart.cpu.sampled > 0
